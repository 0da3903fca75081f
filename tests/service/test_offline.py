"""Everything after the installation is offline: service and caller in a network namespace that has only loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from app.audio import REALTIME_RATE
from app.supervisor import free_port
from tests.packs import starter
from tests.sounds import flite, silence

SCRIPT = """
ip link set lo up
{python} -c 'import socket; socket.create_connection(("192.0.2.1", 80), 1)' 2>/dev/null && exit 90
{python} -m app serve --port {port} --log-level warning > {log} 2>&1 &
service=$!
for _ in $(seq 600); do
    grep -q "Parley is ready" {log} && break
    kill -0 $service || {{ cat {log}; exit 91; }}
    sleep 0.1
done
{python} -m app talk {question} --out {reply} --url http://127.0.0.1:{port}
status=$?
kill $service
wait $service
exit $status
"""


def test_a_turn_without_any_network(tmp_path: Path) -> None:
    starter()
    for program in ("unshare", "ip"):
        if shutil.which(program) is None:
            pytest.skip(f"the program {program} is not installed (Debian packages util-linux, iproute2)")
    if os.geteuid() != 0:
        pytest.skip("only root may make a network namespace")
    question, reply = tmp_path / "question.wav", tmp_path / "reply.wav"
    with wave.open(str(question), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(REALTIME_RATE)
        file.writeframes(silence(0.5) + flite("what is twelve plus thirty"))
    script = SCRIPT.format(
        python=sys.executable, port=free_port(), log=tmp_path / "log", question=question, reply=reply
    )
    outcome = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, timeout=150, check=False
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "what is twelve plus thirty" in outcome.stdout
    assert "42" in outcome.stdout  # the reply's line
    with wave.open(str(reply)) as file:
        assert file.getnframes() > REALTIME_RATE // 2
