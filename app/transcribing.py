"""What one caller says as items and words: an utterance becomes an item, and its words follow. Knows no turn."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from app import server_events as out
from app.audio import BYTES_PER_SAMPLE, HEARING_RATE, REALTIME_RATE, Pcm16, Resampler, seconds_of
from app.conversation import Conversation, Item
from app.errors import BadRequest, ParleyError
from app.g711 import line_of
from app.packs import Pack
from app.server_events import new_id
from app.session_config import SessionConfig
from app.speaking import Spawn, Speaking
from app.utterance import Utterance
from app.workers.base import Recognizer

MAX_UTTERANCE_SECONDS = 90.0  # of uncommitted audio: bounds memory for a client that never commits


class Transcribing:
    """What one caller's utterances say. `config` is the session's, and is set again whenever that changes."""

    def __init__(
        self,
        pack: Pack,
        recognizer: Recognizer,
        *,
        conversation: Conversation,
        speaking: Speaking,
        put: Callable[..., Awaitable[None]],
        spawn: Spawn,
        config: SessionConfig,
        log: logging.LoggerAdapter[logging.Logger],
        keep: Callable[[str, Pcm16], None] | None,
    ) -> None:
        """`keep` takes each item's audio, where it is to be kept."""
        self.config = config
        self._conversation = conversation
        self._speaking = speaking
        self._put = put
        self._spawn = spawn
        self._log = log
        self._keep = keep
        self._pack = pack
        self._recognizer = recognizer
        self.item_seconds = 0.0
        """Of audio that came in items."""

    def open(self, item_id: str = "") -> Utterance:
        """A new one, as the session wants it heard."""
        asked = self.config.audio.input.transcription
        language, prompt = (asked.language or "", asked.prompt or "") if asked is not None else ("", "")
        return Utterance(
            item_id or new_id("item"),
            self._recognizer,
            language=language,
            prompt=prompt,
            model=self._pack.reference,
            keeps=self._keep is not None,
        )

    async def commit(self, utterance: Utterance, *, answer_it: bool) -> None:
        """Puts it into the conversation; the words follow by themselves."""
        item = Item(utterance.item_id, "message", role="user", content=[{"type": "input_audio", "transcript": None}])
        previous = self._conversation.append(item)
        self.soon(utterance, item, answer_it=answer_it and self.config.answers)
        await self._put(
            out.AudioCommitted(item.id, previous),
            out.ItemAdded(previous, item.dump()),
            out.ItemDone(previous, item.dump()),
        )

    def soon(self, utterance: Utterance, item: Item, *, answer_it: bool) -> None:
        """The words of an item that is in the conversation already."""
        if self._keep is not None and utterance.kept is not None:
            self._keep(item.id, bytes(utterance.kept))
        task = self._spawn(self._transcribe(utterance, item, answer_it))
        self._speaking.transcribing.add(task)
        task.add_done_callback(self._speaking.transcribing.discard)

    async def hear_item(self, item: Item) -> None:
        """A client's item that came with audio instead of words: transcribed as if it had been committed."""
        audio, item.audio = item.audio, b""
        line = line_of(self.config.audio.input.format.type)
        pcm = line.feed(audio[: len(audio) - len(audio) % BYTES_PER_SAMPLE])
        seconds = seconds_of(pcm, REALTIME_RATE)
        self.item_seconds += seconds
        if seconds > MAX_UTTERANCE_SECONDS:
            message = f"got {seconds:.0f} s of audio, at most {MAX_UTTERANCE_SECONDS:.0f} s of one item are heard"
            failure = {"type": "invalid_request_error", "code": BadRequest.code, "message": message}
            await self._put(out.TranscriptionFailed(item.id, 0, failure))
            return
        utterance = self.open(item.id)
        resampler = Resampler(REALTIME_RATE, HEARING_RATE)
        for start in range(0, len(pcm), REALTIME_RATE):
            utterance.feed(resampler.feed(pcm[start : start + REALTIME_RATE]))
            await asyncio.sleep(0)  # minutes of audio in one item must not hold up the other callers
        utterance.feed(resampler.feed(b"", last=True))
        self.soon(utterance, item, answer_it=False)

    async def missing(self, since_seconds: float, until_seconds: float) -> None:
        """The caller has said nothing for long: an empty item stands for that, and a reply follows."""
        item = Item(new_id("item"), "message", role="user", content=[{"type": "input_audio", "transcript": ""}])
        span = round(since_seconds * 1000), round(until_seconds * 1000)
        previous = self._conversation.append(item)
        await self._put(
            out.TimeoutTriggered(item.id, *span),
            out.AudioCommitted(item.id, previous),
            out.ItemAdded(previous, item.dump()),
            out.ItemDone(previous, item.dump()),
        )
        if self.config.audio.input.transcription is not None:
            usage = {"type": "duration", "seconds": round(until_seconds - since_seconds, 3)}
            await self._put(out.TranscriptionCompleted(item.id, 0, "", usage))
        self._speaking.owes_answer = self.config.answers
        await self._speaking.answer_if_owed()

    async def show(self, utterance: Utterance) -> None:
        """Its words while it is spoken."""
        async with contextlib.aclosing(utterance.deltas()) as deltas:
            async for delta in deltas:
                if self.config.audio.input.transcription is not None:
                    await self._put(out.TranscriptionDelta(utterance.item_id, 0, delta))

    async def at_once(self, utterance: Utterance) -> tuple[str, float]:
        """Its words and the recognizer's confidence, for a decision; none where the recognizer fails."""
        try:
            transcript = await utterance.finish()
        except ParleyError as error:
            self._log.warning("recognizer failed: %s", error.message)
            return "", 0.0
        return transcript.text, transcript.confidence

    async def _transcribe(self, utterance: Utterance, item: Item, answer_it: bool) -> None:
        wanted = self.config.audio.input.transcription is not None
        try:
            transcript = await utterance.finish()
        except ParleyError as error:
            self._log.warning("recognizer failed: %s", error.message)
            failure = {"type": "server_error", "code": error.code, "message": error.message}
            await self._put(out.TranscriptionFailed(item.id, 0, failure))
            return
        text = transcript.text.strip()
        item.content[0]["transcript"] = text
        self._log.info("heard %r (%s, confidence %.2f)", text, transcript.engine, transcript.confidence)
        if wanted:
            if rest := utterance.rest(text):
                await self._put(out.TranscriptionDelta(item.id, 0, rest))
            usage = {"type": "duration", "seconds": round(transcript.seconds, 3)}
            await self._put(out.TranscriptionCompleted(item.id, 0, text, usage))
        if not text:
            await self._speaking.guess("")  # nobody will ask for what was begun
        self._speaking.owes_answer |= answer_it and bool(text)
        if (this := asyncio.current_task()) is not None:
            self._speaking.transcribing.discard(this)
        await self._speaking.answer_if_owed()
