"""The trained recognizer as a CTranslate2 Whisper folder that stock decoders load. Knows no training and no data."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from finetune.starter.recognizer_model import TARGET_POSITIONS, Network
from finetune.starter.recognizer_text import SPECIAL

QUANTIZATION = "int8"


def export_whisper(network: Network, tokenizer: Tokenizer, folder: Path) -> None:
    """Writes `folder`: model.bin (int8), config.json, vocabulary.json, tokenizer.json, preprocessor_config.json.

    The helper heads stay behind. An older export is replaced only once the new one is whole.
    """
    import ctranslate2
    from transformers import GenerationConfig, PreTrainedTokenizerFast, WhisperFeatureExtractor

    special = network.special
    whisper: Any = network.whisper
    whisper.float()
    whisper.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        suppress_tokens=[],
        begin_suppress_tokens=[special.end],
        eos_token_id=special.end,
        bos_token_id=special.end,
        pad_token_id=special.end,
        decoder_start_token_id=special.start,
        max_length=TARGET_POSITIONS,
    )
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # otherwise each missing optional file is asked for, with retries
    with tempfile.TemporaryDirectory() as scratch:
        original, converted = Path(scratch) / "original", Path(scratch) / "converted"
        whisper.save_pretrained(original)
        tokenizer.save(str(original / "tokenizer.json"))
        end = SPECIAL[0]
        PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_file=str(original / "tokenizer.json"),
            bos_token=end,
            eos_token=end,
            unk_token=end,
            pad_token=end,
        ).save_pretrained(original)
        extractor = WhisperFeatureExtractor(feature_size=80)  # type: ignore[no-untyped-call]
        extractor.save_pretrained(original)
        files = ["tokenizer.json", "preprocessor_config.json"]
        converter = ctranslate2.converters.TransformersConverter(str(original), copy_files=files)
        converter.convert(str(converted), quantization=QUANTIZATION)
        folder.parent.mkdir(parents=True, exist_ok=True)
        arriving = folder.with_name(folder.name + ".new")
        shutil.rmtree(arriving, ignore_errors=True)
        shutil.copytree(converted, arriving)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(arriving, folder)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"{folder}: {size:.1f} MB", flush=True)
