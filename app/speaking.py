"""The service's half of one session: when it answers, and each reply from prompt to outbox. Knows no caller's audio.

One reply at a time. It waits until the caller is quiet and all words are there; it is stopped at every stage at once.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from app import events as got
from app import metrics, reply, session_config, tracing
from app.answer import Answer, request_of, write
from app.conversation import Conversation, Item
from app.errors import BadRequest, ParleyError
from app.names import voice_of
from app.outbox import Outbox
from app.packs import Pack
from app.response import Booking, Response
from app.session_config import SessionConfig
from app.speculation import Speculation
from app.timings import TurnClock
from app.tools import Toolbox
from app.turn import Ear, Mouth, Turn, TurnEvent
from app.wanted import Wanted, response_of, wanted_of
from app.workers.base import LanguageModel, Recognizer, Synthesizer

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

MAX_ASIDE = 8  # replies out of band at once: each is as much work as one of the conversation
PAUSE_SECONDS = 1.0  # of sending, at most: a microphone that is muted in the middle of a sound decides nothing
TIMER_SECONDS = 0.5  # between looks at the timers: one may be set or cancelled while another is waited for


@dataclass(frozen=True, slots=True)
class Workers:
    """The three stages, ready to use, shared by all sessions."""

    recognizer: Recognizer
    language: LanguageModel
    synthesizer: Synthesizer


class Speaking:
    """Replies of one session. `config` is the session's, and is set again whenever that changes."""

    def __init__(
        self,
        pack: Pack,
        workers: Workers,
        toolbox: Toolbox,
        *,
        turn: Turn,
        conversation: Conversation,
        conversation_id: str,
        outbox: Outbox[Booking],
        spawn: Spawn,
        config: SessionConfig,
        log: logging.LoggerAdapter[logging.Logger],
        timings: bool,
        audio_ahead_seconds: float,
    ) -> None:
        self.config = config
        self.transcribing: set[asyncio.Task[None]] = set()
        """Utterances whose words are not there yet; no reply begins before them."""
        self.clock = TurnClock()
        """Of the turn whose reply comes next."""
        self.owes_answer = False
        """A caller's utterance has not been answered yet."""
        self.response: Response | None = None
        """The reply of the conversation that is running."""
        self.has_spoken = False
        """The caller has got audio: from now on the voice stays."""
        self.spoken_seconds = 0.0
        """Audio of all replies so far."""
        self.heard_at = 0.0
        """When the caller will have heard all audio so far, by `time.monotonic()`."""
        self._pack = pack
        self._workers = workers
        self._speculation = Speculation(workers.language)
        self._toolbox = toolbox
        self._turn = turn
        self._conversation = conversation
        self._conversation_id = conversation_id
        self._outbox = outbox
        self._spawn = spawn
        self._log = log
        self._timings = timings
        self._audio_ahead_seconds = audio_ahead_seconds
        self._announcements: collections.deque[str] = collections.deque()  # of timers that have ended
        self._timer: asyncio.Task[None] | None = None
        self._replying: asyncio.Task[None] | None = None
        self._flowing = asyncio.Event()  # cleared while it is unsure whether the caller takes the floor
        self._flowing.set()
        self._aside: dict[str, tuple[Response, asyncio.Task[None]]] = {}  # replies out of band, by id

    @property
    def audible(self) -> bool:
        """The caller hears a reply now."""
        return time.monotonic() < self.heard_at

    def pause(self) -> None:
        """No more audio is sent until `resume`: the caller may have begun to speak."""
        self._flowing.clear()

    def resume(self) -> None:
        """The reply goes on."""
        self._flowing.set()

    async def interrupt(self) -> None:
        """The caller takes the floor: the conversation's reply ends, and nothing is heard of it any more."""
        self.resume()
        self.heard_at = 0.0
        if self.response is not None:
            await self.stop(TurnEvent.BARGED_IN, "turn_detected")

    @property
    def is_quiet(self) -> bool:
        """No reply runs or is owed, and the last one has been heard."""
        busy = self._turn.mouth is Mouth.REPLYING or self.transcribing or self.owes_answer or self._announcements
        return not busy and not self._aside and time.monotonic() >= self.heard_at

    async def answer_if_owed(self) -> None:
        """Answers once the caller is quiet, all words are there and nothing else is being said."""
        if self._turn.ear is not Ear.QUIET or self._turn.mouth is Mouth.REPLYING or self.transcribing:
            return
        if self.owes_answer:
            await self.start(got.ResponseOptions())
        elif self._announcements:
            await self.start(got.ResponseOptions(), announcement=self._announcements.popleft())

    async def start(self, options: got.ResponseOptions, *, announcement: str = "") -> None:
        """Begins a reply: one of the conversation at a time, and some out of band beside it.

        Raises BadRequest beyond that, or for options that make no sense.
        """
        in_band = options.conversation == "auto"
        if self._turn.mouth is Mouth.REPLYING if in_band else len(self._aside) >= MAX_ASIDE:
            raise BadRequest(
                "Conversation already has an active response in progress"
                if in_band
                else f"{len(self._aside)} responses out of band are active, the limit is {MAX_ASIDE}",
                code="conversation_already_has_active_response",
            )
        if not self.config.answers:
            raise BadRequest("a transcription session has no responses", param="type")
        wanted = wanted_of(options, announcement, self.config, self._conversation, self._pack)
        response = response_of(wanted, self.config, self._conversation, self._conversation_id)
        if in_band:
            self._turn.apply(TurnEvent.RESPONSE_CREATED)
            self.owes_answer = False
            self.response = response
            clock, self.clock = self.clock, TurnClock()
            self._replying = self._spawn(self._respond(response, wanted, clock))
        else:
            self._aside[response.id] = response, self._spawn(self._respond(response, wanted, TurnClock()))
        await self._outbox.put(*response.begin())

    async def cancel(self, response_id: str | None) -> None:
        """The client stops a reply: the one named, or the conversation's. Raises BadRequest where it does not run."""
        if response_id in self._aside:
            await self._cut(*self._aside.pop(response_id), "client_cancelled")
        elif self.response is None or response_id not in (None, self.response.id):
            raise BadRequest("Cancellation failed: no active response found", code="response_cancel_not_active")
        else:
            await self.stop(TurnEvent.CANCELLED, "client_cancelled")

    async def stop(self, event: TurnEvent, reason: str) -> None:
        """Cancels the conversation's reply at every stage; the caller keeps what has been handed over."""
        response, task = self.response, self._replying
        assert response is not None
        assert task is not None
        self._turn.apply(event)
        self.response = None
        self.heard_at = 0.0
        await self._cut(response, task, reason)

    async def _cut(self, response: Response, task: asyncio.Task[None], reason: str) -> None:
        metrics.TURNS.labels("cancelled").inc()
        metrics.CANCELLED.labels("gateway").inc()
        task.cancel()
        await self._outbox.drop(lambda booking: booking.response is response)
        details = {"type": "cancelled", "reason": reason}
        await self._outbox.put(*response.end("cancelled", details, dropped=True))
        self._log.info("reply stopped (%s) after %.1f s of audio", reason, response.audio_seconds)

    async def guess(self, text: str) -> None:
        """The caller may have ended, with these words: the language model begins. Without any, the caller goes on."""
        idle = self._turn.mouth is Mouth.SILENT and not self.transcribing and not self.owes_answer
        await self._speculation.drop()
        if text and idle and self.config.answers:
            said = Item("", "message", role="user", content=[{"type": "input_audio", "transcript": text}])
            request, _ = request_of([*self._conversation, said], self.config, got.ResponseOptions(), self._pack)
            await self._speculation.begin(request)

    async def close(self) -> None:
        """The caller has left: nothing is written any more."""
        await self._speculation.drop()

    def break_off(self) -> None:
        """The caller has left: of the running reply, the conversation keeps what was handed over."""
        if self.response is not None:
            self.response.end("cancelled", dropped=True)

    async def _respond(self, response: Response, wanted: Wanted, clock: TurnClock) -> None:
        status = "completed"
        details: dict[str, Any] | None = None
        answer = Answer()
        clock.reply = tracing.begin("reply", clock.utterance)
        try:
            if self.transcribing and wanted.items is None:
                await asyncio.wait(self.transcribing)  # push-to-talk: the words just committed belong to the prompt
            said = wanted.announcement
            clock.asked = None if said else time.monotonic()  # nobody waits for an announcement
            deltas = reply.once(said) if said else self._write(wanted, answer)
            if response.speaks:
                await self._speak(response, wanted.output, deltas, clock)
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
            self._log.warning("reply failed: %s", error.message)
            failure = {"type": "server_error", "code": error.code, "message": error.message}
            status, details = "failed", {"type": "failed", "error": failure}
        except Exception:
            self._log.exception("reply failed")
            failure = {"type": "server_error", "code": "server_error", "message": "The reply failed; see the log."}
            status, details = "failed", {"type": "failed", "error": failure}
        finally:
            tracing.end(clock.reply)
        metrics.TURNS.labels(status).inc()
        if self._aside.pop(response.id, None) is None:
            self._turn.apply(TurnEvent.RESPONSE_DONE)
            self.response = None
        await self._outbox.put(*response.end(status, details))
        self._log.info("replied %r (%s)", response.message.text if response.message else "", status)
        for call in answer.executed:
            self._log.info("ran %s(%s)", call.name, call.arguments)
        self._arm_timer()
        await self.answer_if_owed()

    def _write(self, wanted: Wanted, answer: Answer) -> AsyncGenerator[str, None]:
        chosen = list(self._conversation) if wanted.items is None else wanted.items
        request, own = request_of(chosen, self.config, wanted.options, self._pack)
        language = self._speculation if wanted.items is None else self._workers.language
        return write(language, request, self._toolbox, own, answer)

    async def _speak(
        self, response: Response, output: session_config.AudioOutput, deltas: AsyncIterator[str], clock: TurnClock
    ) -> None:
        """Deltas to clauses to speech to the outbox; each stage works on while the next one does."""
        cut = self._pack.clauses
        voice = voice_of(session_config.voice_name(output.voice), self._pack.voice.names)
        clauses = reply.clauses(clock.note("first_token", deltas), first_min=cut.first_min, least=cut.min, most=cut.max)
        clauses = clock.note("first_clause", clauses)
        speech = reply.speak(
            clauses, self._workers.synthesizer, voice=voice, speed=output.speed, model=self._pack.reference
        )
        speech = reply.paced(reply.ahead(speech, reply.CHUNKS_AHEAD), self._audio_ahead_seconds)
        async with contextlib.aclosing(speech):
            async for piece in speech:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_SECONDS):  # wait_for of Python 3.11 may lose a cancellation
                        await self._flowing.wait()
                await self._outbox.put(*response.say(piece))
                self.has_spoken = True
                self.spoken_seconds += piece.seconds
                self.heard_at = max(self.heard_at, time.monotonic()) + piece.seconds
                if clock.first_audio is None and piece.pcm:
                    clock.first_audio = time.monotonic()
                    clock.count()
                    report = clock.report(response.id, response.message.id if response.message else "")
                    if self._timings and report is not None:
                        await self._outbox.put(Booking(report))

    def _arm_timer(self) -> None:
        if self._toolbox.timers and (self._timer is None or self._timer.done()):
            self._timer = self._spawn(self._wait_for_timers())

    async def _wait_for_timers(self) -> None:
        while self._toolbox.timers:
            now = datetime.now(UTC)
            for timer in self._toolbox.due(now):
                self._announcements.append(f"Your timer for {timer.label} is done.")
            await self.answer_if_owed()
            if self._toolbox.timers:
                wait = min(timer.ends_at for timer in self._toolbox.timers) - now
                await asyncio.sleep(min(TIMER_SECONDS, max(0.0, wait.total_seconds())))
