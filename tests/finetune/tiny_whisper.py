"""A Whisper of random weights in a Hugging Face folder, and words that are tones: learnt by heart in seconds.

As a program: `python -m tests.finetune.tiny_whisper KILL KEY=VALUE...` runs the recipe and kills itself at batch KILL.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from app import REPOSITORY
from app.audio import HEARING_RATE
from finetune.checkpoint import seed_everything
from finetune.data.manifest import write_manifest
from finetune.data.rows import Utterance
from finetune.starter.recognizer_model import special_tokens
from finetune.starter.recognizer_text import SPECIAL, train_tokenizer
from tests.finetune import dying

TINY = REPOSITORY / "finetune/configs/recognizer_tiny.yaml"
TONES = {"eins": 300, "zwei": 700, "drei": 1500, "vier": 3200}
"""Word to Hz."""
SAID = ("eins", "zwei", "drei", "vier", "eins zwei", "drei vier", "vier eins", "zwei drei")
WORD_SECONDS = 0.3


def write_data(
    folder: Path, texts: Sequence[str] = SAID, *, language: str = "de", translation: str = "", name: str = "manifest"
) -> Path:
    """A manifest in which one speaker says the texts to learn, and another one those of dev, which are the same."""
    rows = []
    for split, speaker in (("train", "anna"), ("dev", "berta")):
        for number, text in enumerate(texts):
            path = folder / "audio" / f"{name}-{split}-{number}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = _said(text, seed=1000 * (split == "dev") + number)
            soundfile.write(path, samples, HEARING_RATE, format="FLAC", subtype="PCM_16")
            rows.append(
                Utterance(
                    f"{split}-{number}", str(path.relative_to(folder)), text, language, speaker,
                    len(samples) / HEARING_RATE, "made for a test", "CC0-1.0", "training", split,
                    translation=translation,
                )
            )  # fmt: skip
    write_manifest(folder / f"{name}.jsonl", rows)
    return folder / f"{name}.jsonl"


def _said(text: str, seed: int) -> np.ndarray[Any, Any]:
    chance = np.random.default_rng(seed)
    time = np.arange(round(WORD_SECONDS * HEARING_RATE)) / HEARING_RATE
    words = [0.3 * np.sin(2 * np.pi * TONES.get(word, 500) * time) for word in text.split()]
    samples = np.concatenate([*words, np.zeros(1600)])
    return np.asarray(samples + chance.normal(0, 0.003, len(samples)), dtype=np.float32)


def write_base(folder: Path) -> Path:
    """Tokenizer of the starter's kind, with Whisper's special tokens, and a Whisper of three small layers."""
    from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

    tokenizer = train_tokenizer([*SAID, *TONES], vocabulary=300)
    end = special_tokens(tokenizer).end
    seed_everything(7)
    ids: dict[str, Any] = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end}
    ids |= {"decoder_start_token_id": end + 1, "suppress_tokens": None, "begin_suppress_tokens": None}
    model: Any = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=tokenizer.get_vocab_size(),
            d_model=64,
            encoder_layers=2,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=128,
            decoder_ffn_dim=128,
            init_std=0.1,
            **ids,
        )
    )
    model.generation_config.suppress_tokens, model.generation_config.begin_suppress_tokens = [], [end]
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[0], unk_token=SPECIAL[0]
    ).save_pretrained(folder)
    return folder


def main() -> None:
    """Runs the recipe as a process that dies without warning."""
    from finetune.recipes import recognizer
    from finetune.recipes.recognizer_batches import Batches

    dying.run(recognizer, Batches, TINY)


if __name__ == "__main__":
    main()
