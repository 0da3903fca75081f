"""Where the model that a recipe starts from lies: a folder, or what the hub's client fetches. Knows no model."""

from __future__ import annotations

from pathlib import Path

from finetune.errors import ConfigError

FILES = ["*.json", "*.safetensors", "*.jinja", "*.model"]
"""Of a model on the hub: nothing that would have to be unpickled or executed."""


def base_folder(base: str) -> Path:
    """The folder of a base; a hub name is fetched where huggingface_hub may. Raises ConfigError."""
    if Path(base).is_dir():
        return Path(base)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base, allow_patterns=FILES))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(f"base: got {base!r}, expected a folder or the name of a model: {error}") from error
