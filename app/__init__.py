"""Parley's service: gateway, session and workers. It knows nothing of training."""
