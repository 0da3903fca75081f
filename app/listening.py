"""The caller's half of one session: audio to utterances, utterances to items, and their words. Knows no reply's making.

hear -> (over a reply: a back-channel?) -> speech_started (barge-in) -> speech_stopped -> commit -> words -> `speaking`
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from app import endings, session_config
from app import server_events as out
from app.audio import Pcm16
from app.back_channel import ENDED_SECONDS, BackChannel, Verdict
from app.end_of_turn import EndOfTurn
from app.errors import BadRequest
from app.g711 import line_of
from app.hearing import Hearing
from app.packs import Pack
from app.session_config import SemanticVad, ServerVad, SessionConfig
from app.speaking import Spawn, Speaking
from app.timings import TurnClock
from app.transcribing import MAX_UTTERANCE_SECONDS, Transcribing
from app.turn import Ear, SpeechStarted, SpeechStopped, Turn, TurnEvent
from app.utterance import Utterance
from app.vad import SharedVad

LIKELY_SECONDS = 0.2  # of silence after which the caller may have ended: the language model begins
MIN_COMMIT_SECONDS = 0.1  # protocol section 6: a shorter commit is an error


class Listening:
    """What one caller says. `config` is the session's, and is set again whenever that changes."""

    def __init__(
        self,
        pack: Pack,
        vad: SharedVad,
        words: Transcribing,
        *,
        turn: Turn,
        speaking: Speaking,
        put: Callable[..., Awaitable[None]],
        spawn: Spawn,
        config: SessionConfig,
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        """`put` sends server events, in order and unbroken."""
        self.config = config
        self._pack = pack
        self._turn = turn
        self._speaking = speaking
        self._put = put
        self._spawn = spawn
        self._log = log
        self._words = words
        self._hearing = Hearing(self._detection, vad)
        self._line = line_of(config.audio.input.format.type)
        self._idle_since: float | None = None
        self._utterance: Utterance | None = None  # the one being heard
        self._ending: EndOfTurn | None = None  # of it, under semantic_vad
        self._doubt: BackChannel | None = None  # whether it takes the floor, over a reply
        self._guessed = ""  # words with which it may have ended, and on which a reply was begun
        self._buffer_full = False  # an uncommitted buffer has reached its limit, and the client was told

    @property
    def is_quiet(self) -> bool:
        """Nobody speaks."""
        return self._utterance is None and self._turn.ear is Ear.QUIET

    @property
    def heard_seconds(self) -> float:
        """All audio that the caller has sent to be listened to."""
        return self._hearing.heard_seconds

    async def reconfigure(self, config: SessionConfig) -> None:
        """The session has changed; what was heard under another turn detection is forgotten."""
        old, self.config = self.config.audio.input, config
        if config.audio.input.format != old.format:
            self._line = line_of(config.audio.input.format.type)
        if config.audio.input.turn_detection != old.turn_detection:
            await self.clear()
            self._hearing.detect(self._detection)

    async def close(self) -> None:
        """The caller has left."""
        if self._utterance is not None:
            await self._utterance.abort()

    async def hear(self, audio: bytes) -> None:
        """Audio of the caller in the session's format, in pieces of any length.

        Raises BadRequest for half a sample, and where too much waits for a commit.
        """
        pcm = self._line.feed(audio)
        if self._detection is None and self._utterance and self._utterance.seconds > MAX_UTTERANCE_SECONDS:
            if self._buffer_full:
                return  # one error is enough: a client may stream on all day
            self._buffer_full = True
            full = f"{self._utterance.seconds:.0f} s of audio wait uncommitted; more is ignored until commit or clear"
            raise BadRequest(full, code="input_audio_buffer_full")
        async for frame, happened in self._hearing.feed(pcm):
            if self._detection is None and self._utterance is None:
                self._utterance = self._words.open()
            if self._utterance is not None:
                self._utterance.feed(frame)
                if not isinstance(happened, SpeechStopped):
                    self._wait_as_needed(frame, self._utterance)
                    await self._guess_end(self._utterance)
            if isinstance(happened, SpeechStarted):
                await self._speech_noticed(happened.start_seconds)
            elif self._doubt is not None:
                await self._judge(self._doubt, frame, happened)
            elif isinstance(happened, SpeechStopped):
                await self._speech_stopped(happened.end_seconds, happened.waited_seconds)
            elif self._turn.ear is Ear.SPEAKING and self._utterance and self._utterance.seconds > MAX_UTTERANCE_SECONDS:
                self._hearing.end_utterance()
                await self._speech_stopped(self._hearing.heard_seconds, 0.0)
            elif (since := self._idle_since_long()) is not None:
                await self._words.missing(since, self._hearing.heard_seconds)

    async def _guess_end(self, utterance: Utterance) -> None:
        """The reply is begun on a likely end; while it is unsure who has the floor, nothing is."""
        detection = self._detection
        likely = detection and detection.create_response and self._hearing.silent_seconds >= LIKELY_SECONDS
        text = utterance.hypothesis if likely and self._doubt is None else ""
        if self._pack.turn.speculation and text != self._guessed:
            self._guessed = text
            await self._speaking.guess(text)

    def _wait_as_needed(self, frame: Pcm16, utterance: Utterance) -> None:
        """Under semantic_vad, how long a silence must last depends on what was said, and how."""
        if self._ending is not None:
            self._ending.feed(frame)
            self._ending.hears(utterance.hypothesis)
            self._hearing.end_after(self._ending.silence_needed(self._hearing.silent_seconds))

    async def _speech_noticed(self, start_seconds: float) -> None:
        frames = self._hearing.since(start_seconds)
        self._utterance = self._words.open()
        detection = self._detection
        if isinstance(detection, SemanticVad):
            file = self._pack.endings_file
            self._ending = EndOfTurn(detection.eagerness, endings.known(file) if file is not None else None)
        if (
            detection
            and detection.interrupt_response
            and detection.back_channels is not False
            and self._speaking.audible
        ):
            self._turn.apply(TurnEvent.SPEECH_SUSPECTED)
            self._utterance.withheld = True
            self._doubt = BackChannel(self._pack.turn.back_channels, start_seconds, frames)
            self._speaking.pause()
            if detection.back_channels:
                await self._put(out.SpeechSuspected(round(start_seconds * 1000)))
        self._listen(self._utterance, frames)
        if self._doubt is None:
            await self._speech_started(self._utterance, start_seconds)

    def _listen(self, utterance: Utterance, frames: list[Pcm16]) -> None:
        for frame in frames:
            utterance.feed(frame)
            self._wait_as_needed(frame, utterance)
        self._spawn(self._words.show(utterance))

    async def _speech_started(self, utterance: Utterance, start_seconds: float) -> None:
        self._turn.apply(TurnEvent.SPEECH_STARTED)
        utterance.withheld = False
        self._log.info("speech started at %.2f s", start_seconds)
        await self._put(out.SpeechStarted(utterance.item_id, round(start_seconds * 1000)))
        if self._detection is not None and self._detection.interrupt_response:
            await self._speaking.interrupt()

    async def _judge(self, doubt: BackChannel, frame: Pcm16, happened: SpeechStopped | None) -> None:
        """Over a reply: whether the caller takes the floor, once it can be told."""
        assert self._utterance is not None
        silent_seconds = ENDED_SECONDS if happened is not None else self._hearing.silent_seconds
        verdict = doubt.feed(frame, silent_seconds, self._utterance.hypothesis)
        if verdict is Verdict.OPEN:
            return
        if verdict is Verdict.ENDED:
            # No later audio is heard before these words are there: what they decide belongs to this moment.
            text, confidence = await self._words.at_once(self._utterance)
            self._log.info("over the reply, heard %r (confidence %.2f)", text, confidence)
            if doubt.takes_floor(text, confidence):
                verdict = Verdict.TAKES_FLOOR
                self._utterance = self._words.open()  # the caller may go on: one more recognition of half a second
                self._listen(self._utterance, doubt.frames)
            else:
                self._utterance = None
        if verdict is Verdict.TAKES_FLOOR:
            await self._take_floor(doubt)
            if happened is not None:
                await self._speech_stopped(happened.end_seconds, happened.waited_seconds)
        else:
            await self._dismiss(doubt)

    async def _take_floor(self, doubt: BackChannel) -> None:
        assert self._utterance is not None
        self._doubt = None
        await self._speech_started(self._utterance, doubt.start_seconds)

    async def _dismiss(self, doubt: BackChannel) -> None:
        """It was a back-channel: the reply goes on, and nothing was said."""
        self._log.info("back-channel at %.2f s", doubt.start_seconds)
        self._hearing.end_utterance()
        await self._forget_utterance(TurnEvent.SPEECH_DISMISSED)
        if self._detection is not None and self._detection.back_channels:
            await self._put(out.SpeechDismissed(round(doubt.start_seconds * 1000)))
        await self._speaking.answer_if_owed()

    async def _speech_stopped(self, end_seconds: float, waited_seconds: float) -> None:
        assert self._utterance is not None
        self._turn.apply(TurnEvent.SPEECH_STOPPED)
        self._speaking.clock = TurnClock(
            waited_seconds=waited_seconds, ended=time.monotonic(), utterance=self._utterance.span
        )
        await self._put(out.SpeechStopped(self._utterance.item_id, round(end_seconds * 1000)))
        await self._commit(self._utterance, answer_it=self._detection is not None and self._detection.create_response)

    def _idle_since_long(self) -> float | None:
        """Since when, in all audio heard, nobody has said anything, once that is `idle_timeout_ms`."""
        limit = self._detection.idle_timeout_ms if isinstance(self._detection, ServerVad) else None
        if limit is None:
            return None
        if self._turn.ear is not Ear.QUIET or not self._speaking.has_spoken or not self._speaking.is_quiet:
            self._idle_since = None
            return None
        if self._idle_since is None:
            self._idle_since = self._hearing.heard_seconds
        if self._hearing.heard_seconds - self._idle_since < limit / 1000:
            return None
        since, self._idle_since = self._idle_since, None
        return since

    # An utterance is over: it becomes an item, and its words follow.

    async def commit(self) -> None:
        """The client ends the utterance. Raises BadRequest where there is hardly any."""
        seconds = self._utterance.seconds if self._utterance is not None else 0.0
        if self._utterance is None or seconds < MIN_COMMIT_SECONDS:
            raise BadRequest(
                f"Error committing input audio buffer: got {seconds * 1000:.0f}ms of audio, expected at least 100ms",
                code="input_audio_buffer_commit_empty",
            )
        if self._doubt is not None:
            await self._take_floor(self._doubt)
        self._speaking.clock = TurnClock(ended=time.monotonic(), utterance=self._utterance.span)
        spoke = self._turn.ear is Ear.SPEAKING
        if spoke:
            self._hearing.end_utterance()
            self._turn.apply(TurnEvent.SPEECH_STOPPED)
        await self._commit(
            self._utterance, answer_it=spoke and self._detection is not None and self._detection.create_response
        )

    async def _commit(self, utterance: Utterance, *, answer_it: bool) -> None:
        self._utterance = self._ending = None
        self._buffer_full, self._guessed = False, ""
        await self._words.commit(utterance, answer_it=answer_it)

    async def clear(self) -> None:
        """Forgets what has not been committed."""
        self._hearing.clear()
        await self._forget_utterance(TurnEvent.SPEECH_DISCARDED)

    async def _forget_utterance(self, event: TurnEvent) -> None:
        if self._turn.ear is not Ear.QUIET:
            self._turn.apply(event)
        self._doubt = self._ending = None
        self._speaking.resume()
        self._buffer_full = False
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            await utterance.abort()

    @property
    def _detection(self) -> session_config.TurnDetection | None:
        return self.config.audio.input.turn_detection
