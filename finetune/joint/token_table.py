"""What each token of a recognizer is in tokens of a language model: M [Vw, Vl]. Knows no model and no text.

Legend: Vw the recognizer's vocabulary, Vl the language model's, D its width, N tokens of a hypothesis.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from finetune.joint.byte_spans import bytes_of, pieces

STRAY = {chr(0xDC00 + byte): byte for byte in range(128, 256)}
"""How Python's `surrogateescape` writes bytes that are no letter."""


def token_table(heard: Any, read: Any, *, until: int, rows: int, columns: int) -> Tensor:
    """M [rows, columns], sparse: each row shares 1 among the tokens that `read` makes of the token's text.

    `heard` and `read` are `tokenizers.Tokenizer`; rows from token `until` on, Whisper's special ones, are empty. What
    is no whole letter in a token becomes tokens of single bytes, where `read` has such.
    `rows` and `columns` are those of the models' embeddings, which may be longer than the vocabularies.
    """
    parts = [part.decode(errors="surrogateescape") for part in pieces(heard, range(min(until, rows)))]
    texts = ["".join(letter for letter in part if letter not in STRAY) for part in parts]
    # Where a tokenizer puts a space before every text, a token that begins with one would get two.
    doubled = b"".join(pieces(read, read.encode("a", add_special_tokens=False).ids)) != b"a"
    spoken = [text.removeprefix(" ") or text if doubled else text for text in texts]
    of_byte = _byte_tokens(read)
    places = []
    for row, (made, part) in enumerate(zip(read.encode_batch(spoken, add_special_tokens=False), parts, strict=True)):
        bytes_alone = [STRAY[letter] for letter in part if letter in STRAY]
        ids = [*(made.ids if texts[row] else ()), *(of_byte[byte] for byte in bytes_alone if byte in of_byte)]
        places += [(row, token, 1 / len(ids)) for token in ids]
    at = torch.tensor([(row, token) for row, token, _ in places], dtype=torch.long).reshape(-1, 2).T
    shares = torch.tensor([share for *_, share in places])
    return torch.sparse_coo_tensor(at, shares, (rows, columns), check_invariants=True).coalesce()


def heard_embeddings(table: Tensor, embeddings: Tensor) -> Tensor:
    """M E [Vw, D], without a gradient: the recognizer's tokens as embeddings [Vl, D] of the language model.

    Posteriors p [N, Vw] times these are soft embeddings s = p M E. Made once a step: p M would be as wide as the
    language model's vocabulary.
    """
    mixed: Tensor = torch.sparse.mm(table, embeddings.detach().float())
    return mixed


def _byte_tokens(tokenizer: Any) -> dict[int, int]:
    """The token of each single byte: a byte-level vocabulary's, or SentencePiece's <0xE1>."""
    vocabulary = tokenizer.get_vocab()
    found = {int(name[3:5], 16): token for name, token in vocabulary.items() if _is_byte(name)}
    found = found or {one[0]: token for name, token in vocabulary.items() if len(one := bytes_of(name)) == 1}
    return found if len(found) == 256 else {}


def _is_byte(name: str) -> bool:
    return len(name) == 6 and name.startswith("<0x") and name.endswith(">")
