"""What a recognizer reads and writes: languages that Whisper has or lacks, translation, silence, batches by number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from app.bench.random_whisper import CODES, PROMPT_TOKENS, TEXT_TOKENS, Shape, write_whisper
from finetune import config
from finetune.data.errors import DataError
from finetune.data.rows import Utterance
from finetune.data_of_run import utterances
from finetune.errors import ConfigError
from finetune.recipes import recognizer
from finetune.recipes.recognizer_batches import Batches
from finetune.recipes.recognizer_clips import Features
from finetune.recipes.recognizer_model import add_token, load
from finetune.recipes.recognizer_rows import IGNORED, Encoder, check_spelling, words_of
from finetune.restore_whisper import restore
from tests.finetune.tiny_whisper import SAID, TINY, write_base, write_data

END, START = TEXT_TOKENS, TEXT_TOKENS + 1
TRANSLATE, TRANSCRIBE, UNUSED, NO_SPEECH, NO_TIMES = (START + 1 + len(CODES) + i for i in (0, 1, 2, 4, 5))
VOCABULARY = 51_865


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multilingual Whisper of random weights that ends by itself."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("multilingual")
    write_whisper(folder / "served", Shape(16, 1, 1, 1, 80, words=3), quantization="float32")
    return restore(folder / "served", folder / "hf")


@pytest.fixture(scope="module")
def gaelic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("gaelic"), SAID[:3], language="gd", translation="one")


@pytest.fixture(scope="module")
def encoder(base: Path) -> Encoder:
    return Encoder(Tokenizer.from_file(str(base / "tokenizer.json")), True, "words", {"gd": "cy"})


def row(text: str, language: str = "de", translation: str = "") -> Utterance:
    return Utterance("a", "a.wav", text, language, "anna", 1.0, "", "", "", translation=translation)


def test_the_prompt_is_the_services(encoder: Encoder) -> None:
    german, welsh = (START + 1 + CODES.index(code) for code in ("de", "cy"))
    assert encoder.prompt("de-AT") == [START, german, TRANSCRIBE, NO_TIMES]
    assert encoder.prompt("gd") == [START, welsh, TRANSCRIBE, NO_TIMES]
    with pytest.raises(DataError, match="got a clip in 'eo', for which the recognizer has no token"):
        encoder.prompt("eo")
    target = encoder.target(row("Guten Tag, Anna!"))
    assert len(encoder.prompt("de")) == PROMPT_TOKENS
    assert target.given[:4] == (START, german, TRANSCRIBE, NO_TIMES)
    assert target.expected == (*target.given[1:], END)
    assert encoder.text_of(target.expected) == "guten tag anna"
    translated = encoder.target(row("Guten Tag", translation="Good day"), "translate")
    assert translated.given[2] == TRANSLATE
    assert encoder.text_of(translated.expected) == "good day"
    quiet = encoder.target(row(" "))
    assert quiet.given == (START, german, TRANSCRIBE, NO_TIMES)
    assert quiet.expected == (NO_SPEECH, IGNORED, IGNORED, END)


def test_words_are_written_without_case_and_signs() -> None:
    assert words_of("  Who’s there? 'Anna', ROCK 'n' roll – 3 €") == "who's there anna rock n roll 3"
    assert words_of("ÄRGER, Straße") == "ärger straße"


def test_characters_that_cannot_be_spelt_are_named(base: Path, tmp_path: Path) -> None:
    check_spelling(base, ["straße 你好"], "kept")  # bytes spell everything
    said = json.loads((base / "tokenizer.json").read_text())
    said["model"] |= {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2}, "unk_token": "?"}
    said["model"].pop("merges")
    said |= {"pre_tokenizer": None, "decoder": None, "added_tokens": []}
    (tmp_path / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(DataError, match=r"cannot spell x \(2 times\), y \(1 times\)"):
        check_spelling(tmp_path, ["a x", "x b y"], "kept")


def test_a_new_language_has_a_token_that_is_served(base: Path, gaelic: Path, tmp_path: Path) -> None:
    made = config.load(
        recognizer.Config, TINY,
        [f"run={tmp_path / 'run'}", f"base={base}", f"data=[{gaelic}]", "new_token_like=cy", "translation_share=0.5",
         "training.steps=2", "training.learning_rate=1e-4", "training.warm_up_steps=0", "rows=2", "dev_clips=2",
         "export.quantization=float32", "export.parity_clips=2", "frozen=[model.decoder.embed_tokens.weight]"],
    )  # fmt: skip
    recognizer.run(made)
    facts = json.loads((tmp_path / "run/facts.json").read_text())
    assert facts["settings"]["language_token"] == "gd"
    assert facts["parity"]["float32"]["clips"] == 2
    served = Tokenizer.from_file(str(tmp_path / "run/export/recognizer/tokenizer.json"))
    assert served.token_to_id("<|gd|>") == UNUSED
    assert served.token_to_id("<|startoflm|>") is None
    network, tokenizer = load(tmp_path / "run/export/hf", made)
    embeddings = network.whisper.get_input_embeddings().weight
    assert torch.equal(embeddings[UNUSED], embeddings[START + 1 + CODES.index("cy")])
    assert tokenizer.backend_tokenizer.get_vocab_size() == embeddings.shape[0] == VOCABULARY


def test_a_language_without_a_token_is_refused(base: Path) -> None:
    network, tokenizer = load(base, made := config.load(recognizer.Config, TINY, [f"base={base}"]))
    vocabulary = tokenizer.backend_tokenizer
    for language, overrides, message in (
        ("gd", [], "the vocabulary has no language 'gd': language_token=CODE has"),
        ("gd", ["language_token=eo"], "language_token: the vocabulary has no language 'eo'"),
        ("de", ["new_token_like=nl"], "the vocabulary has language 'de' already"),
    ):
        with pytest.raises(ConfigError, match=message):
            recognizer.language_code(vocabulary, True, language, config.load(recognizer.Config, TINY, overrides))
    assert recognizer.language_code(vocabulary, True, "de", made) == "de"
    asked = config.load(recognizer.Config, TINY, ["language_token=cy"])
    assert recognizer.language_code(vocabulary, True, "gd", asked) == "cy"
    with pytest.raises(ConfigError, match=r"new_token_like: the vocabulary has no <\|eo\|>"):
        add_token(network, base, "<|gd|>", "<|eo|>")


def test_batches_are_the_same_by_number_and_as_long_as_they_must_be(tmp_path: Path) -> None:
    made = config.load(
        recognizer.Config, TINY,
        ["rows=3", "rehearsal.share=0.4", "silence_share=0.3", "padded_share=0.3", "spec_augment=1"],
    )  # fmt: skip
    new, old = write_data(tmp_path), write_data(tmp_path, SAID[:4], language="en", name="old")
    rows = [utterances([str(data)], made.training).train for data in (new, old)]
    encoder = Encoder(Tokenizer.from_file(str(write_base(tmp_path / "base") / "tokenizer.json")), False, "words")
    again = [Batches(made, encoder, Features(made, 80), *rows) for _ in range(2)]
    assert again[0].summary() == "8 clips of 0.00 h, 4 of 0.00 h to rehearse"
    batches = [again[0].batch(number) for number in range(30)]
    for number in (17, 3):
        assert all(torch.equal(value, batches[number][name]) for name, value in again[1].batch(number).items())
    assert {batch["mels"].shape[2] for batch in batches} == {100, 200, 3000}
    assert all((batch["expected"][:, 0] != IGNORED).all() for batch in batches)
    silent = sum(batch["expected"][:, 0].tolist().count(encoder.no_speech) for batch in batches)
    assert 10 < silent < 50
