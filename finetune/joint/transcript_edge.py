"""The straight-through edge: a reply's loss reaches the recognizer through the very words that are served.

The language model reads the recognizer's own hypothesis, rendered into the prompt by the service's code, so that the
forward pass is what is served, to the last bit. Backwards its embeddings stand for soft ones, mixed from the
recognizer's posteriors by the bytes that both models' tokens cover (Bahar et al. 2021 pass posteriors where the
vocabularies are the same; the alignment by bytes is ours).
Legend: B rows, J tokens of the language model, N of the hypothesis, V vocabularies, D width of the language model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from app.workers.base import Message
from finetune.data.rows import Dialogue
from finetune.errors import TrainingError
from finetune.joint.byte_spans import moved, overlap, pieces, spans, token_spans
from finetune.recipes.language_rows import Encoder, Row, tensors

MARK = "\ue000"
"""Stands for the caller's words while their place in the prompt is looked for; a letter of no language."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A prompt with what the recognizer has written in it, and the reply that is right."""

    row: Row
    """J tokens; only the reply counts as written."""
    overlap: Tensor
    """A [J, N]: of each token, what share of its bytes each token of the hypothesis covers."""


class Transcripts:
    """Puts hypotheses into dialogues."""

    def __init__(self, encoder: Encoder, tokenizer: Any, end: int, spoken: Callable[[str], str] = str) -> None:
        """`tokenizer` is the recognizer's, as `tokenizers` has it, `end` its first special token; `spoken` is what the
        service does to a transcript before it is a message: app.spoken.spoken_form in packs with `spoken_input`."""
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._end = end
        self._spoken = spoken

    def text(self, hypothesis: Sequence[int]) -> str:
        """The transcript as the service has it."""
        return _decoded(self._parts(hypothesis)).strip()

    def read(self, hypothesis: Sequence[int]) -> str:
        """`text` as the language model reads it."""
        return self._spoken(self.text(hypothesis))

    def heard(self, dialogue: Dialogue, hypothesis: Sequence[int]) -> Heard | None:
        """The dialogue up to its last reply, the user's turn before that being what was heard.

        None for a hypothesis without words: the service answers none. Raises TrainingError for a dialogue without a
        user's turn and a reply, DataError for one that the template refuses.
        """
        transcript = self.read(hypothesis)
        if not transcript:
            return None
        turns = dialogue.turns
        last = max((i for i, turn in enumerate(turns) if turn.role == "assistant"), default=0)
        asked = max((i for i, turn in enumerate(turns[:last]) if turn.role == "user"), default=-1)
        if asked < 0:
            raise TrainingError(f"dialogue {dialogue.id} has no reply after a user's turn, expected one that was heard")
        said = dataclasses.replace(turns[asked], text=transcript)
        cut = dataclasses.replace(dialogue, turns=(*turns[:asked], said, *turns[asked + 1 : last + 1]))
        row = self._encoder.rows(cut)[-1]
        messages, tools = self._encoder.messages(cut)[:-1], list(dialogue.tools)
        prompt = self._encoder.rendered(messages, tools)
        ids, places = token_spans(self._encoder.tokenizer, prompt)
        if list(row.ids[: len(ids)]) != ids:
            raise TrainingError(f"dialogue {dialogue.id}: its reply does not begin where the prompt ends")
        heard = self._place(messages, asked - len(cut.turns), tools, prompt, hypothesis)
        share = torch.zeros(len(row.ids), len(hypothesis))
        share[: len(ids)] = overlap(places, heard)
        return Heard(Row(row.ids, tuple(i >= len(ids) for i in range(len(row.ids)))), share)

    def _place(
        self, messages: Sequence[Message], asked: int, tools: Sequence[Any], prompt: str, hypothesis: Sequence[int]
    ) -> list[tuple[int, int]]:
        """Spans of the hypothesis in the prompt; empty ones where the template does not let them be found.

        `asked` is the user's message, counted from behind the whole dialogue, its reply included.
        """
        parts = self._parts(hypothesis)
        asked += 1  # the messages end before the reply
        marked = [
            *messages[:asked],
            {**messages[asked], "content": MARK},
            *(messages[asked + 1 :] if asked < -1 else ()),
        ]
        before, found, after = self._encoder.rendered(marked, tools).partition(MARK)
        if not found or not prompt.startswith(before) or not prompt.endswith(after):
            return [(0, 0)] * len(parts)
        written = prompt[len(before) : len(prompt) - len(after)]
        return moved(spans(parts), _decoded(parts), written, len(before.encode()))

    def _parts(self, hypothesis: Sequence[int]) -> list[bytes]:
        return pieces(self._tokenizer, hypothesis, until=self._end)


def straight_through(embedded: Tensor, soft: Tensor) -> Tensor:
    """`embedded`, unchanged to the last bit, with the gradient of both: x = e + s - sg(s)."""
    return embedded + (soft - soft.detach())


def inputs(heard: Sequence[Heard], soft: Sequence[Tensor], embeddings: nn.Module) -> dict[str, Tensor]:
    """inputs_embeds [B, J, D], position_ids and labels [B, J] of a batch.

    `soft` has for each row the soft embeddings [N, D] of its hypothesis (`token_table.heard_embeddings`), already
    scaled or detached at the crossing; `embeddings` are the language model's own.
    """
    made = tensors([[one.row] for one in heard])
    device = next(embeddings.parameters()).device
    embedded: Tensor = embeddings(made["input_ids"].to(device))
    rows = []
    for one, words in zip(heard, soft, strict=True):
        mixed = one.overlap.to(words.device, words.dtype) @ words  # [J, D]
        rows.append(nn.functional.pad(mixed, (0, 0, 0, embedded.shape[1] - len(mixed))))
    return {
        "inputs_embeds": straight_through(embedded, torch.stack(rows).to(embedded.dtype)),
        "position_ids": made["position_ids"].to(device),
        "labels": made["labels"].to(device),
    }


def _decoded(parts: Sequence[bytes]) -> str:
    return b"".join(parts).decode(errors="replace")
