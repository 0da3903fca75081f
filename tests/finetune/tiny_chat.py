"""A chat model of random weights in a Hugging Face folder, and dialogues: small enough to learn by heart in seconds.

As a program: `python -m tests.finetune.tiny_chat KILL KEY=VALUE...` runs the recipe and kills itself at batch KILL.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from app import REPOSITORY
from finetune.checkpoint import seed_everything
from finetune.data.manifest import write_manifest
from finetune.data.rows import Dialogue, Turn
from tests.finetune import dying

TEMPLATE = (
    "{% for tool in tools or [] %}<|im_start|>tool {{ tool.function.name }}<|im_end|>\n{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    '{% for call in m.tool_calls or [] %}<tool_call>{"name": "{{ call.function.name }}", '
    '"arguments": {{ call.function.arguments | tojson }}}</tool_call>{% endfor %}<|im_end|>\n{% endfor %}'
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TINY = REPOSITORY / "finetune/configs/language_tiny.yaml"
LIGHT: dict[str, Any] = {
    "type": "function",
    "function": {"name": "light", "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}}}},
}
SAID = {
    "wie spät ist es": "es ist drei uhr", "guten morgen": "guten morgen anna", "wie heißt du": "ich bin parley",
    "danke schön": "gern geschehen", "was ist das": "das ist ein haus",
}  # fmt: skip
THANKS = (Turn("user", "danke"),)
"""Ends the dialogues of dev, which would be those of train otherwise; nobody answers it."""


def dialogue(name: str, said: str, answer: str, split: str) -> Dialogue:
    """A request and its answer, after a first exchange that is the same in all."""
    turns = (Turn("user", "hallo"), Turn("assistant", "ja bitte"), Turn("user", said), Turn("assistant", answer))
    turns += THANKS if split == "dev" else ()
    return Dialogue(name, "de", turns, "made for a test", "CC0-1.0", "training", split)


def call(name: str, split: str) -> Dialogue:
    """A request that a tool answers."""
    calls = ({"id": "1", "type": "function", "function": {"name": "light", "arguments": '{"on": true}'}},)
    turns = (
        Turn("user", "mach das licht an"), Turn("assistant", "", tool_calls=calls),
        Turn("tool", "ok", tool_call_id="1"), Turn("assistant", "das licht ist an"),
    )  # fmt: skip
    turns += THANKS if split == "dev" else ()
    return Dialogue(name, "de", turns, "made for a test", "CC0-1.0", "training", split, tools=(LIGHT,))


def dialogues() -> list[Dialogue]:
    """Six to learn, and the same exchanges as dev: what is tested is whether they were learnt."""
    return [
        made
        for split in ("train", "dev")
        for made in (
            *(dialogue(f"{split}-{i}", *pair, split) for i, pair in enumerate(SAID.items())),
            call(f"{split}-call", split),
        )
    ]


def write_data(folder: Path) -> Path:
    """A manifest of `dialogues`."""
    write_manifest(folder / "dialogues.jsonl", dialogues())
    return folder / "dialogues.jsonl"


def write_base(folder: Path) -> Path:
    """Tokenizer, template and a Llama of two small layers."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learnt = [one for one in dialogues() if one.split == "train"] * 2
    texts = [turn.text for one in learnt for turn in one.turns] + ["user assistant system tool", json.dumps(LIGHT)]
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(
        [AddedToken(text, special=False, normalized=False) for text in ("<tool_call>", "</tool_call>")]
    )
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    fast.chat_template = TEMPLATE
    seed_everything(7)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            bos_token_id=None,
            eos_token_id=1,
            pad_token_id=None,  # its embedding would stay 0, and the end of a reply unlearnable
            tie_word_embeddings=True,
            initializer_range=0.2,
        )
    )
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def main() -> None:
    """Runs the recipe as a process that dies without warning."""
    from finetune.recipes import language

    dying.run(language, language.Batches, TINY)


if __name__ == "__main__":
    main()
