"""`python -m finetune.end_of_turn`: the weights by which the service tells a pause from the end of a turn.

Clips of the training split give both kinds: as they end, and parted where they are quietest, as if the speaker paused
there. A logistic regression over their prosody goes to app/end_of_turn.json. It knows no words and no language; clips
of other splits are never touched, so `parley bench turns` can measure with them.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from app.audio import HEARING_RATE, Waveform
from app.bench.turn_recordings import NOISE, Clip, clips, quietest
from app.end_of_turn import LOOK_SECONDS, WEIGHTS, Weights
from app.prosody import Array, Prosody, prosody
from finetune.errors import TrainingError

SPEAKERS = ("kathleen", "kerstin")  # one English, one German: the bench has two more, whom nobody tuned for
CLIPS_EACH = 400
SHORTEST_SECONDS = 1.2
STEPS = 30  # of Newton's method; it has converged after ten
DECAY = 1.0  # of the scaled weights


def main(arguments: Sequence[str] | None = None) -> None:
    """Fits, writes and says how well it fits. Raises TrainingError."""
    parser = argparse.ArgumentParser(prog="python -m finetune.end_of_turn", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("PARLEY_DATA"), help="recordings [PARLEY_DATA]")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help=f"[{WEIGHTS}]")
    options = parser.parse_args(arguments)
    if options.data is None:
        raise TrainingError("got no recordings, expected --data or PARLEY_DATA")
    taken: Counter[str] = Counter()

    def wanted(row: dict[str, object]) -> bool:
        speaker, seconds = str(row["speaker"]), float(str(row["duration_s"]))
        fits = row.get("split") == "train" and speaker in SPEAKERS and seconds >= SHORTEST_SECONDS
        taken[speaker] += fits
        return fits and taken[speaker] <= CLIPS_EACH

    spoken, ended = examples(clips(options.data, wanted))
    model = fit(spoken, ended)
    table = {
        "features": [field.name for field in fields(Prosody)],
        "means": model.means.round(5).tolist(),
        "scales": model.scales.round(5).tolist(),
        "weights": model.weights.round(4).tolist(),
        "bias": round(model.bias, 4),
    }
    options.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(f"{options.out}: right on {right(model, spoken, ended):.1%} of {len(ended)} places that it was fitted to")


def examples(spoken: Sequence[Clip]) -> tuple[Array, Array]:
    """Features [places, 6] and 1.0 where a turn ended, 0.0 for a pause [places]; two places a clip."""
    features, ended = [], []
    for number, clip in enumerate(spoken):
        for end, waveform in ((1.0, clip.waveform), (0.0, clip.waveform[: quietest(clip.waveform)])):
            found = prosody(then_silence(waveform, number))
            if found is not None:
                features.append(found.array())
                ended.append(end)
    if not features:
        raise TrainingError("got no clip with speech, expected some of the training split")
    return np.array(features), np.array(ended)


def then_silence(waveform: Waveform, seed: int) -> Waveform:
    """As the service hears it when it looks: with a little silence after it, which is never quite silent."""
    heard = np.concatenate([waveform, np.zeros(round(LOOK_SECONDS * HEARING_RATE), np.float32)])
    return (heard + np.random.default_rng(seed).standard_normal(len(heard)) * NOISE).astype(np.float32)


def fit(features: Array, ended: Array) -> Weights:
    """Logistic regression by Newton's method, features [places, F] and labels [places]."""
    means, scales = features.mean(axis=0), features.std(axis=0) + 1e-9
    inputs = np.hstack([(features - means) / scales, np.ones((len(features), 1))])
    weights = np.zeros(inputs.shape[1])
    decay = np.diag([DECAY] * (len(weights) - 1) + [0.0])
    for _ in range(STEPS):
        likely = 1 / (1 + np.exp(-inputs @ weights))
        gradient = inputs.T @ (ended - likely) - decay @ weights
        curvature = (inputs * (likely * (1 - likely))[:, None]).T @ inputs + decay
        weights = weights + np.linalg.solve(curvature, gradient)
    return Weights(means, scales, weights[:-1], float(weights[-1]))


def right(model: Weights, features: Array, ended: Array) -> float:
    """Share of places told right."""
    odds = (features - model.means) / model.scales @ model.weights + model.bias
    return float(np.mean((odds > 0) == (ended > 0.5)))


if __name__ == "__main__":
    main()
