"""The outside judge of the voice: PocketSphinx, trained on other people's speech. Knows no voice and no network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from app.audio import HEARING_RATE, Waveform, resample

Judge = Callable[[Waveform, int], str]
"""Waveform and its rate to the words heard."""


def judge() -> Judge:
    """A recognizer with the wheel's general English model; utterances do not influence each other."""
    import pocketsphinx

    decoder = pocketsphinx.Decoder(loglevel="FATAL", samprate=float(HEARING_RATE))

    def heard(waveform: Waveform, rate: int) -> str:
        samples = resample(waveform, rate, HEARING_RATE)
        samples = 0.5 * samples / max(1e-4, float(np.abs(samples).max()))
        decoder.start_utt()
        # The whole utterance at once: its level is then normalised by itself, not by what came before.
        decoder.process_raw((samples * 32767).astype("<i2").tobytes(), False, True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return str(hypothesis.hypstr) if hypothesis else ""

    return heard
