"""One PocketSphinx decoder in a process of its own, and the thread that talks to it. Knows no slot and no event loop.

PocketSphinx holds the GIL while it decodes, so it may not share a process with a server. The process ends by itself
when the other end of its pipe is gone, however that happened.
"""

from __future__ import annotations

import math
import multiprocessing
import queue
import re
import signal
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal, TypeAlias

import numpy as np

from app.audio import HEARING_RATE, Pcm16
from app.errors import WorkerError
from app.workers.base import Word

FRAME_RATE = 100  # of PocketSphinx's frames, a second
SILENT_PEAK = 4  # of 32768, 78 dB below full scale: no microphone is that quiet

Verb: TypeAlias = Literal["begin", "feed", "interim", "finish", "close"]


@dataclass(frozen=True, slots=True)
class SphinxText:
    """What the decoder makes of an utterance."""

    text: str
    confidence: float
    """Geometric mean of the words' posterior probabilities, 0..1; 1 where there are no words."""
    words: tuple[Word, ...] = ()


class SphinxProcess:
    """A decoder process, replaced by a new one when it dies. Requests are answered in order."""

    def __init__(self, words: str = "") -> None:
        """`words`: file of an n-gram model; empty: PocketSphinx's own of general English."""
        self._words = words
        self._requests: queue.SimpleQueue[tuple[Verb, Pcm16, Future[SphinxText] | None]] = queue.SimpleQueue()
        self._process, self._pipe = _spawn(words)
        threading.Thread(target=self._serve, name="sphinx", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """Of the present decoder process."""
        pid: int | None = self._process.pid
        return pid

    def begin(self) -> None:
        """A new utterance; whatever was under way is forgotten."""
        self._requests.put(("begin", b"", None))

    def feed(self, frame: Pcm16) -> None:
        """More of the utterance; returns at once."""
        self._requests.put(("feed", frame, None))

    def ask(self, verb: Literal["interim", "finish"]) -> Future[SphinxText]:
        """The text so far, or at the end. The result may be a WorkerError."""
        answer: Future[SphinxText] = Future()
        self._requests.put((verb, b"", answer))
        return answer

    def close(self) -> None:
        """Ends the thread and the process, once what was asked before is answered."""
        self._requests.put(("close", b"", None))

    def _serve(self) -> None:
        """The thread: passes requests on, and fails an utterance whose process died."""
        broken = False
        while True:
            verb, frame, answer = self._requests.get()
            if verb == "close":
                self._pipe.close()  # which ends the process
                self._process.join()
                return
            try:
                if verb == "begin":
                    broken = False
                if not broken:
                    self._pipe.send((verb, frame))
                    if answer is not None:
                        text = self._pipe.recv()
                        if answer.set_running_or_notify_cancel():
                            answer.set_result(text)
                        continue
            except (OSError, EOFError):
                broken = True
                self._process.kill()
                self._pipe.close()
                self._process, self._pipe = _spawn(self._words)
                if verb == "begin":  # it died between utterances: nothing is lost
                    broken = False
                    self._pipe.send((verb, frame))
            if answer is not None and answer.set_running_or_notify_cancel():
                answer.set_exception(WorkerError("the PocketSphinx process died during the utterance"))


def decode_requests(pipe: Connection, words: str) -> None:
    """Main of the decoder process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end ends this one
    import pocketsphinx

    model = {"lm": words} if words else {}
    decoder = pocketsphinx.Decoder(samprate=HEARING_RATE, loglevel="FATAL", **model)
    # Each utterance starts from the same estimate of the microphone: better than the last caller's, and no caller's
    # words depend on another's.
    neutral = decoder.get_cmn(False)
    under_way, loudest = False, 0
    while True:
        try:
            verb, frame = pipe.recv()
        except (EOFError, OSError):
            return
        if verb in ("begin", "finish") and under_way:
            decoder.end_utt()
            under_way = False
        if verb == "begin":
            decoder.set_cmn(neutral)
            decoder.start_utt()
            under_way, loudest = True, 0
        elif verb == "feed" and frame:  # PocketSphinx refuses an empty block
            decoder.process_raw(frame)
            loudest = max(loudest, int(np.abs(np.frombuffer(frame, "<i2").astype(np.int32)).max(initial=0)))
        elif verb != "feed":
            answer = SphinxText("", 1.0) if loudest <= SILENT_PEAK else _text(decoder)
            try:
                pipe.send(answer)
            except OSError:
                return


def _text(decoder: Any) -> SphinxText:
    """The best path's words, without silence, noises and the numbers of alternative pronunciations."""
    hypothesis = decoder.hyp()
    if hypothesis is None or not hypothesis.hypstr.strip():
        return SphinxText("", 1.0)
    named = [(re.sub(r"\(\d+\)$", "", segment.word).lower(), segment) for segment in decoder.seg()]
    words = tuple(
        Word(name, segment.start_frame / FRAME_RATE, (segment.end_frame + 1) / FRAME_RATE, min(1.0, segment.prob))
        for name, segment in named
        if re.fullmatch(r"[a-z'][a-z'.-]*", name)
    )
    if not words:
        return SphinxText("", 1.0)
    mean = sum(math.log(max(word.probability, 1e-9)) for word in words) / len(words)
    return SphinxText(" ".join(word.text for word in words), math.exp(mean), words)


def _spawn(words: str) -> tuple[Any, Connection]:
    """A fresh decoder process and our end of its pipe. Spawned, not forked: the parent has threads and locks."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=decode_requests, args=(theirs, words), name="sphinx", daemon=True)
    process.start()
    theirs.close()
    return process, ours
