"""The faults of dialogues and lexicons: pure functions from rows to a list, as `faults.py` of recordings.

A fault must be mended before training; a warning should be looked at. All are listed, none ends the search.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from finetune.data.faults import Fault
from finetune.data.rows import Dialogue, Pronunciation, Turn
from finetune.data.spelling import Speller
from finetune.data.texts import text_key

ARPABET = re.compile(r"[A-Z]{1,2}[012]?")
RARE = 0.0005
"""Share of the words of a lexicon below which a letter or phone is rare; of ENOUGH words or more."""
ENOUGH = 1000


def of_dialogues(rows: Sequence[Dialogue], spellers: Sequence[Speller] = ()) -> list[Fault]:
    """Every fault of dialogues."""
    found: list[Fault] = []
    for row in rows:
        found += _licence(row.id, row.licence, row.consent)
        found += _turns(row)
        found += _calls(row)
    found += _repeated_ids([row.id for row in rows])
    found += _repeated_dialogues(rows)
    for speller in spellers:
        for row in rows:
            if letters := sorted(speller.uncovered(turn.text for turn in row.turns)):
                found.append(Fault("characters", f"the {speller.stage} cannot spell {' '.join(letters)}", row.id))
    return found


def of_lexicon(rows: Sequence[Pronunciation], spellers: Sequence[Speller] = ()) -> list[Fault]:
    """Every fault of pronunciations; `id` is the word."""
    found: list[Fault] = []
    for row in rows:
        if not row.licence:
            found.append(Fault("licence missing", "nobody has said under which licence it may be used", row.word))
        if not row.word.strip() or any(letter.isspace() for letter in row.word.strip()):
            found.append(Fault("word", f"got {row.word!r}, expected one word", row.word))
        if strange := [phone for phone in row.phones if not _is_phone(phone, row.alphabet)]:
            found.append(Fault("phones", f"no phones of {row.alphabet}: {' '.join(map(repr, strange))}", row.word))
    if len(alphabets := Counter(row.alphabet for row in rows)) > 1:
        told = ", ".join(f"{name} {count} times" for name, count in alphabets.most_common())
        found.append(Fault("alphabets", f"phones of several alphabets: {told}; a voice needs one"))
    found += _repeated_words(rows)
    found += _foreign_letters(rows)
    found += _rare_phones(rows)
    for speller in spellers:
        uncovered = set(speller.uncovered(row.word for row in rows))
        for row in rows:
            if letters := sorted(set(row.word) & uncovered):
                found.append(Fault("characters", f"the {speller.stage} cannot spell {' '.join(letters)}", row.word))
    return found


def _licence(id: str, licence: str, consent: str) -> Iterator[Fault]:
    if not licence:
        yield Fault("licence missing", "nobody has said under which licence it may be used", id)
    if not consent:
        yield Fault("consent missing", "nobody has said what those who wrote it agreed to", id)


def _turns(row: Dialogue) -> Iterator[Fault]:
    """Empty turns, and roles in an order in which no conversation has them."""
    before = ""
    for number, turn in enumerate(row.turns):
        if not turn.text.strip() and not turn.tool_calls and turn.role != "tool":
            yield Fault("empty turn", f"turn {number}, of {turn.role}, has no text", row.id)
        if turn.role == "system" and before not in ("", "system"):
            yield Fault("order of roles", f"turn {number} is of system, expected those first", row.id)
        if turn.role == before == "user":
            yield Fault("order of roles", f"turns {number - 1} and {number} are both of user", row.id, is_warning=True)
        if turn.role == before == "assistant" and not row.turns[number - 1].tool_calls:
            yield Fault("order of roles", f"turns {number - 1} and {number} are both of assistant", row.id, True)
        before = turn.role
    if not any(turn.role == "assistant" for turn in row.turns):
        yield Fault("no reply", "no turn is of assistant: there is nothing to learn", row.id)


def _calls(row: Dialogue) -> Iterator[Fault]:
    """Calls of unknown tools, with arguments that are none, without an answer; answers to no call."""
    tools = {str(tool.get("function", {}).get("name")) for tool in row.tools}
    waiting: dict[str, str] = {}
    for number, turn in enumerate(row.turns):
        if turn.role == "tool":
            if waiting.pop(turn.tool_call_id, None) is None:
                yield Fault("tool calls", f"turn {number} answers {turn.tool_call_id!r}, which nobody called", row.id)
            continue
        for id in waiting:
            yield Fault("tool calls", f"call {id!r} has no answer before turn {number}", row.id)
        waiting = {}
        for call in turn.tool_calls:
            function = call.get("function", {})
            name, arguments = str(function.get("name")), function.get("arguments")
            waiting[str(call.get("id", ""))] = name
            if tools and name not in tools:
                yield Fault("tool calls", f"turn {number} calls {name!r}, which is none of its tools", row.id)
            if not _is_object(arguments):
                said = f"turn {number} calls {name!r} with {arguments!r}, expected a JSON object"
                yield Fault("tool calls", said, row.id)


def _is_object(arguments: object) -> bool:
    try:
        return isinstance(json.loads(arguments) if isinstance(arguments, str) else arguments, dict)
    except ValueError:
        return False


def _repeated_ids(ids: Sequence[str]) -> Iterator[Fault]:
    for id, count in Counter(ids).items():
        if count > 1:
            yield Fault("duplicate id", f"{count} dialogues have it", id)


def _repeated_dialogues(rows: Sequence[Dialogue]) -> Iterator[Fault]:
    """The same dialogue again; the same one in two splits; another reply after the same words."""
    first: dict[str, Dialogue] = {}
    asked: dict[str, tuple[Dialogue, str]] = {}
    requests: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        other = first.setdefault(said(row.turns), row)
        if other is not row:
            yield Fault("duplicate dialogue", f"the same as {other.id}", row.id, is_warning=True)
            if other.split != row.split and other.split and row.split:
                yield Fault("leakage", f"in {row.split}, and as {other.id} in {other.split}", row.id)
        elif row.turns[-1].role == "assistant":
            earlier, reply = asked.setdefault(said(row.turns[:-1]), (row, said(row.turns[-1:])))
            if earlier is not row and reply != said(row.turns[-1:]):
                message = f"{earlier.id} replies otherwise after the same words"
                yield Fault("contradiction", message, row.id, is_warning=True)
        words = "\n".join(text_key(turn.text) for turn in row.turns if turn.role == "user")
        places = requests[words]
        if row.split:
            for split in places.keys() - {row.split}:
                message = f"the user says the same in {places[split]}, of {split}"
                yield Fault("leakage", message, row.id, is_warning=True)
            places.setdefault(row.split, row.id)


def said(turns: Sequence[Turn]) -> str:
    """What is said and called in turns, as one text that is the same for the same."""
    listed = [(turn.role, text_key(turn.text), [call.get("function") for call in turn.tool_calls]) for turn in turns]
    return json.dumps(listed, sort_keys=True)


def _is_phone(phone: str, alphabet: str) -> bool:
    if alphabet == "arpabet":
        return bool(ARPABET.fullmatch(phone))
    return bool(phone.strip()) and not any(letter.isdigit() and letter.isascii() for letter in phone)


def _repeated_words(rows: Sequence[Pronunciation]) -> Iterator[Fault]:
    """The same word said in the same way twice, or in two ways that both claim to be the same variant."""
    ways: dict[tuple[str, str, tuple[str, ...]], int] = {}
    variants: dict[tuple[str, str, int], tuple[str, ...]] = {}
    for row in rows:
        key = (row.word, row.language, row.phones)
        if ways.setdefault(key, row.variant) != row.variant or variants.get((*key[:2], row.variant)) == row.phones:
            yield Fault("duplicate word", f"{' '.join(row.phones)} again", row.word, is_warning=True)
        other = variants.setdefault((row.word, row.language, row.variant), row.phones)
        if other != row.phones:
            told = f"variant {row.variant} is {' '.join(other)}, and {' '.join(row.phones)}"
            yield Fault("contradiction", told, row.word)


def _foreign_letters(rows: Sequence[Pronunciation]) -> Iterator[Fault]:
    """Letters of another script than the language's, and letters that hardly a word of it has."""
    by_language: defaultdict[str, list[Pronunciation]] = defaultdict(list)
    for row in rows:
        by_language[row.language].append(row)
    for language, own in by_language.items():
        letters = [{letter for letter in row.word.casefold() if letter.isalpha()} for row in own]
        scripts = Counter(_script(letter) for found in letters for letter in found)
        if not scripts:
            continue
        usual = scripts.most_common(1)[0][0]
        counts = Counter(letter for found in letters for letter in found)
        rare = {letter for letter, n in counts.items() if len(own) >= ENOUGH and n < RARE * len(own)}
        for row, found in zip(own, letters, strict=True):
            if foreign := sorted(letter for letter in found if _script(letter) != usual):
                told = f"{' '.join(foreign)}: of another script than {language}, which is written in {usual}"
                yield Fault("letters", told, row.word)
            elif unusual := sorted(found & rare):
                told = f"{' '.join(unusual)}: hardly a word of {language} has it"
                yield Fault("letters", told, row.word, is_warning=True)


def _script(letter: str) -> str:
    """The first word of its Unicode name: LATIN, CYRILLIC, CJK."""
    return unicodedata.name(letter, "UNKNOWN").split()[0]


def _rare_phones(rows: Sequence[Pronunciation]) -> Iterator[Fault]:
    counts = Counter(phone for row in rows for phone in set(row.phones))
    rare = {phone for phone, n in counts.items() if len(rows) >= ENOUGH and n < RARE * len(rows)}
    for row in rows:
        if unusual := sorted(set(row.phones) & rare):
            yield Fault("phones", f"{' '.join(unusual)}: hardly any other word has it", row.word, is_warning=True)
