"""The caller's words of one item, from its first frame to its transcript. Knows no protocol event and no turn.

Frames go to the recognizer while the caller speaks. A recognizer that is down or full does not disturb the caller's
audio: the failure waits until the transcript is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from app import tracing
from app.audio import HEARING_RATE, Pcm16, seconds_of
from app.errors import ParleyError
from app.reply import close
from app.workers.base import Recognition, Recognizer, Transcript


class Utterance:
    """One utterance; `finish` or `abort` ends it."""

    def __init__(
        self,
        item_id: str,
        recognizer: Recognizer,
        *,
        language: str = "",
        prompt: str = "",
        model: str = "",
        keeps: bool = False,
    ) -> None:
        """`keeps`: its audio is wanted when it is over."""
        self.item_id = item_id
        self.kept: bytearray | None = bytearray() if keeps else None
        """All frames so far."""
        self.seconds = 0.0
        """Audio fed so far."""
        self.hypothesis = ""
        """The recognizer's latest text of it; up to date only while `deltas` are read."""
        self.withheld = False
        """Whether `deltas` gives nothing out: it may yet be forgotten."""
        self.shown = ""
        """Words given out by `deltas` so far."""
        self.span = tracing.begin("utterance")
        self._backlog: list[Pcm16] = []
        self._recognition: Recognition | None = None
        self._opening = asyncio.create_task(self._open(recognizer, language, prompt, model))

    def feed(self, frame: Pcm16) -> None:
        """PCM16 at HEARING_RATE; kept until the recognizer has opened the utterance."""
        self.seconds += seconds_of(frame, HEARING_RATE)
        if self.kept is not None:
            self.kept += frame
        if self._recognition is not None:
            self._recognition.feed(frame)
        else:
            self._backlog.append(frame)

    async def deltas(self) -> AsyncGenerator[str, None]:
        """Words as soon as they are stable; they are never taken back. Ends with the utterance, or silently on failure.

        Stable are the words on which two hypotheses in a row agree, less the last one, which may still be half a word
        (LocalAgreement-2, Liu et al. 2020, arXiv 2005.11185).
        """
        try:
            recognition = await asyncio.shield(self._opening)
        except ParleyError:
            return  # `finish` raises it
        previous: list[str] = []
        hypotheses = recognition.hypotheses()
        try:
            async for hypothesis in hypotheses:
                self.hypothesis = hypothesis
                words = hypothesis.split()
                stable = _common_prefix(previous, words)[:-1]
                previous = words
                text = " ".join(stable)
                if not self.withheld and (delta := _after(self.shown, text)):
                    self.shown = text
                    yield delta
        except ParleyError:
            return
        finally:
            await close(hypotheses)

    def rest(self, transcript: str) -> str:
        """What is left of the final words after those shown; empty where the final words differ from them."""
        return _after(self.shown, transcript)

    async def finish(self) -> Transcript:
        """The transcript. Raises WorkerError."""
        try:
            recognition = await self._opening
            return await recognition.finish()
        finally:
            tracing.end(self.span)

    async def abort(self) -> None:
        """Forgets the utterance and frees its slot."""
        tracing.end(self.span)
        if not self._opening.done():
            self._opening.cancel()
        with contextlib.suppress(ParleyError, asyncio.CancelledError):
            await (await self._opening).abort()

    async def _open(self, recognizer: Recognizer, language: str, prompt: str, model: str) -> Recognition:
        recognition = await recognizer.start(language=language, prompt=prompt, model=model)
        for frame in self._backlog:
            recognition.feed(frame)
        self._backlog.clear()
        self._recognition = recognition
        return recognition


def _after(shown: str, text: str) -> str:
    """What `text` says after the words `shown`; empty where it does not begin with them (`there` is not `the`)."""
    if not shown:
        return text
    return text[len(shown) :] if text.startswith(shown + " ") else ""


def _common_prefix(first: list[str], second: list[str]) -> list[str]:
    count = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        count += 1
    return second[:count]
