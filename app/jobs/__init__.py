"""Fine-tuning jobs: data, recipes run as processes, what came of them, and packs made of that. Imports no recipe."""
