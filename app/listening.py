"""The caller's half of one session: audio to utterances, utterances to items, and their words. Knows no reply's making.

hear -> speech_started (barge-in) -> speech_stopped -> commit -> transcribe -> `speaking`
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from app import server_events as out
from app import session_config
from app.audio import BYTES_PER_SAMPLE, HEARING_RATE, REALTIME_RATE, Pcm16, Resampler, seconds_of
from app.conversation import Conversation, Item
from app.errors import BadRequest, ParleyError
from app.g711 import line_of
from app.hearing import Hearing
from app.packs import Pack
from app.server_events import new_id
from app.session_config import ServerVad, SessionConfig
from app.speaking import Spawn, Speaking
from app.timings import TurnClock
from app.turn import Ear, SpeechStarted, SpeechStopped, Turn, TurnEvent
from app.utterance import Utterance
from app.vad import SharedVad
from app.workers.base import Recognizer

MAX_UTTERANCE_SECONDS = 90.0  # of uncommitted audio: bounds memory for a client that never commits
MIN_COMMIT_SECONDS = 0.1  # protocol section 6: a shorter commit is an error


class Listening:
    """What one caller says. `config` is the session's, and is set again whenever that changes."""

    def __init__(
        self,
        pack: Pack,
        recognizer: Recognizer,
        vad: SharedVad,
        *,
        turn: Turn,
        conversation: Conversation,
        speaking: Speaking,
        put: Callable[..., Awaitable[None]],
        spawn: Spawn,
        config: SessionConfig,
        log: logging.LoggerAdapter[logging.Logger],
        keep: Callable[[str, Pcm16], None] | None,
    ) -> None:
        """`put` sends server events, in order and unbroken. `keep` takes each item's audio, where it is to be kept."""
        self._keep = keep
        self.config = config
        self._pack = pack
        self._recognizer = recognizer
        self._turn = turn
        self._conversation = conversation
        self._speaking = speaking
        self._put = put
        self._spawn = spawn
        self._log = log
        self._hearing = Hearing(self._detection, vad)
        self._line = line_of(config.audio.input.format.type)
        self._idle_since: float | None = None
        self._utterance: Utterance | None = None  # the one being heard
        self._buffer_full = False  # an uncommitted buffer has reached its limit, and the client was told
        self._item_seconds = 0.0  # of audio that came in items

    @property
    def is_quiet(self) -> bool:
        """Nobody speaks."""
        return self._utterance is None and self._turn.ear is Ear.QUIET

    @property
    def heard_seconds(self) -> float:
        """All audio that the caller has sent."""
        return self._hearing.heard_seconds + self._item_seconds

    async def reconfigure(self, config: SessionConfig) -> None:
        """The session has changed; what was heard under another turn detection is forgotten."""
        old, self.config = self.config.audio.input, config
        if config.audio.input.format != old.format:
            self._line = line_of(config.audio.input.format.type)
        if config.audio.input.turn_detection != old.turn_detection:
            await self.clear()
            self._hearing.detect(self._detection)

    async def close(self) -> None:
        """The caller has left."""
        if self._utterance is not None:
            await self._utterance.abort()

    async def hear(self, audio: bytes) -> None:
        """Audio of the caller in the session's format, in pieces of any length.

        Raises BadRequest for half a sample, and where too much waits for a commit.
        """
        pcm = self._line.feed(audio)
        if self._detection is None and self._utterance and self._utterance.seconds > MAX_UTTERANCE_SECONDS:
            if self._buffer_full:
                return  # one error is enough: a client may stream on all day
            self._buffer_full = True
            full = f"{self._utterance.seconds:.0f} s of audio wait uncommitted; more is ignored until commit or clear"
            raise BadRequest(full, code="input_audio_buffer_full")
        async for frame, happened in self._hearing.feed(pcm):
            if self._detection is None and self._utterance is None:
                self._utterance = self._open_utterance()
            if self._utterance is not None:
                self._utterance.feed(frame)
            if isinstance(happened, SpeechStarted):
                await self._speech_started(happened.start_seconds)
            elif isinstance(happened, SpeechStopped):
                await self._speech_stopped(happened.end_seconds, happened.waited_seconds)
            elif self._turn.ear is Ear.SPEAKING and self._utterance and self._utterance.seconds > MAX_UTTERANCE_SECONDS:
                self._hearing.end_utterance()
                await self._speech_stopped(self._hearing.heard_seconds, 0.0)
            elif (since := self._idle_since_long()) is not None:
                await self._speech_missing(since)

    async def _speech_started(self, start_seconds: float) -> None:
        self._turn.apply(TurnEvent.SPEECH_STARTED)
        self._utterance = self._open_utterance()
        for frame in self._hearing.since(start_seconds):
            self._utterance.feed(frame)
        self._log.info("speech started at %.2f s", start_seconds)
        await self._put(out.SpeechStarted(self._utterance.item_id, round(start_seconds * 1000)))
        if self._speaking.response is not None and self._detection is not None and self._detection.interrupt_response:
            await self._speaking.stop(TurnEvent.BARGED_IN, "turn_detected")
        self._spawn(self._show_hypotheses(self._utterance))

    async def _speech_stopped(self, end_seconds: float, waited_seconds: float) -> None:
        assert self._utterance is not None
        self._turn.apply(TurnEvent.SPEECH_STOPPED)
        self._speaking.clock = TurnClock(
            waited_seconds=waited_seconds, ended=time.monotonic(), utterance=self._utterance.span
        )
        await self._put(out.SpeechStopped(self._utterance.item_id, round(end_seconds * 1000)))
        await self._commit(self._utterance, answer_it=self._detection is not None and self._detection.create_response)

    async def hear_item(self, item: Item) -> None:
        """A client's item that came with audio instead of words: transcribed as if it had been committed."""
        audio, item.audio = item.audio, b""
        line = line_of(self.config.audio.input.format.type)
        pcm = line.feed(audio[: len(audio) - len(audio) % BYTES_PER_SAMPLE])
        seconds = seconds_of(pcm, REALTIME_RATE)
        self._item_seconds += seconds
        if seconds > MAX_UTTERANCE_SECONDS:
            message = f"got {seconds:.0f} s of audio, at most {MAX_UTTERANCE_SECONDS:.0f} s of one item are heard"
            failure = {"type": "invalid_request_error", "code": BadRequest.code, "message": message}
            await self._put(out.TranscriptionFailed(item.id, 0, failure))
            return
        utterance = self._open_utterance(item.id)
        resampler = Resampler(REALTIME_RATE, HEARING_RATE)
        for start in range(0, len(pcm), REALTIME_RATE):
            utterance.feed(resampler.feed(pcm[start : start + REALTIME_RATE]))
        utterance.feed(resampler.feed(b"", last=True))
        self._transcribe_soon(utterance, item, answer_it=False)

    def _idle_since_long(self) -> float | None:
        """Since when, in all audio heard, nobody has said anything, once that is `idle_timeout_ms`."""
        limit = self._detection.idle_timeout_ms if isinstance(self._detection, ServerVad) else None
        if limit is None:
            return None
        if self._turn.ear is Ear.SPEAKING or not self._speaking.has_spoken or not self._speaking.is_quiet:
            self._idle_since = None
            return None
        if self._idle_since is None:
            self._idle_since = self._hearing.heard_seconds
        if self._hearing.heard_seconds - self._idle_since < limit / 1000:
            return None
        since, self._idle_since = self._idle_since, None
        return since

    async def _speech_missing(self, since_seconds: float) -> None:
        """The caller has said nothing for long: an empty item stands for that, and a reply follows."""
        item = Item(new_id("item"), "message", role="user", content=[{"type": "input_audio", "transcript": ""}])
        until_seconds = self._hearing.heard_seconds
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

    def _open_utterance(self, item_id: str = "") -> Utterance:
        self._buffer_full = False
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

    # An utterance is over: it becomes an item, and its words follow.

    async def commit(self) -> None:
        """The client ends the utterance. Raises BadRequest where there is hardly any."""
        seconds = self._utterance.seconds if self._utterance is not None else 0.0
        if self._utterance is None or seconds < MIN_COMMIT_SECONDS:
            raise BadRequest(
                f"Error committing input audio buffer: got {seconds * 1000:.0f}ms of audio, expected at least 100ms",
                code="input_audio_buffer_commit_empty",
            )
        self._speaking.clock = TurnClock(ended=time.monotonic(), utterance=self._utterance.span)
        spoke = self._turn.ear is Ear.SPEAKING
        if spoke:
            self._hearing.end_utterance()
            self._turn.apply(TurnEvent.SPEECH_STOPPED)
        await self._commit(
            self._utterance, answer_it=spoke and self._detection is not None and self._detection.create_response
        )

    async def _commit(self, utterance: Utterance, *, answer_it: bool) -> None:
        self._utterance = None
        item = Item(utterance.item_id, "message", role="user", content=[{"type": "input_audio", "transcript": None}])
        previous = self._conversation.append(item)
        self._transcribe_soon(utterance, item, answer_it=answer_it and self.config.answers)
        await self._put(
            out.AudioCommitted(item.id, previous),
            out.ItemAdded(previous, item.dump()),
            out.ItemDone(previous, item.dump()),
        )

    def _transcribe_soon(self, utterance: Utterance, item: Item, *, answer_it: bool) -> None:
        if self._keep is not None and utterance.kept is not None:
            self._keep(item.id, bytes(utterance.kept))
        task = self._spawn(self._transcribe(utterance, item, answer_it))
        self._speaking.transcribing.add(task)
        task.add_done_callback(self._speaking.transcribing.discard)

    async def clear(self) -> None:
        """Forgets what has not been committed."""
        self._hearing.clear()
        if self._turn.ear is Ear.SPEAKING:
            self._turn.apply(TurnEvent.SPEECH_DISCARDED)
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            await utterance.abort()

    async def _show_hypotheses(self, utterance: Utterance) -> None:
        async with contextlib.aclosing(utterance.deltas()) as deltas:
            async for delta in deltas:
                if self.config.audio.input.transcription is not None:
                    await self._put(out.TranscriptionDelta(utterance.item_id, 0, delta))

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
        self._speaking.owes_answer |= answer_it and bool(text)
        if (this := asyncio.current_task()) is not None:
            self._speaking.transcribing.discard(this)
        await self._speaking.answer_if_owed()

    @property
    def _detection(self) -> session_config.TurnDetection | None:
        return self.config.audio.input.turn_detection
