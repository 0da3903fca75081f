"""npm's @openai/agents-realtime, in Node: `node/agents.test.mjs` against the service."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.clients.recorded import question

NODE = Path(__file__).parent / "node"


def test_agents_realtime(service: str, tmp_path: Path) -> None:
    pcm = tmp_path / "question.pcm"
    pcm.write_bytes(question())
    environment = os.environ | {"PARLEY_URL": service, "PARLEY_PCM": str(pcm)}
    command = ["node", "--test", "--test-reporter=spec", "agents.test.mjs"]
    run = subprocess.run(command, cwd=NODE, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
