"""The small language: the same clips for the same seed, nothing of test anywhere else, sounds that differ."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from app.workers.vocoder import RATE
from finetune.compare import first_hearing, new_models, small_language
from finetune.compare.formants import LETTERS, STOPS, ends, noisy, speak, speaker
from finetune.compare.small_language import SETS, Language, Part, Set
from finetune.data.manifest import audio_path, read_dialogues, read_utterances
from finetune.data.rows import Utterance
from finetune.starter.voice_features import log_mel

PEOPLE = (
    Set("old-words", "old", (Part("train", 2, 2),), "words"),
    Set("small", "new", (Part("train", 3, 4), Part("dev", 2, 3))),
    Set("reader", "new", (Part("train", 1, 6), Part("dev", 1, 2)), "reader"),
    Set("judge", "new", (Part("train", 2, 4), Part("dev", 1, 3)), "others"),
    Set("test", "new", (Part("test", 4, 3),)),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language")
    small_language.write(folder, 5, PEOPLE)
    return folder


def rows(data: Path, name: str) -> list[Utterance]:
    return list(read_utterances(data / name / "manifest.jsonl"))


def test_speakers_and_texts_of_test_are_in_no_other_set(data: Path) -> None:
    tested = rows(data, "test")
    others = [row for one in PEOPLE if one.name != "test" for row in rows(data, one.name)]
    assert len({row.speaker for row in tested}) == 4
    assert not {row.speaker for row in tested} & {row.speaker for row in others}
    assert not {row.text for row in tested} & {row.text for row in others}
    replies = {
        name: {row.turns[1].text for row in read_dialogues(data / name / "dialogues.jsonl")}
        for name in ("small", "test")
    }
    read = {" ".join(half) for row in rows(data, "reader") for half in (row.text.split()[:2], row.text.split()[2:])}
    said = read | {row.text for row in rows(data, "judge")}
    assert not replies["test"] & (replies["small"] | said)


def test_judge_and_arms_have_no_speaker_in_common(data: Path) -> None:
    judge = {row.speaker for row in rows(data, "judge")}
    assert not judge & {row.speaker for name in ("small", "reader", "test") for row in rows(data, name)}


def test_the_sets_of_the_comparison_have_twenty_voices_to_test_and_share_people_between_sizes() -> None:
    (test,) = (one for one in SETS if one.name == "test")
    assert sum(part.speakers for part in test.parts) >= 20
    small, large = (next(one for one in SETS if one.name == name) for name in ("small", "large"))
    assert small.language == large.language == "new"
    assert small.parts[0].speakers < large.parts[0].speakers


def test_replies_follow_the_table() -> None:
    language = Language("new", 5)
    first, last = language.words[0], language.words[1]
    one, other = language.reply(f"{first} {first} {last}"), language.reply(f"{last} {first} {first}")
    assert one.split() == list(reversed(other.split()))
    assert len(set(language.words)) == small_language.WORDS
    assert Language("new", 5).words == language.words
    assert Language("old", 5).words != language.words


def test_the_same_seed_makes_the_same_clips(data: Path, tmp_path: Path) -> None:
    small_language.write(tmp_path, 5, PEOPLE[1:2])
    for name in ("manifest.jsonl", "dialogues.jsonl"):
        assert (tmp_path / "small" / name).read_bytes() == (data / "small" / name).read_bytes()
    row = rows(data, "small")[0]
    one, other = (soundfile.read(audio_path(folder / "small/manifest.jsonl", row)) for folder in (data, tmp_path))
    assert np.array_equal(one[0], other[0])


def test_sounds_differ_more_than_the_same_sound_of_one_person() -> None:
    who = speaker("anna")
    lasting = [letter for letter in LETTERS if letter not in STOPS]
    means = {letter: log_mel(speak(letter * 8, who, random.Random(1)))[20:-20].mean(0) for letter in lasting}
    again = {letter: log_mel(speak(letter * 8, who, random.Random(2)))[20:-20].mean(0) for letter in lasting}
    for letter, mean in means.items():
        apart = {other: float(np.abs(mean - again[other]).mean()) for other in lasting}
        assert min(apart, key=lambda other: apart[other]) == letter
    assert speaker("anna") == who
    assert speaker("berta") != who


def test_noise_is_as_loud_as_asked() -> None:
    waveform = speak("salema", speaker("anna"), random.Random(1))
    hiss = noisy(waveform, 20.0, 3) - waveform
    assert 10 * np.log10(np.mean(waveform**2) / np.mean(hiss**2)) == pytest.approx(20, abs=0.5)


def test_ends_are_those_of_the_speech() -> None:
    who = speaker("anna")
    found = ends("ba ta", who, random.Random(1))
    assert [name for name, _ in found] == [" ", "b", "b", "a", " ", "t", "t", "a", " "]
    assert found[-1][1] == pytest.approx(len(speak("ba ta", who, random.Random(1))) / RATE)


def test_a_first_lesson_lowers_all_of_its_losses(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    manifest = data / "small/manifest.jsonl"
    learnt = [dataclasses.replace(row, audio=str(audio_path(manifest, row))) for row in rows(data, "small")]
    new_models.write_recognizer(tmp_path, [row.text for row in learnt], 5)
    first_hearing.teach(tmp_path, learnt, 5, 12)
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("first hearing, step ")]
    before, after = (
        [float(part.split()[-1]) for part in line.split(": ")[1].split(", ")] for line in (printed[0], printed[-1])
    )
    assert all(later < earlier for earlier, later in zip(before, after, strict=True))
    assert (tmp_path / "model.safetensors").is_file()
