"""Languages, prompts and hot words, on a random model in the real format with the full multilingual vocabulary.

Its words mean nothing, but they depend on the audio and on every token of the prompt.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.bench import random_whisper as multilingual
from app.errors import BadRequest
from app.workers.base import Transcript
from app.workers.whisper import WhisperRecognizer
from app.workers.whisper_decoder import CONTEXT_TOKENS, HOT_WORD_TOKENS
from tests.sounds import flite

RATE = 16_000
START, TRANSCRIBE, PREVIOUS, NO_TIMES = (
    multilingual.TEXT_TOKENS + multilingual.SPECIAL.index(token)
    for token in ("<|startoftranscript|>", "<|transcribe|>", "<|startofprev|>", "<|notimestamps|>")
)
SAID = [("what time is it", "slt"), ("tell me a story", "slt"), ("hello", "kal16"), ("turn on the lights", "awb")]


class Witness:
    """The real model, keeping the prompts that reach it."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.prompts: list[list[int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, features: Any, prompts: Sequence[list[int]], **options: Any) -> Any:
        self.prompts += prompts
        return self._model.generate(features, prompts, **options)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = multilingual.Shape(width=64, encoder_layers=1, decoder_layers=2, heads=1, mels=80, gain=8.0)
    path = tmp_path_factory.mktemp("multilingual")
    multilingual.write_whisper(path, shape, quantization="int8", seed=3)  # whole numbers: exact whatever the batch
    return path


@pytest.fixture(scope="module")
def whisper(folder: Path) -> WhisperRecognizer:
    return load(folder)


@pytest.fixture
def witness(whisper: WhisperRecognizer) -> Witness:
    decoder = whisper._decoder
    if not isinstance(decoder._model, Witness):
        decoder._model = Witness(decoder._model)
    decoder._model.prompts.clear()
    return decoder._model


def load(folder: Path, **settings: Any) -> WhisperRecognizer:
    """With every gate open: a random model is sure of nothing, and it repeats itself."""
    return WhisperRecognizer(str(folder), device="cpu", no_speech_threshold=1.0, max_compression=1000.0, **settings)


async def heard(recognizer: WhisperRecognizer, pcm: bytes, **asked: Any) -> Transcript:
    recognition = await recognizer.start(**asked)
    recognition.feed(pcm)
    return await recognition.finish()


def tail(text: str, whisper: WhisperRecognizer) -> list[int]:
    """Ids of ` text`."""
    ids: list[int] = whisper._decoder._text.encode(" " + text, add_special_tokens=False).ids
    return ids


async def test_health_says_that_it_is_multilingual(whisper: WhisperRecognizer) -> None:
    assert (await whisper.health()).detail["multilingual"] is True


@pytest.mark.parametrize(
    ("tag", "code"), [("de", "de"), ("sw-KE", "sw"), ("zh_TW", "zh"), ("HAW", "haw"), ("jv", "jw"), ("nb-NO", "no")]
)
async def test_a_given_language_is_the_token_that_the_model_gets(
    whisper: WhisperRecognizer, witness: Witness, tag: str, code: str
) -> None:
    transcript = await heard(whisper, flite("hello", rate=RATE), language=tag)
    token = START + 1 + multilingual.CODES.index(code)
    assert witness.prompts == [[START, token, TRANSCRIBE, NO_TIMES]]
    assert transcript.language == code


@pytest.mark.parametrize("tag", ["xx", "translate", "klingon", "0.00"])
async def test_an_unknown_language_is_refused(whisper: WhisperRecognizer, tag: str) -> None:
    with pytest.raises(BadRequest, match="does not hear that language"):
        await whisper.start(language=tag)
    assert (await whisper.health()).detail["open"] == 0


async def test_every_language_of_the_vocabulary_can_be_asked_for(whisper: WhisperRecognizer) -> None:
    assert len(multilingual.CODES) == 99
    for code in multilingual.CODES:
        await (await whisper.start(language=code)).abort()


async def test_language_is_detected_for_each_caller_by_itself(folder: Path) -> None:
    whisper = load(folder, trained_short=True)  # 30 s of mostly silence sound alike to a random model
    witness = Witness(whisper._decoder._model)
    whisper._decoder._model = witness
    clips = [flite(text, voice, RATE) for text, voice in SAID]
    alone = [(await heard(whisper, clip)).language for clip in clips]
    assert len(set(alone)) > 1, "the model must tell these clips apart, or this test proves nothing"
    assert [prompt[1] for prompt in witness.prompts] == [START + 1 + multilingual.CODES.index(code) for code in alone]
    together = await asyncio.gather(*[heard(whisper, clip) for clip in clips])
    assert [transcript.language for transcript in together] == alone


async def test_the_packs_language_is_for_callers_who_name_none(folder: Path) -> None:
    danish = load(folder, language="da")
    assert (await heard(danish, flite("hello", rate=RATE))).language == "da"
    assert (await heard(danish, flite("hello", rate=RATE), language="el")).language == "el"


async def test_callers_of_several_languages_share_batches_and_keep_their_words(folder: Path) -> None:
    whisper = load(folder, trained_short=True)  # windows short enough for the CPU to batch
    asked = [(flite(text, voice, RATE), code) for text, voice in SAID for code in ("de", "")]
    alone = [await heard(whisper, clip, language=code) for clip, code in asked]
    before = (await whisper.health()).detail
    together = await asyncio.gather(*[heard(whisper, clip, language=code) for clip, code in asked])
    after = (await whisper.health()).detail
    assert together == alone
    assert len({transcript.text for transcript in alone}) > len(SAID), "the language must change the words"
    assert after["batches"] - before["batches"] < len(asked)


async def test_hot_words_stand_before_the_prompt(whisper: WhisperRecognizer, witness: Witness) -> None:
    await heard(whisper, flite("hello", rate=RATE), language="en", prompt=" Hi there. ", hot_words="Parley")
    start = [START, START + 1, TRANSCRIBE, NO_TIMES]
    assert witness.prompts == [[PREVIOUS, *tail("Parley", whisper), *tail("Hi there.", whisper), *start]]


async def test_hot_words_change_what_is_heard(whisper: WhisperRecognizer) -> None:
    clip = flite("hello", rate=RATE)
    plain, hot = [(await heard(whisper, clip, language="en", hot_words=words)).text for words in ("", "Parley")]
    assert plain != hot


async def test_hot_words_and_prompt_have_half_of_the_context_each(whisper: WhisperRecognizer, witness: Witness) -> None:
    hot, before = ("Parley " * 500).strip(), ("hello " * 500).strip()
    await heard(whisper, flite("hello", rate=RATE), language="en", prompt=before, hot_words=hot)
    (prompt,) = witness.prompts
    context = prompt[1 : prompt.index(START)]
    assert len(context) == CONTEXT_TOKENS
    assert context[:HOT_WORD_TOKENS] == tail(hot, whisper)[:HOT_WORD_TOKENS]
    assert context[HOT_WORD_TOKENS:] == tail(before, whisper)[HOT_WORD_TOKENS - CONTEXT_TOKENS :]


async def test_callers_with_and_without_hot_words_at_once(whisper: WhisperRecognizer) -> None:
    clip = flite("hello", rate=RATE)
    words = ["", "Parley", "hello hello", ""]
    alone = [await heard(whisper, clip, language="en", hot_words=hot) for hot in words]
    together = await asyncio.gather(*[heard(whisper, clip, language="en", hot_words=hot) for hot in words])
    assert together == alone


async def test_a_model_of_short_windows_is_given_no_context(folder: Path) -> None:
    whisper = load(folder, trained_short=True)
    clip = flite("hello", rate=RATE)
    plain = await heard(whisper, clip, language="en")
    assert await heard(whisper, clip, language="en", prompt="Hi there.", hot_words="Parley") == plain


async def test_a_loop_that_never_ends_is_dropped(folder: Path) -> None:
    """A random model never ends by itself, and says the same over and over."""
    clip = flite("hello", rate=RATE)
    kept = await heard(load(folder), clip, language="en")
    assert len(kept.text.split()) > 20
    looping = WhisperRecognizer(str(folder), device="cpu", no_speech_threshold=1.0, max_compression=2.4)
    assert (await heard(looping, clip, language="en")).text == ""
    named = load(folder, hallucinations=[kept.text.upper() + "!"])
    assert (await heard(named, clip, language="en")).text == ""


@pytest.mark.parametrize("heads", [True, False], ids=["heads", "no heads"])
async def test_word_times_with_and_without_alignment_heads(folder: Path, tmp_path: Path, heads: bool) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    assert config["alignment_heads"], "the converter names some for every model"
    if not heads:
        del config["alignment_heads"]
        (tmp_path / "config.json").write_text(json.dumps(config))
    whisper = load(tmp_path, trained_short=True)
    clips = [flite(text, voice, RATE) for text, voice in SAID]
    asked: list[dict[str, Any]] = [{"language": code, "word_times": True} for code in ("de", "de", "ja", "")]
    alone = [await heard(whisper, clip, **options) for clip, options in zip(clips, asked, strict=True)]
    together = await asyncio.gather(
        *[heard(whisper, clip, **options) for clip, options in zip(clips, asked, strict=True)]
    )
    assert together == alone
    for transcript in alone:
        times = [moment for word in transcript.words for moment in (word.start_s, word.end_s)]
        assert "".join(word.text for word in transcript.words) == transcript.text.replace(" ", "")
        assert times == sorted(times)
        assert 0.0 <= times[0] <= times[-1] <= transcript.seconds
