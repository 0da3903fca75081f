"""Augmentation: the same (seed, id, epoch) gives the same samples, and each effect does what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from finetune.data.augment import Augmentation, add_noise, augment, change_pitch, change_speed, effects, through_codec
from finetune.data.command import main
from finetune.data.errors import DataError
from finetune.data.manifest import read_utterances
from finetune.data.spec_augment import spec_augment
from tests.finetune.data.samples import RATE, dataset, tone, utterance, write_tone

ALWAYS = Augmentation(speed=1, pitch=1, room=1, noise=1, codec=1)
HASH = """
import hashlib
from finetune.data.augment import Augmentation, augment
from tests.finetune.data.samples import RATE, tone
made = augment(tone("x"), RATE, Augmentation(speed=1, pitch=1, room=1, codec=1), seed=3, id="x", epoch=2)
print(hashlib.sha256(made.tobytes()).hexdigest())
"""


def test_the_same_seed_id_and_epoch_give_the_same_samples_in_every_process() -> None:
    made = [subprocess.run([sys.executable, "-c", HASH], capture_output=True, text=True, check=True) for _ in range(2)]
    assert made[0].stdout == made[1].stdout != ""


def test_another_seed_id_or_epoch_gives_others() -> None:
    sound = tone("x")
    plain = Augmentation(speed=1, pitch=0, room=0, codec=0)
    first = augment(sound, RATE, plain, seed=0, id="x", epoch=0)
    for other in ({"seed": 1}, {"id": "y"}, {"epoch": 1}):
        changed: dict[str, object] = {"seed": 0, "id": "x", "epoch": 0, **other}
        assert not np.array_equal(first, augment(sound, RATE, plain, **changed))  # type: ignore[arg-type]
    none = Augmentation(speed=0, pitch=0, room=0, noise=0, codec=0)
    assert np.array_equal(augment(sound, RATE, none, seed=0, id="x", epoch=0), sound)


def pitch_of(waveform: np.ndarray[tuple[int], np.dtype[np.float32]]) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(waveform))) * RATE / len(waveform))


def test_speed_and_pitch_change_what_they_should() -> None:
    sine = np.sin(2 * np.pi * 400 * np.arange(RATE) / RATE).astype(np.float32)
    faster = change_speed(sine, RATE, 1.1)
    assert len(faster) == pytest.approx(RATE / 1.1, abs=2)
    assert pitch_of(faster) == pytest.approx(440, abs=4)
    higher = change_pitch(sine, RATE, 12.0)
    assert len(higher) == RATE
    assert pitch_of(higher) == pytest.approx(800, abs=8)


def test_noise_is_as_loud_as_asked_for(tmp_path: Path) -> None:
    import random

    noise = write_tone(tmp_path / "noise.wav", seconds=0.3)
    sound = tone("x")
    added = add_noise(sound, RATE, noise, 10.0, random.Random(0)) - sound
    assert 10 * np.log10(np.mean(sound**2) / np.mean(added**2)) == pytest.approx(10.0, abs=0.1)


def test_every_effect_keeps_rate_and_level(tmp_path: Path) -> None:
    sound = tone("x", seconds=0.5)
    noise = write_tone(tmp_path / "noise.wav")
    made = {name: effect(sound, RATE) for name, effect in effects([noise]).items()}
    assert set(made) == {"speed", "pitch", "room", "mp3", "opus", "telephone", "noise"}
    for name, waveform in made.items():
        assert waveform.dtype == np.float32, name
        assert name == "speed" or len(waveform) == len(sound), name
        assert 0.3 < np.std(waveform) / np.std(sound) < 3, name
        assert not np.array_equal(waveform, sound), name


def test_the_telephone_has_nothing_above_four_kilohertz() -> None:
    hiss = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    power = np.abs(np.fft.rfft(through_codec(hiss, RATE, "telephone"))) ** 2
    assert power[4200:].sum() < 1e-3 * power.sum()


def test_nothing_is_cut_off(tmp_path: Path) -> None:
    noise = write_tone(tmp_path / "noise.wav", level=1.0)
    settings = Augmentation(speed=0, pitch=0, room=0, codec=0, noise=1, noise_db=(-10, -10), noises=(noise,))
    assert np.abs(augment(tone("x", level=1.0), RATE, settings, seed=0, id="x", epoch=0)).max() <= 1
    with pytest.raises(DataError, match="room: got 2, expected a probability"):
        Augmentation(room=2)


def test_spec_augment_masks_bands_and_stretches() -> None:
    features = np.random.default_rng(0).normal(size=(80, 300)).astype(np.float32)
    masked = spec_augment(features, seed=0, id="x", epoch=0)
    assert np.array_equal(masked, spec_augment(features, seed=0, id="x", epoch=0))
    changed = masked != features
    assert 0 < changed.mean() < 0.8
    whole_bands, whole_frames = changed.all(axis=1), changed.all(axis=0)
    assert np.array_equal(changed, whole_bands[:, None] | whole_frames[None])
    assert not np.array_equal(masked, spec_augment(features, seed=0, id="x", epoch=1))
    spec_augment(features[:, :1], seed=0, id="x", epoch=0)  # too short for any stretch


def test_the_command_copies_training_rows_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [utterance("a", split="train"), utterance("b", split="test")]
    manifest = dataset(tmp_path, rows)
    assert main(["augment", str(manifest), "--out", str(tmp_path / "more"), "--copies", "2"]) == 0
    made = list(read_utterances(tmp_path / "more" / "manifest.jsonl"))
    assert [row.id for row in made] == ["a-copy1", "a-copy2"]
    assert all(0.8 < row.duration_s < 1.2 and row.text == rows[0].text for row in made)
    assert main(["augment", str(manifest), "--out", str(tmp_path / "x"), "--noise", str(tmp_path / "more" / "no")]) == 1
    assert "has no recordings of noise" in capsys.readouterr().err
