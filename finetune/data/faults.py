"""The faults of a manifest: pure functions from rows and what was measured of them to a list. Reads no file.

A fault must be mended before training; a warning should be looked at. All are listed, none ends the search.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from finetune.data.audit import leaks
from finetune.data.measured import Measurement
from finetune.data.rows import Utterance
from finetune.data.spelling import Speller
from finetune.data.texts import text_key

EXAMPLES = 5
"""Of each kind, in lines and on the page; the JSON has all."""
CLIPPED_SHARE = 0.001
"""Of the samples in flat tops: a few plosives are heard as clicks from here on."""
SILENT_DB = -60.0
"""Level of the loudest frames below which nothing can be learnt; a quiet room is about there."""
LOWEST_RATE = 16_000
"""Hertz: below it, consonants lose what the recognizers were trained on."""
LONGEST_S = 30.0
"""A Whisper window; what is later is never heard."""
SHORTEST_S = 0.2
DURATION_SLACK_S = 0.1
"""Between manifest and file."""
OUTLIER = 5.0
"""Median absolute deviations of characters per second: text and audio do not belong together."""
OUTLIER_S = 0.5
"""Seconds that must be too many or too few besides: the rate of a short word swings widely."""
FEWEST = 20
"""Utterances of a language below which outliers cannot be told."""
SUSPECT_CER = 0.5
"""Disagreement from which a label is listed; what a base model hears of a new language, it hears worse than that
everywhere, so that a label must also stand out."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a row, or with the manifest."""

    kind: str
    message: str
    id: str = ""
    """Of the row; empty: of the manifest."""
    is_warning: bool = False


def find(
    rows: Sequence[Utterance],
    measurements: Sequence[Measurement],
    spellers: Sequence[Speller] = (),
    disagreement: Sequence[float] = (),
) -> list[Fault]:
    """Every fault. `disagreement`: character error rate of a base recognizer against each text, if it was asked."""
    found: list[Fault] = []
    transcribed = any(row.text.strip() for row in rows)  # else they are to be heard, and are cut for that
    for row, sound in zip(rows, measurements, strict=True):
        found += _of_row(row, transcribed)
        found += _of_sound(row, sound, transcribed)
    found += _speaking_rates(rows, measurements)
    found += _repeated("duplicate audio", rows, [sound.sound for sound in measurements], is_warning=False)
    texts = [f"{row.speaker}\n{text_key(row.text)}" if row.text.strip() else "" for row in rows]
    found += _repeated("duplicate text", rows, texts, is_warning=True)
    alone = len({row.speaker for row in rows}) == 1  # then there is nobody to keep apart, and texts have to do
    apart: tuple[str, str] = ("texts", "speakers") if alone else ("speakers", "texts")
    found += [Fault("leakage", line) for line in leaks(rows, apart[0], [sound.sound for sound in measurements])]
    found += [Fault("leakage", line, is_warning=True) for line in leaks(rows, apart[1])]
    for speller in spellers:
        found += _unspelt(rows, speller)
    found += _suspects(rows, disagreement)
    return found


def counted(found: Sequence[Fault]) -> list[tuple[str, bool, int, list[str]]]:
    """(kind, is it a warning, how many, examples); faults before warnings, the most frequent first."""
    numbers = Counter((fault.is_warning, fault.kind) for fault in found)
    examples: defaultdict[tuple[bool, str], list[str]] = defaultdict(list)
    for fault in found:
        listed = examples[fault.is_warning, fault.kind]
        if len(listed) < EXAMPLES:
            listed.append(f"{fault.id}: {fault.message}" if fault.id else fault.message)
    ordered = sorted(numbers.items(), key=lambda item: (item[0][0], -item[1]))
    return [(kind, is_warning, n, examples[is_warning, kind]) for (is_warning, kind), n in ordered]


def _of_row(row: Utterance, transcribed: bool) -> Iterator[Fault]:
    if transcribed and not row.text.strip():
        yield Fault("empty text", "there is no text", row.id)
    if not row.licence:
        yield Fault("licence missing", "nobody has said under which licence it may be used", row.id)
    if not row.consent:
        yield Fault("consent missing", f"nobody has said what {row.speaker or 'the speaker'} agreed to", row.id)


def _of_sound(row: Utterance, sound: Measurement, transcribed: bool) -> Iterator[Fault]:
    if sound.fault:
        yield Fault("unreadable", sound.fault, row.id)
        return
    if sound.clipped > CLIPPED_SHARE:
        yield Fault("clipped", f"{sound.clipped:.2%} of the samples are cut off at full scale", row.id)
    if sound.level_db < SILENT_DB:
        yield Fault("silent", f"{sound.level_db:.0f} dB at its loudest, expected {SILENT_DB:.0f} dB or more", row.id)
    if sound.rate < LOWEST_RATE:
        yield Fault("rate", f"{sound.rate} Hz, expected {LOWEST_RATE} Hz or more", row.id)
    if transcribed and sound.seconds > LONGEST_S:
        yield Fault("too long", f"{sound.seconds:.1f} s, expected at most {LONGEST_S:.0f} s", row.id)
    if sound.seconds < SHORTEST_S:
        yield Fault("too short", f"{sound.seconds:.2f} s, expected at least {SHORTEST_S} s", row.id)
    if row.duration_s and abs(sound.seconds - row.duration_s) > DURATION_SLACK_S:
        yield Fault("duration", f"the manifest says {row.duration_s:.2f} s, the file has {sound.seconds:.2f} s", row.id)


def speaking_rate(row: Utterance, sound: Measurement) -> float | None:
    """Letters per second of sound; None where there is no text or no sound."""
    letters = len(text_key(row.text).replace(" ", ""))
    return letters / sound.sounding_s if letters and sound.sounding_s else None


def _speaking_rates(rows: Sequence[Utterance], measurements: Sequence[Measurement]) -> Iterator[Fault]:
    """Outliers within each language, by robust spread: bad rows must not hide themselves by widening it."""
    rates: defaultdict[str, list[tuple[Utterance, float]]] = defaultdict(list)
    for row, sound in zip(rows, measurements, strict=True):
        rate = speaking_rate(row, sound)
        if rate is not None:
            rates[row.language].append((row, rate))
    for language, found in rates.items():
        if len(found) < FEWEST:
            continue
        usual = statistics.median(rate for _, rate in found)
        spread = max(statistics.median(abs(rate - usual) for _, rate in found), 0.05 * usual)
        for row, rate in found:
            letters = len(text_key(row.text).replace(" ", ""))
            if abs(rate - usual) > OUTLIER * spread and letters * abs(1 / rate - 1 / usual) > OUTLIER_S:
                yield Fault(
                    "speaking rate",
                    f"{rate:.1f} letters a second of sound, usual in {language} here is {usual:.1f}: "
                    f"{'words are missing in the audio' if rate > usual else 'words are missing in the text'}?",
                    row.id,
                    is_warning=True,
                )


def _repeated(kind: str, rows: Sequence[Utterance], keys: Sequence[str], *, is_warning: bool) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for row, key in zip(rows, keys, strict=True):
        if key and first.setdefault(key, row.id) != row.id:
            yield Fault(kind, f"the same as {first[key]}", row.id, is_warning)


def _unspelt(rows: Sequence[Utterance], speller: Speller) -> Iterator[Fault]:
    uncovered = speller.uncovered(row.text for row in rows)
    strange: Callable[[str], list[str]] = lambda text: sorted(set(text) & set(uncovered))  # noqa: E731
    for row in rows:
        letters = strange(row.text)
        if letters:
            yield Fault("characters", f"the {speller.stage} cannot spell {' '.join(letters)}", row.id)


def _suspects(rows: Sequence[Utterance], disagreement: Sequence[float]) -> Iterator[Fault]:
    """Worst first: in one language's data 38.6 % of high-error clips had bad labels (arXiv 2510.07221)."""
    if not disagreement:
        return
    usual = statistics.median(disagreement)
    spread = max(statistics.median(abs(value - usual) for value in disagreement), 0.05)
    limit = max(SUSPECT_CER, usual + 3 * spread)
    ranked = sorted(zip(disagreement, rows, strict=True), key=lambda pair: -pair[0])
    for value, row in ranked:
        if value >= limit:
            yield Fault("suspected label", f"the recognizer heard {value:.0%} of the letters otherwise", row.id, True)
