"""A picture of a voice beside its reader: two log-mel spectra of one sentence. Knows no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from app.audio import Waveform
from finetune.starter.voice_features import levelled, log_mel


def spectrogram(made: Waveform, recorded: Waveform, text: str, path: Path) -> None:
    """Log-mel of the voice above that of the reader, both at RATE."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(7, 4.4), dpi=64, layout="constrained")
    for axes, waveform, name in zip(drawing.subplots(2, 1), (made, recorded), ("voice", "reader"), strict=True):
        mel = log_mel(levelled(waveform)).astype(np.float32)
        axes.imshow(mel.T, origin="lower", aspect="auto", cmap="magma", interpolation="nearest", vmin=-6, vmax=4)
        axes.set_title(f"{name}: {text}", fontsize=9)
        axes.set_ylabel("mel band")
    drawing.savefig(path)
