"""One file over HTTP: resumed where it broke off, verified by SHA-256, in place only when whole.

Knows nothing of models, licences or hubs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import httpx

from app.errors import DownloadError

BLOCK = 1 << 20  # bytes of a part that are hashed at a time
PART = ".part"

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes of the whole file, 0 where the server does not say."""


def download(
    client: httpx.Client,
    url: str,
    target: Path,
    *,
    sha256: str = "",
    headers: Mapping[str, str] | None = None,
    progress: Progress = lambda done, total: None,
) -> str:
    """The file at `url` as `target`; its SHA-256 in hexadecimal, which must be `sha256` where that is given.

    A file that is there already is only verified. What a broken connection has brought stays in `target`.part, and
    the rest is asked for by Range; a connection that broke after bringing something is tried again at once.
    Raises DownloadError: unreachable, refused, wrong bytes, or a disk that takes no more.
    """
    part = target.with_name(target.name + PART)
    try:
        if target.is_file():
            found = hash_of(target)
            if sha256 in ("", found):
                return found
            target.unlink()  # a file of an earlier revision, or a damaged one
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = _fetch(client, url, part, dict(headers or {}), progress)
        if sha256 not in ("", digest):
            part.unlink()
            raise DownloadError(f"{url} has other bytes than expected: SHA-256 {digest}, expected {sha256}")
        os.replace(part, target)
    except OSError as error:
        raise DownloadError(f"cannot write {target}: {error.strerror or error}") from error
    return digest


def hash_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(client: httpx.Client, url: str, part: Path, headers: dict[str, str], progress: Progress) -> str:
    host = urlsplit(url).netloc
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            return _attempt(client, url, part, before, headers, progress)
        except httpx.RequestError as error:
            if part.is_file() and part.stat().st_size > before:
                continue  # it brought something: the connection broke, the server is there
            raise DownloadError(
                f"cannot reach {host}: {error or type(error).__name__}. What is there already is kept; "
                f"the same command goes on from it"
            ) from error


def _attempt(
    client: httpx.Client, url: str, part: Path, there: int, headers: dict[str, str], progress: Progress
) -> str:
    """One request, appended to `part`. Raises httpx.RequestError where the connection breaks."""
    asked = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={there}-"} if there else {})}
    with client.stream("GET", url, headers=asked, follow_redirects=True) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and there:
            if answer.headers.get("Content-Range", "").endswith(f"/{there}"):
                return hash_of(part)  # whole already: ended before it was put in place
            part.unlink()  # longer than the file: left over from something else
            return _attempt(client, url, part, 0, headers, progress)
        if answer.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise DownloadError(_refusal(answer))
        if answer.status_code == httpx.codes.OK:
            there = 0  # a server that knows no Range sends everything again
        digest = hashlib.sha256()
        with part.open("r+b" if there else "wb") as file:
            while block := file.read(BLOCK) if there else b"":
                digest.update(block)
            total = there + int(answer.headers.get("Content-Length", 0))
            progress(there, total)
            for block in answer.iter_bytes():  # as they come: a broken connection loses none
                file.write(block)
                digest.update(block)
                there += len(block)
                progress(there, total)
            file.flush()
            os.fsync(file.fileno())  # a whole file after a power cut, or none
    return digest.hexdigest()


def _refusal(answer: httpx.Response) -> str:
    status, url = answer.status_code, answer.url
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return f"{url.host} refuses {url.path} ({status}): it asks for an account; set HF_TOKEN to a token of yours"
    if status == httpx.codes.NOT_FOUND:
        return f"{url.host} has no {url.path} (404)"
    return f"{url.host} answered {status} to {url.path}, expected 200"
