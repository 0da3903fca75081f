"""The ONNX voice on the starter pack's own weights."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from app.audio import to_waveform
from app.errors import BadRequest, PackError, UnknownModel, WorkerBusy
from app.front_end import english
from app.pronounce import PAUSE, PHONES, read_pronouncer
from app.workers.base import SpeechChunk
from app.workers.phrases import TOO_LONG, UNFINISHED, phrases
from app.workers.vocoder import HOP, RATE, Vocoder
from app.workers.voice import OnnxVoice

VOICE = Path(__file__).parents[3] / "models" / "packs" / "en-starter" / "voice"
TEXT = "Hello, I am Parley. It's 3:25 PM, and the lights in the kitchen are on."


@pytest.fixture(scope="module")
def voice() -> OnnxVoice:
    return OnnxVoice(VOICE, model="en-starter", max_replies=2)


async def chunks_of(voice: OnnxVoice, text: str, **options: float) -> list[SpeechChunk]:
    return [chunk async for chunk in voice.speak(text, **options)]  # type: ignore[arg-type]


def waveform_of(chunks: list[SpeechChunk]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return to_waveform(b"".join(chunk.pcm for chunk in chunks))


async def test_speech_is_loud_and_never_clipped(voice: OnnxVoice) -> None:
    waveform = waveform_of(await chunks_of(voice, TEXT))
    assert 3.0 < len(waveform) / RATE < 9.0
    assert 0.05 < float(np.sqrt((waveform**2).mean())) < 0.3
    assert float(np.abs(waveform).max()) < 0.999


async def test_the_first_chunk_is_short(voice: OnnxVoice) -> None:
    chunks = await chunks_of(voice, TEXT)
    assert len(chunks[0].pcm) / 2 / RATE < 0.4
    assert len(chunks) > 3


async def test_marks_and_spans_cover_the_text(voice: OnnxVoice) -> None:
    chunks = await chunks_of(voice, TEXT)
    marks = []
    before = 0
    for chunk in chunks:
        length = len(chunk.pcm) // 2
        assert not chunk.marks_are_estimated
        assert all(0 <= sample <= length for _, sample in chunk.marks)
        marks += [(character, before + sample) for character, sample in chunk.marks]
        before += length
    assert marks == sorted(marks)
    ends = [character for character, _ in marks]
    words = [
        "Hello",
        "I",
        "am",
        "Parley",
        "It's",
        "3:25 PM",
        "and",
        "the",
        "lights",
        "in",
        "the",
        "kitchen",
        "are",
        "on",
    ]
    assert ends == sorted(set(ends))
    assert len(ends) == len(words)
    assert all(TEXT[:end].endswith(word) for end, word in zip(ends, words, strict=True))
    spans = [chunk.text_span for chunk in chunks]
    assert spans[0][0] == 0
    assert spans[-1][1] == len(TEXT)
    assert all(left[1] == right[0] for left, right in itertools.pairwise(spans))


async def test_the_same_text_sounds_the_same(voice: OnnxVoice) -> None:
    first, second = await chunks_of(voice, TEXT), await chunks_of(voice, TEXT)
    assert [chunk.pcm for chunk in first] == [chunk.pcm for chunk in second]


async def test_pieces_join_as_if_made_at_once(voice: OnnxVoice) -> None:
    text = "The lights in the kitchen are on, and the door of the garage is closed."
    (phrase,) = phrases(text, english(read_pronouncer(VOICE)))
    states, durations = voice._encode(phrase, 1.0)
    count = int(durations.sum())
    at_once = Vocoder(seed=1)
    whole = np.concatenate([at_once.next(*voice._decode(states, durations, 0, count)), at_once.flush()])
    in_pieces = Vocoder(seed=1)
    borders = [0, 1, 30, 77, count]
    pieces = [
        in_pieces.next(*voice._decode(states, durations, begin, end)) for begin, end in itertools.pairwise(borders)
    ]
    joined = np.concatenate([*pieces, in_pieces.flush()])
    assert len(whole) == len(joined) == count * HOP
    assert float(np.abs(whole - joined).max()) < 1e-3


async def test_speed_scales_the_duration(voice: OnnxVoice) -> None:
    usual, fast, slow = [
        len(waveform_of(await chunks_of(voice, TEXT, speed=speed))) for speed in (1.0, 2.0, 0.5)
    ]  # fmt: skip
    assert fast == pytest.approx(usual / 2, rel=0.05)
    assert slow == pytest.approx(usual * 2, rel=0.05)
    with pytest.raises(BadRequest, match=r"speed 9\.0"):
        await chunks_of(voice, TEXT, speed=9.0)


@pytest.mark.parametrize("text", ["", "   ", "...", "\n"])
async def test_nothing_to_say_yields_nothing(voice: OnnxVoice, text: str) -> None:
    assert await chunks_of(voice, text) == []


@pytest.mark.parametrize("text", ["zorblax", "😀", "привет 中文", "1234567890123456789012", "x", "a b c", "¿Qué?"])
async def test_anything_else_is_spoken(voice: OnnxVoice, text: str) -> None:
    chunks = await chunks_of(voice, text)
    assert sum(len(chunk.pcm) for chunk in chunks) / 2 / RATE > 0.1
    assert chunks[-1].text_span[1] == len(text)


async def test_long_text_is_cut_into_phrases(voice: OnnxVoice) -> None:
    text = " ".join(["the lights in the kitchen are on"] * 20)
    cut = phrases(text, english(read_pronouncer(VOICE)))
    assert len(cut) > 3
    assert all(len(phrase.phones) <= TOO_LONG + 2 for phrase in cut)
    assert [end for phrase in cut for end in phrase.finished if end != UNFINISHED][-1] == len(text)
    assert all(phrase.phones[0] == phrase.phones[-1] == PHONES.index(PAUSE) + 1 for phrase in cut)


async def test_stock_voices_are_the_default_and_others_are_unknown(voice: OnnxVoice) -> None:
    own = [chunk.pcm async for chunk in voice.speak("Yes.", voice="kathleen")]
    assert own == [chunk.pcm async for chunk in voice.speak("Yes.", voice="marin")]
    with pytest.raises(UnknownModel, match="kathleen") as caught:
        await anext(voice.speak("Yes.", voice="nobody"))
    assert caught.value.code == "model_not_found"


async def test_closing_frees_the_place_and_the_limit_is_typed(voice: OnnxVoice) -> None:
    first, second, third = voice.speak(TEXT), voice.speak(TEXT), voice.speak(TEXT)
    await anext(first)
    await anext(second)
    with pytest.raises(WorkerBusy, match="2 replies"):
        await anext(third)
    await first.aclose()  # type: ignore[attr-defined]
    assert (await voice.health()).detail["replies"] == 1
    await second.aclose()  # type: ignore[attr-defined]
    assert len(await chunks_of(voice, "Yes.")) >= 1


async def test_health_names_the_voices(voice: OnnxVoice) -> None:
    health = await voice.health()
    assert (health.stage, health.engine, health.model) == ("synthesizer", "onnx", "en-starter")
    assert health.detail["voices"] == ["kathleen"]
    assert health.detail["sample_rate"] == RATE


def test_a_folder_that_is_no_voice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"voice\.json"):
        OnnxVoice(tmp_path)
    shutil.copytree(VOICE, tmp_path / "voice")
    (tmp_path / "voice" / "decoder.onnx").write_bytes(b"not a network")
    with pytest.raises(PackError, match=r"decoder\.onnx"):
        OnnxVoice(tmp_path / "voice")
    facts = (VOICE / "voice.json").read_text()
    (tmp_path / "voice" / "voice.json").write_text(facts.replace("24000", "16000"))
    with pytest.raises(PackError, match="sample_rate is 16000, expected 24000"):
        OnnxVoice(tmp_path / "voice")
    (tmp_path / "voice" / "voice.json").write_text(facts.replace('"format": 1', '"format": 2'))
    with pytest.raises(PackError, match=r"lacks \['language', 'said', 'symbols'\]"):
        OnnxVoice(tmp_path / "voice")
