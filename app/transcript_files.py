"""A recording's words in the forms that OpenAI's transcriptions have: srt, vtt, verbose JSON. Knows no route."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.language_names import name_of
from app.workers.base import Transcript, Word

SEGMENT_SECONDS: Final = 7.0  # a subtitle stays no longer, by the usual rules of subtitling
SEGMENT_PAUSE: Final = 0.7  # seconds of silence between words that begin a new one
SENTENCE_ENDS: Final = (".", "!", "?", "。", "！", "？")


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of words that belong together."""

    start_s: float
    end_s: float
    """Both from the start of the recording."""
    text: str
    heard: Transcript
    """The utterance that it is a part of."""


def segments(utterances: Sequence[Transcript]) -> list[Segment]:
    """Of utterances that follow each other without gaps: by pauses, sentences and length where the engine tells the
    times of words, else an utterance each."""
    found: list[Segment] = []
    offset = 0.0
    for heard in utterances:
        if heard.words:
            for group in _groups(heard.words):
                text = " ".join(word.text for word in group)
                found.append(Segment(offset + group[0].start_s, offset + group[-1].end_s, text, heard))
        elif heard.text:
            found.append(Segment(offset, offset + heard.seconds, heard.text, heard))
        offset += heard.seconds
    return found


def words(utterances: Sequence[Transcript]) -> list[dict[str, Any]]:
    """Every word with its times from the start of the recording, as verbose JSON has them."""
    found: list[dict[str, Any]] = []
    offset = 0.0
    for heard in utterances:
        found += [
            {"word": word.text, "start": round(offset + word.start_s, 3), "end": round(offset + word.end_s, 3)}
            for word in heard.words
        ]
        offset += heard.seconds
    return found


def srt(utterances: Sequence[Transcript]) -> str:
    """SubRip: numbered from 1, `HH:MM:SS,mmm`."""
    return "\n".join(
        f"{number}\n{_clock(part.start_s, ',')} --> {_clock(part.end_s, ',')}\n{part.text}\n"
        for number, part in enumerate(segments(utterances), 1)
    )


def vtt(utterances: Sequence[Transcript]) -> str:
    """WebVTT: `HH:MM:SS.mmm`."""
    cues = (
        f"{_clock(part.start_s, '.')} --> {_clock(part.end_s, '.')}\n{part.text}\n" for part in segments(utterances)
    )
    return "WEBVTT\n\n" + "\n".join(cues)


def usage(seconds: float) -> dict[str, Any]:
    """What was heard, in seconds: a number, of which OpenAI's schema says the audio's duration, not what is billed."""
    return {"type": "duration", "seconds": round(seconds, 3)}


def verbose_json(
    utterances: Sequence[Transcript], *, task: str, seconds: float, language: str, granularities: Sequence[str]
) -> dict[str, Any]:
    """As OpenAI's `verbose_json`; `granularities` are word and segment, `language` is that which was asked for."""
    heard_in = next((heard.language for heard in utterances if heard.language), language)
    body: dict[str, Any] = {
        "task": task,
        "language": name_of(heard_in),
        "duration": round(seconds, 3),
        "text": " ".join(heard.text for heard in utterances if heard.text),
        "usage": usage(seconds),
    }
    if "segment" in granularities or not granularities:
        body["segments"] = [_segment(index, part) for index, part in enumerate(segments(utterances))]
    if "word" in granularities:
        body["words"] = words(utterances)
    return body


def _segment(index: int, part: Segment) -> dict[str, Any]:
    text = part.text.encode()
    return {
        "id": index,
        "seek": 0,  # of Whisper's own 30 s windows, which ours are not
        "start": round(part.start_s, 3),
        "end": round(part.end_s, 3),
        "text": part.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": math.log(max(part.heard.confidence, 1e-9)),
        "compression_ratio": len(text) / len(zlib.compress(text)),
        "no_speech_prob": part.heard.no_speech_probability,
    }


def _groups(words: Sequence[Word]) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in words:
        if group and (
            word.start_s - group[-1].end_s > SEGMENT_PAUSE
            or word.end_s - group[0].start_s > SEGMENT_SECONDS
            or group[-1].text.endswith(SENTENCE_ENDS)
        ):
            yield group
            group = []
        group.append(word)
    yield group


def _clock(seconds: float, point: str) -> str:
    whole, ms = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{ms:03}"
