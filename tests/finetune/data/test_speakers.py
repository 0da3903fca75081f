"""Importing keeps a ledger; forgetting a speaker removes every trace and names the packs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.__main__ import main as parley
from finetune.data.command import main
from finetune.data.errors import ManifestError
from finetune.data.ledger import Ledger
from finetune.data.manifest import read_dialogues, read_utterances, write_manifest
from tests.finetune.data.samples import utterance, write_tone


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """A dataset of two speakers, imported from a folder."""
    for name in ("anna/1", "anna/2", "ben/1"):
        write_tone(tmp_path / "source" / f"{name}.wav", name)
        (tmp_path / "source" / f"{name}.txt").write_text(f"words of {name}")
    arguments = ["--language", "en", "--licence", "CC0-1.0", "--consent", "training of voices"]
    out = tmp_path / "set"
    assert parley(["data", "import", "folder", str(tmp_path / "source"), "--out", str(out), *arguments]) == 0
    return out


def test_import_copies_and_measures(imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(read_utterances(imported / "manifest.jsonl"))
    assert [(row.id, row.speaker, row.duration_s) for row in rows] == [
        ("anna-1", "anna", 1.0), ("anna-2", "anna", 1.0), ("ben-1", "ben", 1.0),
    ]  # fmt: skip
    assert all((imported / row.audio).is_file() and row.consent == "training of voices" for row in rows)
    assert main(["speakers", "list", str(imported)]) == 0
    assert "anna: 2 clips, consent: training of voices, 0 runs" in capsys.readouterr().out
    again = ["import", "folder", str(imported.parent / "source"), "--out", str(imported)]
    assert main(again) == 1
    assert "exists already" in capsys.readouterr().err


def test_an_import_with_faults_lists_them_and_leaves_no_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metadata.csv").write_text("a|one\nb|two\n")
    write_tone(tmp_path / "wavs" / "a.wav")
    assert main(["import", "ljspeech", str(tmp_path), "--out", str(tmp_path / "set"), "--language", "en"]) == 1
    said = capsys.readouterr().err
    assert "a: no speaker; give it by --speaker" in said
    assert "wavs/b.wav is not there" in said
    assert not (tmp_path / "set" / "manifest.jsonl").exists()


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "validated.tsv").write_text("client_id\tpath\tsentence\nc\t../../evil.wav\thello\n")
    write_tone(tmp_path.parent / "evil.wav")
    (tmp_path / "clips").mkdir()
    assert main(["import", "common_voice", str(tmp_path), "--out", str(tmp_path / "set"), "--language", "en"]) == 1
    assert "expected a name inside" in capsys.readouterr().err


def test_dialogues_and_lexicons_are_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.jsonl").write_text('{"user": "hello", "assistant": "Hi!"}\n')
    (tmp_path / "l.txt").write_text("hallo\t/halo/\n")
    out = ["--out", str(tmp_path / "set"), "--language", "de", "--licence", "MIT"]
    assert main(["import", "dialogues", str(tmp_path / "d.jsonl"), *out]) == 0
    assert main(["import", "lexicon", str(tmp_path / "l.txt"), *out]) == 0
    assert {path.name for path in (tmp_path / "set").iterdir()} == {"dialogues.jsonl", "lexicon.jsonl"}
    (tmp_path / "empty.jsonl").write_text('{"user": "hello", "assistant": null}\n')
    assert main(["import", "dialogues", str(tmp_path / "empty.jsonl"), "--out", str(tmp_path / "x")]) == 1
    assert "has no rows to learn from" in capsys.readouterr().err


def test_forgetting_removes_every_trace_and_names_the_packs(imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(read_utterances(imported / "manifest.jsonl"))
    write_manifest(imported / "manifest.fold-1.jsonl", rows)
    main(["check", str(imported / "manifest.jsonl")])
    said = [
        {
            "id": f"d{i}",
            "turns": [{"role": "user", "text": "hello", "speaker": who}, {"role": "assistant", "text": "Hi!"}],
        }
        for i, who in enumerate(("anna", "ben"), start=1)
    ]
    (imported.parent / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
    main(["import", "dialogues", str(imported.parent / "chat.jsonl"), "--out", str(imported), "--language", "en"])
    ledger = Ledger(imported / "ledger.jsonl")
    ledger.add_run("run-1", "data-1", rows)
    ledger.add_run("run-2", "data-1", [row for row in rows if row.speaker == "ben"])
    ledger.add_pack("cy@2", ["run-1"])
    capsys.readouterr()
    assert main(["speakers", "forget", "anna", str(imported)]) == 0
    printed = capsys.readouterr().out
    assert "anna: 3 clips are gone" in printed
    assert "must be retrained: cy@2" in printed
    assert [row.id for row in read_dialogues(imported / "dialogues.jsonl")] == ["d2"]
    for manifest in ("manifest.jsonl", "manifest.fold-1.jsonl"):
        assert [row.id for row in read_utterances(imported / manifest)] == ["ben-1"]
    assert [path.name for path in imported.rglob("*.wav")] == ["1.wav"]
    assert not (imported / "check").exists()  # the page holds clips
    assert not (imported / ".measured.jsonl").exists()
    anna, ben = ledger.speakers().values()
    assert (anna.clips, anna.forgotten, anna.packs) == ((), ("anna-1", "anna-2", "d1"), ("cy@2",))
    assert (ben.clips, ben.runs) == (("ben-1", "d2"), ("run-1", "run-2"))
    assert main(["speakers", "forget", "anna", str(imported)]) == 0  # again, as after a kill
    assert main(["speakers", "forget", "carl", str(imported)]) == 1
    assert main(["speakers", "list", str(imported.parent)]) == 1


def test_a_recording_of_two_speakers_is_not_removed_behind_the_others_back(
    imported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(read_utterances(imported / "manifest.jsonl"))
    write_manifest(imported / "manifest.jsonl", [*rows, utterance("x", audio=rows[0].audio, speaker="ben")])
    assert main(["speakers", "forget", "anna", str(imported)]) == 1
    assert "has others' speech too" in capsys.readouterr().err
    assert (imported / rows[0].audio).is_file()


def test_a_damaged_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_text('{"event": "run", "run": "x"}\n')
    with pytest.raises(ManifestError, match=r"ledger\.jsonl:1: field data: missing"):
        Ledger(tmp_path / "ledger.jsonl").speakers()
    (tmp_path / "ledger.jsonl").write_text('{"event": "dance"}\n')
    with pytest.raises(ManifestError, match="field event: got 'dance'"):
        Ledger(tmp_path / "ledger.jsonl").speakers()


def test_a_pack_built_of_a_run_is_found_by_its_card(imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Ledger(imported / "ledger.jsonl").add_run("f1", "d1", read_utterances(imported / "manifest.jsonl"))
    pack = imported.parent / "packs" / "cy@3"
    pack.mkdir(parents=True)
    (pack / "pack.toml").write_text('[pack]\nformat = 1\nname = "cy"\nversion = "3"\nlanguage = "cy"\n')
    (pack / "card.json").write_text('{"evaluation": [], "training": {"voice": {"ancestors": ["f1"]}, "language": {}}}')
    asked = ["speakers", "--packs", str(pack.parent)]
    for _ in range(2):
        assert main([*asked, "list", str(imported)]) == 0
    assert (imported / "ledger.jsonl").read_text().count("cy@3") == 1
    assert main([*asked, "forget", "anna", str(imported)]) == 0
    assert "must be retrained: cy@3" in capsys.readouterr().out
