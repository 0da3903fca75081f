"""Agreement of replies, and the expected loss over hypotheses."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from finetune.errors import TrainingError
from finetune.joint.hypotheses import drawn, likeliest, log_probabilities, scores
from finetune.joint.losses import agreement, distinct, expected_loss
from finetune.recipes.recognizer_model import Network
from tests.finetune.joint import tiny


def test_agreement_is_the_divergence_from_the_text_and_teaches_the_transcript_alone() -> None:
    text, heard = torch.randn(3, 7, requires_grad=True), torch.randn(3, 7, requires_grad=True)
    loss = agreement(text, heard, 2.0)
    p, q = (functional.softmax(one / 2, -1) for one in (text, heard))
    assert float(loss) == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-5)
    loss.backward()
    assert text.grad is None
    assert heard.grad is not None
    assert float(agreement(text, text)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(TrainingError, match=r"\(3, 7\) logits .* \(2, 7\)"):
        agreement(text, heard[:2])


def test_the_expected_loss_makes_good_hypotheses_likelier_whatever_all_cost() -> None:
    for common in (0.0, 100.0):
        logs = torch.tensor([-1.0, -2.0, -3.0], requires_grad=True)
        expected_loss(logs, [common + 3.0, common + 1.0, common + 2.0]).backward()
        assert logs.grad is not None
        assert logs.grad[0] > 0 > logs.grad[1]
        assert float(logs.grad.sum()) == pytest.approx(0, abs=1e-6)
    assert float(expected_loss(torch.zeros(1), [5.0])) == 0


def test_hypotheses_drawn_and_likeliest_have_the_probabilities_that_their_scores_say() -> None:
    end, prompt = 40, (41, 42)
    network = Network(tiny.whisper(48)).train()
    mels = torch.randn(1, 80, 100, generator=torch.Generator().manual_seed(5))
    best = likeliest(network, [tiny.window(mels[0], 5)], [prompt], 1, end)
    assert network.training
    generator = torch.Generator().manual_seed(1)
    many = [drawn(network, mels, [prompt], 5, end, generator)[0] for _ in range(20)]
    again = torch.Generator().manual_seed(1)
    assert drawn(network, mels, [prompt], 5, end, again)[0] == many[0]
    assert network.training
    network.eval()
    found = distinct([*best, *many])
    assert len(found) > 1
    assert all(token < end for one in found for token in one)
    rows = mels.expand(len(found), -1, -1)
    logs = log_probabilities(scores(network, rows, [prompt] * len(found), found, end), found, end)
    for text, log in zip(found, logs.tolist(), strict=True):
        alone = log_probabilities(scores(network, mels, [prompt], [text], end), [text], end)
        assert log == pytest.approx(float(alone), abs=1e-4)  # padding behind a text changes nothing
        total = 0.0
        for place, token in enumerate([*text, end]):
            given = torch.tensor([[*prompt, *text[:place]]])
            total += float(network(mels, given)[0, -1].log_softmax(-1)[token])
        assert log == pytest.approx(total, abs=1e-4)


def test_repeats_are_left_out() -> None:
    assert distinct([[1, 2], [1], [1, 2], []]) == [(1, 2), (1,), ()]


def test_what_is_heard_does_not_depend_on_what_is_heard_beside_it() -> None:
    end, prompt = 40, (41, 42)
    network = Network(tiny.whisper(48))
    chance = torch.Generator().manual_seed(6)
    mels = [torch.randn(80, frames, generator=chance) for frames in (100, 200, 0, 100, 200, 100)]
    windows = [tiny.window(mel, 5) for mel in mels]
    together = likeliest(network, windows, [prompt] * len(windows), 2, end)
    assert together == [likeliest(network, [one], [prompt], 1, end)[0] for one in windows]
    assert [bool(one) for one in together] == [True, True, False, True, True, True]
