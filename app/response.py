"""One reply as the protocol tells it (section 5): which events, in which order, and what they add up to.

Sans-I/O: every method gives the events to send. What the caller has got is booked by `book`, when an event is handed
to the socket. Knows no workers and no time.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, TypeAlias

from app import server_events as out
from app.answer import Answer
from app.audio import BYTES_PER_SAMPLE, REALTIME_RATE, Pcm16
from app.conversation import Conversation, Item
from app.g711 import TELEPHONE_RATE, ToTelephone
from app.reply import Speech
from app.server_events import ServerEvent, new_id
from app.workers.base import ToolCall, Usage

Json: TypeAlias = dict[str, Any]

MAX_DELTA_BYTES = REALTIME_RATE * BYTES_PER_SAMPLE // 5  # 200 ms of audio, 9,600 bytes: far below 512 KiB a frame


@dataclass(frozen=True, slots=True)
class Booking:
    """An event, and what counts as heard once it is handed over."""

    event: ServerEvent
    response: Response | None = None
    """Set on audio, words and text, which a barge-in may still drop."""
    samples: int = 0
    text: str = ""
    marks: tuple[tuple[int, float], ...] = ()


class Response:
    """One reply: at most one spoken or written message, then the client's function calls."""

    def __init__(
        self, *, config: Json, conversation: Conversation | None, speaks: bool, telephone: ToTelephone | None = None
    ) -> None:
        """`telephone` makes G.711 of its audio."""
        self.id = new_id("resp")
        self._conversation = conversation
        """None for a reply out of band, which leaves no items behind."""
        self.speaks = speaks
        self._telephone = telephone
        self._config = config
        self._status = "in_progress"
        self._details: Json | None = None
        self._usage = Usage(0, 0)
        self._samples = 0
        self._said_text = ""
        self._handed_text = ""
        self.items: list[Item] = []
        self.message: Item | None = None
        """The spoken or written answer, once it has begun."""

    def dump(self) -> Json:
        """As JSON, all keys always there."""
        prompt, completion = self._usage.prompt_tokens, self._usage.completion_tokens
        done = self._status != "in_progress"
        usage = {
            "total_tokens": prompt + completion,
            "input_tokens": prompt,
            "output_tokens": completion,
            "input_token_details": {
                "text_tokens": prompt,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": 0,
                "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": completion, "audio_tokens": 0},
        }
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self._status,
            "status_details": self._details,
            "output": [item.dump() for item in self.items] if done else [],
            "usage": usage if done else None,
            **self._config,
        }

    def account(self, answer: Answer) -> None:
        """Takes over tokens and hidden tool calls; a reply with tools has several completions."""
        prompt = sum(usage.prompt_tokens for usage in answer.usage)
        completion = sum(usage.completion_tokens for usage in answer.usage)
        self._usage = Usage(prompt, completion, answer.usage[-1].finish_reason if answer.usage else "stop")
        if self.message is not None:
            self.message.hidden = answer.hidden

    @property
    def was_cut_short(self) -> bool:
        """Whether the model stopped at its token limit."""
        return self._usage.finish_reason == "length"

    def is_saying(self, item_id: str) -> bool:
        """Whether the item is this reply's message."""
        return self.message is not None and self.message.id == item_id

    def begin(self) -> list[Booking]:
        """The reply exists."""
        return [Booking(out.ResponseCreated(self.dump()))]

    def say(self, speech: Speech) -> list[Booking]:
        """A piece of speech with its words; split so that no frame is long."""
        bookings = self._open_message()
        self._said_text += speech.text
        if speech.text:
            delta = out.AudioTranscriptDelta(*self._part_path(), speech.text)
            bookings.append(Booking(delta, self, text=speech.text, marks=speech.marks))
        for start in range(0, len(speech.pcm), MAX_DELTA_BYTES):
            bookings += self._audio(speech.pcm[start : start + MAX_DELTA_BYTES])
        return bookings

    def write(self, text: str) -> list[Booking]:
        """Further words of a written reply."""
        opened = self._open_message()
        self._said_text += text
        return [*opened, Booking(out.TextDelta(*self._part_path(), text), self, text=text)]

    def call(self, call: ToolCall) -> list[Booking]:
        """A function that the client declared: whole at once, since half a call is of no use to anybody."""
        index = len(self.items)
        item = Item(new_id("item"), "function_call", status="in_progress", name=call.name, call_id=call.id)
        bookings = self._add(item)
        item.arguments = call.arguments
        item.status = "completed"
        path = (self.id, index, item.id, call.id)
        bookings.append(Booking(out.ArgumentsDelta(*path, call.arguments)))
        bookings.append(Booking(out.ArgumentsDone(*path, call.name, call.arguments)))
        return bookings + self._finish(item, index)

    def book(self, booking: Booking) -> None:
        """Counts what the socket has taken, of audio and of words."""
        if self.message is None:
            return
        if booking.text:
            base, at_ms = len(self._handed_text), self._samples * 1000 / REALTIME_RATE
            self.message.marks += [(base + character, at_ms + ms) for character, ms in booking.marks]
            self._handed_text += booking.text
        self._samples += booking.samples
        self.message.audio_ms = self._samples * 1000 // REALTIME_RATE

    @property
    def audio_seconds(self) -> float:
        """Audio handed over."""
        return self._samples / REALTIME_RATE

    def end(self, status: str, details: Json | None = None, *, dropped: bool = False) -> list[Booking]:
        """Closes what is open, then the reply. `dropped`: what had not been handed over yet never will be."""
        bookings: list[Booking] = []
        if self.message is not None:
            if self._telephone is not None and not dropped:
                bookings += self._audio(b"", last=True)
            bookings += self._close_message(status, self._handed_text if dropped else self._said_text)
        self._status = status
        self._details = details
        return [*bookings, Booking(out.ResponseDone(self.dump()))]

    def _audio(self, pcm: Pcm16, *, last: bool = False) -> list[Booking]:
        data, samples = pcm, len(pcm) // BYTES_PER_SAMPLE
        if self._telephone is not None:
            data = self._telephone.feed(pcm, last=last)
            samples = len(data) * REALTIME_RATE // TELEPHONE_RATE
        event = out.AudioDelta(*self._part_path(), base64.b64encode(data).decode())
        return [Booking(event, self, samples=samples)] if data else []

    def _open_message(self) -> list[Booking]:
        if self.message is not None:
            return []
        self.message = Item(new_id("item"), "message", role="assistant", status="in_progress")
        bookings = self._add(self.message)
        kind = {"type": "output_audio", "transcript": ""} if self.speaks else {"type": "output_text", "text": ""}
        self.message.content.append(kind)
        bookings.append(Booking(out.ContentPartAdded(*self._part_path(), self._part(""))))
        return bookings

    def _close_message(self, status: str, text: str) -> list[Booking]:
        assert self.message is not None
        self.message.status = "completed" if status == "completed" else "incomplete"
        self.message.content[0]["transcript" if self.speaks else "text"] = text
        path = self._part_path()
        events: list[ServerEvent]
        if self.speaks:
            events = [out.AudioDone(*path), out.AudioTranscriptDone(*path, text)]
        else:
            events = [out.TextDone(*path, text)]
        events.append(out.ContentPartDone(*path, self._part(text)))
        return [Booking(event) for event in events] + self._finish(self.message, self.items.index(self.message))

    def _add(self, item: Item) -> list[Booking]:
        index = len(self.items)
        self.items.append(item)
        bookings = [Booking(out.OutputItemAdded(self.id, index, item.dump()))]
        if self._conversation is not None:
            previous = self._conversation.append(item)
            bookings.append(Booking(out.ItemAdded(previous, item.dump())))
        return bookings

    def _finish(self, item: Item, index: int) -> list[Booking]:
        bookings = [Booking(out.OutputItemDone(self.id, index, item.dump()))]
        # A client may delete an item while it is being spoken; then it has no place in the conversation to report.
        if self._conversation is not None and item in list(self._conversation):
            bookings.insert(0, Booking(out.ItemDone(self._conversation.previous_id(item), item.dump())))
        return bookings

    def _part_path(self) -> tuple[str, int, str, int]:
        assert self.message is not None
        return (self.id, self.items.index(self.message), self.message.id, 0)

    def _part(self, text: str) -> Json:
        return {"type": "audio", "transcript": text} if self.speaks else {"type": "text", "text": text}
