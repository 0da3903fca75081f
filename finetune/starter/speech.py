"""Synthetic voices of the starter: espeak-ng, flite and festival, and which of them may be trained on.

Knows nothing of sentences, noise or models. The programs are build tools: nothing of them is needed to serve.
"""

from __future__ import annotations

import functools
import io
import random
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import soundfile

from app.audio import Waveform
from app.errors import ParleyError

ESPEAK_ACCENTS = (
    "en-us", "en-us", "en-us", "en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-rp", "en-029", "en-us-nyc",
)  # fmt: skip
ESPEAK_UNNATURAL = ("whisper", "demonic", "robosoft", "croak", "unirobot", "storm", "tweaky", "robot")
ESPEAK_DEV = ("f5", "edward", "linda", "klatt4", "steph2", "Michael", "Alicia", "victor")
PHONES = (
    "pau", "aa", "ae", "ah", "ao", "aw", "ax", "axr", "ay", "b", "ch", "d", "dh", "eh", "er", "ey", "f", "g", "hh",
    "ih", "iy", "jh", "k", "l", "m", "n", "ng", "ow", "oy", "p", "r", "s", "sh", "t", "th", "uh", "uw", "v", "w", "y",
    "z", "zh",
)  # fmt: skip
"""flite's phone set; `pau` is silence."""


class SpeechError(ParleyError):
    """A speech program is missing or failed."""

    code = "speech_error"


@dataclass(frozen=True, slots=True)
class Voice:
    """One synthetic speaker."""

    program: str
    """espeak-ng, flite or festival."""
    name: str
    """An espeak-ng variant, or a voice of flite or festival."""
    accent: str = ""
    """espeak-ng's language code; empty for the others."""

    def __str__(self) -> str:
        return "/".join(part for part in (self.program, self.accent, self.name) if part)


@dataclass(frozen=True, slots=True)
class Speech:
    """What a voice said, and when."""

    waveform: Waveform
    rate: int
    """Hertz."""
    phones: tuple[tuple[str, float], ...] = ()
    """(phone, end in seconds), in order; empty where the program does not tell."""


TEST_VOICE = Voice("flite", "rms")
"""Kept out whole: no decision is ever taken on it."""
HTS_VOICE = Voice("festival", "cmu_us_slt_arctic_hts")
"""For decisions: an engine that training never hears (its speaker is flite's slt)."""


@functools.cache
def espeak_variants() -> tuple[str, ...]:
    """Names of the natural enough variants of the installed espeak-ng, those of ESPEAK_DEV included."""
    listing = _run(["espeak-ng", "--voices=variant"]).decode()
    names = {line.split("!v/")[1].strip() for line in listing.splitlines() if "!v/" in line}
    return tuple(sorted(name for name in names if not any(odd in name.lower() for odd in ESPEAK_UNNATURAL)))


def training_voice(rng: random.Random) -> Voice:
    """Draws a voice that may be trained on: half espeak-ng, the rest flite and a few festival diphones (slow)."""
    draw = rng.random()
    if draw < 0.50:
        variants = [name for name in espeak_variants() if name not in ESPEAK_DEV]
        return Voice("espeak-ng", rng.choice(variants), rng.choice(ESPEAK_ACCENTS))
    if draw < 0.98:
        return Voice("flite", rng.choice(["slt", "slt", "awb", "awb", "kal16"]))
    return Voice("festival", rng.choice(["kal_diphone", "ked_diphone"]))


def development_voice(rng: random.Random) -> Voice:
    """Draws a voice for decisions: espeak-ng variants that training never hears."""
    return Voice("espeak-ng", rng.choice(ESPEAK_DEV), rng.choice(["en-us", "en-gb"]))


def speak(text: str, voice: Voice, rng: random.Random | None = None) -> Speech:
    """Says `text`; with `rng` at a random speed and pitch, else at the voice's own. Raises SpeechError."""
    if voice.program == "espeak-ng":
        command = ["espeak-ng", "-v", f"{voice.accent or 'en-us'}+{voice.name}", "--stdout"]
        if rng is not None:
            command += ["-s", str(rng.randint(120, 210)), "-p", str(rng.randint(10, 90))]
        return Speech(*_decode(_run([*command, text])))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        if voice.program == "flite":
            stretch = 1.0 if rng is None else rng.uniform(0.8, 1.25)
            command = ["flite", "-psdur", "-voice", voice.name, "--setf", f"duration_stretch={stretch:.2f}"]
            told = _run([*command, "-t", text, "-o", str(path)])
            pairs = (pair.rsplit(":", 1) for pair in told.decode().split() if ":" in pair)
            phones = tuple((phone, float(end)) for phone, end in pairs)
            return Speech(*_decode(path.read_bytes()), phones)
        quoted = text.replace("\\", "").replace('"', "")
        _run(["festival", "-b", f"(voice_{voice.name})", f'(utt.save.wave (SynthText "{quoted}") "{path}")'])
        return Speech(*_decode(path.read_bytes()))


def missing_programs() -> list[str]:
    """Which of the three programs are not installed."""
    return [program for program in ("espeak-ng", "flite", "festival") if shutil.which(program) is None]


def _decode(wav: bytes) -> tuple[Waveform, int]:
    waveform, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    if len(waveform) == 0:
        raise SpeechError("the voice said nothing")
    return waveform, int(rate)


def _run(command: list[str]) -> bytes:
    try:
        return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    except FileNotFoundError:
        raise SpeechError(f"{command[0]} is not installed (Debian: apt-get install {command[0]})") from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise SpeechError(f"{command[0]} failed: {error}") from error
