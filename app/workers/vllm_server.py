"""The real vLLM server as a child process: started, watched, ended. Knows no pack and no prompt.

vLLM lives in an environment of its own, since it pins other libraries than the service does.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx

from app.errors import SettingsError, WorkerUnavailable

log = logging.getLogger("parley.vllm")

MODULE: Final = (
    "vllm.entrypoints.openai.api_server"  # not the `vllm` command, which looks for metadata that CPU builds lack
)
POLL_SECONDS: Final = 0.25
PROGRESS_SECONDS: Final = 10.0
STOP_SECONDS: Final = 3.0  # to end by itself after SIGTERM; less than what a supervisor gives the worker around it
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_libc = ctypes.CDLL(None)


class VllmServer:
    """A vLLM server on a loopback port; only this process has its key."""

    def __init__(self, python: str, arguments: Sequence[str]) -> None:
        """Starts it with the interpreter of vLLM's environment, and waits until it answers, however long it loads.

        When it dies later, this process is ended too: whoever supervises it starts both again. Raises SettingsError,
        WorkerUnavailable where it dies before it answers.
        """
        if not Path(python).is_file():
            raise SettingsError(f"there is no Python interpreter {python} with vLLM; `make vllm` installs one")
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.api_key = secrets.token_hex(16)
        self._closing = False
        command = [python, "-m", MODULE, "--host", "127.0.0.1", "--port", str(port), *arguments]
        log.info("starting vLLM: %s", " ".join(command))
        self._process = subprocess.Popen(
            command,
            env={
                **os.environ,
                "VLLM_API_KEY": self.api_key,  # not on the command line, which every user of the machine can read
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
                "VLLM_NO_USAGE_STATS": "1",  # it would report to its makers
            },
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends vLLM and its helpers in order
            preexec_fn=_end_with_parent,
        )
        try:
            self._await_answer()
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._watch, name="vllm-watch", daemon=True).start()

    @property
    def process_id(self) -> int:
        """Of the server's first process, which leads the group of all of them."""
        return self._process.pid

    def close(self) -> None:
        """Ends the server and everything that it started."""
        self._closing = True
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self._signal(signal.SIGKILL)  # what it left behind
        self._process.wait()

    def _await_answer(self) -> None:
        started = reported = time.monotonic()
        while (code := self._process.poll()) is None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/health", timeout=5.0, trust_env=False).is_success:
                    log.info("vLLM answers after %.0f s", time.monotonic() - started)
                    return
            if time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                log.info("vLLM is loading since %.0f s", reported - started)
            time.sleep(POLL_SECONDS)
        raise WorkerUnavailable(f"vLLM ended with exit status {code} before it was ready; see its log above")

    def _watch(self) -> None:
        code = self._process.wait()
        if not self._closing:
            log.error("vLLM ended with exit status %d; ending this worker with it", code)
            os.kill(os.getpid(), signal.SIGTERM)  # as an operator would: connections are closed, nothing lingers

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _end_with_parent() -> None:
    """In the child: SIGTERM when the thread that started it is gone, however that died."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
