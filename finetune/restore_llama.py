"""A language pack's Llama as an ordinary Hugging Face folder again, so that it can be trained on. Knows no training.

CTranslate2 keeps what it computes with: query, key and value of a layer in one matrix, rows in int8 with a scale each.
What rounding has taken is lost.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Final

import torch

from app.packs import MANIFEST, read_pack
from finetune import ctranslate2_weights
from finetune.errors import ConfigError

SPEC: Final = "TransformerDecoderSpec"
SWISH: Final = 2  # ctranslate2.specs.Activation
HEAD: Final = ("activation", "alibi", "alibi_use_positive_positions", "alignment_heads", "alignment_layer", "num_heads",
    "pre_norm", "scale_alibi", "scale_embeddings", "start_from_zero_embedding")  # fmt: skip
LAYER: Final = ("num_heads_kv", "rotary_base", "rotary_dim", "rotary_interleave")
"""Variables that are no weights; others change how a model computes, and this reader does not know in which way."""
COPIED: Final = ("tokenizer.json", "chat_template.jinja", "generation_config.json")


def is_pack(folder: Path) -> bool:
    """Whether a folder is a language pack."""
    return (folder / MANIFEST).is_file()


def of_pack(pack: Path, out: Path) -> Path:
    """`restore` of a pack's language model. Raises PackError, ConfigError."""
    return restore(read_pack(pack).language_folder, out)


def restore(folder: Path, out: Path) -> Path:
    """Writes `out` from a pack's language folder, whole or not at all, and gives it; what is there is left as it is.

    Raises ConfigError where the weights are no Llama's.
    """
    if out.is_dir():
        return out
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    name, found = ctranslate2_weights.read(folder / "model.bin")
    if name != SPEC:
        raise ConfigError(f"base: {folder} holds a {name}, expected the {SPEC} of a language model")
    variables = {key.removeprefix("decoder/"): torch.from_numpy(value.copy()) for key, value in found.items()}
    settings: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = _config(folder, variables, float(settings["layer_norm_epsilon"]))
    model = LlamaForCausalLM(config)
    model.load_state_dict(_weights(variables, config))
    partial = out.with_name(f"{out.name}.{os.getpid()}")  # of several processes, the first to be ready wins
    model.save_pretrained(partial)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(folder / "tokenizer.json"),
        bos_token=settings["bos_token"] or None,
        eos_token=settings["eos_token"],
        pad_token=settings["eos_token"],
    )
    tokenizer.save_pretrained(partial)
    for file in COPIED:
        shutil.copyfile(folder / file, partial / file)
    try:
        partial.rename(out)
    except OSError:
        shutil.rmtree(partial)
        if not out.is_dir():
            raise
    return out


def _config(folder: Path, variables: dict[str, torch.Tensor], epsilon: float) -> Any:
    """The LlamaConfig that the variables tell. Raises ConfigError where they are not a Llama's."""
    from transformers import LlamaConfig

    embeddings, heads = variables["embeddings/weight"], int(variables["num_heads"])
    layers = 1 + max(
        int(name.split("/")[0][6:]) for name in variables if name.startswith("layer_") and name[6].isdigit()
    )
    known = {*HEAD, "embeddings/weight", "projection/weight", "layer_norm/gamma"}
    for i in range(layers):
        known |= {f"layer_{i}/self_attention/{name}" for name in (*LAYER, "linear_0/weight", "linear_1/weight")}
        known |= {f"layer_{i}/ffn/{name}/weight" for name in ("linear_0", "linear_0_noact", "linear_1")}
        known |= {f"layer_{i}/{name}/layer_norm/gamma" for name in ("self_attention", "ffn")}
    strange = sorted(set(variables) - known)
    if int(variables["activation"]) != SWISH:
        strange.append("activation")
    if any(int(value) for name, value in variables.items() if name.endswith(("rotary_dim", "rotary_interleave"))):
        strange.append("rotary_dim or rotary_interleave")
    if strange:
        raise ConfigError(f"base: {folder} has {', '.join(strange[:5])}, expected a Llama without any of these")
    attention = "layer_0/self_attention"
    return LlamaConfig(
        vocab_size=embeddings.shape[0],
        hidden_size=embeddings.shape[1],
        intermediate_size=variables["layer_0/ffn/linear_0/weight"].shape[0],
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=int(variables.get(f"{attention}/num_heads_kv", torch.tensor(heads))),
        head_dim=variables[f"{attention}/linear_1/weight"].shape[1] // heads,
        rms_norm_eps=epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": float(variables[f"{attention}/rotary_base"])},
        tie_word_embeddings="projection/weight" not in variables
        or torch.equal(variables["projection/weight"], embeddings),
        **json.loads((folder / "generation_config.json").read_text(encoding="utf-8")),
    )


def _weights(variables: dict[str, torch.Tensor], config: Any) -> dict[str, torch.Tensor]:
    """The state of LlamaForCausalLM; all matrices [out, in]."""
    embeddings = variables["embeddings/weight"]
    state = {
        "model.embed_tokens.weight": embeddings,
        "model.norm.weight": variables["layer_norm/gamma"],
        "lm_head.weight": variables.get("projection/weight", embeddings),
    }
    query, key = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    for i in range(config.num_hidden_layers):
        there, here = f"layer_{i}/", f"model.layers.{i}."
        merged = torch.split(variables[there + "self_attention/linear_0/weight"], [query, key, key])
        for name, matrix in zip(("q_proj", "k_proj", "v_proj"), merged, strict=True):
            state[f"{here}self_attn.{name}.weight"] = matrix
        for name, source in {
            "self_attn.o_proj": "self_attention/linear_1/weight",
            "mlp.gate_proj": "ffn/linear_0/weight",
            "mlp.up_proj": "ffn/linear_0_noact/weight",
            "mlp.down_proj": "ffn/linear_1/weight",
            "input_layernorm": "self_attention/layer_norm/gamma",
            "post_attention_layernorm": "ffn/layer_norm/gamma",
        }.items():
            state[f"{here}{name}.weight"] = variables[there + source]
    return state
