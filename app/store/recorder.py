"""Keeps one call's conversation: watches what is sent, and writes down what has changed. Knows no socket.

A store that fails, or is slow, holds nobody up: writing is a task of its own, and what could not be written is part of
the next write.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import logging
import time
from collections.abc import Collection
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeAlias

from app import metrics
from app import server_events as out
from app.audio import HEARING_RATE, REALTIME_RATE, Pcm16
from app.conversation import Conversation, Item
from app.database import Database
from app.errors import DatabaseUnavailable, ResumedElsewhere
from app.g711 import line_of
from app.store import store
from app.store.store import Change, StoredAudio, StoredItem

Json: TypeAlias = dict[str, Any]

log = logging.getLogger("parley.store")

BEAT_SECONDS = 5.0  # between signs that the call is still there
MAX_WAITING_BYTES = 30_000_000  # of audio for a store that fails: ten minutes, then it is given up
PRIVATE: Final = ("hidden", "audio_ms", "marks")  # of an item
NOTED: Final = (
    out.ItemAdded, out.ItemDone, out.ItemTruncated, out.ItemDeleted, out.TranscriptionCompleted, out.ResponseDone,
)  # fmt: skip
"""Events after which something is to be written."""


class Recorder:
    """One call's. A `with` block writes the rest at its end."""

    def __init__(
        self,
        database: Database,
        conversation: Conversation,
        *,
        name: str,
        key: str,
        caller_id: str,
        session: str,
        keeps_audio: bool,
        kept: Collection[StoredItem] = (),
    ) -> None:
        """`name` is the conversation's id, `session` the call's; `kept`: what is in the store of it already."""
        self.name = name
        self.keeps_audio = keeps_audio
        """The caller has consented to it."""
        self._database = database
        self._conversation = conversation
        self._change = Change(name, key, caller_id, session, config={})
        self._begun = bool(kept)
        self._over = False
        self._failing = False
        self._changed = asyncio.Event()
        self._at = {item.id: item.at for item in kept}
        self._timings = {item.id: dict(item.timings) for item in kept}
        self._written: dict[str, tuple[Any, ...]] = {}
        for number, (row, item) in enumerate(zip(kept, conversation, strict=False)):
            as_kept = row.body["status"] == item.status  # one that was in progress no longer is
            self._written[item.id] = self._state(number, item) if as_kept else ()
        self._spoken: dict[str, bytearray] = {}  # replies' audio in the session's format, until it is written
        self._heard: dict[str, Pcm16] = {}
        self._handed: set[str] = set()  # items of which no more audio comes
        self._format: Any = "audio/pcm"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._handed.update(self._spoken)
        with contextlib.suppress(ResumedElsewhere):
            await self.write()

    # What the session tells; nothing of it waits.

    def sent(self, event: out.ServerEvent) -> None:
        """An event was handed to the client."""
        if self._over:
            return
        match event:
            case out.AudioDelta():
                if self.keeps_audio and event.item_id in self._at:  # not of a reply out of band, which leaves no item
                    self._spoken.setdefault(event.item_id, bytearray()).extend(base64.b64decode(event.delta))
            case out.SessionCreated() | out.SessionUpdated():
                config = {key: value for key, value in event.session.items() if not key.startswith("parley_")}
                self._change = dataclasses.replace(self._change, config=config)
                self._format = config["audio"].get("output", {}).get("format", {}).get("type", "audio/pcm")
            case out.SpeechStarted():
                self._timings.setdefault(event.item_id, {})["audio_start_ms"] = event.audio_start_ms
            case out.SpeechStopped():
                self._timings.setdefault(event.item_id, {})["audio_end_ms"] = event.audio_end_ms
            case out.TurnTimings():
                stages = dataclasses.asdict(event)
                spent = {key: value for key, value in stages.items() if key.endswith("_ms")}
                self._timings.setdefault(event.item_id, {}).update(spent)
            case out.ItemDone():
                self._handed.add(event.item["id"])
            case out.ItemAdded():
                self._at.setdefault(event.item["id"], time.time())
        if isinstance(event, NOTED):
            self._changed.set()

    def heard(self, item_id: str, pcm: Pcm16) -> None:
        """Audio of the caller's item, at HEARING_RATE."""
        if not self._over:
            self._heard[item_id] = pcm

    # What is written.

    async def keep(self) -> NoReturn:
        """Writes what changes, until cancelled. Raises ResumedElsewhere."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._changed.wait()
            self._changed.clear()
            await self.write()

    async def write(self) -> None:
        """What has changed since the last time; a store that fails gets it the next time. Raises ResumedElsewhere."""
        items = list(self._conversation)
        if self._over or not (items or self._begun):
            return  # a call in which nothing was said leaves nothing behind
        change, states = self._difference(items)
        begun = self._begun
        try:
            standing = await self._database.run(lambda session: store.write(session, change, begun=begun))
        except DatabaseUnavailable as error:
            metrics.STORE_FAILURES.inc()
            if not self._failing:
                log.warning("[%s] a conversation is not kept for now: %s", change.session, error.message)
            self._failing = True
            if sum(map(len, self._spoken.values())) + sum(map(len, self._heard.values())) > MAX_WAITING_BYTES:
                self._spoken.clear()
                self._heard.clear()
            return
        self._failing, self._begun, self._written = False, True, states
        for audio in change.audio:
            self._heard.pop(audio.item, None)
            self._spoken.pop(audio.item, None)
        if standing != "ours":
            self._over = True
            self._heard.clear()
            self._spoken.clear()
            log.info("[%s] the conversation is %s; this call is not kept any more", change.session, standing)
        if standing == "taken":
            raise ResumedElsewhere("Another call goes on with this conversation")

    def _difference(self, items: list[Item]) -> tuple[Change, dict[str, tuple[Any, ...]]]:
        """What to write, and what is written then."""
        states = {item.id: self._state(number, item) for number, item in enumerate(items)}
        changed = [
            self._row(number, item)
            for number, item in enumerate(items)
            if self._written.get(item.id) != states[item.id]
        ]
        audio = [
            StoredAudio(conversation=self.name, item=name, rate=HEARING_RATE, pcm=pcm)
            for name, pcm in self._heard.items()
            if name in states
        ]
        for name in self._spoken.keys() & self._handed & states.keys():
            pcm = line_of(self._format).feed(bytes(self._spoken[name]))
            audio.append(StoredAudio(conversation=self.name, item=name, rate=REALTIME_RATE, pcm=pcm))
        heard_ms = {
            row.id: row.private["audio_ms"]
            for row in changed
            if self.keeps_audio and row.id in self._handed and row.body.get("role") == "assistant"
        }
        gone = [name for name in self._written if name not in states]
        return dataclasses.replace(self._change, items=changed, gone=gone, audio=audio, heard_ms=heard_ms), states

    def _state(self, position: int, item: Item) -> tuple[Any, ...]:
        """All of an item that can change, cheaper than its row: a long conversation is looked at on the event loop."""
        content = [dict(part) for part in item.content]
        timings = len(self._timings.get(item.id, ()))
        return (
            position,
            item.status,
            content,
            item.arguments,
            len(item.hidden),
            item.audio_ms,
            len(item.marks),
            timings,
        )

    def _row(self, position: int, item: Item) -> StoredItem:
        return StoredItem(
            conversation=self.name, id=item.id, position=position, at=self._at.setdefault(item.id, time.time()),
            body=item.dump(), private={name: getattr(item, name) for name in PRIVATE},
            timings=dict(self._timings.get(item.id, {})),
        )  # fmt: skip


def restored(rows: Collection[StoredItem]) -> Conversation:
    """The conversation that was kept, for a call that goes on with it."""
    conversation = Conversation()
    for row in rows:
        body = {key: value for key, value in row.body.items() if key != "object"}
        if body["status"] == "in_progress":
            body["status"] = "incomplete"  # the call was lost in the middle of it
        marks = [(int(character), float(ms)) for character, ms in row.private["marks"]]
        conversation.append(Item(**body, hidden=row.private["hidden"], audio_ms=row.private["audio_ms"], marks=marks))
    return conversation
