"""Two recognizers as one: where the first is unsure of its words, the second's are taken. Knows neither engine.

The second listens along from the start where it has room, so its words cost no waiting; where it has none, or fails,
the first one's words stand. It costs many times what the first does: where more callers speak at once than the machine
has cores, it would take from all of them what it gives to one, and the first hears alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Unpack

from app.audio import Pcm16
from app.errors import ParleyError
from app.reply import close
from app.workers.base import Asked, Health, Recognition, Recognizer, Transcript


class SecondOpinion:
    """Satisfies Recognizer over two Recognizers."""

    def __init__(self, first: Recognizer, second: Recognizer, *, below: float, at_once: int | None = None) -> None:
        """`below`: the first one's confidence under which the second's words are taken, if it heard any.

        `at_once`: utterances up to which the second listens along; None: as many as the machine has cores.
        """
        self._first = first
        self._second = second
        self._below = below
        self._at_once = at_once or len(os.sched_getaffinity(0))
        self._open = 0

    async def start(self, **asked: Unpack[Asked]) -> SecondOpinionRecognition:
        """Opens an utterance on the first, and on the second if it can. Raises what the first raises."""
        first = await self._first.start(**asked)
        second = None
        try:
            if self._open < self._at_once:
                second = await self._second.start(**asked)
        except ParleyError:  # full, or not for this language
            pass
        except BaseException:
            await first.abort()
            raise
        self._open += 1
        return SecondOpinionRecognition(self, first, second, self._below)

    def release(self) -> None:
        """An utterance has ended."""
        self._open -= 1

    async def health(self) -> Health:
        """The first one's, with the second's beside it. Raises WorkerUnavailable where the first does."""
        health = await self._first.health()
        try:
            second = await self._second.health()
            opinion = {"engine": second.engine, "below": self._below, "at_once": self._at_once, **second.detail}
        except ParleyError as error:
            opinion = {"error": error.message}
        return Health(health.stage, health.engine, health.model, {**health.detail, "second_opinion": opinion})

    def close(self) -> None:
        """Ends the processes and threads of both."""
        for recognizer in (self._first, self._second):
            if (close := getattr(recognizer, "close", None)) is not None:
                close()


class SecondOpinionRecognition:
    """One utterance on both."""

    def __init__(self, recognizer: SecondOpinion, first: Recognition, second: Recognition | None, below: float) -> None:
        self._recognizer: SecondOpinion | None = recognizer  # until the end
        self._first = first
        self._second = second
        self._below = below

    def feed(self, frame: Pcm16) -> None:
        """To both."""
        self._first.feed(frame)
        if self._second is not None:
            self._second.feed(frame)

    async def hypotheses(self) -> AsyncIterator[str]:
        """The second one's while it listens, since it decodes as it goes; else the first one's, at its cost."""
        if self._second is not None:
            texts = self._second.hypotheses()
            try:
                async for text in texts:
                    yield text
                return
            except ParleyError:  # the utterance goes on without it
                pass
            finally:
                await close(texts)
        texts = self._first.hypotheses()
        try:
            async for text in texts:
                yield text
        finally:
            await close(texts)

    async def finish(self) -> Transcript:
        """The first one's transcript, or the second's where the first is unsure. Raises what the first raises."""
        self._release()
        try:
            transcript = await self._first.finish()
        except BaseException:
            await self._end_second()
            raise
        # Where the first heard nobody, nobody spoke: the second takes noise for words.
        if self._second is None or not transcript.text or transcript.confidence >= self._below:
            await self._end_second()
            return transcript
        try:
            other = await self._second.finish()
        except ParleyError:
            return transcript
        return other if other.text else transcript

    async def abort(self) -> None:
        """Both forget the utterance."""
        self._release()
        await asyncio.gather(self._first.abort(), self._end_second())

    async def _end_second(self) -> None:
        if self._second is not None:
            await self._second.abort()

    def _release(self) -> None:
        if self._recognizer is not None:
            self._recognizer.release()
            self._recognizer = None
