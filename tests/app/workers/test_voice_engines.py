"""Which voice engine a pack gets, and whose licence must be accepted first. Loads no engine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from app.config import Settings
from app.errors import LicenceError, PackError, SettingsError
from app.packs import VoiceSettings, read_pack
from app.workers.connect import load_synthesizer
from tests.packs import SCRIPTED


def load(**voice: str) -> None:
    pack = dataclasses.replace(SCRIPTED, voice=VoiceSettings(**voice))  # type: ignore[arg-type]
    load_synthesizer(pack, accepted_licences=Settings(accept_licence="CC-BY-NC-4.0, other").accepted_licences)


def test_an_unknown_engine_is_named_beside_those_there_are() -> None:
    with pytest.raises(PackError, match="voice engine 'festival'; there are: onnx, coqui-vits, coqui-xtts, chattts"):
        load(engine="festival", licence="MIT")


@pytest.mark.parametrize("engine", ["coqui-vits", "coqui-xtts", "chattts"])
@pytest.mark.parametrize("licence", ["CPML", "CC-BY-NC-SA-4.0", ""])
def test_weights_that_not_everybody_may_use_need_the_operators_word(engine: str, licence: str) -> None:
    with pytest.raises(LicenceError, match=f"voice of pack scripted is under {licence or 'no stated licence'}"):
        load(engine=engine, licence=licence)


def test_the_library_chattts_needs_it_too() -> None:
    with pytest.raises(LicenceError, match=r"library ChatTTS is under AGPL-3\.0-or-later.*--accept-licence"):
        load(engine="chattts", licence="CC-BY-NC-4.0")


def test_an_environment_without_the_library_is_told_where_it_is() -> None:
    with pytest.raises(SettingsError, match=r"Coqui TTS is not installed.*\.venv-coqui/bin/parley synthesizer"):
        load(engine="coqui-vits", licence="Apache-2.0")


def test_a_pickle_in_a_pack_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "pack.toml").write_text('[pack]\nformat = 1\nname = "x"\nversion = "1"\nlanguage = "en"\n')
    (tmp_path / "model.pth").write_bytes(b"a pickle")
    with pytest.raises(PackError, match=r"\.pth files.*app\.workers\.coqui_convert"):
        read_pack(tmp_path)
