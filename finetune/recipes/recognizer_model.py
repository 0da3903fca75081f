"""Whisper as it is trained: windows of any length, LoRA, frozen layers, and the greedy text that export must give.

Knows no data. Shapes: B batch, M mel bands, T frames (even), S encoder states (T / 2), L tokens, V vocabulary, D width.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from finetune.errors import ConfigError
from finetune.freezing import freeze
from finetune.recipes.recognizer_config import Config

MULTILINGUAL = 51_865
"""Tokens from which CTranslate2 and faster-whisper take a model for a multilingual one."""
UNUSED = "<|startoflm|>"


class Network(nn.Module):
    """A Whisper, with adapters in it or not."""

    def __init__(self, whisper: Any, peft: Any = None) -> None:
        """`peft` is the PEFT model around `whisper`, where it has adapters."""
        super().__init__()
        self.whisper = whisper
        self._peft = [peft]  # in a list, or its weights would count twice

    @property
    def multilingual(self) -> bool:
        """Whether its prompt names a language and a task."""
        return bool(self.whisper.config.vocab_size >= MULTILINGUAL)

    def forward(self, mels: Tensor, tokens: Tensor) -> Tensor:
        """[B, M, T] and [B, L] to logits [B, L, V]."""
        hidden = self.whisper.model.decoder(
            input_ids=tokens, encoder_hidden_states=self.encode(mels), use_cache=False
        ).last_hidden_state
        return torch.as_tensor(self.whisper.proj_out(hidden))

    def encode(self, mels: Tensor) -> Tensor:
        """[B, M, T] with any T up to 3000, unlike Whisper's own forward, to states [B, S, D]."""
        encoder = self.whisper.model.encoder
        hidden = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(mels)))).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in encoder.layers:
            output = layer(hidden, None)
            hidden = output[0] if isinstance(output, tuple) else output
        return torch.as_tensor(encoder.layer_norm(hidden))

    @torch.no_grad()
    def transcribe(self, mels: Tensor, prompts: Sequence[Sequence[int]], longest: int) -> list[list[int]]:
        """Likeliest tokens after each prompt, one by one as CTranslate2 takes them, without the end.

        Prompts are of one length; `longest`: tokens after which it is stopped.
        """
        decoder, device = self.whisper.model.decoder, mels.device
        states, given = self.encode(mels), torch.tensor([list(prompt) for prompt in prompts], device=device)
        end, never, first_never = self._ends(device)
        written: list[list[int]] = [[] for _ in prompts]
        open_rows, past = set(range(len(prompts))), None
        for number in range(longest):
            output = decoder(input_ids=given, encoder_hidden_states=states, past_key_values=past, use_cache=True)
            past = output.past_key_values
            logits = self.whisper.proj_out(output.last_hidden_state[:, -1]).float()
            logits[:, never if number else first_never] = -torch.inf
            chosen = logits.argmax(-1)
            for row in sorted(open_rows):
                if (token := int(chosen[row])) == end:
                    open_rows.discard(row)
                else:
                    written[row].append(token)
            if not open_rows:
                break
            given = chosen[:, None]
        return written

    def next_scores(self, states: Tensor, tokens: Sequence[int], number: int) -> Tensor:
        """Log-probabilities [V] after tokens of one window with states [1, S, D], `number` of which are written."""
        _, never, first_never = self._ends(states.device)
        given = torch.tensor([list(tokens)], device=states.device)
        hidden = self.whisper.model.decoder(input_ids=given, encoder_hidden_states=states, use_cache=False)
        logits = self.whisper.proj_out(hidden.last_hidden_state[0, -1]).float()
        logits[never if number else first_never] = -torch.inf
        return torch.as_tensor(logits.log_softmax(-1))

    def merged(self) -> Any:
        """transformers' model with the adapters in its weights; there are none afterwards."""
        if self._peft[0] is not None:
            self.whisper = self._peft[0].merge_and_unload()
            self._peft = [None]
        return self.whisper

    def _ends(self, device: torch.device) -> tuple[int, Tensor, Tensor]:
        """The end token, those that are never written, and those that are never written first."""
        kept = self.whisper.generation_config
        never = [token for token in kept.suppress_tokens or [] if token >= 0]
        first = [*never, *(kept.begin_suppress_tokens or [])]
        end = kept.eos_token_id
        return (
            end[0] if isinstance(end, list) else end,
            torch.tensor(never, dtype=torch.long, device=device),
            torch.tensor(first, dtype=torch.long, device=device),
        )


def load(folder: Path, config: Config) -> tuple[Network, Any]:
    """The model, ready to be trained, and its transformers tokenizer. Raises ConfigError for what is no Whisper."""
    from transformers import AutoTokenizer, WhisperForConditionalGeneration

    on_cpu = config.training.device == "cpu" or not torch.cuda.is_available()
    try:
        # torch's fused attention runs its backward pass on a CPU at about a fifth of the plain one's speed.
        whisper: Any = WhisperForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager" if on_cpu else "sdpa"
        )
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ConfigError(f"base: {config.base} is no Whisper that transformers loads: {error}") from error
    if whisper.config.model_type != "whisper" or not (folder / "tokenizer.json").is_file():
        raise ConfigError(
            f"base: {config.base} is a {whisper.config.model_type}, expected a whisper with tokenizer.json"
        )
    return Network(whisper), tokenizer


def prepare(network: Network, config: Config) -> Network:
    """Puts adapters in, or not, and freezes what is to stay. Raises ConfigError for a pattern that nothing matches."""
    whisper, peft = network.whisper, None
    if config.method == "lora":
        from peft import LoraConfig, get_peft_model

        names = [name for name, _ in whisper.named_modules()]
        for wanted in config.lora.target_modules:
            if not any(re.search(rf"(^|\.){re.escape(wanted)}$", name) for name in names):
                known = sorted({name.rsplit(".", 1)[-1] for name in names if name and not name[-1].isdigit()})
                raise ConfigError(f"lora: the base has no module {wanted}, expected some of {', '.join(known)}")
        peft = get_peft_model(
            whisper,
            LoraConfig(
                r=config.lora.r,
                lora_alpha=config.lora.alpha,
                lora_dropout=config.lora.dropout,
                target_modules=list(config.lora.target_modules),
            ),
        )
        whisper = peft.base_model.model
    freeze(dict(whisper.named_parameters()), config.frozen)
    if config.gradient_checkpointing:
        whisper.gradient_checkpointing_enable({"use_reentrant": False})
    return Network(whisper, peft)


def add_token(network: Network, folder: Path, token: str, like: str) -> Any:
    """The folder's tokenizer with a language's token, whose embedding begins as a copy of another's.

    It gets the place of <|startoflm|>, which no prompt uses: CTranslate2 takes a token behind the others, where a new
    one would go, for a moment in time. Raises ConfigError.
    """
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as scratch:
        for path in folder.iterdir():
            if path.suffix == ".json":
                text = path.read_text(encoding="utf-8").replace(UNUSED, token)
                (Path(scratch) / path.name).write_text(text, encoding="utf-8")
            elif path.suffix == ".txt":
                shutil.copyfile(path, Path(scratch) / path.name)
        tokenizer = AutoTokenizer.from_pretrained(scratch)
    added, source = (tokenizer.backend_tokenizer.token_to_id(name) for name in (token, like))
    if source is None:
        raise ConfigError(f"new_token_like: the vocabulary has no {like}, expected a language that it has")
    if added is None:
        raise ConfigError(f"new_token_like: the vocabulary has no {UNUSED}, whose place the new token would get")
    with torch.no_grad():
        embeddings = network.whisper.get_input_embeddings().weight
        embeddings[added] = embeddings[source]
    known = getattr(network.whisper.generation_config, "lang_to_id", None)
    if known:
        known[token] = added
    return tokenizer
