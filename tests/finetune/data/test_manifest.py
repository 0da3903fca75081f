"""Manifests: what is written comes back, lines are read when asked for, and a fault names line and field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.data.errors import ManifestError
from finetune.data.manifest import (
    audio_path,
    fingerprint,
    read_dialogues,
    read_lexicon,
    read_utterances,
    write_manifest,
)
from finetune.data.rows import Dialogue, Pronunciation, Turn, Utterance
from tests.finetune.data.samples import dataset, utterance, write_tone


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [utterance("a"), utterance("b", split="dev", start_s=0.5, end_s=1.5, translation="words", gender="female")]
    assert write_manifest(tmp_path / "m.jsonl", rows) == 2
    assert list(read_utterances(tmp_path / "m.jsonl")) == rows
    call = {"id": "call_0", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    turns = (
        Turn("user", "what time is it", "anna"),
        Turn("assistant", "", tool_calls=(call,)),
        Turn("tool", "9", "", (), "call_0"),
    )
    dialogue = Dialogue("d", "en", turns, "a test", "CC0-1.0", "", tools=({"type": "function"},))
    write_manifest(tmp_path / "d.jsonl", [dialogue])
    assert list(read_dialogues(tmp_path / "d.jsonl")) == [dialogue]
    said = Pronunciation("hallo", ("h", "a", "l", "oː"), "ipa", "de", "a test", "CC0-1.0", 2)
    write_manifest(tmp_path / "l.jsonl", [said])
    assert list(read_lexicon(tmp_path / "l.jsonl")) == [said]


def test_lines_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.jsonl", [utterance("a")])
    with (tmp_path / "m.jsonl").open("a") as file:
        file.write("no JSON\n")
    rows = read_utterances(tmp_path / "m.jsonl")
    assert next(rows).id == "a"
    with pytest.raises(ManifestError, match=r"m\.jsonl:2: got no JSON"):
        next(rows)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text": None}, "field text: got None, expected str"),
        ({"duration_s": "1"}, "field duration_s: got '1', expected float"),
        ({"duration_s": True}, "field duration_s: got True"),
        ({"duration_s": -1}, "field duration_s: got -1.0, expected seconds, 0 or more"),
        ({"split": "testing"}, "field split: got 'testing', expected one of train, dev, test"),
        ({"end_s": 0.0}, "field end_s: got 0.0, expected more than start_s"),
        ({"speeker": "x"}, "field speeker: unknown"),
        ({"id": "a"}, "field id: 'a' has been given before"),
    ],
)
def test_a_fault_names_line_and_field(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    write_manifest(tmp_path / "m.jsonl", [utterance("a"), utterance("b")])
    first, second = (tmp_path / "m.jsonl").read_text().splitlines()
    (tmp_path / "m.jsonl").write_text(f"{first}\n{json.dumps(json.loads(second) | change)}\n")
    with pytest.raises(ManifestError) as caught:
        list(read_utterances(tmp_path / "m.jsonl"))
    assert f"m.jsonl:2: {said}" in caught.value.message


def test_a_missing_field_and_a_missing_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(ManifestError, match="field audio: missing"):
        list(read_utterances(tmp_path / "m.jsonl"))
    (tmp_path / "d.jsonl").write_text('{"id": "a", "turns": [{"role": "robot", "text": "hello"}]}\n')
    with pytest.raises(ManifestError, match=r"turns\[0\]: field role: got 'robot'"):
        list(read_dialogues(tmp_path / "d.jsonl"))
    with pytest.raises(ManifestError, match="cannot be read: No such file"):
        list(read_utterances(tmp_path / "none.jsonl"))


def test_a_manifest_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.jsonl", [utterance("a")])

    def failing() -> Iterator[Utterance]:
        yield utterance("b")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_manifest(tmp_path / "m.jsonl", failing())
    assert [row.id for row in read_utterances(tmp_path / "m.jsonl")] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["m.jsonl"]


def test_audio_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    assert audio_path(tmp_path / "m.jsonl", utterance("a")) == tmp_path / "audio" / "a.wav"
    for path in ("../secret.wav", "/etc/passwd"):
        with pytest.raises(ManifestError, match="outside of the manifest's folder"):
            audio_path(tmp_path / "m.jsonl", utterance("a", audio=path))


def test_the_fingerprint_is_of_rows_and_samples(tmp_path: Path) -> None:
    rows = [utterance("a"), utterance("b")]
    first = fingerprint(dataset(tmp_path / "x", rows))
    assert fingerprint(dataset(tmp_path / "y", rows)) == first
    write_tone(tmp_path / "y" / rows[1].audio, "another sound")
    assert fingerprint(tmp_path / "y" / "manifest.jsonl") != first
    assert fingerprint(dataset(tmp_path / "z", [rows[0]])) != first
