"""The German demonstration's texts, splits and generated clips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from finetune.data.audit import audit
from finetune.data.ledger import Ledger
from finetune.data.manifest import read_utterances
from finetune.demos.generated import Job, build
from finetune.demos.german_data import dialogue_lines, english_jobs, request_jobs, voices
from finetune.demos.german_text import Request, number, requests, splits_of, spoken
from finetune.starter.speech import Voice, missing_programs

NUMBERS = {0: "null", 1: "eins", 16: "sechzehn", 21: "einundzwanzig", 101: "einhunderteins", 4000: "viertausend",
    2013: "zweitausenddreizehn", 235: "zweihundertfünfunddreißig", 30: "dreißig"}  # fmt: skip


def test_numbers_in_words() -> None:
    assert {value: number(value) for value in NUMBERS} == NUMBERS
    with pytest.raises(ValueError, match="got 10000, expected 0 to 9999"):
        number(10000)


def test_spoken_form() -> None:
    assert (
        spoken("Verkürze den Timer um 1 Stunde und 30 Sekunden!")
        == "verkürze den timer um eine stunde und dreißig sekunden"
    )
    assert spoken("Helligkeit auf 50%, 4000K") == "helligkeit auf fünfzig prozent viertausend kelvin"
    assert spoken("Das »Kabarett-Lexikon« öffnen") == "das kabarett lexikon öffnen"
    assert spoken("café für 12345 €") == ""


def test_near_texts_share_a_split() -> None:
    texts = [f"stelle den wecker im zimmer von {name} auf sieben" for name in ("anna", "anne", "hanna")]
    others = [f"{word} bitte" for word in ("licht", "musik", "wasser", "feuer", "lampe", "sessel", "tisch", "stuhl")]
    splits = splits_of(texts + others)
    assert splits[texts[0]] == splits[texts[1]]
    assert splits_of(list(reversed(texts + others))) == splits


def test_requests_of_the_corpus(tmp_path: Path) -> None:
    folder = tmp_path / "text/commands"
    folder.mkdir(parents=True)
    rows = [
        {"id": "1", "language": "de", "user": "Licht an", "assistant": "Licht eingeschaltet"},
        {"id": "2", "language": "de", "user": "licht an!", "assistant": "noch einmal"},
        {"id": "3", "language": "de", "user": "egal", "assistant": None},
        {"id": "4", "language": "en", "user": "lights on", "assistant": "on"},
    ]
    (folder / "multi_home_assistant.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = requests(tmp_path)
    assert [(one.id, one.said, one.answer) for one in found] == [
        ("1", "licht an", "Licht eingeschaltet"),
        ("3", "egal", ""),
    ]


def test_each_request_ends_a_dialogue() -> None:
    said = [Request(str(i), f"frage {i}", f"antwort {i}" if i else "", "train") for i in range(30)]
    lines = [json.loads(line) for line in dialogue_lines([*said, Request("dev", "frage", "antwort", "dev")])]
    assert [line["id"] for line in lines] == [*map(str, range(1, 30)), "dev"]
    assert {len(line["turns"]) for line in lines[:-1]} == {2, 4, 6, 8}
    for line in lines[:-1]:
        pairs = list(zip(line["turns"][::2], line["turns"][1::2], strict=True))
        assert pairs[-1][0]["text"] == f"frage {line['id']}"
        assert all(one["text"].split()[1] == other["text"].split()[1] for one, other in pairs)
        assert line["licence"] == "CC-BY-4.0"


@pytest.mark.skipif("espeak-ng" in missing_programs(), reason="espeak-ng is not installed")
def test_splits_share_neither_sentences_nor_voices(tmp_path: Path) -> None:
    said = [Request(f"{split}-{i}", f"{split} satz {i}", "", split) for split in voices() for i in range(3)]
    jobs = list(request_jobs(said, 7))
    assert [job.split for job in jobs] == ["train"] * 7 + ["dev"] * 3 + ["test"] * 3
    assert {job.text for job in jobs} == {request.said for request in said}
    kept_out = {split: set(names) for split, names in voices().items()}
    assert all(job.voice.name in kept_out[job.split] for job in jobs)
    assert not kept_out["train"] & (kept_out["dev"] | kept_out["test"])


@pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {missing_programs()}")
def test_generated_dataset(tmp_path: Path) -> None:
    jobs = [
        Job("one", "guten morgen", Voice("espeak-ng", "klatt2", "de"), "train"),
        Job("two", "gute nacht anna", Voice("espeak-ng", "Mr serious", "de"), "test"),
        next(job for job in english_jobs(1) if job.split == "train"),
    ]
    folder = tmp_path / "generated"
    assert build(folder, jobs, "de") == 3
    rows = list(read_utterances(folder / "manifest.jsonl"))
    audit(rows)
    assert [row.speaker for row in rows][:2] == ["espeak-ng-de-klatt2", "espeak-ng-de-Mr_serious"]
    for row in rows:
        waveform, rate = soundfile.read(folder / row.audio)
        assert rate == 16_000
        assert abs(row.duration_s - len(waveform) / rate) < 0.001
        assert 0.02 < abs(waveform).max() <= 1
    assert len(Ledger(folder / "ledger.jsonl").speakers()) == len({row.speaker for row in rows})
    assert build(folder, jobs, "de") == 0  # it is there
    whole = (folder / "audio/one.flac").read_bytes()
    (folder / "manifest.jsonl").unlink()
    (folder / "audio/one.flac").unlink()
    build(folder, jobs, "de")  # an interrupted one goes on to the same clips
    assert (folder / "audio/one.flac").read_bytes() == whole
