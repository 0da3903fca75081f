"""Parley's service: gateway, session and workers. It knows nothing of training."""

from pathlib import Path

__version__ = "0.1.0"
REPOSITORY = Path(__file__).resolve().parent.parent
"""The folder that has `app`: packs, configurations and runs lie beside it."""
