"""Adaptation: data, recipes, evaluation and export of language packs. It knows nothing of sessions or sockets."""
