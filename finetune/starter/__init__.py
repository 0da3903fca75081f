"""The starter pack's own recipes: generated speech and dialogues in, `models/packs/en-starter` out."""
