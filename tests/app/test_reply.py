"""Deltas to clauses to speech: nothing lost, nothing late, everything closed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from app.errors import WorkerError
from app.reply import Speech, ahead, clauses, close, paced, speak
from app.workers.scripted import ScriptedSynthesizer


async def deltas(*texts: str) -> AsyncIterator[str]:
    for text in texts:
        await asyncio.sleep(0)
        yield text


async def cut(text: str, **sizes: int) -> list[str]:
    words = re.findall(r"\s*\S+|\s+$", text)
    return [clause async for clause in clauses(deltas(*words), **sizes)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Yes.",
        "Hello there, how are you? I am fine.",
        "word " * 100,
        "No punctuation and  odd   spaces \n\n and a tail ",
        "3.5 is a number, Dr. Smith said. So is 1,000.",
        "Unbroken" * 60,
    ],
)
async def test_clauses_add_up_to_the_reply(text: str) -> None:
    assert "".join(await cut(text)) == text


async def test_the_first_clause_comes_early_and_later_ones_are_longer() -> None:
    parts = await cut("Well, sure, I can do that, and I can do more, if you like, at any time.")
    assert parts[0] == "Well, sure, "
    assert all(len(part) >= 24 for part in parts[1:-1])


async def test_a_point_inside_a_number_or_after_a_title_ends_no_clause() -> None:
    assert await cut("It is 3.5 degrees. Dr. Smith is here now. Bye.") == [
        "It is 3.5 degrees. ",
        "Dr. Smith is here now. ",
        "Bye.",
    ]


async def test_text_without_punctuation_is_cut_at_a_space() -> None:
    parts = await cut("word " * 100, most=40)
    assert max(map(len, parts)) <= 45
    assert all(part.endswith(" ") for part in parts)


async def test_a_clause_is_given_out_before_the_next_is_written() -> None:
    written: list[str] = []

    async def slow() -> AsyncIterator[str]:
        for text in ("Hello there. ", "I ", "am ", "here."):
            written.append(text)
            yield text

    stream = clauses(slow())
    assert await anext(stream) == "Hello there. "
    assert written == ["Hello there. "]
    await close(stream)


async def test_ahead_draws_no_further_than_its_limit() -> None:
    drawn: list[int] = []

    async def count() -> AsyncIterator[int]:
        for number in range(100):
            drawn.append(number)
            yield number

    stream = ahead(count(), 3)
    assert await anext(stream) == 0
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(drawn) <= 6  # one given out, three waiting, one in hand, and the one just taken
    await close(stream)


async def test_ahead_passes_on_what_went_wrong() -> None:
    async def fails() -> AsyncIterator[int]:
        yield 1
        raise WorkerError("broken")

    stream = ahead(fails(), 3)
    assert await anext(stream) == 1
    with pytest.raises(WorkerError, match="broken"):
        await anext(stream)


async def test_speech_carries_all_words_and_marks_within_each_piece() -> None:
    voice = ScriptedSynthesizer()
    text = "Hello there, my friend. How are you?"
    pieces = [piece async for piece in speak(clauses(deltas(text)), voice)]
    assert "".join(piece.text for piece in pieces) == text
    assert sum(len(piece.pcm) for piece in pieces) == len(text) * 1200 * 2
    assert all(0 <= character <= len(piece.text) for piece in pieces for character, _ in piece.marks)


async def test_speech_is_resampled_to_the_callers_rate() -> None:
    voice = ScriptedSynthesizer(sample_rate=16_000, samples_per_character=800)
    pieces = [piece async for piece in speak(clauses(deltas("Hello there, friend.")), voice)]
    assert sum(piece.seconds for piece in pieces) == pytest.approx(20 * 800 / 16_000, abs=0.005)


async def test_closing_speech_closes_the_voice_and_the_writer() -> None:
    voice = ScriptedSynthesizer()
    closed: list[bool] = []

    async def writing() -> AsyncIterator[str]:
        try:
            while True:
                yield "On and on and on it goes. "
                await asyncio.sleep(0)
        finally:
            closed.append(True)

    stream = speak(clauses(writing()), voice)
    await anext(stream)
    await stream.aclose()
    assert closed == [True]
    assert voice.cancelled == 1


async def test_paced_speech_waits_for_its_time() -> None:
    second = Speech(bytes(48_000), "a", ())

    async def pieces() -> AsyncIterator[Speech]:
        for _ in range(4):
            yield second

    stream = paced(pieces(), 2.0)
    for _ in range(3):  # 0, 1 and 2 seconds ahead
        assert await asyncio.wait_for(anext(stream), 0.5) is second
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.05)
