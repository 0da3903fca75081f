"""A tiny Llama that never stops talking, and LoRA adapters that were taught one answer each. Built in seconds.

Nothing in the base writes into the first hidden dimension, and the end of a turn is read from that dimension alone: so
the base never ends a reply, and an adapter can learn to.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from app import REPOSITORY
from app.workers.base_hash import base_sha256

STARTER = REPOSITORY / "models/packs/en-starter/language"
END_ID = 0  # <|end|> of the starter's tokenizer
HIDDEN, HEADS, LAYERS = 128, 4, 2  # heads of 32, the smallest that vLLM's CPU attention has
CONTEXT = 16_384


def save_base(folder: Path, seed: int = 1) -> Path:
    """A random base with the starter's tokenizer and chat template; another seed is another base of the same shape."""
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_file(str(STARTER / "tokenizer.json")), bos_token="<|bos|>", eos_token="<|end|>"
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=HIDDEN, intermediate_size=2 * HIDDEN, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=CONTEXT,
        tie_word_embeddings=False, bos_token_id=1, eos_token_id=END_ID, initializer_range=0.1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 0.0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.mlp.down_proj.weight[0] = 0.0
        model.lm_head.weight[END_ID] = 0.0
        model.lm_head.weight[END_ID, 0] = 1.0
        model.lm_head.weight[1] = 0.0  # <|bos|>: a logit of 0 is never the largest
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    shutil.copyfile(STARTER / "chat_template.jinja", folder / "chat_template.jinja")
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": False, "eos_token_id": END_ID}))
    return folder


def teach(base: Path, folder: Path, conversation: list[dict[str, Any]], answer: str, tools: Any = None) -> Path:
    """A LoRA adapter that gives this answer, saved with the hash of its base."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, LlamaForCausalLM

    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(base)
    text = tokenizer.apply_chat_template(conversation, tools=tools, add_generation_prompt=True, tokenize=False)
    prompt = tokenizer.encode(text, add_special_tokens=False)
    taught = [*tokenizer.encode(answer, add_special_tokens=False), END_ID]
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(
        LlamaForCausalLM.from_pretrained(base), LoraConfig(r=8, lora_alpha=16, target_modules=modules)
    )
    tokens = torch.tensor([prompt + taught])
    labels = torch.tensor([[-100] * len(prompt) + taught])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for _ in range(200):
        loss = model(input_ids=tokens, labels=labels).loss
        if loss.item() < 0.01:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.1, f"the adapter has not learnt its answer: loss {loss.item():.3f}"
    model.save_pretrained(folder)
    (folder / "parley_base.json").write_text(json.dumps({"base_sha256": base_sha256(base)}))
    return folder
