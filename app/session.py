"""One caller: the page that tells a turn, from audio heard to audio sent. Knows Protocols, never engines or sockets.

handle -> hear -> speech_started (barge-in) -> speech_stopped -> commit -> transcribe -> respond -> frames
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeAlias

from app import events as got
from app import reply, session_config
from app import server_events as out
from app.answer import Answer, request_of, write
from app.audio import Pcm16
from app.conversation import Conversation, Item, parse_item
from app.errors import BadRequest, ParleyError
from app.hearing import Hearing
from app.names import serves, voice_of
from app.outbox import Outbox
from app.packs import Pack
from app.response import Booking, Response
from app.server_events import new_id
from app.timings import TurnClock
from app.tools import Toolbox
from app.turn import Ear, Mouth, SpeechStarted, SpeechStopped, Turn, TurnEvent
from app.utterance import Utterance
from app.workers.base import LanguageModel, Recognizer, Synthesizer

Json: TypeAlias = dict[str, Any]

log = logging.getLogger("parley.session")

MAX_UTTERANCE_SECONDS = 90.0  # of uncommitted audio: bounds memory for a client that never commits
MIN_COMMIT_SECONDS = 0.1  # protocol section 6: a shorter commit is an error
OUTBOX_LIMIT = 64  # entries; with 200 ms of audio each, 13 s at most wait for a slow reader
SESSION_SECONDS = 3600  # protocol section 7


@dataclass(frozen=True, slots=True)
class Workers:
    """The three stages, ready to use, shared by all sessions."""

    recognizer: Recognizer
    language: LanguageModel
    synthesizer: Synthesizer


class Session:
    """One caller. Use as an async context: leaving it cancels everything the caller had under way."""

    def __init__(
        self,
        pack: Pack,
        workers: Workers,
        *,
        model: str,
        toolbox: Toolbox,
        timings: bool = False,
        audio_ahead_seconds: float = 4.0,
    ) -> None:
        """`audio_ahead_seconds`: how far audio may be sent before the time at which it is heard."""
        self.id = new_id("sess")
        self._pack = pack
        self._workers = workers
        self._toolbox = toolbox
        self._timings = timings
        self._audio_ahead_seconds = audio_ahead_seconds
        self._expires_at = int(time.time()) + SESSION_SECONDS
        self._defaults = session_config.initial_config(pack, model)
        self._config = self._defaults
        self._conversation = Conversation()
        self._conversation_id = new_id("conv")
        self._turn = Turn()
        self._outbox: Outbox[Booking] = Outbox(OUTBOX_LIMIT)
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._hearing = Hearing(self._detection)
        self._utterance: Utterance | None = None  # the one being heard
        self._buffer_full = False  # an uncommitted buffer has reached its limit, and the client was told
        self._transcribing: set[asyncio.Task[None]] = set()
        self._owes_answer = False  # a caller's utterance has not been answered yet
        self._announcements: collections.deque[str] = collections.deque()  # of timers that have ended
        self._timer: asyncio.Task[None] | None = None
        self._turn_clock = TurnClock()
        self._response: Response | None = None
        self._replying: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._log("session of %s opened", self._pack.name)
        await self._put(out.SessionCreated(self._dump()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in list(self._running):
            task.cancel()
        if self._utterance is not None:
            await self._utterance.abort()
        self._log("session closed")
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
        self._log("refused: %s", error.message)
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
                if self._response is not None and self._response.is_saying(event.item_id):
                    await self._stop_reply(TurnEvent.CANCELLED, "client_cancelled")  # the rest will not be heard
                item = self._conversation.truncate(event.item_id, event.content_index, event.audio_end_ms)
                await self._outbox.drop(lambda b: b.response is not None and b.response.message is item)
                self._log("the caller heard %d ms: %r", event.audio_end_ms, item.text)
                await self._put(out.ItemTruncated(event.item_id, event.content_index, event.audio_end_ms))
            case got.ResponseCreate():
                await self._start_response(event.response)
            case got.ResponseCancel():
                if self._response is None or event.response_id not in (None, self._response.id):
                    raise BadRequest("Cancellation failed: no active response found", code="response_cancel_not_active")
                await self._stop_reply(TurnEvent.CANCELLED, "client_cancelled")

    async def _update(self, patch: Json) -> None:
        config = session_config.merge(self._config, patch, self._defaults)
        if not serves(config.model, self._pack.name):
            raise BadRequest(f"the model of a session cannot change, got {config.model!r}", param="session.model")
        voice_of(session_config.voice_name(config.audio.output.voice), self._pack.voice.names)
        detection_changed = config.audio.input.turn_detection != self._detection
        self._config = config
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
        for count, (frame, happened) in enumerate(self._hearing.feed(pcm)):
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
            if count % 32 == 31:
                await asyncio.sleep(0)  # minutes of audio in one event must not hold up the other callers

    async def _speech_started(self, start_seconds: float) -> None:
        self._turn.apply(TurnEvent.SPEECH_STARTED)
        self._utterance = self._open_utterance()
        for frame in self._hearing.since(start_seconds):
            self._utterance.feed(frame)
        self._log("speech started at %.2f s", start_seconds)
        await self._put(out.SpeechStarted(self._utterance.item_id, round(start_seconds * 1000)))
        if self._response is not None and self._detection is not None and self._detection.interrupt_response:
            await self._stop_reply(TurnEvent.BARGED_IN, "turn_detected")
        self._spawn(self._show_hypotheses(self._utterance))

    async def _speech_stopped(self, end_seconds: float, waited_seconds: float) -> None:
        assert self._utterance is not None
        self._turn.apply(TurnEvent.SPEECH_STOPPED)
        self._turn_clock = TurnClock(waited_seconds=waited_seconds, ended=time.monotonic())
        await self._put(out.SpeechStopped(self._utterance.item_id, round(end_seconds * 1000)))
        await self._commit(self._utterance, answer_it=self._detection is not None and self._detection.create_response)

    def _open_utterance(self) -> Utterance:
        self._buffer_full = False
        asked = self._config.audio.input.transcription
        language, prompt = (asked.language or "", asked.prompt or "") if asked is not None else ("", "")
        return Utterance(new_id("item"), self._workers.recognizer, language=language, prompt=prompt)

    # 3. An utterance is over: it becomes an item, and its words follow.

    async def _commit_by_hand(self) -> None:
        seconds = self._utterance.seconds if self._utterance is not None else 0.0
        if self._utterance is None or seconds < MIN_COMMIT_SECONDS:
            raise BadRequest(
                f"Error committing input audio buffer: got {seconds * 1000:.0f}ms of audio, expected at least 100ms",
                code="input_audio_buffer_commit_empty",
            )
        self._turn_clock = TurnClock(ended=time.monotonic())
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
        self._transcribing.add(task)
        task.add_done_callback(self._transcribing.discard)
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
            self._log("recognizer failed: %s", error.message)
            failure = {"type": "server_error", "code": error.code, "message": error.message}
            await self._put(out.TranscriptionFailed(item.id, 0, failure))
            return
        text = transcript.text.strip()
        item.content[0]["transcript"] = text
        self._log("heard %r (%s, confidence %.2f)", text, transcript.engine, transcript.confidence)
        if wanted:
            if rest := utterance.rest(text):
                await self._put(out.TranscriptionDelta(item.id, 0, rest))
            usage = {"type": "duration", "seconds": round(transcript.seconds, 3)}
            await self._put(out.TranscriptionCompleted(item.id, 0, text, usage))
        self._owes_answer |= answer_it and bool(text)
        if (this := asyncio.current_task()) is not None:
            self._transcribing.discard(this)
        await self._answer_if_owed()

    # 4. The reply: model, clauses, speech, outbox.

    async def _answer_if_owed(self) -> None:
        """Answers once the caller is quiet, all words are there and nothing else is being said."""
        if self._turn.ear is Ear.SPEAKING or self._turn.mouth is Mouth.REPLYING or self._transcribing:
            return
        if self._owes_answer:
            await self._start_response(got.ResponseOptions())
        elif self._announcements:
            await self._start_response(got.ResponseOptions(), announcement=self._announcements.popleft())

    async def _start_response(self, options: got.ResponseOptions, *, announcement: str = "") -> None:
        if self._turn.mouth is Mouth.REPLYING:
            raise BadRequest(
                "Conversation already has an active response in progress",
                code="conversation_already_has_active_response",
            )
        items = None if options.input is None else [self._input_item(fields) for fields in options.input]
        in_band = options.conversation == "auto"
        speaks = "audio" in (options.output_modalities or self._config.output_modalities)
        output = self._config.audio.output
        config = {
            "conversation_id": self._conversation_id if in_band else None,
            "output_modalities": ["audio"] if speaks else ["text"],
            "max_output_tokens": options.max_output_tokens or self._config.max_output_tokens,
            "audio": {"output": {"format": output.format.model_dump(), "voice": output.voice}},
            "metadata": options.metadata,
        }
        response = Response(config=config, conversation=self._conversation if in_band else None, speaks=speaks)
        self._turn.apply(TurnEvent.RESPONSE_CREATED)
        self._owes_answer = False
        self._response = response
        clock, self._turn_clock = self._turn_clock, TurnClock()
        self._replying = self._spawn(self._respond(response, options, items, announcement, clock))
        await self._outbox.put(*response.begin())

    def _input_item(self, fields: Json) -> Item:
        if fields.get("type") == "item_reference":
            return self._conversation.get(str(fields.get("id")), "retrieve")
        return parse_item(fields)

    async def _respond(
        self,
        response: Response,
        options: got.ResponseOptions,
        items: list[Item] | None,
        announcement: str,
        clock: TurnClock,
    ) -> None:
        status = "completed"
        details: Json | None = None
        answer = Answer()
        try:
            if self._transcribing:
                await asyncio.wait(self._transcribing)  # push-to-talk: the words just committed belong to the prompt
            clock.asked = time.monotonic()
            deltas = _once(announcement) if announcement else self._write(options, items, answer)
            if response.speaks:
                await self._speak(response, deltas, clock)
            else:
                async with contextlib.aclosing(deltas):
                    async for delta in deltas:
                        await self._outbox.put(*response.write(delta))
            for call in answer.calls:
                await self._outbox.put(*response.call(call))
            response.account(answer)
            if response.was_cut_short:
                status, details = "incomplete", {"type": "incomplete", "reason": "max_output_tokens"}
        except ParleyError as error:
            self._log("reply failed: %s", error.message)
            failure = {"type": "server_error", "code": error.code, "message": error.message}
            status, details = "failed", {"type": "failed", "error": failure}
        except Exception:
            log.exception("[%s] reply failed", self.id)
            failure = {"type": "server_error", "code": "server_error", "message": "The reply failed; see the log."}
            status, details = "failed", {"type": "failed", "error": failure}
        self._turn.apply(TurnEvent.RESPONSE_DONE)
        self._response = None
        await self._outbox.put(*response.end(status, details))
        self._log("replied %r (%s)", response.message.text if response.message else "", status)
        self._arm_timer()
        await self._answer_if_owed()

    def _write(
        self, options: got.ResponseOptions, items: list[Item] | None, answer: Answer
    ) -> AsyncGenerator[str, None]:
        chosen = list(self._conversation) if items is None else items
        request, own = request_of(chosen, self._config, options, self._pack.language_model, self._pack.name)
        return write(self._workers.language, request, self._toolbox, own, answer)

    async def _speak(self, response: Response, deltas: AsyncIterator[str], clock: TurnClock) -> None:
        cut = self._pack.clauses
        output = self._config.audio.output
        voice = voice_of(session_config.voice_name(output.voice), self._pack.voice.names)
        clauses = reply.clauses(clock.note("first_token", deltas), first_min=cut.first_min, least=cut.min, most=cut.max)
        clauses = clock.note("first_clause", clauses)
        speech = reply.speak(clauses, self._workers.synthesizer, voice=voice, speed=output.speed)
        speech = reply.paced(reply.ahead(speech, reply.CHUNKS_AHEAD), self._audio_ahead_seconds)
        async with contextlib.aclosing(speech):
            async for piece in speech:
                await self._outbox.put(*response.say(piece))
                if clock.first_audio is None and piece.pcm:
                    clock.first_audio = time.monotonic()
                    report = clock.report(response.id, response.message.id if response.message else "")
                    if self._timings and report is not None:
                        await self._put(report)

    async def _stop_reply(self, event: TurnEvent, reason: str) -> None:
        """Cancels the reply at every stage; the caller keeps what has been handed over."""
        response, task = self._response, self._replying
        assert response is not None
        assert task is not None
        self._turn.apply(event)
        self._response = None
        task.cancel()
        await self._outbox.drop(lambda booking: booking.response is response)
        details = {"type": "cancelled", "reason": reason}
        await self._outbox.put(*response.end("cancelled", details, dropped=True))
        self._log("reply stopped (%s) after %.1f s of audio", reason, response.audio_seconds)

    # 5. Timers speak by themselves.

    def _arm_timer(self) -> None:
        if self._timer is None or self._timer.done():
            self._timer = self._spawn(self._wait_for_timers())

    async def _wait_for_timers(self) -> None:
        while self._toolbox.timers:
            now = datetime.now(UTC)
            for timer in self._toolbox.due(now):
                self._announcements.append(f"Your timer for {timer.label} is done.")
            await self._answer_if_owed()
            wait = min((timer.ends_at - now for timer in self._toolbox.timers), default=None)
            # A shorter timer may be set, or this one cancelled, while we wait: look again every half second.
            await asyncio.sleep(min(0.5, wait.total_seconds()) if wait is not None else 0)

    # 6. Out to the socket.

    async def frames(self) -> AsyncIterator[str]:
        """JSON frames in order, without end; each counts as handed over when it is taken."""
        while True:
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

    def _log(self, message: str, *values: object) -> None:
        log.info("[%s] " + message, self.id, *values)


async def _once(text: str) -> AsyncGenerator[str, None]:
    yield text
