"""The check of `make check`: that it passes here, and that it would not pass over each kind of fault."""

from __future__ import annotations

from importlib.metadata import Distribution
from pathlib import Path

import pytest

from app import licence_check
from app.licence_check import BUNDLES, REVIEWED, faults_of_libraries, faults_of_packs, faults_of_profiles
from app.registry import Model, Profile

REVIEWS = dict.fromkeys((*REVIEWED, *BUNDLES), "MIT")
PACK = '[pack]\nformat = 1\nname = "p"\nversion = "1"\nlanguage = "en"\n'


def test_what_ships_has_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert licence_check.main() == 0
    assert " 0 faults" in capsys.readouterr().out


def test_a_library_outside_of_the_list_is_a_fault() -> None:
    assert list(faults_of_libraries({**REVIEWS, "good": "MIT"})) == []
    (fault,) = faults_of_libraries({**REVIEWS, "bad": "AGPL-3.0-or-later"})
    assert "library bad is under AGPL-3.0-or-later" in fault
    (fault,) = faults_of_libraries({**REVIEWS, "silent": ""})
    assert "no stated licence" in fault


def test_a_reviewed_library_passes_and_a_review_too_many_is_a_fault() -> None:
    assert list(faults_of_libraries({**REVIEWS, "soxr": "LGPL-2.1-or-later"})) == []
    faults = list(faults_of_libraries({}))
    assert len(faults) == len(REVIEWS)
    assert "has a review" in faults[0]


def test_a_profile_that_makes_a_pack_asks_for_nobody_s_word() -> None:
    voice = Model("v", "voice", "CPML", 1, shipped="x")
    assert list(faults_of_profiles({"asks": Profile("asks", "", (voice,))})) == []
    (fault,) = faults_of_profiles({"p": Profile("p", "", (voice,), pack="en")})
    assert "model v is under CPML" in fault


@pytest.mark.parametrize(
    ("notice", "fault"),
    [
        (None, "has no NOTICE"),
        ("reader\n    CC BY-NC 4.0; somebody; used for: voice\n", "under CC-BY-NC-4.0"),
        ("reader\n    CC BY 4.0; somebody; used for: voice\nprogram\n    none: its output; used for: voice\n", ""),
    ],
)
def test_the_sources_of_a_pack(notice: str | None, fault: str, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "pack.toml").write_text(PACK)
    if notice is not None:
        (folder / "NOTICE").write_text(notice)
    faults = list(faults_of_packs(tmp_path))
    assert len(faults) == bool(fault)
    assert all(fault in one for one in faults)


def test_the_voice_of_a_pack(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "pack.toml").write_text(PACK + '[voice]\nlicence = "CPML"\n')
    (folder / "NOTICE").write_text("")
    (fault,) = faults_of_packs(tmp_path)
    assert "its voice is under CPML" in fault


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        ("License: 3-Clause BSD License", "BSD-3-Clause"),
        ("License: MPL-2.0 AND MIT\nClassifier: License :: OSI Approved :: MIT License", "MPL-2.0 AND MIT"),
        ("Classifier: License :: OSI Approved :: Apache Software License", "Apache-2.0"),
        ("Name: silent", ""),
    ],
)
def test_what_a_library_states(metadata: str, licence: str, tmp_path: Path) -> None:
    folder = tmp_path / "thing-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\n{metadata}\n")
    assert licence_check._stated(Distribution.at(folder)) == licence


def test_what_is_required_in_turn_is_found() -> None:
    licences = licence_check.licences_of("parley")
    assert {"parley", "fastapi", "starlette", "huggingface-hub"} <= set(licences)
    assert "torch" not in licences  # an extra
