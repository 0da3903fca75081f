"""Recognizer and synthesizer in another process, over the private wire. Satisfies the Protocols; knows no engine.

A WebSocket is opened for each utterance and each clause; on one machine that costs about a millisecond. Closing it is
the cancellation: the worker stops when its peer is gone.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator

import httpx
import websockets
from websockets.asyncio.client import ClientConnection, connect

from app import tracing
from app.audio import Pcm16
from app.errors import WireError, WorkerError, WorkerUnavailable
from app.workers import wire
from app.workers.base import Health, Recognition, SpeechChunk, Transcript

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0  # a worker that says nothing for this long is taken for dead


class RemoteRecognizer:
    """A recognizer worker at `url` (http://HOST:PORT)."""

    def __init__(self, url: str, *, api_key: str = "") -> None:
        self._url = url.rstrip("/")
        self._api_key = api_key

    async def start(
        self,
        *,
        language: str = "",
        prompt: str = "",
        hot_words: str = "",
        word_times: bool = False,
        model: str = "",
    ) -> Recognition:
        """Opens an utterance there. Raises WorkerUnavailable, WorkerBusy."""
        socket = await _connect(self._url, "/wire/recognize", self._api_key)
        try:
            await socket.send(wire.encode(wire.Open(language, prompt, hot_words, word_times, model)))
            opened = await _receive(socket, self._url)
        except BaseException:
            await socket.close()
            raise
        if not isinstance(opened, wire.Opened):
            await socket.close()
            raise WireError(f"got {type(opened).__name__} from {self._url}, expected Opened")
        return RemoteRecognition(socket, self._url)

    async def health(self) -> Health:
        """What the worker says of itself. Raises WorkerUnavailable."""
        return await _health(self._url)


class RemoteRecognition:
    """One utterance over one WebSocket; one task sends, one receives."""

    def __init__(self, socket: ClientConnection, url: str) -> None:
        self._socket = socket
        self._url = url
        self._outgoing: asyncio.Queue[wire.WireMessage] = asyncio.Queue()
        self._latest = ""
        self._changed = asyncio.Event()
        self._heard: asyncio.Future[Transcript] = asyncio.get_running_loop().create_future()
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._listen())]

    def feed(self, frame: Pcm16) -> None:
        """Queues the frame for the socket."""
        self._outgoing.put_nowait(wire.Audio(frame))

    async def hypotheses(self) -> AsyncIterator[str]:
        """The newest interim text whenever there is one; one that nobody waited for is skipped. Raises WorkerError."""
        shown = ""
        while not self._heard.done():
            await self._changed.wait()
            self._changed.clear()
            if self._latest != shown:
                shown = self._latest
                yield shown
        if not self._heard.cancelled() and (error := self._heard.exception()) is not None:
            raise error

    async def finish(self) -> Transcript:
        """The transcript. Raises WorkerError."""
        self._outgoing.put_nowait(wire.Finish())
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await asyncio.shield(self._heard)
        except TimeoutError:
            raise WorkerUnavailable(f"{self._url} gave no transcript within {ANSWER_SECONDS:.0f} s") from None
        finally:
            await self.abort()

    async def abort(self) -> None:
        """Closes the socket, which frees the worker's slot."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self._heard.done():
            self._heard.cancel()
        self._changed.set()
        await self._socket.close()

    async def _send(self) -> None:
        while True:
            message = await self._outgoing.get()
            try:
                await self._socket.send(wire.encode(message))
            except websockets.ConnectionClosed:
                return  # `_listen` says why

    async def _listen(self) -> None:
        try:
            while not self._heard.done():
                message = await _receive(self._socket, self._url, seconds=None)
                if isinstance(message, wire.Hypothesis):
                    self._latest = message.text
                    self._changed.set()
                elif isinstance(message, wire.Heard):
                    self._heard.set_result(
                        Transcript(
                            text=message.text,
                            seconds=message.seconds,
                            confidence=message.confidence,
                            no_speech_probability=message.no_speech_probability,
                            engine=message.engine,
                            language=message.language,
                            words=message.words,
                        )
                    )
                else:
                    raise WireError(f"got {type(message).__name__} from {self._url}, expected Hypothesis or Heard")
        except WorkerError as error:
            if not self._heard.done():
                self._heard.set_exception(error)
                self._heard.exception()  # read: a failure that nobody asks for is no warning
        finally:
            self._changed.set()


class RemoteSynthesizer:
    """A synthesizer worker at `url`."""

    def __init__(self, url: str, *, api_key: str = "") -> None:
        self._url = url.rstrip("/")
        self._api_key = api_key

    async def speak(
        self, text: str, *, voice: str = "", speed: float = 1.0, model: str = ""
    ) -> AsyncIterator[SpeechChunk]:
        """Chunks as they are made; closing the iterator stops the worker. Raises WorkerError, UnknownModel."""
        socket = await _connect(self._url, "/wire/speak", self._api_key)
        try:
            await socket.send(wire.encode(wire.Speak(text, voice, speed, model)))
            while not isinstance(message := await _receive(socket, self._url), wire.SpeechEnd):
                if not isinstance(message, wire.Spoken):
                    raise WireError(f"got {type(message).__name__} from {self._url}, expected Spoken or SpeechEnd")
                start, end = message.text_span
                marks = tuple((character, sample) for character, sample in message.marks)
                yield SpeechChunk(message.pcm, message.sample_rate, (start, end), marks, message.marks_are_estimated)
        finally:
            await socket.close()

    async def health(self) -> Health:
        """What the worker says of itself. Raises WorkerUnavailable."""
        return await _health(self._url)


async def _connect(url: str, path: str, api_key: str) -> ClientConnection:
    try:
        return await connect(
            "ws" + url.removeprefix("http") + path,
            additional_headers=tracing.headers() | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            ssl=_trusted() if url.startswith("https") else None,
            open_timeout=CONNECT_SECONDS,
            close_timeout=1.0,
            compression=None,  # PCM does not compress, and deflate would cost more than the copy
            max_size=16 * 1024 * 1024,
            proxy=None,
        )
    except (OSError, TimeoutError, websockets.WebSocketException) as error:
        raise WorkerUnavailable(f"no worker answers at {url}: {error}") from error


async def _receive(socket: ClientConnection, url: str, *, seconds: float | None = ANSWER_SECONDS) -> wire.WireMessage:
    """The next message. A Failed is raised as the error it tells of, a lost connection as WorkerUnavailable."""
    try:
        async with asyncio.timeout(seconds):
            message = wire.decode(await socket.recv())
    except TimeoutError:
        raise WorkerUnavailable(f"{url} said nothing for {seconds:.0f} s") from None
    except websockets.ConnectionClosed as error:
        raise WorkerUnavailable(f"the worker at {url} is gone: {error}") from error
    if isinstance(message, wire.Failed):
        raise wire.error_of(message)
    return message


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The certificates of the system, or of SSL_CERT_FILE; to read them takes tens of milliseconds of an event loop."""
    return ssl.create_default_context()


async def _health(url: str) -> Health:
    try:
        async with httpx.AsyncClient(timeout=CONNECT_SECONDS, trust_env=False, verify=_trusted()) as client:
            answer = await client.get(f"{url}/health")
            answer.raise_for_status()
            return Health(**answer.json())
    except (httpx.HTTPError, TypeError, ValueError) as error:
        raise WorkerUnavailable(f"no healthy worker at {url}: {error}") from error
