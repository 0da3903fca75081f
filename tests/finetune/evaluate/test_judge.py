"""Only a recognizer that was trained apart from a voice may judge it, and the cards must show that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.packs import Pack, read_pack
from finetune.evaluate.ctc_judge import Facts, write
from finetune.evaluate.judge import POCKETSPHINX, ctc_judge, judge_of, pack_judge
from finetune.judge_network import JudgeNetwork

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
    judge, why = judge_of(voice, pack_judge(pack(tmp_path, "judge", "de-AT", recognizer=APART)))
    assert judge is not None
    assert (judge.name, why) == ("recognizer of judge@1, trained apart", "")
    assert judge.identity != pack_judge(pack(tmp_path, "other", "de", recognizer=APART)).identity
    assert (judge.has_heard("ben"), judge.has_heard("anna")) == (True, False)


def test_a_judge_that_was_trained_for_it_is_named_and_kept_apart_from_every_stage(tmp_path: Path) -> None:
    facts = Facts("kind-of-judge", "de", "ab ", 8, 1, APART)
    write(tmp_path / "run/export/judge", JudgeNetwork(3, 8, 1), facts)
    given = ctc_judge(tmp_path / "run")
    assert given is not None
    assert given == ctc_judge(tmp_path / "run/export/judge")
    judge, why = judge_of(pack(tmp_path, "voice", "de", voice=VOICE), given)
    assert judge is not None
    assert (judge.name, why) == ("CTC judge kind-of-judge, trained apart", "")
    learnt = pack(tmp_path, "learnt", "de", voice=VOICE, recognizer={"speakers": ["ben"], "data": {}})
    assert judge_of(learnt, given) == (
        None, "CTC judge kind-of-judge cannot judge: it was trained on speakers of the pack's recognizer: ben",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("language", "weights", "recognizer", "why"),
    [
        ("en", "", APART, "it hears en, the voice speaks de"),
        ("de", "voice", APART, "it is the pack's own recognizer"),
        ("de", "", {}, "it does not say seed, speakers, data of the training of its recognizer"),
        ("de", "", APART | {"speakers": ["anna", "ben"]}, "it was trained on speakers of the pack's voice: anna"),
        ("de", "", APART | {"data": {"c": "f1"}}, "it was trained on data of the pack's voice"),
        ("de", "", APART | {"seed": 1}, "it was trained with the seed of the voice, 1"),
    ],
)
def test_others_are_refused(tmp_path: Path, language: str, weights: str, recognizer: dict[str, Any], why: str) -> None:
    voice = pack(tmp_path, "voice", "de", voice=VOICE)
    judge = pack_judge(pack(tmp_path, "judge", language, weights, recognizer=recognizer))
    assert judge_of(voice, judge) == (None, f"recognizer of judge@1 cannot judge: {why}")
    apart = pack_judge(pack(tmp_path, "apart", "de", recognizer=APART))
    assert judge_of(pack(tmp_path, "untold", "de"), apart)[1] == (
        "recognizer of apart@1 cannot judge: the card of untold@1 does not say seed, speakers, data of the training "
        "of its voice"
    )
