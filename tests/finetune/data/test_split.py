"""Splits keep speakers and texts apart, and the audit refuses those that do not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from finetune.data.audit import audit
from finetune.data.command import main
from finetune.data.errors import DataError, LeakageError
from finetune.data.manifest import read_utterances, write_manifest
from finetune.data.rows import Dialogue, Turn, Utterance
from finetune.data.split import leave_speakers_out, split
from finetune.data.texts import groups, near_pairs, text_key
from tests.finetune.data.samples import dataset, utterance, write_tone

WORDS = (
    "anchor",
    "basket",
    "candle",
    "dragon",
    "engine",
    "forest",
    "garden",
    "hammer",
    "island",
    "jacket",
    "kettle",
    "lamp",
)


def corpus(speakers: int, clips: int, *, shared: int = 0) -> list[Utterance]:
    """Speakers with texts of their own, and `shared` texts that all of them say."""
    rows = []
    for s in range(speakers):
        for i in range(clips):
            own = f"{WORDS[i % 12]} {i * 7919 % 1000} {WORDS[s % 12]} {s * 104729 % 1000} {WORDS[(i + s) % 12]}"
            text = f"{WORDS[i]} for everybody" if i < shared else own
            rows.append(utterance(f"s{s}-{i}", text=text, speaker=f"s{s}", duration_s=1.0 + i % 3))
    return rows


def minutes(rows: list[Utterance], name: str) -> float:
    return sum(row.duration_s for row in rows if row.split == name)


def test_both_are_kept_apart_and_the_seed_decides() -> None:
    rows = corpus(30, 12, shared=1)
    made = split(rows, "both", seed=1)
    audit(made, "both")
    assert split(rows, "both", seed=1) == made
    assert split(rows, "both", seed=2) != made
    whole = sum(row.duration_s for row in rows)
    assert 0.6 < minutes(made, "train") / whole < 0.9
    assert 0.05 < minutes(made, "test") / whole < 0.2
    assert len(made) < len(rows)  # the shared text stays in one split only


def test_texts_alone_with_one_speaker_keep_repetitions_together() -> None:
    rows = corpus(1, 60)
    again = [dataclasses.replace(row, id=f"{row.id}-again", text=row.text.upper() + "!") for row in rows]
    made = split(rows + again, "texts", seed=0)
    audit(made, "texts")
    assert len(made) == 120
    assert {row.split for row in made} == {"train", "dev", "test"}


def test_what_cannot_be_kept_apart_is_refused_with_advice() -> None:
    with pytest.raises(DataError, match="--apart speakers"):
        split(corpus(12, 10, shared=10), "both", seed=0)
    with pytest.raises(DataError, match="2 speakers cannot be kept apart in 3 splits; use --apart texts"):
        split(corpus(2, 10), "speakers", seed=0)
    with pytest.raises(DataError, match="2 different texts"):
        split(corpus(1, 2), "texts", seed=0)


def test_each_of_few_speakers_is_left_out_once() -> None:
    rows = corpus(4, 10, shared=10)
    folds = leave_speakers_out(rows, "speakers", seed=0)
    tested = [{row.speaker for row in fold if row.split == "test"} for fold in folds]
    assert sorted(speaker for who in tested for speaker in who) == ["s0", "s1", "s2", "s3"]
    for fold in folds:
        audit(fold, "speakers")
        assert len(fold) == len(rows)


def test_the_command_writes_folds_that_the_audit_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = dataset(tmp_path, corpus(3, 3, shared=3))
    assert main(["split", str(manifest)]) == 1
    assert "--apart speakers" in capsys.readouterr().err
    assert main(["split", str(manifest), "--apart", "speakers"]) == 0
    said = capsys.readouterr().out
    assert "3 speakers are few: each is left out in turn" in said
    folds = sorted(tmp_path.glob("*.fold-*.jsonl"))
    assert len(folds) == 3
    assert main(["audit", str(folds[0]), "--apart", "speakers"]) == 0
    assert main(["audit", str(folds[0])]) == 1
    assert "the same text in two splits, 3 times" in capsys.readouterr().err
    assert main(["split", str(manifest), "--out", str(tmp_path.parent / "elsewhere.jsonl")]) == 1


def test_one_speaker_is_said_to_measure_no_generalisation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = dataset(tmp_path, corpus(1, 12))
    assert main(["split", str(manifest)]) == 0
    assert "no generalisation to other speakers" in capsys.readouterr().out
    assert len(list(read_utterances(tmp_path / "manifest.split.jsonl"))) == 12


def test_every_kind_of_leakage_is_listed_at_once() -> None:
    rows = [
        utterance("a", split="train", speaker="one", text="turn on the light in the big kitchen please"),
        utterance("b", split="test", speaker="one", text="Turn on the light, in the big kitchen, please."),
        utterance("c", split="dev", speaker="two", text="turn on the light in the big kitchen pleased"),
    ]
    with pytest.raises(LeakageError) as caught:
        audit(rows, "both", ["x", "y", "x"])
    for part in ("the same speaker in two splits", "the same text", "nearly the same text", "the same recording"):
        assert part in caught.value.message
    with pytest.raises(DataError, match="1 rows have no split"):
        audit([utterance("a")])


def test_dialogues_are_audited_with_the_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def talk(split: str, *asked: str) -> Dialogue:
        turns = tuple(turn for text in asked for turn in (Turn("user", text), Turn("assistant", "Done.")))
        return Dialogue(f"{split}-{len(asked)}", "en", turns, "test", "CC0-1.0", "test", split)

    clips = dataset(tmp_path / "clips", [utterance("a", split="train", speaker="one", text="yes please")])
    write_manifest(tmp_path / "apart.jsonl", [talk("train", "Hello!"), talk("test", "hello", "yes please")])
    assert main(["audit", str(clips), str(tmp_path / "apart.jsonl")]) == 0
    assert "train 2, dev 0, test 1" in capsys.readouterr().out
    rows = [utterance("b", split="test", speaker="one", text="open the window")]
    talks = [talk("train", "Open the window!", "bye"), talk("dev", "bye"), talk("test", "Bye.")]
    with pytest.raises(LeakageError) as caught:
        audit(rows, "texts", (), talks)
    assert "the same dialogue in two splits, 1 times: 'bye': dev-1 in dev, test-1 in test" in caught.value.message
    assert "the same text of clip and dialogue in two splits, 1 times" in caught.value.message
    assert "train-2 in train, b in test" in caught.value.message
    audit(rows, "speakers", (), talks)


def test_the_audit_hears_the_same_recording_in_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = corpus(3, 1)
    rows = [dataclasses.replace(row, split=name) for row, name in zip(rows, ("train", "dev", "test"), strict=True)]
    manifest = dataset(tmp_path, rows)
    assert main(["audit", str(manifest)]) == 0
    write_tone(tmp_path / rows[2].audio, rows[0].id)
    assert main(["audit", str(manifest)]) == 1
    assert "the same recording in two splits" in capsys.readouterr().err


def test_near_pairs_finds_all_that_comparing_all_finds() -> None:
    keys = [text_key(row.text) for row in corpus(3, 40)]
    keys += [key[:-1] + "x" for key in keys[::5]]

    def grams(key: str) -> set[str]:
        return {f" {key} "[i : i + 3] for i in range(len(key))}

    def alike(one: str, other: str) -> float:
        return len(grams(one) & grams(other)) / len(grams(one) | grams(other))

    wanted = {
        (i, j) for j in range(len(keys)) for i in range(j) if keys[i] != keys[j] and alike(keys[i], keys[j]) >= 0.85
    }
    assert wanted
    assert {(i, j) for i, j, _ in near_pairs(keys)} == wanted


def test_text_keys_serve_every_script() -> None:
    assert text_key("Don't — stop!") == "dont stop"
    assert text_key("ＡＢＣ　だ。") == "abc だ"
    assert text_key("สวัสดี") != text_key("สวสด")  # marks are heard
    assert groups(["One.", "two", "one"]) == [0, 1, 0]
