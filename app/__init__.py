"""Parley's service: gateway, session and workers. It knows nothing of training; packs are all it shares with `finetune`."""
