"""A run's data: audited before training, cut to nested shares, noted in the ledger of its dataset."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from app import REPOSITORY
from finetune.data.errors import DataError, LeakageError
from finetune.data.ledger import Ledger
from finetune.data.manifest import write_manifest
from finetune.data.rows import Utterance
from finetune.data_of_run import dialogues, subset, utterances
from finetune.run import write_whole
from tests.finetune.data.samples import dataset, utterance
from tests.finetune.tiny_chat import dialogue
from tests.finetune.toy import TRAINING, open_toy


def split_rows(*speakers: str) -> list[Utterance]:
    """Two clips of train, one of dev and one of test, by the speakers of the splits in that order."""
    whose = dict(zip(("train", "dev", "test"), speakers, strict=True))
    splits = {"a": "train", "b": "train", "c": "dev", "d": "test"}
    return [utterance(name, split=split, speaker=whose[split]) for name, split in splits.items()]


def test_clips_are_read_by_split_and_their_run_is_in_the_ledger(tmp_path: Path) -> None:
    made = dataset(tmp_path / "set", split_rows("anna", "ben", "cleo"))
    found = utterances([str(made)], TRAINING)
    assert [row.id for row in found.train] == ["a", "b"]
    assert [row.id for row in found.dev] == ["c"]
    assert all(Path(row.audio).is_file() for row in found.train)
    assert found.apart == "both"
    run = open_toy(tmp_path / "run")
    found.note(run)
    people = Ledger(tmp_path / "set/ledger.jsonl").speakers()
    assert {label: speaker.runs for label, speaker in people.items()} == {"anna": (run.facts()["fingerprint"],)}
    assert (run.facts()["speakers"], run.facts()["ancestors"]) == (["anna"], [])
    run.checkpoint.touch()  # it goes on, and is in the ledger already
    found.note(run)
    assert len((tmp_path / "set/ledger.jsonl").read_text().splitlines()) == 1


def test_what_the_base_was_made_of_is_noted(tmp_path: Path) -> None:
    made = utterances([str(dataset(tmp_path / "set", split_rows("anna", "ben", "cleo")))], TRAINING)
    (tmp_path / "old").mkdir()
    write_whole(tmp_path / "old/facts.json", '{"fingerprint": "f2", "ancestors": ["f1"]}')
    shutil.copytree(REPOSITORY / "models/packs/en-starter", tmp_path / "pack")
    write_whole(tmp_path / "pack/card.json", '{"evaluation": [], "training": {"voice": {"fingerprint": "f3"}}}')
    for base, ancestors in (("old/export/hf", ["f1", "f2"]), ("pack", ["f3"])):
        run = open_toy(tmp_path / base / "run")
        run.note(configuration={"base": str(tmp_path / base)})
        made.note(run)
        assert run.facts()["ancestors"] == ancestors


def test_splits_are_apart_by_speaker_or_by_text(tmp_path: Path) -> None:
    assert utterances([str(dataset(tmp_path / "one", split_rows("anna", "anna", "anna")))], TRAINING).apart == "texts"
    digits = [dataclasses.replace(row, text="seven") for row in split_rows("anna", "ben", "cleo")]
    assert utterances([str(dataset(tmp_path / "digits", digits))], TRAINING).apart == "speakers"
    digits = [dataclasses.replace(row, text="seven") for row in split_rows("anna", "anna", "cleo")]
    with pytest.raises(
        LeakageError, match=r"neither speakers nor texts are apart:\n.*'anna': a in train, c in dev"
    ) as e:
        utterances([str(dataset(tmp_path / "both", digits))], TRAINING)
    assert "the same text in two splits, 1 times: 'seven'" in e.value.message
    twice = [*split_rows("anna", "ben", "cleo"), utterance("e", split="dev", speaker="ben", audio="audio/a.wav")]
    made = dataset(tmp_path / "twice", twice[:-1])
    write_manifest(made, twice)
    with pytest.raises(LeakageError, match="the same recording in two splits, 1 times: a in train, e in dev"):
        utterances([str(made)], TRAINING)


def test_rows_that_a_run_needs_are_asked_for(tmp_path: Path) -> None:
    unsplit = dataset(tmp_path / "unsplit", [utterance("a")])
    with pytest.raises(DataError, match="1 rows have no split"):
        utterances([str(unsplit)], TRAINING)
    made = dataset(tmp_path / "set", split_rows("anna", "ben", "cleo")[:2])
    with pytest.raises(DataError, match="got no row of split dev, expected some"):
        utterances([str(made)], TRAINING)
    assert dialogues([], TRAINING).train == []


def test_dialogues_are_shared_out_by_what_the_user_says(tmp_path: Path) -> None:
    made = tmp_path / "dialogues.jsonl"
    write_manifest(made, [dialogue(f"{i}", f"frage {i % 40}", "ja", "") for i in range(80)])
    shared = dialogues([str(made)], TRAINING, 0.3)
    asked = [{one.turns[2].text for one in rows} for rows in (shared.train, shared.dev)]
    assert not asked[0] & asked[1]
    assert 4 < len(asked[1]) < 20
    write_manifest(made, [dialogue("a", "wie spät", "drei", "train"), dialogue("b", "Wie spät?", "drei", "test")])
    with pytest.raises(LeakageError, match="the same dialogue in two splits, 1 times: a in train, b in test"):
        dialogues([str(made)], TRAINING)


def test_smaller_shares_are_part_of_larger_ones() -> None:
    few = [utterance(f"{speaker}{i}", speaker=speaker) for speaker in "abcd" for i in range(20)]
    many = [utterance(f"{speaker}-{i}", speaker=f"{speaker}") for speaker in range(40) for i in range(5)]
    for rows in (few, many):
        shares = [subset(rows, share, seed=3) for share in (0.1, 0.25, 0.5, 1.0)]
        ids = [{row.id for row in one} for one in shares]
        assert [len(one) / len(rows) for one in ids] == [0.1, 0.25, 0.5, 1.0]
        assert ids[0] < ids[1] < ids[2] < ids[3]
        assert [row.id for row in shares[1]] == [row.id for row in rows if row.id in ids[1]]
        assert {row.id for row in subset(rows, 0.25, seed=4)} != ids[1]
    assert {row.speaker for row in subset(few, 0.1, seed=3)} == set("abcd")
    assert len({row.speaker for row in subset(many, 0.1, seed=3)}) == 4
    with pytest.raises(ValueError, match=r"data_share: got 0\.0, expected more than 0, at most 1"):
        dataclasses.replace(TRAINING, data_share=0.0)
