"""One caller: client events in, frames out, and between them `listening` and `speaking`. Knows no engine and no socket.

handle -> `listening`: hear, transcribe -> `speaking`: answer -> frames
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, MutableMapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

from app import events as got
from app import metrics, session_config
from app import server_events as out
from app.audio import Pcm16
from app.conversation import Conversation, Item
from app.errors import AccessDenied, BadRequest, LimitReached, ParleyError
from app.listening import Listening
from app.outbox import Outbox
from app.packs import Pack
from app.response import Booking
from app.server_events import new_id
from app.speaking import Speaking, Workers
from app.tools import Toolbox
from app.transcribing import Transcribing
from app.turn import Turn, TurnEvent
from app.vad import SharedVad

Json: TypeAlias = dict[str, Any]

_logger = logging.getLogger("parley.session")

OUTBOX_LIMIT = 64  # entries; with 200 ms of audio each, 13 s at most wait for a slow reader
SESSION_SECONDS = 3600  # protocol section 7


class Recorder(Protocol):
    """Keeps a session's conversation; never waits and never fails."""

    @property
    def keeps_audio(self) -> bool:
        """Whether audio is wanted, too."""

    def sent(self, event: out.ServerEvent) -> None:
        """An event was handed to the client."""

    def heard(self, item_id: str, pcm: Pcm16) -> None:
        """Audio of the caller's item, at HEARING_RATE."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a session begins with: nothing, if it is not said."""

    id: str = field(default_factory=lambda: new_id("sess"))
    changes: Mapping[str, Any] = field(default_factory=dict)
    """A session.update before the first event."""
    conversation: Conversation = field(default_factory=Conversation)
    conversation_id: str = field(default_factory=lambda: new_id("conv"))
    recorder: Recorder | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the session as it is shown."""


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
        answers: bool = True,
        start: Start | None = None,
        timings: bool = False,
        audio_ahead_seconds: float = 4.0,
        seconds: float = SESSION_SECONDS,
    ) -> None:
        """`answers`: false for a session that only transcribes.

        `audio_ahead_seconds`: how far audio may be sent before the time at which it is heard. `seconds`: how long the
        client is told that it lasts; whoever has the socket ends it.
        """
        start = start or Start()
        self.id = start.id
        self._told = start.told
        self._recorder = start.recorder
        self._timings = timings
        self._log = SessionLog(_logger, {"session": self.id})
        self._pack = pack
        self._expires_at = int(time.time() + seconds)
        self._defaults = session_config.initial_config(pack, model, answers=answers)
        self._config = session_config.changed(self._defaults, start.changes, self._defaults, pack)
        self._conversation = start.conversation
        self._turn = Turn()
        self._outbox: Outbox[Booking] = Outbox(OUTBOX_LIMIT)
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._speaking = Speaking(
            pack,
            workers,
            toolbox,
            turn=self._turn,
            conversation=self._conversation,
            conversation_id=start.conversation_id,
            outbox=self._outbox,
            spawn=self._spawn,
            config=self._config,
            log=self._log,
            timings=timings or self._recorder is not None,
            audio_ahead_seconds=audio_ahead_seconds,
        )
        self._words = Transcribing(
            pack,
            workers.recognizer,
            conversation=self._conversation,
            speaking=self._speaking,
            put=self._put,
            spawn=self._spawn,
            config=self._config,
            log=self._log,
            keep=self._recorder.heard if self._recorder is not None and self._recorder.keeps_audio else None,
        )
        self._listening = Listening(
            pack,
            vad,
            self._words,
            turn=self._turn,
            speaking=self._speaking,
            put=self._put,
            spawn=self._spawn,
            config=self._config,
            log=self._log,
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
        self._speaking.break_off()
        await self._listening.close()
        await self._speaking.close()
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
        theirs = isinstance(error, BadRequest | AccessDenied | LimitReached)
        kind = "invalid_request_error" if theirs else "server_error"
        body = {"type": kind, "code": error.code, "message": error.message, "param": error.param, "event_id": event_id}
        await self._put(out.Error(body))

    async def _handle(self, event: got.Event) -> None:
        match event:
            case got.AudioAppend():
                await self._listening.hear(event.audio)
            case got.SessionUpdate():
                await self._update(event.session)
            case got.AudioCommit():
                await self._listening.commit()
            case got.AudioClear():
                await self._listening.clear()
                await self._put(out.AudioCleared())
            case got.ItemCreate():
                item = self._conversation.create(event.item, event.previous_item_id)
                previous = self._conversation.previous_id(item)
                await self._put(out.ItemAdded(previous, item.dump()), out.ItemDone(previous, item.dump()))
                if item.audio:
                    await self._words.hear_item(item)
            case got.ItemRetrieve():
                await self._put(out.ItemRetrieved(self._conversation.get(event.item_id, "retrieve").dump()))
            case got.ItemDelete():
                self._conversation.delete(event.item_id)
                await self._put(out.ItemDeleted(event.item_id))
            case got.ItemTruncate():
                self._conversation.check_truncation(event.item_id, event.content_index, event.audio_end_ms)
                if self._speaking.response is not None and self._speaking.response.is_saying(event.item_id):
                    await self._speaking.stop(TurnEvent.CANCELLED, "client_cancelled")  # the rest will not be heard
                item = self._conversation.truncate(event.item_id, event.content_index, event.audio_end_ms)
                # Of a reply that is over, words still waiting must come: the `done` events behind them have them all.
                await self._outbox.drop(lambda b: b.samples > 0 and _is_of(b, item))
                self._log.info("the caller heard %d ms: %r", event.audio_end_ms, item.text)
                await self._put(out.ItemTruncated(event.item_id, event.content_index, event.audio_end_ms))
            case got.ResponseCreate():
                await self._speaking.start(event.response)
            case got.ResponseCancel():
                await self._speaking.cancel(event.response_id)

    async def _update(self, patch: Json) -> None:
        config = session_config.changed(self._config, patch, self._defaults, self._pack)
        if self._speaking.has_spoken and config.audio.output.voice != self._config.audio.output.voice:
            raise BadRequest(
                "the voice of a session cannot change once it has spoken",
                code="cannot_update_voice",
                param="session.audio.output.voice",
            )
        self._config = self._speaking.config = self._words.config = config
        await self._listening.reconfigure(config)
        await self._put(out.SessionUpdated(self._dump()))

    # 2. Out to the socket.

    @property
    def audio_seconds(self) -> float:
        """Heard and spoken so far."""
        return self._listening.heard_seconds + self._words.item_seconds + self._speaking.spoken_seconds

    @property
    def is_quiet(self) -> bool:
        """Nobody speaks, nothing is owed, and what was said has been heard."""
        return self._listening.is_quiet and self._speaking.is_quiet and not self._outbox

    async def frames(self) -> AsyncIterator[str]:
        """JSON frames in order, without end; each counts as handed over when it is taken."""
        while True:
            metrics.QUEUE_DEPTH.labels("gateway").observe(len(self._outbox))
            booking = await self._outbox.get()
            if booking.response is not None:
                booking.response.book(booking)
            if self._recorder is not None:
                self._recorder.sent(booking.event)
                if isinstance(booking.event, out.TurnTimings) and not self._timings:
                    continue  # made for the recorder alone
            yield booking.event.dump()

    async def _put(self, *events: out.ServerEvent) -> None:
        await self._outbox.put(*[Booking(event) for event in events])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def _dump(self) -> Json:
        return {"id": self.id, "expires_at": self._expires_at, **session_config.shown(self._config), **self._told}


def _is_of(booking: Booking, item: Item) -> bool:
    return booking.response is not None and booking.response.message is item


class SessionLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the session's id before every line."""

    def process(self, msg: str, kwargs: MutableMapping[str, Any]) -> tuple[str, MutableMapping[str, Any]]:
        """The line with the id."""
        return f"[{self.extra['session'] if self.extra else ''}] {msg}", kwargs
