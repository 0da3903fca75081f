"""Dialogues to rows of tokens, as the served model will see them. Knows no model and no training.

Prompts are rendered by the service's own code, so that the model learns from the very texts that it will be given.
B rows, T tokens.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.errors import BadRequest
from app.workers.base import Message
from app.workers.chat_prompt import ChatTemplate
from finetune.data.errors import DataError
from finetune.data.rows import Dialogue
from finetune.errors import ConfigError

IGNORED = -100
"""Target of a token that is read and not learnt; cross-entropy leaves it out."""


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens that belong together."""

    ids: tuple[int, ...]
    written: tuple[bool, ...]
    """Which of them the assistant writes: the only ones that are learnt."""


class Encoder:
    """A model's tokenizer and chat template."""

    def __init__(self, tokenizer: Any, ends: Sequence[int], prompt: str = "") -> None:
        """`tokenizer` is a fast one of transformers, `ends` are the tokens that end a reply, `prompt` the instructions
        of dialogues without any. Raises ConfigError where there is no chat template."""
        template = tokenizer.chat_template
        if not isinstance(template, str):
            raise ConfigError("base: its tokenizer has no chat template, expected that of a chat model")
        self.tokenizer = tokenizer.backend_tokenizer
        """`tokenizers.Tokenizer`."""
        special = [token.content for token in self.tokenizer.get_added_tokens_decoder().values()]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "chat_template.jinja"
            file.write_text(template, encoding="utf-8")
            self._template = ChatTemplate(file, special, tokenizer.bos_token or "")
        self._ends = set(ends)
        self._prompt = prompt

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text; special ones only where the text has them."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def messages(self, dialogue: Dialogue) -> list[Message]:
        """A dialogue as OpenAI messages, with instructions first."""
        found: list[Message] = []
        if self._prompt and dialogue.turns[0].role != "system":
            found.append({"role": "system", "content": self._prompt})
        for turn in dialogue.turns:
            message: dict[str, Any] = {"role": turn.role, "content": turn.text}
            if turn.tool_calls:
                message["tool_calls"] = list(turn.tool_calls)
            if turn.tool_call_id:
                message["tool_call_id"] = turn.tool_call_id
            found.append(message)
        return found

    def prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[int]:
        """Tokens up to where the next reply begins."""
        return self.tokens(self.rendered(messages, tools))

    def rendered(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> str:
        """The text of `prompt`. Raises BadRequest for what the template refuses."""
        return self._template.render(messages, list(tools))

    def rows(self, dialogue: Dialogue) -> list[Row]:
        """One row, or one a reply where the template writes a turn otherwise once others follow it.

        Raises DataError naming the dialogue that the template refuses or does not write whole.
        """
        messages = self.messages(dialogue)
        replies = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        try:
            whole = self._reply(dialogue, messages, len(messages) - 1)[0] if replies else []
            row, separate = [False] * len(whole), []
            for reply in replies:
                ids, begin = self._reply(dialogue, messages, reply)
                separate.append(Row(tuple(ids), tuple(i >= begin for i in range(len(ids)))))
                if whole[: len(ids)] == ids:
                    row[begin : len(ids)] = [True] * (len(ids) - begin)
                else:
                    whole = []
        except BadRequest as error:
            raise DataError(f"dialogue {dialogue.id}: {error.message}") from error
        return [Row(tuple(whole), tuple(row))] if whole else separate

    def _reply(self, dialogue: Dialogue, messages: Sequence[Message], at: int) -> tuple[list[int], int]:
        """Tokens of the messages up to one, and where that one begins if it is a reply."""
        tools = list(dialogue.tools)
        until = self._template.render(messages[: at + 1], tools, begin_reply=False).rstrip()
        if messages[at]["role"] != "assistant":
            return self.tokens(until), 0
        before = self._template.render(messages[:at], tools)
        if not until.startswith(before):
            raise DataError(
                f"dialogue {dialogue.id}: the chat template writes {until[-80:]!r}, expected it to begin a reply "
                f"with {before[-40:]!r} as when it asks for one"
            )
        for call in messages[at].get("tool_calls", ()):
            if call["function"]["name"] not in until[len(before) :]:
                raise DataError(f"dialogue {dialogue.id}: the chat template does not write the call {call['function']}")
        # Apart, as the service will: the prompt's last token and the reply's first never become one.
        prompt = self.tokens(before)
        ids = self.tokens(until)
        if ids[: len(prompt)] != prompt:
            ids = [*prompt, *self.tokens(until[len(before) :])]
        if ids[-1] not in self._ends:
            ids.append(min(self._ends))
        return ids, len(prompt)


def tensors(rows: Sequence[Sequence[Row]], size: int = 0) -> dict[str, Tensor]:
    """input_ids, position_ids and labels, each [B, T], of rows that each hold one or several dialogues.

    Positions begin anew with each dialogue, by which transformers keeps those of a row from seeing each other
    (masking_utils.find_packed_sequence_indices). T is `size`, or the longest row's.
    """
    length = max(size, *(sum(len(row.ids) for row in packed) for packed in rows))
    made = {name: torch.zeros((len(rows), length), dtype=torch.long) for name in ("input_ids", "position_ids")}
    labels = torch.full((len(rows), length), IGNORED)
    for i, packed in enumerate(rows):
        at = 0
        for row in packed:
            ids = torch.tensor(row.ids)
            made["input_ids"][i, at : at + len(ids)] = ids
            made["position_ids"][i, at : at + len(ids)] = torch.arange(len(ids))
            labels[i, at : at + len(ids)] = torch.where(torch.tensor(row.written), ids, IGNORED)
            labels[i, at] = IGNORED  # it would be learnt from the dialogue before it
            at += len(ids)
        made["position_ids"][i, at:] = torch.arange(length - at)  # padding: a dialogue of its own, never learnt
    return {**made, "labels": labels}


def cut(row: Row, size: int) -> Row:
    """The first `size` tokens."""
    return Row(row.ids[:size], row.written[:size])
