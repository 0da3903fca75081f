"""A judge of voices as a folder: judge.json (language, letters, what it learnt from) and weights.safetensors.

`finetune/recipes/judge.py` writes it. Asked as a recognizer, so that evaluation knows one kind of judge.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.audio import HEARING_RATE, Pcm16, seconds_of
from app.workers.base import Health, Transcript
from finetune.errors import RunError
from finetune.judge_network import JudgeNetwork, features, heard

FORMAT = 1
FACTS, WEIGHTS = "judge.json", "weights.safetensors"


@dataclass(frozen=True, slots=True)
class Facts:
    """judge.json."""

    name: str
    language: str
    letters: str
    width: int
    layers: int
    training: Mapping[str, Any]
    """Of its run: seed, speakers, data and what else shows from which voices it was trained apart."""


def folder_of(path: Path) -> Path | None:
    """The judge's folder in a run folder or at the path itself; None: there is none."""
    return next((folder for folder in (path, path / "export/judge") if (folder / FACTS).is_file()), None)


def write(folder: Path, network: JudgeNetwork, facts: Facts) -> None:
    """The folder of a judge; its facts last, so that one without them is none."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS).unlink(missing_ok=True)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / WEIGHTS)
    (folder / FACTS).write_text(
        json.dumps({"format": FORMAT, **asdict(facts)}, indent=1, ensure_ascii=False), encoding="utf-8"
    )


def read(folder: Path) -> Facts:
    """What judge.json says. Raises RunError for another form."""
    try:
        told = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if (version := told.pop("format", None)) != FORMAT:
            raise RunError(f"{folder / FACTS}: got format {version}, expected {FORMAT}")
        return Facts(**told)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{folder / FACTS} is no judge's, expected what parley finetune judge writes: {error}") from None


def load(folder: Path) -> tuple[Facts, JudgeNetwork]:
    """Facts and network. Raises RunError for weights that do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    facts = read(folder)
    network = JudgeNetwork(len(facts.letters), facts.width, facts.layers)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise RunError(f"{folder / WEIGHTS} does not fit {FACTS}, expected weights of that size: {error}") from None
    return facts, network.eval()


class CtcRecognizer:
    """The judge as a recognizer: one utterance, all of it at once."""

    def __init__(self, folder: Path) -> None:
        self._facts, self._network = load(folder)

    async def start(
        self, *, language: str = "", prompt: str = "", hot_words: str = "", word_times: bool = False, model: str = ""
    ) -> CtcRecognition:
        """Opens an utterance; it has no use for any of the options."""
        return CtcRecognition(self._network, self._facts.letters)

    async def health(self) -> Health:
        """Always ready."""
        return Health("recognizer", "ctc", self._facts.name)


class CtcRecognition:
    """One utterance, kept until its end."""

    def __init__(self, network: JudgeNetwork, letters: str) -> None:
        self._network, self._letters = network, letters
        self._pcm = bytearray()

    def feed(self, frame: Pcm16) -> None:
        """Keeps it."""
        self._pcm += frame

    async def hypotheses(self) -> AsyncIterator[str]:
        """None: a judge is asked for whole texts."""
        none: tuple[str, ...] = ()
        for text in none:
            yield text

    async def finish(self) -> Transcript:
        """The letters that it heard."""
        pcm = bytes(self._pcm)
        text = await asyncio.to_thread(lambda: heard(self._network, features(pcm), self._letters))
        return Transcript(text, seconds_of(pcm, HEARING_RATE), engine="ctc")

    async def abort(self) -> None:
        """Forgets it."""
        self._pcm.clear()
