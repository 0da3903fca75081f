"""Packs for tests: one that needs no weights, and the starter where its weights are present."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import REPOSITORY
from app.packs import ClauseSettings, LanguageSettings, Pack, VoiceSettings, find_pack

SCRIPTED = Pack(
    folder=Path("nowhere"),
    name="scripted",
    version="1",
    language="en",
    language_model=LanguageSettings(prompt="Be brief.", tools=("get_time", "calculate", "set_timer", "spell")),
    voice=VoiceSettings(names=("scripted",)),
    clauses=ClauseSettings(first_min=4, min=8, max=80),
)


def starter() -> Pack:
    """The pack that ships. Skips where its weights have not been made."""
    pack = find_pack(REPOSITORY / "models" / "packs", "en-starter")
    for folder in (pack.recognizer_folder, pack.language_folder, pack.voice_folder):
        if not folder.is_dir() or not any(folder.iterdir()):
            pytest.skip(f"the starter pack has no weights in {folder.name}/ (make starter)")
    return pack
