"""Measurements to figures: rows of a pack's card, and slices. Every figure has its n and a 95 % interval.

Gates, where another pack is given to compare with: an old language may lose OLD_LANGUAGE_MARGIN, replies in it
REPLY_MARGIN, a slice SLICE_MARGIN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from finetune.evaluate.cases import Clip
from finetune.evaluate.listening import Heard
from finetune.evaluate.measure import Measured
from finetune.evaluate.normal import base_language, characters, has_words, normal
from finetune.evaluate.rates import Rate, Score, by_slice, difference, quantile, rate
from finetune.evaluate.replying import Replied
from finetune.measure import word_errors

OLD_LANGUAGE_MARGIN: Final = 0.01
SLICE_MARGIN: Final = 0.02
"""More than the old language's: slices are small, so that chance alone moves them."""
REPLY_MARGIN: Final = 0.1
"""Nats a token that the right replies of an old language may get less likely: a tenth of the perplexity."""
LEAST_OF_A_SLICE: Final = 50
"""Words or characters below which a slice is shown, but is no candidate for the worst."""
CLOCK = "wall clock of this machine, one at a time"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Slice:
    """One part of the clips of a language."""

    language: str
    metric: str
    name: str
    """dimension: value."""
    rate: Rate
    change: Rate | None
    """Against the other pack."""


def figures(clips: Sequence[Clip], mine: Measured, theirs: Measured | None) -> tuple[list[Row], list[Slice]]:
    """All rows in the order of the cascade, and the recognizer's slices."""
    rows: list[Row] = []
    slices: list[Slice] = []
    for language, old in sorted({(base_language(clip.row.language), clip.old) for clip in clips}):
        new_rows, new_slices = _hearing(language, old, clips, mine, theirs)
        rows += new_rows
        slices += new_slices
    rows += _replies(mine, theirs) + _voice(mine, theirs) + _cascade(clips, mine)
    return rows, slices


def row(part: str, metric: str, rated: Rate, unit: str, n_unit: str, note: str, *, most: float | None = None) -> Row:
    """One row of a card; `most` is its gate."""
    value = round(rated.value, 4)
    return {
        "part": part, "metric": metric, "value": value, "unit": unit, "n": rated.n, "n_unit": n_unit,
        "interval": [round(rated.low, 4), round(rated.high, 4)],
        "gate": None if most is None else {"op": "<=", "value": most},
        "passed": None if most is None else value <= most, "note": note,
    }  # fmt: skip


def scores(clips: Sequence[Clip], heard: Sequence[Heard], *, letters: bool) -> list[Score]:
    """Word or character errors of each clip."""
    found = []
    for clip, one in zip(clips, heard, strict=True):
        said, got = (normal(text, clip.row.language) for text in (clip.row.text, one.text))
        if letters:
            said, got = characters(said), characters(got)
        found.append(Score(word_errors(said, got), len(said.split()), clip.row.speaker, one.slices))
    return found


def _hearing(
    language: str, is_old: bool, clips: Sequence[Clip], mine: Measured, theirs: Measured | None
) -> tuple[list[Row], list[Slice]]:
    """Of the clips of one language, of old data or of other."""
    picked = [i for i, c in enumerate(clips) if (base_language(c.row.language), c.old) == (language, is_old)]
    those = [clips[i] for i in picked]
    rows: list[Row] = []
    slices: list[Slice] = []
    own = language == base_language(mine.pack.language)
    old = is_old or not own
    named = "old_data_" if is_old and own else ""  # else it would have the name of the new data's figure
    before = named or ("old_language_" if old else "")
    for metric, n_unit in (("wer", "words"), ("cer", "characters")):
        if metric == "wer" and not has_words(language):
            continue
        mine_scores = scores(those, [mine.heard[i] for i in picked], letters=metric == "cer")
        rated = rate(mine_scores)
        rows.append(row("recognizer", f"{named}{metric}_{language}", rated, "share", n_unit, rated.drawn()))
        their_scores = scores(those, [theirs.heard[i] for i in picked], letters=metric == "cer") if theirs else None
        main = metric == ("wer" if has_words(language) else "cer")
        if theirs and their_scores:
            change = difference(mine_scores, their_scores)
            name = f"{before}{metric}_{language}_change"
            note = f"less that of {theirs.pack.reference}, paired; {change.drawn()}"
            most = OLD_LANGUAGE_MARGIN if old and main else None
            rows.append(row("recognizer", name, change, "share", n_unit, note, most=most))
        if main:
            slices = _slices(f"{language} (old data)" if named else language, metric, mine_scores, their_scores)
            rows += _worst(f"{named}worst_slice_{metric}_{language}", n_unit, slices, theirs)
    return rows, slices


def _slices(language: str, metric: str, mine: Sequence[Score], theirs: Sequence[Score] | None) -> list[Slice]:
    found = []
    for name, numbers in by_slice(mine).items():
        part = [mine[i] for i in numbers]
        change = difference(part, [theirs[i] for i in numbers]) if theirs else None
        found.append(Slice(language, metric, name, rate(part), change))
    return found


def _worst(name: str, n_unit: str, slices: Sequence[Slice], theirs: Measured | None) -> list[Row]:
    """The slice that is heard worst, and the one that lost most."""
    large = [one for one in slices if one.rate.n >= LEAST_OF_A_SLICE]
    if not large:
        return []
    worst = max(large, key=lambda one: one.rate.value)
    note = f"{worst.name}; {worst.rate.drawn()}"
    rows = [row("recognizer", name, worst.rate, "share", n_unit, note)]
    changed = [(one.change, one) for one in large if one.change is not None]
    if changed and theirs:
        change, lost = max(changed, key=lambda pair: pair[0].value)
        note = f"{lost.name}; less that of {theirs.pack.reference}, paired; {change.drawn()}"
        rows.append(row("recognizer", f"{name}_change", change, "share", n_unit, note, most=SLICE_MARGIN))
    return rows


def _replies(mine: Measured, theirs: Measured | None) -> list[Row]:
    from sacrebleu.metrics.chrf import CHRF

    likeness = CHRF().sentence_score
    rows: list[Row] = []
    kinds: tuple[tuple[str, str, Callable[[Replied], Score | None]], ...] = (
        ("exact_tool_calls", "share", lambda r: Score(r.exact, 1, r.dialogue) if r.gold_calls else None),
        ("needless_tool_calls", "share", lambda r: None if r.gold_calls else Score(bool(r.calls), 1, r.dialogue)),
        ("chrf", "points", lambda r: Score(likeness(r.text, [r.gold]).score, 1, r.dialogue) if r.gold else None),
        ("gold_reply_nll", "nats a token", lambda r: None if r.nats is None else Score(r.nats, r.tokens, r.dialogue)),
    )  # fmt: skip
    own = base_language(mine.pack.language)
    languages = sorted({base_language(one.language) for one in mine.replied}, key=lambda one: (one != own, one))
    givens = ((True, "", "given the served transcript"), (False, "_typed", "given typed words"))
    for language, (served, suffix, given) in product(languages, givens):
        old = "" if language == own else f"old_language_{language}_"
        for kind, unit, score in kinds:
            pairs = [(one, score(one), place) for place, one in enumerate(mine.replied)]
            those = [pair for pair in pairs if (base_language(pair[0].language), pair[0].served) == (language, served)]
            picked = [(found, place) for _, found, place in those if found is not None]
            if not picked:
                continue
            name = old + kind
            mine_scores = [found for found, _ in picked]
            rated = rate(mine_scores)
            n_unit = "tokens" if kind == "gold_reply_nll" else "turns"
            rows.append(row("language", name + suffix, rated, unit, n_unit, f"{given}; {rated.drawn('dialogue')}"))
            others = [score(theirs.replied[place]) for _, place in picked] if theirs and theirs.replied else []
            their_scores = [other for other in others if other is not None]
            same = [other.count for other in their_scores] == [one.count for one in mine_scores]
            if theirs and their_scores and same:  # not so where tokenizers differ
                change = difference(mine_scores, their_scores)
                note = f"less that of {theirs.pack.reference}, paired; {change.drawn('dialogue')}"
                most = REPLY_MARGIN if old and kind == "gold_reply_nll" else None
                rows.append(row("language", f"{name}{suffix}_change", change, unit, n_unit, note, most=most))
    return rows


def _voice(mine: Measured, theirs: Measured | None) -> list[Row]:
    if not mine.spoken:
        return []
    rows: list[Row] = []
    judged = round_trip(mine)
    if judged:
        rated = rate(judged)
        note = f"judge: {mine.judge}; {rated.drawn('text')}"
        rows.append(row("voice", "round_trip_cer", rated, "share", "characters", note))
        if mine.control:
            own = rate(scores([clip for clip, _ in mine.control], [one for _, one in mine.control], letters=True))
            note = f"{mine.judge}: what it mishears in recordings by speakers that it does not know; {own.drawn()}"
            rows.append(row("voice", "judge_cer_of_recordings", own, "share", "characters", note))
        others = round_trip(theirs) if theirs else []
        if theirs and len(others) == len(judged) and theirs.judge == mine.judge:
            change = difference(judged, others)
            note = f"less that of {theirs.pack.reference}, same texts, paired; judge: {mine.judge}"
            rows.append(row("voice", "round_trip_cer_change", change, "share", "characters", note))
    sounding = [one for one in mine.spoken if one.seconds]
    firsts, factors = [one.first_ms for one in sounding], [one.work_s / one.seconds for one in sounding]
    return (
        rows
        + _quantiles("voice", "first_audio", firsts, "ms", "texts", CLOCK)
        + _quantiles("voice", "real_time_factor", factors, "ratio", "texts", CLOCK)
    )


def round_trip(measured: Measured) -> list[Score]:
    """Character errors of what the judge heard, by text; nothing without a judge."""
    language = measured.pack.language
    heard = [one for one in measured.spoken if one.heard is not None]
    pairs = [(normal(one.text, language), normal(one.heard or "", language)) for one in heard]
    return [Score(word_errors(characters(said), characters(got)), len(characters(said).split())) for said, got in pairs]


def _cascade(clips: Sequence[Clip], mine: Measured) -> list[Row]:
    taken = [(one.finish_ms, one.seconds) for one in mine.heard if one.finish_ms is not None]
    listening, factors = [ms for ms, _ in taken], [ms / 1000 / seconds for ms, seconds in taken]
    rows = _quantiles("recognizer", "transcript_after", listening, "ms", "clips", f"all of the clip at once; {CLOCK}")
    rows += _quantiles("recognizer", "real_time_factor", factors, "ratio", "clips", CLOCK)
    if not mine.turns:
        return rows
    heard = [one for clip, one in zip(clips, mine.heard, strict=True) if clip.is_own(mine.pack.language)]
    audible = rate([Score(turn.first_ms is not None, 1) for turn in mine.turns])
    rows.append(row("cascade", "audible_replies", audible, "share", "clips", audible.drawn("clip")))
    waits = [
        h.finish_ms + t.first_ms
        for h, t in zip(heard, mine.turns, strict=True)
        if h.finish_ms is not None and t.first_ms is not None
    ]
    note = (
        f"from the end of the clip, heard only then, to the first audio of the reply; endpoint wait excluded; {CLOCK}"
    )
    return rows + _quantiles("cascade", "first_audio", waits, "ms", "clips", note)


def _quantiles(part: str, name: str, values: Sequence[float], unit: str, n_unit: str, note: str) -> list[Row]:
    rows = []
    for share, suffix in ((0.5, "median"), (0.95, "p95")):
        if values:
            rated = Rate(*quantile(values, share), len(values), 0)
            rows.append(row(part, f"{name}_{suffix}", rated, unit, n_unit, note))
    return rows
