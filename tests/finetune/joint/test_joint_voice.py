"""The voice as one differentiable piece: what is served, and gradients into its text side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app.front_end import by_characters
from finetune.checkpoint import seed_everything
from finetune.joint.chain_edge import Voice
from finetune.recipes.joint_voice import StarterVoice
from finetune.recipes.synthesizer_starter_export import said
from finetune.starter.voice_acoustic import Acoustic
from finetune.starter.voice_export import Sharpening
from finetune.starter.voice_features import MELS
from finetune.starter.voice_vocoder import FilterNetwork, Scale
from tests.finetune.joint import tiny

FRONT = by_characters("de", list("abcdefghijklmnopqrstuvwxyzäöüß"), {})
TEXT = "Guten Morgen, Anna. Es ist 3 Uhr."
LATE = 128  # samples: half a frame, by which the differentiable filters are behind


@pytest.fixture(scope="module")
def voice() -> StarterVoice:
    seed_everything(4)
    acoustic = Acoustic(16, 1, 1, 1, symbols=len(FRONT.symbols), speakers=1)
    vocoder = FilterNetwork(16, 1)
    scale = Scale(np.zeros(MELS, np.float32), np.ones(MELS, np.float32), 5.0, 0.2)
    return StarterVoice(acoustic, vocoder, scale, Sharpening(1.1, 1.2), FRONT).eval()


def test_it_says_what_is_served(voice: StarterVoice) -> None:
    served = said(voice.acoustic, voice._decoder[0], FRONT, TEXT, 0)
    with torch.no_grad():
        (made,) = voice.speak([TEXT])
    until = len(made) - 2 * LATE  # the very end rings into silence
    assert float(np.abs(made[LATE:until].numpy() - served[: until - LATE]).max()) < 1e-3


def test_each_symbol_has_its_words_bytes(voice: StarterVoice) -> None:
    spans = voice.symbols("Für 3, ja")
    text = "Für 3, ja".encode()
    words = [text[begin:end].decode() for begin, end in spans]
    assert words[1:4] == ["Für"] * 3
    assert words[-3:] == [", ja", ", ja", ""]
    assert voice.symbols("...") == []


def test_gradients_reach_the_text_side_and_what_is_added_changes_what_is_said(voice: StarterVoice) -> None:
    checked: Voice = voice
    tiny.forget(voice)
    count = len(checked.symbols(TEXT))
    added = torch.zeros(count, voice.width, requires_grad=True)
    (plain,), (same,) = checked.speak([TEXT]), checked.speak([TEXT], [added])
    assert torch.equal(plain, same)
    same.square().sum().backward()
    assert added.grad is not None
    assert (added.grad.abs().sum(1) > 0).float().mean() > 0.9
    assert tiny.norm(voice.acoustic.encoder.parameters()) > 0
    assert not torch.equal(plain, checked.speak([TEXT], [added.detach() + 1])[0][: len(plain)])


def test_what_it_says_does_not_depend_on_what_is_said_beside_it(voice: StarterVoice) -> None:
    texts = ["ja", TEXT, "", "Gute Nacht. Bis morgen."]
    added = [torch.randn(len(voice.symbols(text)), voice.width) for text in texts]
    with torch.no_grad():
        for among, number in zip(voice.speak(texts, added), range(len(texts)), strict=True):
            (alone,) = voice.speak([texts[number]], [added[number]])
            assert among.shape == alone.shape
            assert torch.allclose(among, alone, atol=1e-4)


def test_of_nothing_it_says_nothing(voice: StarterVoice) -> None:
    assert [len(one) > 0 for one in voice.speak(["", "ja"])] == [False, True]
