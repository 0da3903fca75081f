"""When words were said, against flite's own phone times; and how pieces of a text become words."""

from __future__ import annotations

import asyncio
import functools
import itertools
from pathlib import Path

import numpy as np
import pytest

from app.audio import HEARING_RATE, resample, to_pcm16
from app.workers.base import Transcript, Word
from app.workers.whisper import WhisperRecognizer
from app.workers.whisper_words import joined, loud_part, spread_words
from finetune.starter.speech import Speech, Voice, speak
from tests.sounds import flite, noise, silence

RECOGNIZER = Path(__file__).parents[3] / "models/packs/en-starter/recognizer"
SENTENCES = (
    "set a timer for five minutes",
    "set a timer for ten minutes",
    "turn on the lights in the kitchen",
    "what is the weather in paris",
    "my name is anna",
)
MEAN_ERROR_SECONDS = 0.15  # about half of a word


def load(*, aligned: bool) -> WhisperRecognizer:
    recognizer = WhisperRecognizer(str(RECOGNIZER), device="cpu", trained_short=True, language="en")
    if not aligned:
        recognizer._decoder._aligns = False  # as with a model whose config.json names no alignment heads
    return recognizer


async def heard(recognizer: WhisperRecognizer, pcm: bytes, *, word_times: bool = True) -> Transcript:
    recognition = await recognizer.start(word_times=word_times)
    recognition.feed(pcm)
    return await recognition.finish()


@functools.cache
def said(text: str) -> Speech:
    return speak(text, Voice("flite", "slt"))


def sounds(text: str) -> list[tuple[float, float]]:
    """(start, end) of each phone, silence left out."""
    ends = [end for _, end in said(text).phones]
    phones = [phone for phone, _ in said(text).phones]
    return [span for phone, *span in zip(phones, [0.0, *ends], ends, strict=False) if phone != "pau"]  # type: ignore[misc]


def true_times(sentence: str) -> list[tuple[float, float]]:
    """(start, end) of each word: a word has as many phones in a sentence as alone."""
    phones, times = sounds(sentence), []
    for word in sentence.split():
        count = len(sounds(word))
        times.append((phones[0][0], phones[count - 1][1]))
        phones = phones[count:]
    assert not phones, "a word has other phones in the sentence than alone; choose another sentence"
    return times


@pytest.mark.parametrize("aligned", [True, False], ids=["aligned", "spread"])
async def test_word_times_are_near_flites_own(aligned: bool) -> None:
    recognizer = load(aligned=aligned)
    errors = []
    for sentence in SENTENCES:
        pcm = to_pcm16(resample(said(sentence).waveform, said(sentence).rate, HEARING_RATE))
        transcript = await heard(recognizer, pcm)
        words = transcript.words
        assert " ".join(word.text for word in words) == transcript.text
        assert all(0.0 <= word.start_s <= word.end_s <= transcript.seconds for word in words)
        assert all(one.end_s <= other.start_s + 1e-6 for one, other in itertools.pairwise(words))
        assert all(0.0 < word.probability <= 1.0 for word in words)
        if transcript.text != sentence:
            continue
        for word, (start, end) in zip(words, true_times(sentence), strict=True):
            errors += [abs(word.start_s - start), abs(word.end_s - end)]
    assert len(errors) >= 20, "the starter hears most of these sentences"
    assert np.mean(errors) < MEAN_ERROR_SECONDS


async def test_times_are_the_same_in_company_of_callers_who_say_nothing_or_want_none() -> None:
    recognizer = load(aligned=True)
    clips = [flite(sentence, rate=HEARING_RATE) for sentence in SENTENCES]
    alone = [await heard(recognizer, clip) for clip in clips]
    others = [to_pcm16(noise(1.5, 0.1, HEARING_RATE)), *clips]
    together = await asyncio.gather(
        *[heard(recognizer, clip) for clip in clips], *[heard(recognizer, clip, word_times=False) for clip in others]
    )
    assert together[: len(clips)] == alone
    assert all(transcript.words == () for transcript in together[len(clips) :])


async def test_no_word_times_unless_asked_for_or_where_nobody_speaks() -> None:
    recognizer = load(aligned=True)
    assert (await heard(recognizer, flite("hello", rate=HEARING_RATE), word_times=False)).words == ()
    assert (await heard(recognizer, silence(1.0, HEARING_RATE))).words == ()


async def test_times_run_on_through_the_windows_of_long_audio() -> None:
    recognizer = load(aligned=True)
    pcm = (flite("what time is it", rate=HEARING_RATE) + silence(0.5, HEARING_RATE)) * 8
    recognition = await recognizer.start(word_times=True)
    recognition.feed(pcm)
    hypotheses = recognition.hypotheses()
    await anext(hypotheses)  # the interim decode settles the first windows: their words need times too
    transcript = await recognition.finish()
    starts = [word.start_s for word in transcript.words]
    assert " ".join(word.text for word in transcript.words) == transcript.text
    assert starts == sorted(starts)
    assert starts[0] < 1.0
    assert 16 / 3 < starts[-1] < transcript.seconds  # the first window of 8 s is cut in its last third


def pieces(*texts: str) -> list[Word]:
    return [Word(text, float(n), n + 1.0, 0.5 + n / 10) for n, text in enumerate(texts)]


def test_marks_and_endings_go_to_the_word_before() -> None:
    words = joined(pieces(" Don", "'t", " stop", "!", " ", " Now"), spaced=True)
    assert [(word.text, word.start_s, word.end_s) for word in words] == [
        ("Don't", 0.0, 2.0),
        ("stop!", 2.0, 3.0),  # a mark takes no time
        ("Now", 5.0, 6.0),
    ]
    assert words[0].probability == 0.5


def test_scripts_without_spaces_keep_their_characters_apart() -> None:
    assert [word.text for word in joined(pieces("你", "好", "。"), spaced=False)] == ["你", "好。"]


def test_words_share_the_loud_part_by_their_letters() -> None:
    waveform = np.concatenate([np.zeros(HEARING_RATE), np.ones(HEARING_RATE), np.zeros(HEARING_RATE)])
    assert loud_part(waveform.astype(np.float32)) == (1.0, 2.0)
    words = spread_words("abc d", 0.5, waveform.astype(np.float32))
    assert words == (Word("abc", 1.0, 1.75, 0.5), Word("d", 1.75, 2.0, 0.5))
    assert spread_words("", 0.5, waveform.astype(np.float32)) == ()
    assert loud_part(np.zeros(10, np.float32)) == (0.0, 10 / HEARING_RATE)
