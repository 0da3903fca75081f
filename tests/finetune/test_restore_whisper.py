"""CTranslate2's weights read again, and a Whisper made of them: the same numbers, the same words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ctranslate2.converters import TransformersConverter

from app.audio import HEARING_RATE
from app.workers.whisper import WhisperRecognizer
from app.workers.whisper_windows import Asked, Windows
from finetune import config
from finetune.ctranslate2_weights import read
from finetune.data.rows import Utterance
from finetune.errors import ConfigError
from finetune.recipes.recognizer_config import Config
from finetune.recipes.recognizer_export import Probe, heard_by_trainer, served
from finetune.recipes.recognizer_model import load
from finetune.recipes.recognizer_rows import Encoder
from finetune.restore_whisper import restore
from tests.finetune.tiny_whisper import TINY
from tests.packs import starter
from tests.sounds import flite


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return restore(starter().recognizer_folder, tmp_path_factory.mktemp("restored") / "base")


@pytest.mark.parametrize("quantization", ["int8", "float16", "bfloat16", "int16"])
def test_what_is_converted_again_has_the_same_weights(restored: Path, tmp_path: Path, quantization: str) -> None:
    TransformersConverter(str(restored)).convert(str(tmp_path / "again"), quantization=quantization)
    name, variables = read(starter().recognizer_folder / "model.bin")
    other, again = read(tmp_path / "again" / "model.bin")
    assert (name, set(variables)) == (other, set(again))
    # bfloat16 keeps 8 bits of a number, int16 10 bits of a matrix' largest one
    near = {"int8": 1e-6, "float16": 1e-3, "bfloat16": 1e-2, "int16": 1e-3}[quantization]
    for key, value in variables.items():
        assert again[key].dtype == value.dtype
        np.testing.assert_allclose(again[key], value, rtol=near, atol=near * max(1.0, float(np.abs(value).max())))
    assert again["decoder/projection/weight"] is again["decoder/embeddings/weight"]


async def test_what_is_converted_again_hears_the_same(restored: Path, tmp_path: Path) -> None:
    files = ["tokenizer.json", "preprocessor_config.json"]
    TransformersConverter(str(restored), copy_files=files).convert(str(tmp_path / "again"), quantization="int8")
    for text in ("what time is it", "set a timer for five minutes"):
        pcm, heard = flite(text, rate=HEARING_RATE), []
        for folder in (starter().recognizer_folder, tmp_path / "again"):
            recognizer = WhisperRecognizer(str(folder), device="cpu", trained_short=True)
            recognition = await recognizer.start()
            recognition.feed(pcm)
            heard.append(await recognition.finish())
            recognizer.close()
        assert heard[0].text == text
        assert heard[1] == heard[0]


@pytest.mark.parametrize("voice", ["slt", "awb"])
def test_the_trainer_hears_what_the_pack_hears(restored: Path, voice: str) -> None:
    network, tokenizer = load(restored, config.load(Config, TINY))
    network.eval()
    encoder, windows = Encoder(tokenizer.backend_tokenizer, network.multilingual, "words"), Windows(80, 40)
    texts = ("what time is it", "my name is anna", "turn on the lights in the kitchen")
    probes = [
        Probe(row, pcm, windows.of(pcm, Asked())[0])
        for text in texts
        for row in [Utterance(text, "", text, "en", voice, 0.0, "", "", "")]
        for pcm in [flite(text, voice, HEARING_RATE)]
    ]
    heard = [heard_by_trainer(network, encoder, probe) for probe in probes]
    settings = {"trained_short": True, "margin_seconds": 0.4, "language_token": ""}
    assert heard == served(starter().folder, probes, "en", settings)
    assert heard[0] == texts[0]


def test_what_is_no_whisper_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds a TransformerDecoderSpec, expected a WhisperSpec"):
        restore(starter().language_folder, tmp_path / "base")
    whole = (starter().recognizer_folder / "model.bin").read_bytes()
    (tmp_path / "model.bin").write_bytes(whole[:1000])
    with pytest.raises(ConfigError, match="is not a whole CTranslate2 model of format 6: got"):
        read(tmp_path / "model.bin")
    (tmp_path / "model.bin").write_bytes(b"\x05" + whole[1:])
    with pytest.raises(ConfigError, match="got format 5"):
        read(tmp_path / "model.bin")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read(tmp_path / "none.bin")
