"""When the second recognizer's words are taken."""

from __future__ import annotations

from typing import Unpack

import pytest

from app.errors import WorkerBusy, WorkerError
from app.workers.base import Asked, Health, Recognition, Recognizer, Transcript
from app.workers.opinion import SecondOpinion
from app.workers.scripted import ScriptedRecognizer
from tests.sounds import silence

SECOND = silence(1.0, 16_000)


class Sure:
    """A scripted recognizer whose transcripts have a given confidence."""

    def __init__(self, text: str, confidence: float) -> None:
        self.scripted = ScriptedRecognizer([text], repeat=True)
        self._confidence = confidence

    async def start(self, **asked: Unpack[Asked]) -> Recognition:
        recognition = await self.scripted.start(**asked)
        said = recognition.finish

        async def finish() -> Transcript:
            transcript = await said()
            return Transcript(transcript.text, transcript.seconds, self._confidence)

        recognition.finish = finish  # type: ignore[method-assign]
        return recognition

    async def health(self) -> Health:
        return await self.scripted.health()


async def heard(recognizer: Recognizer) -> str:
    recognition = await recognizer.start(language="en")
    recognition.feed(SECOND)
    return (await recognition.finish()).text


@pytest.mark.parametrize(
    ("confidence", "second", "text"),
    [(0.9, "other words", "first words"), (0.4, "other words", "other words"), (0.4, "", "first words")],
)
async def test_below_the_threshold_the_second_is_believed(confidence: float, second: str, text: str) -> None:
    first, other = Sure("first words", confidence), ScriptedRecognizer([second], repeat=True)
    assert await heard(SecondOpinion(first, other, below=0.6)) == text
    assert (first.scripted.open, other.open) == (0, 0)


async def test_where_the_first_heard_nobody_the_second_is_not_believed() -> None:
    assert await heard(SecondOpinion(Sure("", 0.1), ScriptedRecognizer(["words made of noise"]), below=0.6)) == ""


async def test_a_full_or_failing_second_leaves_the_first_alone() -> None:
    first = Sure("first words", 0.1)
    full = ScriptedRecognizer(["other"], slots=0)
    assert await heard(SecondOpinion(first, full, below=0.6)) == "first words"
    failing = ScriptedRecognizer([WorkerError("broken")])
    assert await heard(SecondOpinion(first, failing, below=0.6)) == "first words"
    assert (first.scripted.open, failing.open) == (0, 0)


async def test_failures_of_the_first_are_the_callers_and_free_both() -> None:
    first, second = ScriptedRecognizer([WorkerError("broken")]), ScriptedRecognizer(["other"])
    with pytest.raises(WorkerError, match="broken"):
        await heard(SecondOpinion(first, second, below=0.6))
    assert (first.open, second.open) == (0, 0)
    with pytest.raises(WorkerBusy):
        await SecondOpinion(ScriptedRecognizer(["x"], slots=0), second, below=0.6).start()
    assert second.open == 0


@pytest.mark.parametrize("slots", [1, 0])
async def test_an_abort_frees_both_and_hypotheses_are_of_who_listens(slots: int) -> None:
    first, second = ScriptedRecognizer(["one two three four"]), ScriptedRecognizer(["other words"], slots=slots)
    recognition = await SecondOpinion(first, second, below=0.6).start()
    recognition.feed(SECOND)
    assert await anext(recognition.hypotheses()) == ("other words" if slots else "one two three four")
    await recognition.abort()
    assert (first.open, second.open) == (0, 0)


async def test_the_second_listens_along_while_few_speak() -> None:
    first, second = Sure("first words", 0.1), ScriptedRecognizer(["other words"], repeat=True)
    both = SecondOpinion(first, second, below=0.6, at_once=2)
    one, two, three = [await both.start() for _ in range(3)]
    assert (first.scripted.open, second.open) == (3, 2)
    for recognition in (one, two, three):
        recognition.feed(SECOND)
    assert (await three.finish()).text == "first words"
    assert (await one.finish()).text == "other words"
    await two.abort()
    await two.abort()
    assert (first.scripted.open, second.open) == (0, 0)
    again, later, beyond = [await both.start() for _ in range(3)]
    assert second.open == 2
    for recognition in (again, later, beyond):
        await recognition.abort()


async def test_health_shows_both() -> None:
    health = await SecondOpinion(Sure("a", 1.0), ScriptedRecognizer([]), below=0.6).health()
    assert health.stage == "recognizer"
    assert health.detail["second_opinion"]["below"] == 0.6
