"""Text to tokens: the tokenizer, the chat template, and rows of tokens for training. Knows no model.

The tokenizer is built so that copying is easy: a word has the same tokens wherever it stands. A capital is a mark of
its own before the lower-case letter, words are always preceded by a space (also after a role, and after the punctuation
of JSON, which is one mark), and digits stand alone. All of it lies in tokenizer.json: any engine decodes plain text.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from jinja2.sandbox import ImmutableSandboxedEnvironment
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from app.tools import schemas
from finetune.starter.language_dialogues import TOOLS, Dialogue

END, BEGIN = "<|end|>", "<|bos|>"
ROLES: Final = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
CALL: Final = ("<tool_call>", "</tool_call>")
CAPITAL: Final = "\x01"  # "the next letter is a capital"
MARKS: Final = {
    ' {"name": "': "\x02", '", "arguments": {"': "\x03", '{"': "\x04", '": "': "\x05", '", "': "\x06", ', "': "\x07",
}  # fmt: skip
"""Punctuation of JSON before a key or value -> one mark and a space."""
SILENT: Final = 0.1
"""Loss weight of tokens that the model reads and never writes; they still teach it the language."""

TEMPLATE: Final = (
    """{{- bos_token -}}
{%- set taught = """
    + json.dumps(
        {tool["function"]["name"]: list(tool["function"]["parameters"]["properties"]) for tool in schemas(TOOLS)}
    )
    + """ -%}
{%- set has = namespace(taught=false, others=[]) -%}
{%- for tool in tools or [] -%}
{%- set f = tool.function -%}
{%- set names = ((f.parameters or {}).properties or {}) | list -%}
{%- if f.name in taught and names == taught[f.name] -%}{%- set has.taught = true -%}
{%- else -%}{%- set has.others = has.others + [f] -%}{%- endif -%}
{%- endfor -%}
{%- macro listed() -%}
{%- for f in has.others -%}
{{ ' ' ~ f.name }} ({% for name, kind in ((f.parameters or {}).properties or {}).items() -%}
{{ ', ' if not loop.first else ' ' }}{{ name }}{{ ': number' if kind.type in ['integer', 'number'] }}
{%- endfor -%}){{ ': ' ~ f.description[:80] if f.description }}{{ ';' if not loop.last }}
{%- endfor -%}
{%- endmacro -%}
{%- set note = (('Also these tools:' if has.taught else 'Only these tools:') ~ listed()) if has.others
 else ('' if has.taught else 'No tools.') -%}
{%- set system = messages[0].content if messages and messages[0].role == 'system' else '' -%}
{%- if system or note %}<|system|>{{ system }}{{ ' ' if system and note }}{{ note }}<|end|>{% endif -%}
{%- for m in messages -%}
{%- if m.role == 'system' and loop.first -%}
{%- else %}<|{{ m.role if m.role in ['system', 'user', 'assistant', 'tool'] else 'user' }}|>{{ m.content or '' }}
{%- for call in m.tool_calls or [] -%}
{%- set f = call.function -%}
<tool_call>{"name": "{{ f.name }}", "arguments": {{ f.arguments if f.arguments is string else f.arguments | tojson }}}\
</tool_call>
{%- endfor -%}<|end|>
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}<|assistant|>{% endif -%}"""
)
"""Lists only the tools that the model was not taught; says so where the taught ones are missing."""


def new_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """A byte-level BPE of `size` tokens; `texts` are the contents of messages."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Prepend(" "),
        *(normalizers.Replace(json_, f"{mark} ") for json_, mark in MARKS.items()),
        *(normalizers.Replace(f" {c}", f"{CAPITAL} {c.lower()}") for c in string.ascii_uppercase),
        *(normalizers.Replace(c, CAPITAL + c.lower()) for c in string.ascii_uppercase),
    ])  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"[\x01-\x07]| ?\d| ?[\p{L}_]+| ?[^\s\p{L}\d_\x01-\x07]+|\s"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = new_decoder()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(CALL),
        special_tokens=[END, BEGIN, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in CALL])
    return tokenizer


def new_decoder() -> decoders.Decoder:
    """Tokens to plain text."""
    unfinished = "\N{REPLACEMENT CHARACTER}"  # a mark without its letter; streaming decoders wait on this character
    return decoders.Sequence([
        decoders.ByteLevel(),
        *(decoders.Replace(f"{CAPITAL} {c.lower()}", f" {c}") for c in string.ascii_uppercase),
        *(decoders.Replace(CAPITAL + c.lower(), c) for c in string.ascii_uppercase),
        *(decoders.Replace(f"{mark} ", json_) for json_, mark in MARKS.items()),
        *(decoders.Replace(mark, json_) for json_, mark in MARKS.items()),
        decoders.Replace(f"{CAPITAL} ", unfinished),
        decoders.Replace(CAPITAL, unfinished),
        decoders.Strip(" ", 1, 0),
    ])  # fmt: skip


def renderer() -> Any:
    """The compiled chat template."""
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE)


def encoded(dialogue: Dialogue, tokenizer: Tokenizer, template: Any) -> tuple[list[int], list[float]]:
    """Token ids of a dialogue and the loss weight of each."""
    text = template.render(messages=dialogue.messages, tools=dialogue.tools, bos_token=BEGIN)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assistant, end = tokenizer.token_to_id("<|assistant|>"), tokenizer.token_to_id(END)
    weights, writes = [], False
    for token in ids:
        weights.append(1.0 if writes else SILENT)
        writes = token == assistant or (writes and token != end)
    weights[0] = 0.0
    return ids, weights


def packed(
    dialogues: Iterator[tuple[list[int], list[float]]], rows: int, length: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ids [rows, length + 1] and weights of the same shape; whole dialogues one after the other, the last one cut.

    A row begins with a dialogue's beginning: a model that reads half a dialogue would learn to guess a forgotten name.
    """
    ids = np.zeros((rows, length + 1), np.int64)
    weights = np.zeros((rows, length + 1), np.float32)
    for row in range(rows):
        filled = 0
        while filled < length + 1:
            tokens, losses = next(dialogues)
            count = min(len(tokens), length + 1 - filled)
            ids[row, filled : filled + count] = tokens[:count]
            weights[row, filled : filled + count] = losses[:count]
            filled += count
    return ids, weights


def repeated(
    rng: random.Random, rows: int, length: int, vocabulary: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows of random tokens that are said twice: the fastest way to teach attention to copy."""
    ids = np.zeros((rows, length + 1), np.int64)
    weights = np.zeros((rows, length + 1), np.float32)
    for row in range(rows):
        filled = 0
        while filled < length + 1:
            span = [rng.randrange(8, vocabulary) for _ in range(rng.randint(2, 24))]
            tokens = [*span, *span][: length + 1 - filled]
            ids[row, filled : filled + len(tokens)] = tokens
            weights[row, filled + len(span) + 1 : filled + len(tokens)] = 1.0
            filled += len(tokens)
    return ids, weights
