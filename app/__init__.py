"""Parley's service: gateway, session and workers. It knows nothing of training."""

__version__ = "0.1.0"
