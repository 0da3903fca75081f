"""The hash of a base model in a folder: what an adapter was trained on. Knows no engine and no adapter.

Weights of another model of the same shape take an adapter without complaint and then write nonsense, so adapters name
the hash of their base, and it is compared before one is loaded.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from app.errors import PackError


def base_sha256(folder: Path) -> str:
    """The hash of config.json and all *.safetensors of a Hugging Face folder, in hex. Raises PackError.

    As `LC_ALL=C sha256sum config.json *.safetensors | sha256sum` within the folder prints it. Reads all weights: a
    second or so a gigabyte.
    """
    weights = sorted(folder.glob("*.safetensors"), key=lambda path: path.name.encode())
    files = [folder / "config.json", *weights]
    if not weights or not files[0].is_file():
        raise PackError(f"{folder} is no base model: expected config.json and *.safetensors in it")
    lines = []
    for path in files:
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()
