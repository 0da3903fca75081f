"""Makes the starter voice from end to end: `python -m finetune.starter.voice`. Knows only the order of the stages.

Every stage leaves its result in the run folder and is skipped when that exists, so a killed run continues where it was.

    python -m finetune.starter.voice            all stages, then the evaluation
    python -m finetune.starter.voice export     only the export, from whatever has been trained so far
    python -m finetune.starter.voice evaluate   only the evaluation of the exported files
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from app.front_end import english
from app.pronounce import LEXICON, RULES, read_pronouncer
from finetune.starter import pronunciation
from finetune.starter.domain import user_sentences
from finetune.starter.voice_acoustic import Acoustic, Item, acoustic_losses, item
from finetune.starter.voice_alignment import Alignment, aligned
from finetune.starter.voice_corpus import HUMAN, Recording, extract, generated_recordings, human_recordings, load
from finetune.starter.voice_export import Sharpening, export
from finetune.starter.voice_loop import save, train
from finetune.starter.voice_vocoder import FilterNetwork, Scale, Voiced, scale_of, vocoder_losses

ALIGNMENT = "alignment.json"
RUN = Path("runs/starter/voice")
PACK_VOICE = Path("models/packs/en-starter/voice")
GENERATED_SENTENCES = 1500
SHARPENING = Sharpening(mel=1.08, pitch=1.25)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to train: about 30 core-minutes with these numbers."""

    vocoder_steps: int = 1800
    acoustic_steps: int = 1400
    sharpening: Sharpening = SHARPENING
    """Deviation of dev recordings over that of predictions: 1.11 within utterances, 1.37 for pitch; a little less."""


def make(run: Path, voice: Path, data: Path | None, plan: Plan) -> None:
    """All stages; the exported voice lies in `voice`."""
    # 1. Recordings and their features.
    extract(_recordings(data), run / "features")

    # 2. How words are pronounced.
    if not (voice / LEXICON).exists() or not (voice / RULES).exists() or not (run / "letters.json").exists():
        errors = pronunciation.build(voice)
        (run / "letters.json").write_text(json.dumps(errors), encoding="utf-8")

    # 3. Which frames each phone takes.
    found = aligned(list(load(run / "features")), english(read_pronouncer(voice)), run / ALIGNMENT)

    # 4. Mel and pitch to samples.
    scale = _scale(run)
    vocoder, acoustic = FilterNetwork(), Acoustic()
    own = [
        Voiced(scale.mel(clip.mel), clip.pitch, clip.pcm.copy())
        for clip in (load(run / "features", "train") if not _done(run / "vocoder.pt", plan.vocoder_steps) else ())
    ]
    losses = vocoder_losses(vocoder, own, scale)
    train("vocoder", vocoder, losses, steps=plan.vocoder_steps, peak_rate=1e-3, path=run / "vocoder.pt")
    del own

    # 5. Phones to mel and pitch.
    items = items_of(run, scale, "train", found)
    losses = acoustic_losses(acoustic, items)
    train("acoustic", acoustic, losses, steps=plan.acoustic_steps, peak_rate=1.5e-3, path=run / "acoustic.pt")

    # 6. The files of the pack.
    export_latest(run, voice, plan.sharpening)


def export_latest(run: Path, voice: Path, sharpening: Sharpening) -> None:
    """Exports the newest checkpoints; a half-trained voice can already speak."""
    acoustic, vocoder = Acoustic(), FilterNetwork()
    _restore(acoustic, run / "acoustic.pt")
    _restore(vocoder, run / "vocoder.pt")
    name = HUMAN.removeprefix("en_") if next(load(run / "features")).recording.audio else "slt"
    export(acoustic, vocoder, _scale(run), voice, names=[name], sharpening=sharpening)


def items_of(run: Path, scale: Scale, split: str, found: Alignment) -> list[Item]:
    """The aligned utterances of a split."""
    return [
        item(clip, *found[clip.recording.id], scale)
        for clip in load(run / "features", split)
        if clip.recording.id in found
    ]


def _recordings(data: Path | None) -> list[Recording]:
    if data is not None:
        return human_recordings(data)
    print("PARLEY_DATA is not set: the voice is trained on speech that flite generates, not on a human reader")
    return generated_recordings(user_sentences(GENERATED_SENTENCES, 5, "train"))


def _scale(run: Path) -> Scale:
    path = run / "scale.pt"
    if not path.exists():
        found = scale_of(list(load(run / "features", "train")))
        save(path, {name: torch.as_tensor(getattr(found, name)) for name in Scale.__slots__})
    state = torch.load(path, weights_only=True)
    return Scale(
        state["mel_mean"].numpy(),
        state["mel_deviation"].numpy(),
        float(state["pitch_mean"]),
        float(state["pitch_deviation"]),
    )


def _restore(network: nn.Module, path: Path) -> None:
    network.load_state_dict(torch.load(path, weights_only=True)["network"])


def _done(path: Path, steps: int) -> bool:
    return path.exists() and int(torch.load(path, weights_only=True)["step"]) >= steps


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train, export and evaluate the starter voice.")
    parser.add_argument("stage", nargs="?", default="all", choices=["all", "export", "evaluate"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    RUN.mkdir(parents=True, exist_ok=True)
    plan = Plan()
    if arguments.stage == "all":
        make(RUN, PACK_VOICE, Path(os.environ["PARLEY_DATA"]) if os.environ.get("PARLEY_DATA") else None, plan)
    if arguments.stage == "export":
        export_latest(RUN, PACK_VOICE, plan.sharpening)
    if arguments.stage in ("all", "evaluate"):
        from finetune.starter.voice_evaluate import evaluate

        evaluate(RUN, PACK_VOICE)


if __name__ == "__main__":
    main()
