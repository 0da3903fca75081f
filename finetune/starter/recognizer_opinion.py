"""Whether a second opinion pays, and below which confidence: measured on development data alone.

Knows no test data. `python -m finetune.starter.recognizer opinion` prints the table for pack.toml's value.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from app.packs import read_pack
from finetune.measure import word_errors
from finetune.starter import augment, speech
from finetune.starter.recognizer_evaluate import hear, load_sphinx, load_whisper
from finetune.starter.recognizer_heldout import Recording, generated_noise, reader, rooms, spoken

EACH = 60
THRESHOLDS = [round(0.05 * step, 2) for step in range(20)]


@dataclass(frozen=True, slots=True)
class Case:
    """One development recording, heard by both."""

    kind: str
    confidence: float
    no_speech_probability: float
    first_text: str
    first_errors: int
    second_text: str
    second_errors: int
    words: int


def measure_opinion(pack: Path, data: Path | None, report: Path, seed: int) -> None:
    """Hears the development recordings with both engines; prints and writes word errors per threshold."""
    cases = asyncio.run(_hear_both(pack, data, seed))
    table = []
    kinds = list(dict.fromkeys(case.kind for case in cases))
    for threshold in THRESHOLDS:
        rates: dict[str, float] = {"below": threshold}
        for kind in kinds:
            mine = [case for case in cases if case.kind == kind]
            asked = [case.confidence < threshold and bool(case.first_text and case.second_text) for case in mine]
            errors = sum(c.second_errors if ask else c.first_errors for c, ask in zip(mine, asked, strict=True))
            rates[kind] = round(errors / max(1, sum(case.words for case in mine)), 4)
        table.append(rates)
        print("  ".join(f"{name} {value:.3f}" for name, value in rates.items()), flush=True)
    content = {"thresholds": table, "cases": [_as_json(case) for case in cases]}
    report.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _as_json(case: Case) -> dict[str, str | float]:
    """A case as JSON."""
    return {name: getattr(case, name) for name in Case.__slots__}


async def _hear_both(folder: Path, data: Path | None, seed: int) -> list[Case]:
    pack = read_pack(folder)
    whisper, sphinx = load_whisper(pack), load_sphinx(pack)
    sets: dict[str, list[Recording]] = {
        "known": spoken("dev", EACH, seed, speech.training_voice),
        "espeak": spoken("dev", EACH, seed + 1, speech.development_voice),
        "festival": spoken("dev", EACH, seed + 2, lambda _: speech.HTS_VOICE),
        "nobody": generated_noise(EACH, seed + 9, augment.NOISES),  # errors are counted per window here
    }
    if data is not None:
        sets["human"] = reader(data, "dev")
        sets["nobody"] += rooms(data, "dev")
    cases = []
    for kind, recordings in sets.items():
        pairs = zip(recordings, await hear(whisper, recordings), await hear(sphinx, recordings), strict=True)
        for recording, first, second in pairs:
            cases.append(
                Case(
                    kind=kind,
                    confidence=first.confidence,
                    no_speech_probability=first.no_speech_probability,
                    first_text=first.text,
                    first_errors=word_errors(recording.text, first.text),
                    second_text=second.text,
                    second_errors=word_errors(recording.text, second.text),
                    words=max(1, len(recording.text.split())),
                )
            )
    return cases
