"""Requests read by flite, dialogues that answer them: enough for all stages of the joint recipe in a minute.

As a program: `python -m tests.finetune.joint.tiny_joint STAGE KILL KEY=VALUE...` runs the recipe and kills itself in
that stage before step KILL.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import soundfile

from app import REPOSITORY
from app.audio import HEARING_RATE, to_waveform
from finetune import config
from finetune.data.manifest import write_manifest
from finetune.data.rows import Dialogue, Turn, Utterance
from tests.sounds import flite

TINY = REPOSITORY / "finetune/configs/joint_tiny.yaml"
ASKED = {
    "train": {
        "what time is it": "it is three", "turn on the light": "the light is on", "good morning": "good morning anna",
        "tell me a story": "once there was a king", "thank you": "you are welcome", "hello": "hello anna",
    },
    "dev": {"my name is anna": "hello anna", "turn off the light": "the light is off", "good night": "good night anna"},
}  # fmt: skip
VOICES = ("slt", "kal16")
UNPAIRED = {"turn on the light": "rms", "good morning": "rms", "tell me a story": "awb"}
"""Said by others, with no text in their manifest."""


def write_data(folder: Path) -> Path:
    """A folder with manifest.jsonl and dialogues.jsonl: two voices say every request, its splits are apart by text."""
    (folder / "audio").mkdir(parents=True)
    clips, dialogues = [], []
    for split, asked in ASKED.items():
        for number, (said, answer) in enumerate(asked.items()):
            name = f"{split}-{number}"
            turns = (Turn("user", said), Turn("assistant", answer))
            dialogues.append(Dialogue(name, "en", turns, "made", "CC0-1.0", "made by a machine", split))
            for voice in VOICES:
                waveform = to_waveform(flite(said, rate=HEARING_RATE, voice=voice))
                path, seconds = f"audio/{name}-{voice}.wav", len(waveform) / HEARING_RATE
                soundfile.write(folder / path, waveform, HEARING_RATE)
                row = Utterance(f"{name}-{voice}", path, said, "en", voice, seconds, "made", "CC0-1.0", "yes", split)
                clips.append(row)
    write_manifest(folder / "manifest.jsonl", clips)
    write_manifest(folder / "dialogues.jsonl", dialogues)
    return folder


def write_unpaired(folder: Path) -> Path:
    """A manifest of recordings without texts."""
    folder.mkdir()
    rows = [clip(folder, said, voice) for said, voice in UNPAIRED.items()]
    write_manifest(folder / "manifest.jsonl", rows)
    return folder / "manifest.jsonl"


def clip(folder: Path, said: str, voice: str, split: str = "") -> Utterance:
    """A recording without its text."""
    waveform = to_waveform(flite(said, rate=HEARING_RATE, voice=voice))
    name, seconds = f"{said.replace(' ', '-')}-{voice}", len(waveform) / HEARING_RATE
    soundfile.write(folder / f"{name}.wav", waveform, HEARING_RATE)
    return Utterance(name, f"{name}.wav", "", "en", voice, seconds, "made", "CC0-1.0", "yes", split)


def overrides(run: Path, data: Path, *others: str) -> list[str]:
    """Keys of the tiny configuration for a run on `write_data`."""
    return [
        f"run={run}",
        f"recognizer.data=[{data}/manifest.jsonl]",
        f"voice.data=[{data}/manifest.jsonl]",
        f"language.data=[{data}/dialogues.jsonl]",
        *others,
    ]


def main() -> None:
    """Runs the recipe as a process that dies without warning."""
    from finetune import loop as one_loss
    from finetune.joint import loop
    from finetune.recipes import joint

    stage, kill = sys.argv[1], int(sys.argv[2])
    now = {"stage": "", "step": 0}
    stage_run = joint.stage_run

    def entered(opened: Any, name: str, training: Any) -> Any:
        now.update(stage=name, step=0)
        return stage_run(opened, name, training)

    def deadly(one_step: Any) -> Any:
        def step(*given: Any) -> Any:
            if now == {"stage": stage, "step": kill}:
                os.kill(os.getpid(), signal.SIGKILL)
            now["step"] = int(now["step"]) + 1
            return one_step(*given)

        return step

    joint.stage_run = entered
    one_loss.one_step, loop.one_step = deadly(one_loss.one_step), deadly(loop.one_step)
    joint.run(config.load(joint.Config, TINY, sys.argv[3:]), resume=True)


if __name__ == "__main__":
    main()
