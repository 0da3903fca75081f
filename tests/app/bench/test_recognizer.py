"""The logic of `parley bench recognizer`, with scripted hearing; stock faster-whisper runs for real on the starter."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest

from app.audio import HEARING_RATE
from app.bench.random_whisper import Shape, write_whisper
from app.bench.recognizer import Clip, _read, hearing, judge, measure, random_pack
from app.bench.report import Cell
from app.bench.stock_whisper import StockWhisper
from app.errors import BadRequest
from app.workers.connect import load_recognizer
from app.workers.scripted import ScriptedRecognizer
from tests.packs import starter
from tests.sounds import flite

CLIPS = [Clip(bytes(3200), "Turn on the lights."), Clip(bytes(3200), "one two")]


async def test_words_are_counted_once_a_clip_whatever_is_repeated() -> None:
    asked = []

    async def hear(pcm: bytes) -> str:
        asked.append(pcm)
        return "turn on the light"

    row = await measure(hear, CLIPS, callers=3, seconds=0.0)
    assert len(asked) == 1 + len(CLIPS)  # one to warm up
    assert row["utterances"] == len(CLIPS)
    assert row["wer_percent"] == 100 * (1 + 4) / 6
    assert float(row["latency_p50_ms"]) <= float(row["latency_p95_ms"])


async def test_a_recognizer_is_used_as_a_session_uses_it() -> None:
    recognizer = ScriptedRecognizer(["turn on the lights"], repeat=True)
    assert await hearing(recognizer)(bytes(3200)) == "turn on the lights"
    assert recognizer.open == 0


def test_the_aim_is_judged_at_the_most_callers() -> None:
    rows: list[dict[str, Cell]] = [
        {"engine": "stock", "callers": 1, "utterances_per_s": 5.0, "wer_percent": 10.0},
        {"engine": "ours", "callers": 1, "utterances_per_s": 10.0, "wer_percent": 10.0},
        {"engine": "stock", "callers": 16, "utterances_per_s": 5.0, "wer_percent": 10.0},
        {"engine": "ours", "callers": 16, "utterances_per_s": 60.0, "wer_percent": 10.1},
    ]
    assert judge(rows)[0].startswith("ours against stock, 16 callers: 12.0 times the utterances, WER +0.1 points")
    assert judge(rows)[0].endswith("met)")
    rows[3]["wer_percent"] = 10.3
    assert judge(rows)[0].endswith("missed)")


def test_clips_of_a_folder_are_those_with_their_text(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="has no NAME"):
        _read(tmp_path, 9)
    for name in ("b", "a", "c"):
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, HEARING_RATE, 0, "NONE", ""))
            file.writeframes(bytes(3200))
    for name in ("b", "a"):
        (tmp_path / f"{name}.txt").write_text(f"text of {name}", encoding="utf-8")
    assert [clip.text for clip in _read(tmp_path, 9)] == ["text of a", "text of b"]
    assert [len(clip.pcm) for clip in _read(tmp_path, 1)] == [3200]


async def test_stock_faster_whisper_hears_the_starters_weights() -> None:
    stock = StockWhisper(
        str(starter().recognizer_folder), device="cpu", compute_type="default", threads=1, beam_size=1, language="en"
    )
    assert await stock.hear(flite("what time is it", rate=HEARING_RATE)) == "what time is it"


async def test_random_weights_end_like_a_trained_model(tmp_path: Path) -> None:
    """So that a bench of them decodes as many tokens as speech has."""
    shape = Shape(width=64, encoder_layers=2, decoder_layers=2, heads=1, mels=128, words=12)
    write_whisper(tmp_path / "recognizer", shape, quantization="float32")
    hear = hearing(load_recognizer(random_pack(tmp_path), "whisper", device="cpu"))
    for text in ("what time is it", "turn on the lights in the kitchen"):
        assert len((await hear(flite(text, rate=HEARING_RATE))).split()) == 12
    stock = StockWhisper(
        str(tmp_path / "recognizer"), device="cpu", compute_type="float32", threads=1, beam_size=1, language="en"
    )
    assert len((await stock.hear(flite("what time is it", rate=HEARING_RATE))).split()) == 12
