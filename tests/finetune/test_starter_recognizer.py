"""The starter's recognizer from speech to a served model: text, clips, a few steps, kill and resume, export."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from app.audio import HEARING_RATE, to_pcm16
from app.workers.whisper import WhisperRecognizer
from finetune.starter import augment, speech
from finetune.starter.domain import split_of, user_sentences
from finetune.starter.recognizer_batch import IGNORED, Clips, Variation, collate
from finetune.starter.recognizer_data import (
    NO_PHONE,
    Clip,
    log_mel,
    read_shard,
    silent_clip,
    synthetic_clip,
    write_shard,
)
from finetune.starter.recognizer_export import export_whisper
from finetune.starter.recognizer_model import Shape, special_tokens
from finetune.starter.recognizer_text import Sentences, spoken_form, train_tokenizer
from finetune.starter.recognizer_train import Budget, Schedule, Training

TINY = Shape(width=64, encoder_layers=1, decoder_layers=1)
TEXTS = ("what time is it", "turn on the light", "one two three", "hello")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, vocabulary=300)


def tone_clip(index: int) -> Clip:
    """A clip that needs no speech program: each text has its own two tones."""
    seconds = np.arange(HEARING_RATE) / HEARING_RATE
    sound = sum(np.sin(2 * np.pi * (300 + 400 * index) * k * seconds) for k in (1, 2))
    mel = log_mel(np.asarray(0.3 * sound, np.float32)).astype(np.float16)
    phones = np.full((len(mel) + 1) // 2, index + 1, np.uint8)
    return Clip(mel, TEXTS[index], "synthetic", "tone", (0.0, 1.0), phones)


def tones() -> Clips:
    """Four texts and silence, in memory."""
    clips = Clips(Path("nowhere"), frozenset(" ".join(TEXTS).split()))
    clips.add([tone_clip(index) for index in range(len(TEXTS))] * 4)
    clips.add([silent_clip(random.Random(seed)) for seed in range(2)])
    return clips


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("What's the time?", "what's the time"),
        ("Mr. Smith -- well-known, etc.", "mister smith well known et cetera"),
        ("'Quoted' words", "quoted words"),
        ("It costs 5 dollars", None),
        ("", None),
    ],
)
def test_spoken_form(text: str, form: str | None) -> None:
    assert spoken_form(text) == form


def test_no_drawn_sentence_belongs_to_dev_or_test() -> None:
    kept_out = user_sentences(50, 0, "test")
    sentences = Sentences(domain=tuple(user_sentences(50, 0, "train")), open=tuple(kept_out), dictionary=("apple",))
    rng = random.Random(0)
    drawn = {sentences.draw(rng) for _ in range(2000)}
    assert not drawn & set(kept_out)
    assert {split_of(sentence) for sentence in drawn} == {"train"}


def test_the_tokenizer_keeps_bare_spaces_out_of_the_suppressed_tokens(tokenizer: Tokenizer) -> None:
    for text in (" -", " '", " ♩"):  # the first token of each is suppressed by Whisper decoders
        assert tokenizer.encode(text).tokens[0] != "Ġ"
    special = special_tokens(tokenizer)
    assert tokenizer.id_to_token(special.no_speech) == "<|nospeech|>"
    assert tokenizer.id_to_token(special.first_moment) == "<|0.00|>"
    assert tokenizer.get_vocab_size() == special.first_moment + 1501
    assert tokenizer.decode(tokenizer.encode(" what time is it").ids) == " what time is it"


def test_speed_noise_and_silence_are_what_they_say() -> None:
    second = np.sin(np.arange(22_050) / 10).astype(np.float32)
    assert len(augment.change_speed(second, 22_050, 1.25)) == pytest.approx(HEARING_RATE / 1.25, abs=2)
    for kind in augment.NOISES + augment.TEST_NOISES:
        sound = augment.noise(kind, 8000, random.Random(1))
        assert (len(sound), sound.dtype) == (8000, np.float32)
        assert np.std(sound) == pytest.approx(1.0, abs=0.01)
    noisy = augment.add_noise(second, augment.noise("white", len(second), random.Random(2)), 10.0)
    assert np.mean((noisy - second) ** 2) / np.mean(second**2) == pytest.approx(0.1, rel=0.01)
    with pytest.raises(ValueError, match="expected one of"):
        augment.noise("music", 10, random.Random(0))


def test_clips_survive_the_disk(tmp_path: Path) -> None:
    clips = [tone_clip(1), silent_clip(random.Random(3)), tone_clip(2)]
    write_shard(tmp_path / "synthetic-0000.safetensors", clips)
    for clip, read in zip(clips, read_shard(tmp_path / "synthetic-0000.safetensors"), strict=True):
        assert (read.text, read.kind, read.span) == (clip.text, clip.kind, clip.span)
        np.testing.assert_array_equal(read.mel, clip.mel)
        np.testing.assert_array_equal(read.phones, clip.phones)
    assert Clips(tmp_path).rescan() == 3


def test_phone_labels_follow_the_sound() -> None:
    if shutil.which("flite") is None:
        pytest.skip("the program flite is not installed")
    sentences = Sentences(domain=("see the sea",), open=(), dictionary=("sister",))
    clips = (synthetic_clip(sentences, random.Random(seed)) for seed in range(60))
    aligned = [clip for clip in clips if clip and clip.phones[0] != NO_PHONE]
    assert len(aligned) > 10
    loud, soft = [], []
    for clip in aligned:
        level = clip.mel.astype(np.float32)[: len(clip.phones) * 2 : 2].mean(axis=1)
        labels = clip.phones[: len(level)]
        loud.append(level[labels == speech.PHONES.index("iy")].mean())
        soft.append(level[labels == 0].mean())
    assert np.nanmean(loud) > np.nanmean(soft) + 0.2


def test_a_batch_says_what_is_where(tokenizer: Tokenizer) -> None:
    special = special_tokens(tokenizer)
    clips = [tone_clip(0), silent_clip(random.Random(0))]
    batch = collate(clips, tokenizer, special, np.random.default_rng(0), Variation(1, 1, 1), pad_to=700)
    assert batch.mels.shape[0] == 2
    assert batch.mels.shape[1] >= 700
    assert batch.mels.shape[1] % 2 == 0
    assert batch.labels[1].tolist()[:2] == [special.no_speech, special.end]
    assert batch.inputs[1].tolist()[:2] == [special.start, special.no_timestamps]
    assert batch.labels[1, 2:].eq(IGNORED).all()
    assert batch.character_counts.tolist() == [len(TEXTS[0]), 0]
    assert batch.phones[0, 10] == 1


def test_a_few_steps_learn_and_a_killed_run_goes_on(tmp_path: Path, tokenizer: Tokenizer) -> None:
    torch.set_num_threads(1)
    schedule = Schedule(peak_rate=3e-3, warmup_steps=5, phones_until=0.1, long_pads_from=2.0)
    training = Training(tmp_path, tokenizer, TINY)
    training.run(tones(), {}, Budget(steps=40), schedule)
    early = training._step(tones(), 0.5, schedule)[0]
    assert early < 4.5  # the logarithm of 1810 tokens is 7.5

    resumed = Training(tmp_path, tokenizer, TINY)
    assert resumed.progress.step == 40
    assert resumed.progress.core_seconds > 0
    for mine, saved in zip(resumed.average, training.average, strict=True):
        torch.testing.assert_close(mine, saved, atol=0.02, rtol=0.02)
    resumed.run(tones(), {}, Budget(steps=120), schedule)
    assert resumed.progress.step == 120
    assert resumed._step(tones(), 0.5, schedule)[0] < 4.5  # one batch's loss: too noisy to be held against another's


async def test_the_export_is_a_whisper_that_the_service_loads(tmp_path: Path, tokenizer: Tokenizer) -> None:
    training = Training(tmp_path, tokenizer, TINY)
    export_whisper(training.averaged(), tokenizer, tmp_path / "recognizer")
    names = {path.name for path in (tmp_path / "recognizer").iterdir()}
    assert names == {"model.bin", "config.json", "tokenizer.json", "vocabulary.json", "preprocessor_config.json"}
    recognizer = WhisperRecognizer(str(tmp_path / "recognizer"), device="cpu", trained_short=True)
    recognition = await recognizer.start()
    recognition.feed(to_pcm16(0.1 * np.random.default_rng(0).standard_normal(HEARING_RATE).astype(np.float32)))
    transcript = await recognition.finish()
    assert transcript.seconds == 1.0
    assert 0.0 <= transcript.confidence <= 1.0
    assert (await recognizer.health()).detail["multilingual"] is False
