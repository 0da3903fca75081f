"""A model hub on loopback that misbehaves on request: drops connections, serves wrong bytes, refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub(ThreadingHTTPServer):
    """Serves `files` by path; every request's path and Range are in `asked`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.tokens: list[str | None] = []
        self.drop_after: list[int] = []
        """One entry a request: so many bytes are sent, then the connection is closed."""
        self.knows_range = True
        self.status: int | None = None
        """Answered to everything, where set."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        hub = self.server
        wanted = self.headers.get("Range")
        hub.asked.append((self.path, wanted))
        hub.tokens.append(self.headers.get("Authorization"))
        body = hub.files.get(self.path)
        status = hub.status or (404 if body is None else 200)
        if status != 200 or body is None:
            self._answer(status, b"")
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and hub.knows_range else 0
        if start >= len(body) > 0:
            self._answer(416, b"", f"bytes */{len(body)}")
            return
        rest = body[start:]
        self._answer(206 if start else 200, rest, f"bytes {start}-{len(body) - 1}/{len(body)}" if start else None)

    def _answer(self, status: int, body: bytes, content_range: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        hub = self.server
        if body and hub.drop_after:
            self.wfile.write(body[: hub.drop_after.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def running_hub() -> Iterator[Hub]:
    """The hub in a thread of its own."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
