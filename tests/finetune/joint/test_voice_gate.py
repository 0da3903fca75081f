"""The gate from the language model's hidden states into the voice: nothing at first, and no part of the voice."""

from __future__ import annotations

import torch

from finetune.joint.byte_spans import token_spans
from finetune.joint.edges import Crossing
from finetune.joint.voice_gate import Gate
from tests.finetune.joint import tiny

REPLY = "it is für Anna"


def test_at_its_beginning_the_voice_says_exactly_what_it_says_without() -> None:
    voice, gate = tiny.HummingVoice(), Gate(32, 8).train()
    ids, tokens = token_spans(tiny.chat_encoder().tokenizer, REPLY)
    added = gate(torch.randn(len(ids), 32), voice.symbols(REPLY), tokens)
    assert added.shape == (len(REPLY), 8)
    with_gate, without = voice.speak([REPLY], [added]), voice.speak([REPLY])
    assert torch.equal(with_gate[0], without[0])


def test_hidden_states_reach_the_letters_of_their_own_token() -> None:
    gate = Gate(4, 4, dropout=0.0)
    torch.nn.init.eye_(gate.out.weight)
    symbols = tiny.HummingVoice().symbols("für a")  # ü has two bytes
    tokens = [(0, 2), (2, 4), (4, 6)]  # "f" and half of ü; the other half and "r"; " a"
    added = gate(torch.eye(4)[:3], symbols, tokens)
    assert added[:, :3].tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]


def test_gradients_reach_the_gate_at_once_the_language_model_after_it_and_not_when_detached() -> None:
    voice, chat, gate = tiny.HummingVoice(), tiny.llama(len(tiny.chat_tokenizer())), Gate(32, 8).eval()
    ids, tokens = token_spans(tiny.chat_encoder().tokenizer, REPLY)
    crossing = Crossing()

    def backward(scale: float) -> tuple[float, float]:
        tiny.forget(voice, chat, gate)
        hidden = chat.model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]
        added = gate(crossing(hidden, scale), voice.symbols(REPLY), tokens)
        voice.speak([REPLY], [added])[0].square().sum().backward()
        return tiny.norm(gate.parameters()), tiny.norm(chat.parameters())

    at_gate, at_chat = backward(0.1)
    assert at_gate > 0
    assert at_chat == 0
    with torch.no_grad():
        gate.out.weight.normal_()
    at_gate, at_chat = backward(0.1)
    assert at_chat > 0
    assert crossing.norm() > 0
    at_gate, at_chat = backward(0.0)
    assert at_gate > 0
    assert at_chat == 0


def test_the_voice_has_the_same_weights_with_a_gate_and_without() -> None:
    voice, gate = tiny.HummingVoice(), Gate(32, 8)
    assert set(voice.state_dict()) == {"letters.weight", "out.weight", "out.bias"}
    assert not {id(one) for one in voice.parameters()} & {id(one) for one in gate.parameters()}
