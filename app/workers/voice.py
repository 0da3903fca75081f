"""The ONNX voice: text to speech in pieces, with the exact place of every word. Knows no other engine and no session.

A phrase's phones are encoded once; its frames are decoded stretch by stretch with the context that the convolutions
reach, so the first piece is out after a few milliseconds and pieces join as if they had been made at once.
"""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app import metrics
from app.audio import Waveform, seconds_of, to_pcm16
from app.errors import BadRequest, PackError, UnknownModel, WorkerBusy, WorkerError
from app.front_end import read_front_end
from app.pronounce import PHONES
from app.workers.base import Health, SpeechChunk
from app.workers.due import DueQueue
from app.workers.frames import frame_positions
from app.workers.phrases import UNFINISHED, Phrase, phrases
from app.workers.vocoder import HOP, RATE, Vocoder

STOCK_VOICES = frozenset(
    ("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse")
)
"""OpenAI's voices: stock clients send them unasked, so they are other names of the default voice."""

SLOWEST, FASTEST = 0.25, 4.0
FIRST_FRAMES = 28  # 0.3 s: enough to play while the next stretch is made
MOST_FRAMES = 240  # 2.6 s: a cancelled reply wastes no more than this
LEAD_FRAMES = 2  # silence before a phrase, which the caller would only wait for
PAUSE_FRAMES = {"none": 2, "comma": 9, "sentence": 22}  # after a phrase: 20, 100, 230 ms
LOUD = 0.7  # of full scale: above it samples are bent smoothly instead of clipped


class OnnxVoice:
    """The synthesizer of a pack's voice folder; satisfies `Synthesizer`."""

    def __init__(
        self, path: Path, *, names: Sequence[str] = (), model: str = "", threads: int = 1, max_replies: int = 64
    ) -> None:
        """Loads the folder. `threads` pieces are made at once. Raises PackError for a folder that is no voice."""
        self._path = path
        facts = _facts(path)
        self._sample_rate = int(facts["sample_rate"])
        self._reach = int(facts["reach_frames"])
        self._gain = float(facts["gain"])
        self._names = tuple(names) or tuple(facts["names"])
        self._model = model or path.name
        self._max_replies = max_replies
        self._replies = 0
        self._voices = len(facts["names"])
        self._front = read_front_end(path, facts)
        self._encoder, self._decoder = _session(path / "encoder.onnx"), _session(path / "decoder.onnx")
        self._pieces_due: DueQueue[SpeechChunk | None] = DueQueue(max(1, threads), "voice")
        self._warm_up()

    @property
    def sample_rate(self) -> int:
        """Hertz of every chunk."""
        return self._sample_rate

    async def speak(
        self, text: str, *, voice: str = "", speed: float = 1.0, model: str = ""
    ) -> AsyncIterator[SpeechChunk]:
        """See `Synthesizer`. Raises UnknownModel, BadRequest for the speed, WorkerBusy, WorkerError."""
        if voice and voice not in self._names and voice not in STOCK_VOICES:
            known = ", ".join(self._names)
            raise UnknownModel(f"no voice {voice!r} here; there are: {known}", param="voice")
        if not SLOWEST <= speed <= FASTEST:
            raise BadRequest(f"got speed {speed}, expected {SLOWEST} to {FASTEST}", param="speed")
        if self._replies >= self._max_replies:
            raise WorkerBusy(f"all {self._max_replies} replies of the voice are in use")
        metrics.QUEUE_DEPTH.labels("synthesizer").observe(self._replies)
        self._replies += 1
        try:
            pieces = self._pieces(text, speed, self._speaker(voice))
            # A first piece is due now, since its listener waits; a later one when those before it will have been heard.
            due = time.monotonic()
            # One piece a step: nothing runs ahead of the listener, so closing this iterator ends the work.
            while (piece := await self._next(pieces, due)) is not None:
                due = max(due, time.monotonic()) + seconds_of(piece.pcm, self._sample_rate)
                yield piece
        finally:
            self._replies -= 1

    async def health(self) -> Health:
        """The voices, the rate and how many replies are being spoken."""
        detail = {
            "voices": list(self._names),
            "sample_rate": self._sample_rate,
            "replies": self._replies,
            "max_replies": self._max_replies,
        }
        return Health(stage="synthesizer", engine="onnx", model=self._model, detail=detail)

    def _next(self, pieces: Iterator[SpeechChunk], due: float) -> asyncio.Future[SpeechChunk | None]:
        return asyncio.wrap_future(self._pieces_due.submit(due, partial(next, pieces, None)))

    def _speaker(self, voice: str) -> int:
        """Number of a voice by its name; of one that is only another name, the default's."""
        place = self._names.index(voice) if voice in self._names else 0
        return min(place, self._voices - 1)

    def _pieces(self, text: str, speed: float, speaker: int = 0) -> Iterator[SpeechChunk]:
        vocoder = Vocoder(seed=seed_of(text))
        spoken = list(phrases(text, self._front))
        pending: list[tuple[int, int]] = []  # (character, sample of the whole text) not yet in a chunk
        frames = sent = character = 0
        size = FIRST_FRAMES
        for index, phrase in enumerate(spoken):
            states, durations = self._encode(phrase, speed, speaker)
            ends = (frames + np.cumsum(durations)) * HOP
            pending += [(c, int(e)) for c, e in zip(phrase.finished, ends, strict=True) if c != UNFINISHED]
            last_phrase = index + 1 == len(spoken)
            for begin, end in _stretches(int(durations.sum()), size):
                size = min(MOST_FRAMES, 2 * (end - begin))
                samples = vocoder.next(*self._decode(states, durations, begin, end))
                last = last_phrase and end == int(durations.sum())
                if last:
                    samples = np.concatenate([samples, vocoder.flush()])
                until = sent + len(samples)
                marks = tuple((c, sample - sent) for c, sample in pending if sample <= until)
                pending = pending[len(marks) :]
                span = (character, len(text) if last else marks[-1][0] if marks else character)
                yield SpeechChunk(to_pcm16(limited(samples * self._gain)), self._sample_rate, span, marks)
                sent, character = until, span[1]
            frames += int(durations.sum())

    def _encode(self, phrase: Phrase, speed: float, speaker: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """States [1, P, D] and frames [P] of a phrase, its outer pauses set."""
        inputs: dict[str, NDArray[Any]] = {"phones": phrase.phones[None], "places": phrase.places[None]}
        if self._voices > 1:
            inputs["speaker"] = np.array([speaker])
        states, lengths = _run(self._encoder, inputs)
        return states, whole_frames(lengths[0], phrase, speed)

    def _decode(
        self, states: NDArray[np.float32], durations: NDArray[np.int64], begin: int, end: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Pitch and filters of frames [begin, end): made with their context, which is then cut off."""
        owner, position = frame_positions(durations)
        left, right = max(0, begin - self._reach), min(len(owner), end + self._reach)
        inputs: dict[str, NDArray[Any]] = {
            "states": states,
            "owner": owner[None, left:right],
            "position": position[None, left:right],
        }
        hertz, harmonic, noise = (out[0, begin - left : end - left] for out in _run(self._decoder, inputs))
        return hertz, harmonic, noise

    def _warm_up(self) -> None:
        for _ in self._pieces("Ready.", 1.0):
            pass


def whole_frames(lengths: NDArray[Any], phrase: Phrase, speed: float = 1.0) -> NDArray[np.int64]:
    """Frames [P] of each phone of a phrase from its predicted ones [P]; the outer pauses are ours."""
    frames = lengths.astype(np.float64)
    frames[0], frames[-1] = LEAD_FRAMES, PAUSE_FRAMES[phrase.pause_after]
    # Rounding the ends, not the lengths, keeps the tempo at high speed, where a phone is a fraction of a frame.
    ends = np.round(np.cumsum(frames / speed))
    return np.maximum(1, np.diff(ends, prepend=0)).astype(np.int64)


def seed_of(text: str) -> int:
    """Of a text's noise: the same text always sounds the same."""
    return zlib.crc32(text.encode())


def _stretches(count: int, first: int) -> Iterator[tuple[int, int]]:
    """Frames [begin, end) of a phrase, twice as many each time; a short rest joins the piece before it."""
    begin, size = 0, first
    while begin < count:
        end = count if count - begin <= size + FIRST_FRAMES // 2 else begin + size
        yield begin, end
        begin, size = end, min(MOST_FRAMES, 2 * size)


def limited(samples: Waveform) -> Waveform:
    """Bends what lies above LOUD so that it never reaches full scale; leaves the rest as it is."""
    over = np.abs(samples) - LOUD
    room = 1.0 - LOUD
    bent = np.sign(samples) * (LOUD + room * np.tanh(np.maximum(over, 0) / room))
    return np.where(over > 0, bent, samples).astype(np.float32)


def _run(session: Any, inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    try:
        outputs: list[NDArray[Any]] = session.run(None, inputs)
    except Exception as error:  # onnxruntime raises classes of its own C++ binding
        raise WorkerError(f"the voice's network failed: {error}") from error
    return outputs


def _session(path: Path) -> Any:
    # onnxruntime takes a quarter of a second to import; only the process that speaks pays it.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a piece takes milliseconds; threads would cost more in waiting for each other
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above; a missing file is one of them
        raise PackError(f"{path} cannot be loaded: {error}") from error


def _facts(path: Path) -> dict[str, Any]:
    """voice.json, checked against this engine."""
    file = path / "voice.json"
    try:
        facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PackError(f"{file} cannot be read: {error}") from error
    english = facts.get("format") == 1
    expected = {"sample_rate": RATE, "hop": HOP, **({"phones": list(PHONES)} if english else {"format": 2})}
    for key, value in expected.items():
        if facts.get(key) != value:
            raise PackError(f"{file}: {key} is {facts.get(key)!r}, expected {value!r}")
    needed = {"names", "reach_frames", "gain", *(() if english else ("language", "symbols", "phones", "said"))}
    if missing := needed - set(facts):
        raise PackError(f"{file} lacks {sorted(missing)}")
    return facts
