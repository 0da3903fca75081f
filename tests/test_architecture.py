"""ARCHITECTURE.md names every file of the product, and no file that is not there."""

from __future__ import annotations

import re

from app import REPOSITORY


def test_every_file_has_its_line_and_every_line_its_file() -> None:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
    tree = text[text.index("## Files") : text.index("## Who may import")]
    named = set(re.findall(r"[\w_]+\.(?:py|js|css|html|svg)\b", tree))
    there = {
        path.name
        for folder in ("app", "finetune")
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in (".py", ".js", ".css", ".html", ".svg") and path.name != "__init__.py"
    }
    assert named == there
