"""`parley talk`: streams recordings in real time into a running service, a caller without a microphone.

Knows the service by its public protocol alone, as any client does: nothing of sessions, workers or packs.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import ssl
import sys
import time
import wave
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode, urlsplit

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from app.audio import BYTES_PER_SAMPLE, REALTIME_RATE, Pcm16, seconds_of, to_pcm16
from app.errors import AccessDenied, BadAudio, BadRequest, ParleyError, WorkerUnavailable
from app.media import decode_to
from app.talk_turn import Turn

Json: TypeAlias = dict[str, Any]

DEFAULT_URL = "http://127.0.0.1:8000"
FRAME_SECONDS = 0.04
FRAME_BYTES = int(FRAME_SECONDS * REALTIME_RATE) * BYTES_PER_SAMPLE  # 1920
HEARING_SECONDS = 3.0  # after a recording in which the service noticed no speech
ANSWER_SECONDS = 30.0  # without any event, while an answer is due

ANSWERED, UNANSWERED, BAD_INPUT, NO_SERVICE, REFUSED = range(5)
"""Exit codes. UNANSWERED: nothing was heard, or the reply failed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley talk`."""
    parser.description = (
        "Streams recordings into a running service as a caller would, prints what was heard, the reply and where the"
        " time went. Several recordings are several turns of one conversation. Exit codes: 0 answered, 1 not answered,"
        " 2 not a recording, 3 no service, 4 key refused or used up."
    )
    parser.add_argument("recordings", nargs="+", type=Path, metavar="RECORDING", help="wav, flac, mp3, ogg, m4a, ...")
    parser.add_argument("--out", type=Path, help="write the reply as WAV; with several, as NAME-1.wav, NAME-2.wav, ...")
    parser.add_argument("--url", default=DEFAULT_URL, help=f"where the service is [{DEFAULT_URL}]")
    parser.add_argument("--model", default="", help="language pack to talk to [the one that is served]")
    parser.add_argument("--api-key", default=os.environ.get("PARLEY_API_KEY", ""), help="[$PARLEY_API_KEY]")


def run(args: argparse.Namespace) -> int:
    """Talks; an error is one line on stderr and an exit code."""

    def write(text: str) -> None:
        print(text, end="", flush=True)

    try:
        return asyncio.run(
            talk(args.recordings, url=args.url, out=args.out, api_key=args.api_key, model=args.model, write=write)
        )
    except ParleyError as error:
        print(f"parley: {error.message}", file=sys.stderr)
        codes = {AccessDenied: REFUSED, WorkerUnavailable: NO_SERVICE}
        return codes.get(type(error), BAD_INPUT)


async def talk(
    recordings: Sequence[Path], *, url: str, out: Path | None, api_key: str, model: str, write: Callable[[str], None]
) -> int:
    """One session, a turn for each recording. `write` gets pieces of text as they come. Returns an exit code.

    Raises BadAudio for a file that is no recording, WorkerUnavailable where no service answers, AccessDenied for a
    refused key, BadRequest for an address or model that makes no sense.
    """
    if out is not None and not out.parent.is_dir():  # said before the turn, not after it
        raise BadRequest(f"cannot write {out}: there is no folder {out.parent}")
    sounds = [read_recording(path) for path in recordings]
    code = ANSWERED
    async with dial(url, model, api_key) as socket:
        await socket.send(orjson.dumps(TRANSCRIBE).decode())
        microphone = Microphone(socket)
        streaming = asyncio.create_task(microphone.stream())
        try:
            for number, (path, pcm) in enumerate(zip(recordings, sounds, strict=True), start=1):
                write(f"{path.name} ({seconds_of(pcm, REALTIME_RATE):.1f} s)\n")
                turn = Turn(write)
                microphone.say(pcm)
                await _listen(socket, microphone, turn)
                code = max(code, ANSWERED if turn.answered else UNANSWERED)
                if out is not None and turn.audio:
                    name = out if len(recordings) == 1 else out.with_stem(f"{out.stem}-{number}")
                    write_wav(name, bytes(turn.audio))
                    write(f"  {'reply in':<8} {name}\n")
                if number < len(recordings):
                    await asyncio.sleep(turn.still_speaking_seconds)  # a caller hears the answer out
        finally:
            streaming.cancel()
    return code


class Microphone:
    """Sends what it was given to say at the pace of speech, and silence whenever there is nothing to say."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._unsaid = b""

    def say(self, pcm: Pcm16) -> None:
        """A recording to send, PCM16 at REALTIME_RATE."""
        self._unsaid += pcm

    @property
    def unsaid_seconds(self) -> float:
        """What is left of it."""
        return seconds_of(self._unsaid, REALTIME_RATE)

    async def stream(self) -> None:
        """Runs until it is cancelled or the socket closes."""
        due = time.monotonic()
        while True:
            frame, self._unsaid = self._unsaid[:FRAME_BYTES], self._unsaid[FRAME_BYTES:]
            audio = base64.b64encode(frame.ljust(FRAME_BYTES, b"\0")).decode()
            try:
                await self._socket.send(orjson.dumps({"type": "input_audio_buffer.append", "audio": audio}).decode())
            except ConnectionClosed:
                return  # who listens finds out as well, and says so
            due += FRAME_SECONDS
            await asyncio.sleep(due - time.monotonic())


def read_recording(path: Path) -> Pcm16:
    """Any audio file as PCM16 at REALTIME_RATE. Raises BadAudio naming the file."""
    try:
        return to_pcm16(decode_to(path.read_bytes(), REALTIME_RATE))
    except OSError as error:
        raise BadAudio(f"cannot read {path}: {error.strerror}") from error
    except BadAudio as error:
        raise BadAudio(f"{path} is not a recording: {error.message}") from error


def write_wav(path: Path, pcm: Pcm16) -> None:
    """PCM16 at REALTIME_RATE as a WAV file. Raises BadRequest where it cannot be written."""
    try:
        with path.open("wb") as opened, wave.open(opened, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(BYTES_PER_SAMPLE)
            file.setframerate(REALTIME_RATE)
            file.writeframes(pcm)
    except OSError as error:
        raise BadRequest(f"cannot write {path}: {error.strerror}") from error


TRANSCRIBE: Json = {
    "type": "session.update",
    "session": {"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}},
}


async def _listen(socket: ClientConnection, microphone: Microphone, turn: Turn) -> None:
    """Takes events until the recording is over and answered, or nothing more is to be expected."""
    while microphone.unsaid_seconds > 0 or not turn.heard_speech or not turn.settled:
        patience = HEARING_SECONDS if turn.settled else ANSWER_SECONDS
        try:
            async with asyncio.timeout(microphone.unsaid_seconds + patience):
                turn.take(orjson.loads(await socket.recv()))
        except TimeoutError:
            if not turn.heard_speech:
                turn.give_up(f"no speech was noticed within {patience:.0f} s after the end of the recording")
            elif not turn.settled:
                turn.give_up(f"no answer came within {patience:.0f} s")
            return
        except ConnectionClosed as error:
            raise WorkerUnavailable(f"the service closed the connection: {error}") from error


@asynccontextmanager
async def dial(url: str, model: str, api_key: str) -> AsyncIterator[ClientConnection]:
    """An open session. Raises AccessDenied, BadRequest or WorkerUnavailable, saying what to do."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.netloc:
        raise BadRequest(f"{url!r} is not the address of a service; expected for instance {DEFAULT_URL}")
    scheme = "wss" if parts.scheme in ("https", "wss") else "ws"
    query = urlencode({"parley_timings": "true", **({"model": model} if model else {})})
    address = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/v1/realtime?{query}"
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        socket = await connect(address, additional_headers=headers, compression=None, max_size=None, proxy=None)
    except InvalidStatus as error:
        raise _refusal(error, url) from error
    except ssl.SSLCertVerificationError as error:
        raise WorkerUnavailable(f"the certificate of {url} is not trusted: {error.verify_message}") from error
    except (OSError, InvalidHandshake, TimeoutError) as error:
        raise WorkerUnavailable(f"no service answers at {url}; start it with `parley serve` ({error})") from error
    async with socket:
        yield socket


def _refusal(error: InvalidStatus, url: str) -> ParleyError:
    """What an HTTP answer instead of a session means."""
    status = error.response.status_code
    try:
        message = str(orjson.loads(error.response.body or b"")["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"HTTP {status}"
    if status == 429:
        again = error.response.headers.get("Retry-After")
        return AccessDenied(f"{url} refused the session: {message}" + (f" (again in {again} s)" if again else ""))
    if status in (401, 403):
        return AccessDenied(f"{url} refused the session: {message}" + (" (--api-key)" if status == 401 else ""))
    if status < 500:
        return BadRequest(f"{url} refused the session: {message}")
    return WorkerUnavailable(f"{url} cannot take a session now: {message}")
