"""One caller: the page that tells a turn, from audio heard to audio sent. Knows Protocols, never engines or sockets.

handle -> hear -> speech_started (barge-in) -> speech_stopped -> commit -> transcribe -> `speaking` -> frames
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Coroutine, MutableMapping
from types import TracebackType
from typing import Any, Self, TypeAlias

from app import events as got
from app import metrics, session_config
from app import server_events as out
from app.audio import Pcm16
from app.conversation import Conversation, Item
from app.errors import BadRequest, ParleyError
from app.hearing import Hearing
from app.names import is_alias, voice_of
from app.outbox import Outbox
from app.packs import Pack
from app.response import Booking
from app.server_events import new_id
from app.speaking import Speaking, Workers
from app.timings import TurnClock
from app.tools import Toolbox
from app.turn import Ear, SpeechStarted, SpeechStopped, Turn, TurnEvent
from app.utterance import Utterance
from app.vad import SharedVad

Json: TypeAlias = dict[str, Any]

_logger = logging.getLogger("parley.session")

MAX_UTTERANCE_SECONDS = 90.0  # of uncommitted audio: bounds memory for a client that never commits
MIN_COMMIT_SECONDS = 0.1  # protocol section 6: a shorter commit is an error
OUTBOX_LIMIT = 64  # entries; with 200 ms of audio each, 13 s at most wait for a slow reader
SESSION_SECONDS = 3600  # protocol section 7


class Session:
    """One caller. Use as an async context: leaving it cancels everything the caller had under way."""

    def __init__(
        self,
        pack: Pack,
        workers: Workers,
        *,
        vad: SharedVad,
        model: str,
        toolbox: Toolbox,
        timings: bool = False,
        audio_ahead_seconds: float = 4.0,
    ) -> None:
        """`audio_ahead_seconds`: how far audio may be sent before the time at which it is heard."""
        self.id = new_id("sess")
        self._log = SessionLog(_logger, {"session": self.id})
        self._pack = pack
        self._recognizer = workers.recognizer
        self._expires_at = int(time.time()) + SESSION_SECONDS
        self._defaults = session_config.initial_config(pack, model)
        self._config = self._defaults
        self._conversation = Conversation()
        self._turn = Turn()
        self._outbox: Outbox[Booking] = Outbox(OUTBOX_LIMIT)
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._hearing = Hearing(self._detection, vad)
        self._utterance: Utterance | None = None  # the one being heard
        self._buffer_full = False  # an uncommitted buffer has reached its limit, and the client was told
        self._speaking = Speaking(
            pack,
            workers,
            toolbox,
            turn=self._turn,
            conversation=self._conversation,
            outbox=self._outbox,
            spawn=self._spawn,
            config=self._config,
            log=self._log,
            timings=timings,
            audio_ahead_seconds=audio_ahead_seconds,
        )

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._log.info("session of %s opened", self._pack.name)
        await self._put(out.SessionCreated(self._dump()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in list(self._running):
            task.cancel()
        if self._utterance is not None:
            await self._utterance.abort()
        self._log.info("session closed")
        await self._tasks.__aexit__(kind, error, trace)

    # 1. What the client sends.

    async def handle(self, event: got.Event) -> None:
        """One client event; a refused one is answered with one error and changes nothing."""
        try:
            await self._handle(event)
        except ParleyError as error:
            await self.refuse(error, event.event_id)

    async def refuse(self, error: ParleyError, event_id: str | None) -> None:
        """Tells the client what was wrong with its event."""
        self._log.info("refused: %s", error.message)
        metrics.REFUSALS.labels(error.code).inc()
        kind = "invalid_request_error" if isinstance(error, BadRequest) else "server_error"
        body = {"type": kind, "code": error.code, "message": error.message, "param": error.param, "event_id": event_id}
        await self._put(out.Error(body))

    async def _handle(self, event: got.Event) -> None:
        match event:
            case got.AudioAppend():
                await self._hear(event.audio)
            case got.SessionUpdate():
                await self._update(event.session)
            case got.AudioCommit():
                await self._commit_by_hand()
            case got.AudioClear():
                await self._clear()
                await self._put(out.AudioCleared())
            case got.ItemCreate():
                item = self._conversation.create(event.item, event.previous_item_id)
                previous = self._conversation.previous_id(item)
                await self._put(out.ItemAdded(previous, item.dump()), out.ItemDone(previous, item.dump()))
            case got.ItemRetrieve():
                await self._put(out.ItemRetrieved(self._conversation.get(event.item_id, "retrieve").dump()))
            case got.ItemDelete():
                self._conversation.delete(event.item_id)
                await self._put(out.ItemDeleted(event.item_id))
            case got.ItemTruncate():
                if self._speaking.response is not None and self._speaking.response.is_saying(event.item_id):
                    await self._speaking.stop(TurnEvent.CANCELLED, "client_cancelled")  # the rest will not be heard
                item = self._conversation.truncate(event.item_id, event.content_index, event.audio_end_ms)
                await self._outbox.drop(lambda b: b.response is not None and b.response.message is item)
                self._log.info("the caller heard %d ms: %r", event.audio_end_ms, item.text)
                await self._put(out.ItemTruncated(event.item_id, event.content_index, event.audio_end_ms))
            case got.ResponseCreate():
                await self._speaking.start(event.response)
            case got.ResponseCancel():
                if self._speaking.response is None or event.response_id not in (None, self._speaking.response.id):
                    raise BadRequest("Cancellation failed: no active response found", code="response_cancel_not_active")
                await self._speaking.stop(TurnEvent.CANCELLED, "client_cancelled")

    async def _update(self, patch: Json) -> None:
        config = session_config.merge(self._config, patch, self._defaults)
        if not is_alias(config.model) and config.model not in (self._pack.name, self._pack.reference):
            raise BadRequest(f"the model of a session cannot change, got {config.model!r}", param="session.model")
        voice_of(session_config.voice_name(config.audio.output.voice), self._pack.voice.names)
        detection_changed = config.audio.input.turn_detection != self._detection
        self._config = self._speaking.config = config
        if detection_changed:
            await self._clear()
            self._hearing.detect(self._detection)
        await self._put(out.SessionUpdated(self._dump()))

    # 2. Audio heard: frames to the recognizer, speech to the turn.

    async def _hear(self, pcm: Pcm16) -> None:
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

    def _open_utterance(self) -> Utterance:
        self._buffer_full = False
        asked = self._config.audio.input.transcription
        language, prompt = (asked.language or "", asked.prompt or "") if asked is not None else ("", "")
        return Utterance(new_id("item"), self._recognizer, language=language, prompt=prompt, model=self._pack.reference)

    # 3. An utterance is over: it becomes an item, and its words follow.

    async def _commit_by_hand(self) -> None:
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
        task = self._spawn(self._transcribe(utterance, item, answer_it))
        self._speaking.transcribing.add(task)
        task.add_done_callback(self._speaking.transcribing.discard)
        await self._put(
            out.AudioCommitted(item.id, previous),
            out.ItemAdded(previous, item.dump()),
            out.ItemDone(previous, item.dump()),
        )

    async def _clear(self) -> None:
        self._hearing.clear()
        if self._turn.ear is Ear.SPEAKING:
            self._turn.apply(TurnEvent.SPEECH_DISCARDED)
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            await utterance.abort()

    async def _show_hypotheses(self, utterance: Utterance) -> None:
        async with contextlib.aclosing(utterance.deltas()) as deltas:
            async for delta in deltas:
                if self._config.audio.input.transcription is not None:
                    await self._put(out.TranscriptionDelta(utterance.item_id, 0, delta))

    async def _transcribe(self, utterance: Utterance, item: Item, answer_it: bool) -> None:
        wanted = self._config.audio.input.transcription is not None
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

    # 4. Out to the socket.

    @property
    def is_quiet(self) -> bool:
        """Nobody speaks, nothing is owed, and what was said has been heard."""
        return self._utterance is None and self._turn.ear is Ear.QUIET and self._speaking.is_quiet and not self._outbox

    async def frames(self) -> AsyncIterator[str]:
        """JSON frames in order, without end; each counts as handed over when it is taken."""
        while True:
            metrics.QUEUE_DEPTH.labels("gateway").observe(len(self._outbox))
            booking = await self._outbox.get()
            if booking.response is not None:
                booking.response.book(booking)
            yield booking.event.dump()

    async def _put(self, *events: out.ServerEvent) -> None:
        await self._outbox.put(*[Booking(event) for event in events])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    @property
    def _detection(self) -> session_config.TurnDetection | None:
        return self._config.audio.input.turn_detection

    def _dump(self) -> Json:
        head = {"object": "realtime.session", "id": self.id, "expires_at": self._expires_at}
        return {**head, **session_config.dump(self._config)}


class SessionLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the session's id before every line."""

    def process(self, msg: str, kwargs: MutableMapping[str, Any]) -> tuple[str, MutableMapping[str, Any]]:
        """The line with the id."""
        return f"[{self.extra['session'] if self.extra else ''}] {msg}", kwargs
