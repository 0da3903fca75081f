"""A language whose token is another one's, or was added by training: what the model's prompt then names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.bench import random_whisper as multilingual
from app.errors import BadRequest, PackError
from app.workers.whisper import WhisperRecognizer
from tests.app.workers.test_whisper_languages import NO_TIMES, RATE, START, TRANSCRIBE, Witness, heard
from tests.packs import starter
from tests.sounds import flite


def load(folder: Path, **settings: Any) -> tuple[WhisperRecognizer, Witness]:
    recognizer = WhisperRecognizer(str(folder), device="cpu", no_speech_threshold=1.0, trained_short=True, **settings)
    witness = Witness(recognizer._decoder._model)
    recognizer._decoder._model = witness
    return recognizer, witness


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = multilingual.Shape(width=64, encoder_layers=1, decoder_layers=1, heads=1, mels=80)
    path = tmp_path_factory.mktemp("stand-ins")
    multilingual.write_whisper(path, shape, quantization="int8")
    return path


async def test_another_languages_token_stands_in(folder: Path) -> None:
    recognizer, witness = load(folder, language="gd", language_token="cy")
    clip = flite("hello", rate=RATE)
    for asked, named in (("", "gd"), ("gd-GB", "gd"), ("de", "de")):
        assert (await heard(recognizer, clip, language=asked)).language == named
    tokens = [START + 1 + multilingual.CODES.index(code) for code in ("cy", "cy", "de")]
    assert witness.prompts == [[START, token, TRANSCRIBE, NO_TIMES] for token in tokens]
    with pytest.raises(PackError, match="has no token of language 'gd', which"):
        load(folder, language="gd", language_token="gd")


async def test_a_token_that_was_added_is_read(folder: Path) -> None:
    file = folder / "tokenizer.json"
    plain = file.read_text(encoding="utf-8")
    file.write_text(plain.replace("<|startoflm|>", "<|gd|>"), encoding="utf-8")
    try:
        recognizer, witness = load(folder, language="gd", language_token="gd")
        with pytest.raises(BadRequest, match="does not hear that language"):
            await load(folder)[0].start(language="gd")
    finally:
        file.write_text(plain, encoding="utf-8")
    assert (await heard(recognizer, flite("hello", rate=RATE))).language == "gd"
    unused = START - 1 + multilingual.SPECIAL.index("<|startoflm|>")
    assert witness.prompts == [[START, unused, TRANSCRIBE, NO_TIMES]]


async def test_a_model_for_english_alone_can_have_learnt_another_language() -> None:
    recognizer, witness = load(starter().recognizer_folder, language="de", language_token="en")
    transcript = await heard(recognizer, flite("what time is it", rate=RATE))
    assert (transcript.text, transcript.language) == ("what time is it", "de")
    assert len(witness.prompts[0]) == 2
    with pytest.raises(BadRequest, match="anything but English"):
        await recognizer.start(language="fr")
