"""Every fault of dialogues and lexicons is found at once."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from app import REPOSITORY
from finetune.data.command import main
from finetune.data.errors import ManifestError
from finetune.data.manifest import kind_of, write_manifest
from finetune.data.rows import Dialogue, Pronunciation, Turn
from finetune.data.text_faults import of_dialogues, of_lexicon

TOOL = {"type": "function", "function": {"name": "light", "parameters": {}}}


def talk(id: str, *turns: Turn, **fields: Any) -> Dialogue:
    """A dialogue without fault, where its turns have none."""
    row = Dialogue(id, "en", turns, "made for a test", "CC0-1.0", "training")
    return dataclasses.replace(row, **fields)


def exchange(id: str, said: str, reply: str, **fields: Any) -> Dialogue:
    return talk(id, Turn("user", said), Turn("assistant", reply), **fields)


def called(id: str, name: str = "light", arguments: str = '{"on": true}', answer: str = "1") -> Dialogue:
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return talk(
        id, Turn("user", f"light for {id}"), Turn("assistant", "", tool_calls=(call,)),
        *((Turn("tool", "ok", tool_call_id=answer),) if answer else ()), Turn("assistant", "done"), tools=(TOOL,),
    )  # fmt: skip


def word(text: str, phones: str = "t ɛ s t", **fields: Any) -> Pronunciation:
    row = Pronunciation(text, tuple(phones.split()), "ipa", "en", "made for a test", "CC0-1.0")
    return dataclasses.replace(row, **fields)


def test_faults_of_dialogues() -> None:
    rows = [
        exchange("good", "hello", "hi there"), called("fine"),
        exchange("nobody", "who", "me", licence="", consent=""), exchange("empty", "well", " "),
        talk("late", Turn("user", "a"), Turn("system", "be kind"), Turn("assistant", "b")),
        talk("twice", Turn("user", "c"), Turn("user", "d"), Turn("assistant", "e"), Turn("assistant", "f")),
        talk("mute", Turn("user", "is anybody there")), exchange("again", "Hello!", "hi there"),
        exchange("otherwise", "hello", "go away"), exchange("good", "an id", "that is taken"),
        called("unknown", name="door"), called("broken", arguments='{"on": tru'), called("list", arguments="[1]"),
        called("unanswered", answer=""), called("stray", answer="2"),
        exchange("learnt", "how late is it", "three", split="train"),
        exchange("leaked", "how late is it", "three", split="test"),
        exchange("asked", "how late is it", "four", split="test"),
    ]  # fmt: skip
    found = {(fault.kind, fault.id, fault.is_warning) for fault in of_dialogues(rows)}
    assert found == {
        ("licence missing", "nobody", False), ("consent missing", "nobody", False), ("empty turn", "empty", False),
        ("order of roles", "late", False), ("order of roles", "twice", True), ("no reply", "mute", False),
        ("duplicate dialogue", "again", True), ("contradiction", "otherwise", True), ("duplicate id", "good", False),
        ("tool calls", "unknown", False), ("tool calls", "broken", False), ("tool calls", "list", False),
        ("tool calls", "unanswered", False), ("tool calls", "stray", False), ("duplicate dialogue", "leaked", True),
        ("leakage", "leaked", False), ("leakage", "leaked", True), ("leakage", "asked", True),
        ("contradiction", "asked", True),
    }  # fmt: skip


def test_faults_of_lexicons() -> None:
    rows = [
        word("test"), word("test"), word("best", "b ɛ s t", licence=""), word("two words"), word("best", "b ɪ s t"),
        word("rest", "r 1 s t"), word("дом"), word("nest", "n ɛ s t", variant=2), word("nest", "n ɪ s t"),
        word("cest", "K EH1 S", alphabet="arpabet"), word("jest", "jh ɛ", alphabet="arpabet"),
    ]  # fmt: skip
    found = {(fault.kind, fault.id, fault.is_warning) for fault in of_lexicon(rows)}
    assert found == {
        ("duplicate word", "test", True), ("licence missing", "best", False), ("contradiction", "best", False),
        ("word", "two words", False), ("phones", "rest", False), ("letters", "дом", False), ("alphabets", "", False),
        ("phones", "jest", False),
    }  # fmt: skip
    many = [word("".join("abcdefgh"[i // 8**k % 8] for k in range(4)), "a b c d") for i in range(2100)]
    rare = {fault.kind: fault for fault in of_lexicon([*many, word("añba", "a ʘ")]) if fault.id == "añba"}
    assert rare["letters"].message == "ñ: hardly a word of en has it"
    assert rare["phones"].message == "ʘ: hardly any other word has it"
    assert all(fault.is_warning for fault in rare.values())


def test_the_command_tells_what_a_manifest_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_manifest(tmp_path / "d.jsonl", [called("fine"), exchange("nobody", "ünd", "me", consent="")])
    pack = str(REPOSITORY / "models/packs/en-starter")
    assert main(["check", str(tmp_path / "d.jsonl"), "--pack", pack, "--out", str(tmp_path / "d")]) == 1
    said = capsys.readouterr().out
    assert "fault: consent missing, 1 times; for instance nobody: nobody has said" in said
    assert "fault: characters, 1 times; for instance nobody: the voice cannot spell ü" in said
    assert "2 faults, 0 warnings in 2 dialogues" in said
    report = json.loads((tmp_path / "d/check.json").read_text())
    assert (report["dialogues"], report["faults"]) == (2, 2)
    assert "light 1" in (tmp_path / "d/check.html").read_text()
    write_manifest(tmp_path / "w.jsonl", [word("test"), word("rest", "r ɛ s t")])
    assert main(["check", str(tmp_path / "w.jsonl")]) == 0
    assert "0 faults, 0 warnings in 2 pronunciations" in capsys.readouterr().out
    (tmp_path / "x.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(ManifestError, match="the first row has none of audio, turns and phones"):
        kind_of(tmp_path / "x.jsonl")
