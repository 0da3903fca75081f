"""A sound card of software, for a browser that has no fake one: PulseAudio with a loudspeaker and a microphone."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

PULSEAUDIO, PAPLAY = shutil.which("pulseaudio"), shutil.which("paplay")


class SoundCard:
    """What is played into the microphone; `environment` leads a program to the card."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    async def speak(self, recording: Path) -> None:
        """Plays a WAV file into the microphone, to its end."""
        assert PAPLAY is not None
        process = await asyncio.create_subprocess_exec(PAPLAY, "--device=mouth", str(recording), env=self.environment)
        assert await process.wait() == 0


@contextlib.asynccontextmanager
async def sound_card(folder: Path, environment: dict[str, str]) -> AsyncIterator[SoundCard]:
    """A running card, its socket in `folder`. Skips without PulseAudio."""
    if PULSEAUDIO is None or PAPLAY is None:
        pytest.skip("pulseaudio and paplay are not installed (Debian packages pulseaudio and pulseaudio-utils)")
    socket = folder / "pulse.socket"
    environment = environment | {"PULSE_SERVER": f"unix:{socket}", "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    modules = (
        f"module-native-protocol-unix socket={socket} auth-anonymous=1",
        "module-null-sink sink_name=loudspeaker rate=24000",
        "module-null-sink sink_name=mouth rate=24000",  # what is played there, the microphone hears
    )
    process = await asyncio.create_subprocess_exec(
        PULSEAUDIO,
        *("-n", "--daemonize=no", "--exit-idle-time=-1", "--log-target=stderr"),
        *(f"--load={module}" for module in modules),
        env=environment,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(30):
            while not socket.exists():
                assert process.returncode is None, "PulseAudio ended at once"
                await asyncio.sleep(0.05)
        for command in (("set-default-sink", "loudspeaker"), ("set-default-source", "mouth.monitor")):
            pactl = await asyncio.create_subprocess_exec("pactl", *command, env=environment)
            assert await pactl.wait() == 0
        yield SoundCard(environment)
    finally:
        process.kill()
        await process.wait()
