"""Which bytes of a text each token covers, and how far the tokens of two tokenizers overlap. Knows no model.

Whisper's tokens and a language model's never align: they meet in the bytes of the text that both of them cover.
Spans are [begin, end) in bytes of UTF-8. Legend: J tokens that read, N tokens that are read.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

Span: TypeAlias = tuple[int, int]
BROKEN = len("\N{REPLACEMENT CHARACTER}".encode())


def pieces(tokenizer: Any, ids: Sequence[int], *, until: int | None = None) -> list[bytes]:
    """The bytes that each token of a byte-level tokenizer (`tokenizers.Tokenizer`) writes; tokens from `until` on and
    unknown ones write none. A token may hold a part of a letter."""
    added = tokenizer.get_added_tokens_decoder()
    found = []
    for token in ids:
        if until is not None and token >= until:
            found.append(b"")
        elif token in added:
            found.append(added[token].content.encode())
        else:
            found.append(bytes_of(tokenizer.id_to_token(token) or ""))
    return found


def bytes_of(token: str) -> bytes:
    """A byte-level vocabulary's way to write a token as the token's bytes; other characters as they are."""
    known = _byte_of_letter()
    return b"".join(bytes([known[letter]]) if letter in known else letter.encode() for letter in token)


def spans(parts: Sequence[bytes]) -> list[Span]:
    """Spans of pieces in their text, where broken letters are replaced as decoders do it.

    All pieces of a sequence that is no letter cover the whole of the mark that stands for it.
    """
    raw = b"".join(parts)
    places = _places(raw)
    found, at = [], 0
    for part in parts:
        covered = places[at : at + len(part)]
        found.append((covered[0][0], covered[-1][1]) if covered else (_end(places, at), _end(places, at)))
        at += len(part)
    return found


def token_spans(tokenizer: Any, text: str) -> tuple[list[int], list[Span]]:
    """Ids and spans of a text's tokens, special ones of the text among them, none added.

    Exact for byte-level tokenizers; for others as fine as letters, as the tokenizer's own offsets tell.
    """
    encoded = tokenizer.encode(text, add_special_tokens=False)
    parts = pieces(tokenizer, encoded.ids)
    if b"".join(parts) == text.encode():
        return encoded.ids, spans(parts)
    ends = [0]
    for letter in text:
        ends.append(ends[-1] + len(letter.encode()))
    return encoded.ids, [(ends[begin], ends[end]) for begin, end in encoded.offsets]


def overlap(readers: Sequence[Span], read: Sequence[Span]) -> Tensor:
    """A [J, N]: the share of each reading token's bytes that each read token covers. Rows sum to at most 1."""
    if not readers or not read:
        return torch.zeros(len(readers), len(read))
    mine, theirs = torch.tensor(readers), torch.tensor(read)
    begin = torch.maximum(mine[:, None, 0], theirs[None, :, 0])
    shared = (torch.minimum(mine[:, None, 1], theirs[None, :, 1]) - begin).clamp(min=0).float()
    share = shared / (mine[:, 1] - mine[:, 0]).clamp(min=1)[:, None]
    return share / share.sum(1, keepdim=True).clamp(min=1)  # read tokens that make up one letter cover it all, each


def moved(read: Sequence[Span], text: str, written: str, begin: int) -> list[Span]:
    """Spans in `text` as spans in a longer text that has `text` as `written` from byte `begin` on.

    `written` may be `text` stripped, in other letters or without some of them: what is the same keeps its place, what
    was replaced covers what replaced it, what was left out covers nothing.
    """
    places: list[Span] = [(0, 0)] * len(text.encode())
    letters, replaced = _letter_ends(text), _letter_ends(written)
    opcodes = (
        [("equal", 0, len(text), 0, len(text))]
        if text == written
        else difflib.SequenceMatcher(None, text, written, autojunk=False).get_opcodes()
    )
    for kind, i1, i2, j1, j2 in opcodes:
        for byte in range(letters[i1], letters[i2]):
            if kind == "equal":
                at = replaced[j1] + byte - letters[i1]
                places[byte] = (at, at + 1)
            else:
                places[byte] = (replaced[j1], replaced[j2])
    found = []
    for first, last in read:
        covered = [place for place in places[first:last] if place[1] > place[0]]
        found.append((begin + covered[0][0], begin + covered[-1][1]) if covered else (begin, begin))
    return found


def _places(raw: bytes) -> list[Span]:
    """Of each byte: where it is in the text that the bytes decode to."""
    places: list[Span] = []
    at = done = 0
    while done < len(raw):
        try:
            raw[done:].decode()
            good, bad = len(raw) - done, 0
        except UnicodeDecodeError as error:
            good, bad = error.start, error.end - error.start
        places += [(at + i, at + i + 1) for i in range(good)]
        at += good
        if bad:
            places += [(at, at + BROKEN)] * bad
            at += BROKEN
        done += good + bad
    return places


def _end(places: Sequence[Span], at: int) -> int:
    return places[at - 1][1] if at else 0


def _letter_ends(text: str) -> list[int]:
    """Where each letter begins, in bytes, and the end."""
    ends = [0]
    for letter in text:
        ends.append(ends[-1] + len(letter.encode()))
    return ends


@functools.cache
def _byte_of_letter() -> dict[str, int]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {letter: byte for byte, letter in bytes_to_unicode().items()}  # type: ignore[no-untyped-call]
