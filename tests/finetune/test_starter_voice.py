"""The starter voice's training: features and aligner on known truth, a few steps on generated speech, export."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from app.front_end import english
from app.pronounce import PAUSE, Pronouncer
from app.workers.vocoder import HOP, RATE, Excitation, Vocoder
from finetune.measure import wer
from finetune.starter import pronunciation, voice
from finetune.starter.voice_acoustic import Acoustic, acoustic_losses, item
from finetune.starter.voice_aligner import align
from finetune.starter.voice_alignment import aligned
from finetune.starter.voice_corpus import extract, generated_recordings, load
from finetune.starter.voice_export import Sharpening, export
from finetune.starter.voice_features import LEVEL, MELS, levelled, log_mel, pitch
from finetune.starter.voice_loop import train
from finetune.starter.voice_vocoder import FilterNetwork, Voiced, filtered, scale_of, vocoder_losses

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="the Debian program flite is not installed")
LEXICON = {"one": "w ah n", "two": "t uw", "three": "th r iy", "four": "f ao r", "five": "f ay v", "six": "s ih k s"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks on two busy cores lose more by waiting for each other than they win."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


def tone(hertz: float, seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A harmonic sound between two silences of 0.2 s."""
    time = np.arange(int(seconds * RATE)) / RATE
    sound = sum(np.sin(2 * np.pi * hertz * n * time) / n for n in range(1, 12))
    return np.pad(0.1 * sound, int(0.2 * RATE)).astype(np.float32)


@pytest.mark.parametrize("hertz", [90.0, 160.0, 240.0, 330.0])
def test_pitch_finds_a_known_tone(hertz: float) -> None:
    found = pitch(tone(hertz, 0.6))
    middle = found[len(found) // 3 : -len(found) // 3]
    assert np.all(np.abs(middle / hertz - 1) < 0.02)
    assert found[0] == found[-1] == 0


def test_level_and_mel_have_the_stated_form() -> None:
    waveform = levelled(0.02 * tone(200, 0.5))
    voiced = waveform[int(0.3 * RATE) : int(0.5 * RATE)]
    assert float(np.sqrt((voiced**2).mean())) == pytest.approx(LEVEL, rel=0.15)
    mel = log_mel(waveform)
    assert mel.shape == (len(waveform) // HOP, MELS)
    assert mel[len(mel) // 2].max() > mel[0].max() + 3


def test_aligner_finds_known_boundaries() -> None:
    """Artificial speech: every phone is its own spectrum for a known time, with a pause in some of the gaps."""
    draw = np.random.default_rng(2)
    phones = ["a", "b", "c", "d", "e", PAUSE]
    spectra = {phone: draw.normal(size=MELS) * 1.5 for phone in phones}
    mels, texts, truth = [], [], []
    for _ in range(60):
        words = [list(draw.choice(phones[:5], size=draw.integers(1, 4))) for _ in range(draw.integers(2, 5))]
        runs = [(PAUSE, 12)]
        for index, word in enumerate(words):
            if index and draw.random() < 0.4:
                runs.append((PAUSE, int(draw.integers(8, 15))))
            runs += [(str(phone), int(draw.integers(6, 16))) for phone in word]
        runs.append((PAUSE, 10))
        rows = np.concatenate([np.tile(spectra[phone], (frames, 1)) for phone, frames in runs])
        mels.append((rows + 0.5 * draw.normal(size=rows.shape)).astype(np.float32))
        texts.append([[str(phone) for phone in word] for word in words])
        truth.append(runs)
    found = align(mels, texts, rounds=8)
    same_pauses = sum([p for p, _ in a] == [p for p, _ in b] for a, b in zip(found, truth, strict=True))
    assert same_pauses >= 50
    errors = [
        abs(int(x) - int(y))
        for a, b in zip(found, truth, strict=True)
        if [p for p, _ in a] == [p for p, _ in b]
        for x, y in zip(np.cumsum([n for _, n in a]), np.cumsum([n for _, n in b]), strict=True)
    ]
    assert float(np.mean(errors)) < 1.5
    assert all(sum(n for _, n in a) == len(mel) for a, mel in zip(found, mels, strict=True))


def test_aligner_refuses_too_little_audio() -> None:
    with pytest.raises(ValueError, match="9 frames"):
        align([np.zeros((9, MELS), np.float32)], [[["a", "b"]]])


def test_vocoder_makes_the_pitch_it_is_asked_for() -> None:
    hertz = np.full(80, 200.0, np.float32)
    harmonic, noise = np.zeros((80, 8), np.float32), np.zeros((80, 8), np.float32)
    harmonic[:, 0], noise[:, 0] = -2.0, -9.0
    maker = Vocoder()
    made = np.concatenate([maker.next(hertz, harmonic, noise), maker.flush()])
    assert len(made) == 80 * HOP
    found = pitch(made)
    assert np.median(found[20:60]) == pytest.approx(200, rel=0.01)


def test_training_and_serving_vocoder_agree() -> None:
    draw = np.random.default_rng(3)
    hertz = np.where(np.arange(40) % 15 < 10, 180, 0).astype(np.float32)
    harmonic, noise = (0.05 * draw.normal(size=(2, 40, 16))).astype(np.float32)
    maker = Vocoder(seed=5)
    served = np.concatenate([maker.next(hertz, harmonic, noise), maker.flush()])
    pulses, hiss = Excitation(5).next(np.append(hertz, np.float32(0)))
    trained = filtered(*(torch.from_numpy(part)[None] for part in (pulses, hiss, harmonic, noise)))[0].numpy()
    assert np.abs(trained[HOP // 2 :] - served[: -HOP // 2]).max() < 1e-4


def test_letter_rules_are_learnt_from_a_dictionary() -> None:
    words = {
        a + v + b: (a, {"a": "ae", "i": "ih", "o": "aa"}[v], b) for a in "bdgkmnpst" for b in "bdgkmnpst" for v in "aio"
    }
    rules = pronunciation.learn_rules({word: phones for word, phones in words.items() if word not in ("bat", "dig")})
    pronouncer = Pronouncer({}, rules)
    assert pronouncer.phones("bat") == ("b", "ae", "t")
    assert pronunciation.phone_error_rate(pronouncer, {"dig": words["dig"]}) == (0.0, 0.0, 1)
    assert wer([("a b", "a b")]) == 0.0


@needs_flite
def test_few_steps_train_export_and_speak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe's stages on a dozen generated sentences: losses fall, a killed run resumes, the engine speaks."""
    from app.workers.voice import OnnxVoice

    monkeypatch.setattr(pronunciation, "cmudict", lambda: {word: tuple(p.split()) for word, p in LEXICON.items()})
    run, folder = tmp_path / "run", tmp_path / "voice"
    torch.manual_seed(0)
    pronunciation.build(folder)
    draw = np.random.default_rng(1)
    sentences = [" ".join(draw.choice(sorted(LEXICON), 5)) for _ in range(14)]
    recordings = generated_recordings(sentences)
    extract(recordings, run / "features")
    found = aligned(list(load(run / "features")), english(Pronouncer(LEXICON, {})), run / voice.ALIGNMENT)
    clips = list(load(run / "features", "train"))
    scale = scale_of(clips)
    vocoder = FilterNetwork(width=16, blocks=1)
    own = [Voiced(scale.mel(clip.mel), clip.pitch, clip.pcm) for clip in clips]
    losses = vocoder_losses(vocoder, own, scale, batch=2, frames=24)
    before = losses(0)["spectral"].item()
    train("vocoder", vocoder, losses, steps=20, peak_rate=1e-2, path=run / "vocoder.pt")
    assert losses(0)["spectral"].item() < before

    items = voice.items_of(run, scale, "train", found)
    assert all(int(one.frames.sum()) == len(one.mel) for one in items)
    acoustic = Acoustic(width=16, encoder=1, tone=1, decoder=1)
    losses = acoustic_losses(acoustic, items, batch=4)
    first = sum(part.item() for part in losses(0).values())
    train("acoustic", acoustic, losses, steps=4, peak_rate=1e-2, path=run / "acoustic.pt")
    resumed = Acoustic(width=16, encoder=1, tone=1, decoder=1)
    losses = acoustic_losses(resumed, items, batch=4)
    train("acoustic", resumed, losses, steps=20, peak_rate=1e-2, path=run / "acoustic.pt")
    assert sum(part.item() for part in losses(0).values()) < first
    assert torch.load(run / "acoustic.pt", weights_only=True)["step"] == 20

    export(resumed, vocoder, scale, folder, names=["slt"], sharpening=Sharpening())
    engine = OnnxVoice(folder)

    async def speak() -> int:
        return sum([len(chunk.pcm) // 2 async for chunk in engine.speak("one two three")])

    assert asyncio.run(speak()) > 8 * HOP  # eight phones of at least a frame


@needs_flite
def test_short_pauses_belong_to_their_neighbours(tmp_path: Path) -> None:
    extract(generated_recordings(["one two"]), tmp_path)
    clip = next(load(tmp_path))
    count = len(clip.mel)
    segments = [(PAUSE, 12), ("w", 5), ("ah", 5), ("n", 5), (PAUSE, 3), ("t", 4), ("uw", count - 44), (PAUSE, 10)]
    one = item(clip, [["w", "ah", "n"], ["t", "uw"]], segments, scale_of([clip]))
    assert list(one.frames) == [8, 5, 5, 5, 7, count - 44, 8]  # the pause before a stop is its hold
    assert list(one.places) == [0, 1, 0, 2, 1, 2, 0]
    assert len(one.mel) == int(one.frames.sum()) == count - 6
