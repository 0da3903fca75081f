"""Figures of the starter's recognizer, through the engine that serves it, on data kept out of every decision.

Knows no training. One figure is one row of evaluation.json.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.packs import Pack, read_pack
from app.workers.base import Recognizer, Transcript
from finetune.measure import bootstrap_interval, proportion_interval, word_errors
from finetune.starter import augment, speech
from finetune.starter.recognizer_heldout import Recording, digits, generated_noise, reader, rooms, spoken

SENTENCES = 300
NOISE_WINDOWS = 400
SLOW_ENGINE = 80
"""Recordings of each kind that PocketSphinx is given: it takes a third of real time."""
FRAME_BYTES = 2 * 512


@dataclass(frozen=True, slots=True)
class Gate:
    """What a figure must reach."""

    op: str
    value: float


def load_whisper(pack: Pack) -> Recognizer:
    """The pack's Whisper alone, with the pack's own settings."""
    from app.workers.whisper import WhisperRecognizer

    settings = pack.recognizer
    return WhisperRecognizer(
        str(pack.recognizer_folder),
        device="cpu",
        trained_short=settings.trained_short,
        margin_seconds=settings.margin_seconds,
        beam_size=settings.beam_size,
        no_speech_threshold=settings.no_speech_threshold,
        min_confidence=settings.min_confidence,
    )


def evaluate_pack(folder: Path, data: Path | None, report: Path, seed: int) -> None:
    """Measures the pack and writes the rows to `report`; prints them as they come."""
    rows = asyncio.run(_evaluate(read_pack(folder), data, seed))
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


async def hear(recognizer: Recognizer, recordings: Sequence[Recording]) -> list[Transcript]:
    """What the engine makes of each recording, fed in frames as a session feeds them."""
    transcripts = []
    for recording in recordings:
        recognition = await recognizer.start()
        for start in range(0, len(recording.pcm), FRAME_BYTES):
            recognition.feed(recording.pcm[start : start + FRAME_BYTES])
        transcripts.append(await recognition.finish())
    return transcripts


def load_sphinx(pack: Pack) -> Recognizer:
    """PocketSphinx with the pack's words."""
    from app.workers.sphinx import SphinxRecognizer

    words = pack.recognizer.second_opinion_words
    return SphinxRecognizer(processes=1, words=str(pack.folder / words) if words else "")


async def _evaluate(pack: Pack, data: Path | None, seed: int) -> list[dict[str, Any]]:
    from app.workers.opinion import SecondOpinion

    whisper, sphinx = load_whisper(pack), load_sphinx(pack)
    below = pack.recognizer.second_opinion_below
    rows: list[dict[str, Any]] = []

    async def words(
        metric: str, engine: Recognizer, recordings: Sequence[Recording], gate: Gate | None, note: str
    ) -> None:
        heard = await hear(engine, recordings)
        errors = [word_errors(r.text, t.text) for r, t in zip(recordings, heard, strict=True)]
        counts = [len(r.text.split()) for r in recordings]
        interval = bootstrap_interval(errors, counts, seed)
        rows.append(_row(metric, sum(errors) / sum(counts), sum(counts), "words", interval, gate, note))

    async def silence(
        metric: str, engine: Recognizer, recordings: Sequence[Recording], gate: Gate | None, note: str
    ) -> None:
        heard = await hear(engine, recordings)
        empty = sum(not transcript.text for transcript in heard)
        interval = proportion_interval(empty, len(heard))
        rows.append(_row(metric, empty / len(heard), len(heard), "windows", interval, gate, note))

    known = spoken("test", SENTENCES, seed, speech.training_voice)
    kept_out = spoken("test", SENTENCES, seed + 1, lambda _: speech.TEST_VOICE)
    strange = generated_noise(NOISE_WINDOWS * 3 // 4, seed + 1, augment.TEST_NOISES)
    familiar = generated_noise(NOISE_WINDOWS // 4, seed + 1, augment.NOISES)
    nobody = strange + familiar + (rooms(data, "test") if data else [])
    random.Random(seed).shuffle(nobody)
    await words("wer_known_voices", whisper, known, Gate("<=", 0.05), "kept-out sentences, trained kinds of voices")
    await words("wer_kept_out_voice", whisper, kept_out, Gate("<=", 0.15), "flite rms, never looked at before")
    note = "silence, noise kinds never trained on and trained on, recorded rooms"
    await silence("empty_text_without_speech", whisper, nobody, Gate(">=", 0.95), note)
    people = {"human_sentences": reader(data, "test"), "human_digits": digits(data, "test")} if data else {}
    notes = {
        "human_sentences": "open sentences by a reader whose other sentences were trained on",
        "human_digits": "single digits by a speaker never heard",
    }
    for name, recordings in people.items():
        await words(f"wer_{name}", whisper, recordings, None, notes[name])
    part = {"kept_out_voice": kept_out[:SLOW_ENGINE], **{name: all_[:SLOW_ENGINE] for name, all_ in people.items()}}
    both = SecondOpinion(whisper, sphinx, below=below) if pack.recognizer.second_opinion else None
    for name, recordings in part.items():
        await words(f"wer_{name}_pocketsphinx", sphinx, recordings, None, "PocketSphinx alone, first ones of the set")
        if both is not None:
            await words(f"wer_{name}_second_opinion", both, recordings, None, f"adopted below confidence {below}")
    await silence("empty_text_pocketsphinx", sphinx, nobody[:SLOW_ENGINE], None, "PocketSphinx alone")
    if both is not None:
        await silence("empty_text_second_opinion", both, nobody[:SLOW_ENGINE], None, f"below confidence {below}")
    return rows


def _row(
    metric: str, value: float, n: int, n_unit: str, interval: tuple[float, float], gate: Gate | None, note: str
) -> dict[str, Any]:
    """One figure, also printed."""
    passed = None if gate is None else (value <= gate.value if gate.op == "<=" else value >= gate.value)
    verdict = (
        "" if passed is None or gate is None else f", gate {gate.op} {gate.value}: {'met' if passed else 'MISSED'}"
    )
    print(f"{metric}: {value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}], {n} {n_unit}{verdict} ({note})", flush=True)
    return {
        "part": "recognizer",
        "metric": metric,
        "value": round(value, 4),
        "unit": "share",
        "n": n,
        "n_unit": n_unit,
        "interval": [round(bound, 4) for bound in interval],
        "gate": None if gate is None else {"op": gate.op, "value": gate.value},
        "passed": passed,
        "note": note,
    }
