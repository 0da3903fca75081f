"""What the callers of a bench say, as audio: by flite where it is installed, else by the service's own voice."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from pathlib import Path

import httpx

from app.audio import REALTIME_RATE, Pcm16, to_pcm16
from app.media import decode_to

FLITE_VOICES = ("slt", "awb", "kal16")
"""A build tool of the starter, whose recognizer knows these voices."""


def speaker() -> str:
    """Who speaks here, for the configuration."""
    return f"flite ({', '.join(FLITE_VOICES)})" if shutil.which("flite") else "the service's own voice"


async def spoken(text: str, number: int, url: str) -> Pcm16:
    """PCM16 at REALTIME_RATE; `number` chooses the voice, `url` is the service that speaks where flite is missing."""
    if shutil.which("flite"):
        voice = FLITE_VOICES[number % len(FLITE_VOICES)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            await asyncio.to_thread(subprocess.run, ["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
            return to_pcm16(decode_to(path.read_bytes(), REALTIME_RATE))
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        body = {"model": "tts-1", "input": text, "voice": "alloy", "response_format": "pcm"}
        answer = await client.post(f"{url}/v1/audio/speech", json=body)
        return answer.raise_for_status().content
