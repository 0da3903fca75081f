"""Prints what pyproject.toml asks for, one requirement a line: `python docker/requirements.py [EXTRA ...]`.

An image installs it before the code is there, so that the layer of the libraries survives every change of the code.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

here = Path(__file__).resolve().parent
manifest = here / "pyproject.toml" if (here / "pyproject.toml").is_file() else here.parent / "pyproject.toml"
project = tomllib.loads(manifest.read_text(encoding="utf-8"))["project"]
wanted = list(project["dependencies"])
for extra in sys.argv[1:]:
    wanted += project["optional-dependencies"][extra]
print("\n".join(wanted))
