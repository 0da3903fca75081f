"""Only a recognizer that was trained apart from a voice may judge it, and the cards must show that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.packs import Pack, read_pack
from finetune.evaluate.judge import POCKETSPHINX, judge_of

VOICE = {"seed": 1, "speakers": ["anna"], "data": {"a.jsonl": "f1", "base": "b0"}}
APART = {"seed": 2, "speakers": ["ben"], "data": {"b.jsonl": "f2"}}


def pack(root: Path, name: str, language: str, weights: str = "", **training: Any) -> Pack:
    """A pack whose recognizer is `weights`, with a card of what its stages were trained on."""
    folder = root / f"{name}@1"
    (folder / "recognizer").mkdir(parents=True)
    (folder / "recognizer" / "model.bin").write_text(weights or name)
    (folder / "pack.toml").write_text(f'[pack]\nformat = 1\nname = "{name}"\nversion = "1"\nlanguage = "{language}"\n')
    (folder / "card.json").write_text(json.dumps({"evaluation": [], "training": training}))
    return read_pack(folder)


def test_english_is_judged_by_pocketsphinx_and_other_languages_by_nobody(tmp_path: Path) -> None:
    judge, _ = judge_of(pack(tmp_path, "british", "en-GB"), None)
    assert judge is not None
    assert judge.name == POCKETSPHINX
    assert judge_of(pack(tmp_path, "german", "de"), None) == (
        None, "no judge for de that never heard this voice (--judge)",
    )  # fmt: skip


def test_a_judge_that_was_trained_apart_is_named(tmp_path: Path) -> None:
    voice = pack(tmp_path, "voice", "de", voice=VOICE)
    judge, why = judge_of(voice, pack(tmp_path, "judge", "de-AT", recognizer=APART))
    assert judge is not None
    assert (judge.name, why) == ("recognizer of judge@1, trained apart", "")
    assert judge.identity != judge_of(voice, pack(tmp_path, "other", "de", recognizer=APART))[0].identity  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("language", "weights", "recognizer", "why"),
    [
        ("en", "", APART, "it hears en, the voice speaks de"),
        ("de", "voice", APART, "it is the pack's own recognizer"),
        ("de", "", {}, "the card of judge@1 does not say seed, speakers, data of the training of its recognizer"),
        ("de", "", APART | {"speakers": ["anna", "ben"]}, "it was trained on speakers of the voice: anna"),
        ("de", "", APART | {"data": {"c": "f1"}}, "it was trained on data of the voice"),
        ("de", "", APART | {"seed": 1}, "it was trained with the seed of the voice, 1"),
    ],
)
def test_others_are_refused(tmp_path: Path, language: str, weights: str, recognizer: dict[str, Any], why: str) -> None:
    voice = pack(tmp_path, "voice", "de", voice=VOICE)
    judge = pack(tmp_path, "judge", language, weights, recognizer=recognizer)
    assert judge_of(voice, judge) == (None, f"judge@1 cannot judge: {why}")
    assert judge_of(pack(tmp_path, "untold", "de"), pack(tmp_path, "apart", "de", recognizer=APART))[1] == (
        "apart@1 cannot judge: the card of untold@1 does not say seed, speakers, data of the training of its voice"
    )
