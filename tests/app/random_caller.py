"""A client that sends anything in any order, a model that answers anything, and what must hold all the same.

For property tests: `run` plays one list of actions against a session without a socket and checks every frame.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from app import events
from app.errors import BadRequest, WorkerError
from app.session import Session
from app.speaking import Workers
from app.tools import Toolbox
from app.vad import SharedVad
from app.workers.base import ChatRequest, Health, ReplyPart, TextDelta, ToolCall, Usage
from app.workers.scripted import ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.sounds import flite, silence

Event = dict[str, Any]
Action = tuple[str, int]
"""What to do, and a number that chooses among the possibilities of the moment."""
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}
TEXTS = ["Hello there. ", "Once upon a time, ", "42.", " ", "Ждите, пожалуйста! "]
STEPS = 200  # of 20 turns of the event loop each, that everything under way has for coming to its end


class AnyLanguage:
    """Replies by number: words, silence, a call, a failure, or thinking without an end."""

    def __init__(self, choices: Sequence[int]) -> None:
        self._choices = choices
        self._count = 0
        self.open = 0

    async def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        choice = self._choices[self._count % len(self._choices)]
        self._count += 1
        self.open += 1
        try:
            for index in range(choice % 5):
                await asyncio.sleep(0)
                yield TextDelta(TEXTS[(choice + index) % len(TEXTS)])
            if choice % 7 == 3:
                await asyncio.Event().wait()
            if choice % 7 == 4:
                raise WorkerError("the model broke")
            if choice % 7 == 5 and request.tools:
                yield ToolCall(f"call_{self._count}", "look", '{"at": "it"}')
            yield Usage(3, choice % 5, "length" if choice % 11 == 0 else "stop")
        finally:
            self.open -= 1

    async def health(self) -> Health:
        return Health("language", "any", "any")


class Watch:
    """What the client knows from the frames so far; an AssertionError where they do not fit together."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self.calls: list[str] = []
        self.running: set[str] = set()
        self.responses: list[str] = []
        self.refused: list[str] = []
        self._done: dict[str, Event] = {}
        self._outputs: dict[str, list[Event]] = defaultdict(list)
        self._deltas: dict[tuple[str, str], str] = defaultdict(str)
        self._event_ids: set[str] = set()

    def see(self, event: Event) -> None:
        """One frame."""
        assert event["event_id"] not in self._event_ids
        self._event_ids.add(event["event_id"])
        if (response := event.get("response_id")) is not None:
            assert response in self.running, f"{event['type']} of a response that is over or never began"
        kind = event["type"]
        if kind.endswith(".delta") and event["type"].startswith("response."):
            assert event["item_id"] in [item["id"] for item in self._outputs[event["response_id"]]]
            self._deltas[event["item_id"], kind.removesuffix(".delta")] += event["delta"]
        elif kind == "error":
            assert event["error"]["event_id"] not in self.refused, "a second error for one event"
            self.refused.append(event["error"]["event_id"])
        elif handler := getattr(self, "_on_" + kind.replace(".", "_"), None):
            handler(event)

    def _on_conversation_item_added(self, event: Event) -> None:
        item, previous = event["item"], event["previous_item_id"]
        assert item["id"] not in self.items, "an id comes twice"
        assert None not in item.values()
        self.items.insert(self.items.index(previous) + 1 if previous is not None else 0, item["id"])
        if item["type"] == "function_call":
            self.calls.append(item["call_id"])

    def _on_conversation_item_done(self, event: Event) -> None:
        index = self.items.index(event["item"]["id"])
        assert event["previous_item_id"] == (self.items[index - 1] if index else None)

    def _on_conversation_item_deleted(self, event: Event) -> None:
        self.items.remove(event["item_id"])

    def _on_response_created(self, event: Event) -> None:
        response = event["response"]
        assert (response["status"], response["output"], response["usage"]) == ("in_progress", [], None)
        assert response["id"] not in self.responses
        self.responses.append(response["id"])
        self.running.add(response["id"])

    def _on_response_output_item_added(self, event: Event) -> None:
        assert event["output_index"] == len(self._outputs[event["response_id"]])
        self._outputs[event["response_id"]].append(event["item"])

    def _on_response_output_item_done(self, event: Event) -> None:
        known = self._outputs[event["response_id"]][event["output_index"]]
        assert known["id"] == event["item"]["id"]
        assert event["item"]["status"] != "in_progress"
        self._outputs[event["response_id"]][event["output_index"]] = event["item"]

    def _on_response_output_audio_transcript_done(self, event: Event) -> None:
        assert event["transcript"] == self._deltas[event["item_id"], "response.output_audio_transcript"]

    def _on_response_output_text_done(self, event: Event) -> None:
        assert event["text"] == self._deltas[event["item_id"], "response.output_text"]

    def _on_response_function_call_arguments_done(self, event: Event) -> None:
        assert event["arguments"] == self._deltas[event["item_id"], "response.function_call_arguments"]

    def _on_response_done(self, event: Event) -> None:
        response = event["response"]
        self.running.remove(response["id"])
        assert response["status"] in ("completed", "cancelled", "incomplete", "failed")
        assert (response["status_details"] is None) == (response["status"] == "completed")
        assert response["output"] == self._outputs[response["id"]]


def action_frame(watch: Watch, action: Action, event_id: str) -> str:
    """The client event that an action is now."""
    name, number = action

    def one_of(values: Sequence[Any]) -> Any:
        return values[number % len(values)] if values else "nobody"

    message = {"type": "message", "role": one_of(["user", "assistant", "system"])}
    kind = "output_text" if message["role"] == "assistant" else "input_text"
    detection = one_of([None, {"type": "server_vad"}, {"type": "server_vad", "interrupt_response": False}])
    modality = one_of([["audio"], ["text"]])
    aside = {"conversation": "none", "output_modalities": modality, "input": [message | {"content": []}]}
    bodies: dict[str, Callable[[], dict[str, Any]]] = {
        "speech": lambda: {"type": "input_audio_buffer.append", "audio": _base64(flite("tell me more")[:28_800])},
        "silence": lambda: {"type": "input_audio_buffer.append", "audio": _base64(silence(0.3 * (number % 4)))},
        "commit": lambda: {"type": "input_audio_buffer.commit"},
        "clear": lambda: {"type": "input_audio_buffer.clear"},
        "item": lambda: {
            "type": "conversation.item.create",
            "item": message | {"content": [{"type": kind, "text": "hello"}]},
            **({"previous_item_id": one_of([*watch.items, "root", "nobody"])} if number % 3 == 0 else {}),
        },
        "twice": lambda: {
            "type": "conversation.item.create",
            "item": message | {"id": one_of(watch.items), "content": []},
        },
        "output": lambda: {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": one_of([*watch.calls, "nobody"]), "output": "1"},
        },
        "retrieve": lambda: {"type": "conversation.item.retrieve", "item_id": one_of([*watch.items, "nobody"])},
        "delete": lambda: {"type": "conversation.item.delete", "item_id": one_of([*watch.items, "nobody"])},
        "truncate": lambda: {
            "type": "conversation.item.truncate",
            "item_id": one_of([*reversed(watch.items), "nobody"]),
            "content_index": 0,
            "audio_end_ms": number % 3 * 100,
        },
        "respond": lambda: {"type": "response.create", "response": {"output_modalities": modality}},
        "aside": lambda: {"type": "response.create", "response": aside},
        "cancel": lambda: {"type": "response.cancel"},
        "cancel that": lambda: {"type": "response.cancel", "response_id": one_of(watch.responses)},
        "update": lambda: {"type": "session.update", "session": {"audio": {"input": {"turn_detection": detection}}}},
        "modality": lambda: {"type": "session.update", "session": {"output_modalities": modality, "tools": [TOOL]}},
        "nonsense": lambda: {"type": one_of(["response.done", "input_audio_buffer.append", 5, "no.such.event"])},
    }
    return orjson.dumps({**bodies[name](), "event_id": event_id}).decode()


ACTIONS = (
    "speech", "silence", "commit", "clear", "item", "twice", "output", "retrieve", "delete", "truncate", "respond",
    "aside", "cancel", "cancel that", "update", "modality", "nonsense", "wait",
)  # fmt: skip


async def run(actions: Sequence[Action], choices: Sequence[int]) -> Watch:
    """Plays the actions, lets everything come to its end, leaves, and checks that nothing is left."""
    before = asyncio.all_tasks()
    language, recognizer = AnyLanguage(choices), ScriptedRecognizer(["tell me more"], repeat=True)
    synthesizer = ScriptedSynthesizer(samples_per_character=40)
    toolbox = Toolbox((), now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    watch = Watch()
    session = Session(
        SCRIPTED, Workers(recognizer, language, synthesizer),
        vad=SharedVad(), model="gpt-realtime", toolbox=toolbox, audio_ahead_seconds=10_000.0,
    )  # fmt: skip
    async with session:
        reading = asyncio.create_task(_read(session, watch))
        for number, action in enumerate(actions):
            if action[0] == "wait":
                await _steps(action[1] % 20)
                continue
            event_id = f"mine_{number}"
            try:
                event = events.parse(action_frame(watch, action, event_id))
            except BadRequest as error:
                await session.refuse(error, error.event_id)
            else:
                await session.handle(event)
            if reading.done():
                break
        for _ in range(STEPS):
            await _steps(20)
            if reading.done() or not (watch.running or recognizer.open):
                break
            for response_id in list(watch.running):  # a model may think without an end
                await session.handle(events.ResponseCancel(type="response.cancel", response_id=response_id))
            await session.handle(events.AudioClear(type="input_audio_buffer.clear"))
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        assert not watch.running, "a response without its end"
        assert [item.id for item in session._conversation] == watch.items
    await _steps(5)
    assert (language.open, recognizer.open) == (0, 0)
    assert asyncio.all_tasks() - before == set(), "tasks are left"
    return watch


async def _read(session: Session, watch: Watch) -> None:
    async for frame in session.frames():
        watch.see(orjson.loads(frame))


async def _steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _base64(pcm: bytes) -> str:
    return base64.b64encode(pcm).decode()
