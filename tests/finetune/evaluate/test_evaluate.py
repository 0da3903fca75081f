"""`parley evaluate` on the starter: real workers, a handful of generated clips, report, page, card, kept results."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile

from app.audio import HEARING_RATE, to_waveform
from app.packs import read_pack
from finetune.data.errors import DataError
from finetune.data.manifest import write_manifest
from finetune.data.rows import Dialogue, Turn, Utterance
from finetune.evaluate import cases
from finetune.evaluate.command import main
from finetune.evaluate.identity import stage_hash
from tests.finetune.data.samples import utterance
from tests.packs import starter
from tests.sounds import flite

SAID = ("set a timer for five minutes", "turn on the lights in the kitchen")
CALL = {
    "id": "1",
    "type": "function",
    "function": {"name": "set_timer", "arguments": {"amount": 5, "unit": "minutes"}},
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sentences by two voices, and one that was trained on."""
    rows: list[Utterance] = []
    (tmp_path / "data").mkdir()
    for voice, gender in (("slt", "female"), ("rms", "male")):
        for number, text in enumerate(SAID):
            name = f"{voice}{number}"
            pcm = flite(text, voice, HEARING_RATE)
            soundfile.write(tmp_path / "data" / f"{name}.wav", to_waveform(pcm), HEARING_RATE)
            fields = {"audio": f"{name}.wav", "text": text, "speaker": voice, "gender": gender, "split": "test"}
            rows.append(utterance(name, **fields))
    rows.append(dataclasses.replace(rows[0], id="trained", split="train"))
    write_manifest(tmp_path / "data" / "manifest.jsonl", rows)
    return tmp_path / "data" / "manifest.jsonl"


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    """One that should call a tool, one that was only written."""
    turns = (Turn("user", SAID[0]), Turn("assistant", "", tool_calls=(CALL,)))
    chat = (Turn("user", "hello"), Turn("assistant", "Hello! How can I help you?"))
    write_manifest(
        tmp_path / "dialogues.jsonl",
        [Dialogue(f"d{i}", "en", turns, "test", "CC0-1.0", "test") for i, turns in enumerate((turns, chat))],
    )
    return tmp_path / "dialogues.jsonl"


def test_the_starter_is_evaluated_and_the_second_time_nothing_is_measured_again(
    tmp_path: Path, data: Path, dialogues: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "packs" / "en-starter", tmp_path / "out"
    shutil.copytree(starter().folder, folder)
    before = json.loads((folder / "card.json").read_text())["evaluation"]
    asked = [
        str(folder),
        "--data",
        str(data),
        "--dialogues",
        str(dialogues),
        "--against",
        str(folder),
        "--out",
        str(out),
    ]
    assert main(asked) == 0
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    found = {(row["part"], row["metric"]): row for row in report["figures"]}
    assert [clip["id"] for clip in report["clips"]] == ["slt0", "slt1", "rms0", "rms1"]
    assert (found["recognizer", "wer_en"]["n"], found["recognizer", "wer_en"]["unit"]) == (26, "share")
    assert "2 speakers" in found["recognizer", "cer_en"]["note"]
    assert found["recognizer", "wer_en_change"]["value"] == 0
    assert found["language", "exact_tool_calls"]["n"] == 1
    assert found["language", "chrf_typed"]["value"] > 30
    assert found["language", "gold_reply_nll_typed"]["value"] > 0
    assert found["voice", "round_trip_cer"]["value"] < 0.5
    assert found["cascade", "first_audio_median"]["n"] >= 1
    page = (out / "report.html").read_text()
    assert page.count("<audio") == 5
    assert page.count("<figure>") >= 2
    assert "http" not in page.replace("http-equiv", "")
    card = json.loads((folder / "card.json").read_text())
    assert card["evaluation"][: len(before)] == before  # what was measured otherwise stays
    assert "recognizer | wer_en |" in (folder / "card.md").read_text()
    kept = (out / "kept.jsonl").read_text().split()
    capsys.readouterr()
    assert main(asked) == 0
    assert (out / "kept.jsonl").read_text().split() == kept
    assert json.loads((out / "report.json").read_text())["figures"] == report["figures"]
    assert "wer_en: " in capsys.readouterr().out


def test_weights_and_settings_are_part_of_what_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    (folder / "voice").mkdir(parents=True)
    (folder / "pack.toml").write_text('[pack]\nformat = 1\nname = "pack"\nversion = "1"\nlanguage = "en"\n')
    (folder / "voice" / "model.bin").write_text("a")
    first = stage_hash(read_pack(folder), "voice")
    (folder / "voice" / "model.bin").write_text("b")
    second = stage_hash(read_pack(folder), "voice")
    (folder / "pack.toml").write_text((folder / "pack.toml").read_text() + "[voice]\nsample_rate = 16000\n")
    third = stage_hash(read_pack(folder), "voice")
    assert len({first, second, third}) == 3
    (folder / "pack.toml").write_text(
        (folder / "pack.toml").read_text() + '[recognizer]\nsecond_opinion_words = "w.bin"\n'
    )
    (folder / "w.bin").write_text("a")
    first = stage_hash(read_pack(folder), "recognizer")
    (folder / "w.bin").write_text("b")
    assert stage_hash(read_pack(folder), "recognizer") != first


def test_only_test_rows_are_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_manifest(tmp_path / "unsplit.jsonl", [utterance("a"), utterance("b")])
    write_manifest(tmp_path / "train.jsonl", [utterance("a", split="train"), utterance("b")])
    assert len(cases.clips([tmp_path / "unsplit.jsonl"])) == 2
    with pytest.raises(DataError, match="got 2 rows, none of them of split test"):
        cases.clips([tmp_path / "train.jsonl"])
    assert main(["nowhere", "--data", str(tmp_path / "unsplit.jsonl")]) == 1
    assert "no language pack 'nowhere'" in capsys.readouterr().err
