"""`parley data audit`: refuses splits that share speakers, texts or recordings. Recipes may call it too.

Figures from contaminated splits are too good by an amount that nobody knows: for Swiss German, a WER of 13.9 % in place
of 25.3 % (arXiv 2606.07608).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from finetune.data.errors import DataError, LeakageError
from finetune.data.manifest import audio_path, kind_of, read_dialogues, read_utterances
from finetune.data.measured import measured
from finetune.data.rows import SPLITS, Dialogue, Utterance
from finetune.data.texts import near_pairs, text_key

SHOWN = 5
"""Examples of each kind in the message."""
COMMON_WORDS = 2
"""Up to so many words are said in any dialogue: yes please."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley data audit`."""
    parser.add_argument(
        "manifest", type=Path, nargs="+", metavar="MANIFEST", help="of clips or dialogues; several are audited as one"
    )
    parser.add_argument(
        "--apart", choices=("both", "speakers", "texts"), default="both", help="what was kept apart [both]"
    )


def run(args: argparse.Namespace) -> int:
    """Audits rows and recordings; raises LeakageError."""
    rows: list[Utterance] = []
    sounds: list[str] = []
    talks: list[Dialogue] = []
    for manifest in args.manifest:
        if kind_of(manifest) == "dialogues":
            talks += read_dialogues(manifest)
            continue
        own = list(read_utterances(manifest))
        rows += own
        sounds += [found.sound for found in measured([audio_path(manifest, row) for row in own], own, manifest.parent)]
    audit(rows, args.apart, sounds, talks)
    splits = [*(row.split for row in rows), *(talk.split for talk in talks)]
    counts = {name: splits.count(name) for name in SPLITS}
    print(f"no leakage: {', '.join(f'{name} {count}' for name, count in counts.items())}; apart: {args.apart}")
    return 0


def audit(
    rows: Sequence[Utterance], apart: str = "both", sounds: Sequence[str] = (), talks: Sequence[Dialogue] = ()
) -> None:
    """Raises LeakageError with everything that two splits share, DataError for rows without a split.

    `apart` is what must differ: "both", "speakers", "texts", or "recordings" alone. A recording may never be in two
    splits: `sounds` are hashes of the rows' samples, where they are known. `talks` are audited by what their users say.
    """
    every: list[Utterance | Dialogue] = [*rows, *talks]
    unsplit = [row.id for row in every if not row.split]
    if unsplit:
        raise DataError(f"{len(unsplit)} rows have no split, for instance {unsplit[0]!r}: parley data split makes them")
    faults = leaks(rows, apart, sounds) + (talked(rows, talks) if apart in ("both", "texts") else [])
    if faults:
        raise LeakageError("the splits are contaminated:\n  " + "\n  ".join(faults))


def leaks(rows: Sequence[Utterance], apart: str, sounds: Sequence[str] = (), *, near: bool = True) -> list[str]:
    """A line for each kind of contamination, with how often and examples; rows without a split are passed over.

    `near`: texts that differ by a letter or two count as the same.
    """
    faults = []
    if apart in ("both", "speakers"):
        faults += _shared("speaker", ((row.speaker, row) for row in rows))
    if apart in ("both", "texts"):
        faults += _shared("text", ((text_key(row.text), row) for row in rows))
        faults += _near(rows) if near else []
    if sounds:
        faults += _shared("recording", (pair for pair in zip(sounds, rows, strict=True) if pair[0]))
    return faults


def talked(rows: Sequence[Utterance], talks: Sequence[Dialogue]) -> list[str]:
    """A line for dialogues whose users say the same in two splits, and one for clips that are asked in another one's.

    Of clips and dialogues a text of more than COMMON_WORDS words counts; one turn that two dialogues have in common
    does not, as long as the rest differs.
    """
    clips = defaultdict(list)
    for row in rows:
        clips[text_key(row.text)].append(row)
    met: list[tuple[str, Utterance | Dialogue]] = []
    for talk in talks:
        for asked in (text_key(turn.text) for turn in talk.turns if turn.role == "user"):
            if asked in clips and len(asked.split()) > COMMON_WORDS:
                met += [(asked, talk), *((asked, row) for row in clips[asked])]
    whole = _shared("dialogue", ((requests_of(talk), talk) for talk in talks))
    return whole + _shared("text of clip and dialogue", met)


def requests_of(dialogue: Dialogue) -> str:
    """What the user says in it, as it is compared."""
    return "\n".join(text_key(turn.text) for turn in dialogue.turns if turn.role == "user")


def _shared(what: str, keyed: Iterable[tuple[str, Utterance | Dialogue]]) -> list[str]:
    """Keys that occur in more than one split."""
    places: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for key, row in keyed:
        if row.split:
            places[key].setdefault(row.split, row.id)
    return _lines(
        f"the same {what}", [(key if what != "recording" else "", at) for key, at in places.items() if len(at) > 1]
    )


def _near(rows: Sequence[Utterance]) -> list[str]:
    """Texts of different splits that differ by a letter or two."""
    first: dict[str, Utterance] = {}
    for row in rows:
        if row.split:
            first.setdefault(text_key(row.text), row)
    keys = list(first)
    found = []
    for i, j, _ in near_pairs(keys):
        one, other = first[keys[i]], first[keys[j]]
        if one.split != other.split:
            found.append((f"{one.text} / {other.text}", {one.split: one.id, other.split: other.id}))
    return _lines("nearly the same text", found)


def _lines(what: str, found: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    if not found:
        return []
    examples = [
        (f"{key!r}: " if key else "") + ", ".join(f"{at[name]} in {name}" for name in SPLITS if name in at)
        for key, at in found[:SHOWN]
    ]
    return [f"{what} in two splits, {len(found)} times: {'; '.join(examples)}"]
