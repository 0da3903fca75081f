"""Dialogues and lexicons: each form gives the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.data.errors import ManifestError
from finetune.data.importers import dialogues, lexicon

CALL = {"id": "call_1", "type": "function", "function": {"name": "lights", "arguments": '{"on": true}'}}


@pytest.mark.parametrize(
    "record",
    [
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "lights on"}], "name": "anna"},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "content": "done", "tool_call_id": "call_1"},
                {"role": "assistant", "content": "They are on."},
            ]
        },
        {
            "conversations": [
                {"from": "human", "value": "lights on", "speaker": "anna"},
                {"from": "function_call", "value": '{"name": "lights", "arguments": {"on": true}}'},
                {"from": "observation", "value": "done"},
                {"from": "gpt", "value": "They are on."},
            ]
        },
        {
            "turns": [
                {"role": "user", "text": "lights on", "speaker": "anna"},
                {"role": "assistant", "text": "", "tool_calls": [{"name": "lights", "arguments": {"on": True}}]},
                {"role": "tool", "text": "done"},
                {"role": "assistant", "text": "They are on."},
            ]
        },
    ],
)
def test_every_form_of_dialogue(tmp_path: Path, record: dict[str, Any]) -> None:
    (tmp_path / "d.json").write_text(json.dumps([record]))
    (tmp_path / "d.jsonl").write_text(json.dumps(record) + "\n")
    for name in ("d.json", "d.jsonl"):
        (row,) = dialogues.rows(tmp_path / name, language="en", licence="MIT")
        assert [turn.role for turn in row.turns] == ["user", "assistant", "tool", "assistant"]
        assert (row.turns[0].text, row.turns[0].speaker, row.language, row.licence) == (
            "lights on",
            "anna",
            "en",
            "MIT",
        )
        function = row.turns[1].tool_calls[0]["function"]
        assert function == {"name": "lights", "arguments": '{"on": true}'}


def test_requests_without_an_answer_are_left_out(tmp_path: Path) -> None:
    lines = [
        {"id": "1", "user": "licht an", "assistant": "Licht ist an.", "language": "de"},
        {"user": "x", "assistant": None},
    ]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (row,) = dialogues.rows(tmp_path / "c.jsonl")
    assert (row.id, row.language, row.turns[1].text) == ("1", "de", "Licht ist an.")


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"text": "x"}, "d.jsonl:1: got text, expected turns, messages"),
        ({"messages": "x"}, "field messages: expected a list"),
        ({"messages": [{"role": "robot", "content": "x"}]}, r"messages\[0\]: field role: got 'robot'"),
        ({"messages": [{"role": "assistant", "content": None}]}, r"messages\[0\]: got None, expected text"),
        ({"conversations": [{"from": "dog", "value": "x"}]}, "field from: got 'dog'"),
        ({"conversations": [{"from": "function_call", "value": "x"}]}, "expected a call as JSON"),
    ],
)
def test_faults_of_dialogues_name_the_place(tmp_path: Path, record: dict[str, Any], said: str) -> None:
    (tmp_path / "d.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(ManifestError, match=said):
        list(dialogues.rows(tmp_path / "d.jsonl"))


def test_lexicons(tmp_path: Path) -> None:
    (tmp_path / "cmu.dict").write_text(";;; comment\nREAD R IY1 D\nread(2) R EH1 D # past\n")
    (tmp_path / "ipa.txt").write_text("Chance\t/ʃɑ̃s/, /t͡ʃaːns/\nleer\t/lːeː/, //\n")
    (tmp_path / "wikipron.tsv").write_text("Zahn\tt͡s aː n\n")
    cmu = list(lexicon.rows(tmp_path / "cmu.dict", language="en", licence="BSD-2-Clause"))
    assert [(row.word, row.phones, row.variant) for row in cmu] == [
        ("read", ("r", "iy", "d"), 1),
        ("read", ("r", "eh", "d"), 2),
    ]
    ipa = list(lexicon.rows(tmp_path / "ipa.txt", language="de", licence="MIT"))
    assert [row.phones for row in ipa] == [("ʃ", "ɑ̃", "s"), ("t͡ʃ", "aː", "n", "s"), ("lː", "eː")]
    (zahn,) = lexicon.rows(tmp_path / "wikipron.tsv", language="de", licence="CC0-1.0")
    assert (zahn.phones, zahn.alphabet) == (("t͡s", "aː", "n"), "ipa")
    (tmp_path / "bad.dict").write_text("word\n")
    with pytest.raises(ManifestError, match=r"bad\.dict:1: got 'word'"):
        list(lexicon.rows(tmp_path / "bad.dict", language="en", licence=""))
