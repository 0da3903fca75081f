"""The language recipe: tokenizer, template, heads that copy; four steps of a tiny model, exported, that replies."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from app.tools import schemas
from app.workers.base import ChatRequest, TextDelta, ToolCall, Usage
from app.workers.chat import CTranslate2Chat
from app.workers.chat_prompt import ChatTemplate
from finetune.starter.domain_entities import Entities
from finetune.starter.language_cases import Case, client_calls, names, outside_generated, recalls, tool_calls
from finetune.starter.language_dialogues import TOOLS, dialogue
from finetune.starter.language_evaluate import Reply, copied, exact_call, honest, says, share_row
from finetune.starter.language_export import export
from finetune.starter.language_lexicon import lexicon
from finetune.starter.language_muon import orthogonal
from finetune.starter.language_text import TEMPLATE, encoded, new_tokenizer, packed, renderer, repeated
from finetune.starter.language_train import Training, new_model, train, weighted_loss

TINY = Training(
    steps=4, rows=2, row_tokens=64, long_row_tokens=128, repeat_share=0.25, long_share=0.25, vocabulary=700, hidden=64,
    layers=2, heads=4, feed_forward=128, warm_up_steps=1, log_every=4, save_every=2,
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    """Threads that wait for each other on busy cores cost a tiny model a hundred times its work."""
    torch.set_num_threads(1)


def texts(count: int) -> list[str]:
    """Contents of training messages."""
    e = Entities(random.Random(1), 0.0, lexicon(), 0.5)
    drawn = [dialogue(e, turns=3) for _ in range(count)]
    return [message["content"] for one in drawn for message in one.messages if message["content"]]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return new_tokenizer([*texts(500), '{"name": "get_time", "arguments": {"city": "oslo"}}'], TINY.vocabulary)


@pytest.mark.parametrize(
    "text",
    [
        "Hello, New York. It is 3:25 PM.", "NASA and Élan, naïve 日本 🙂", '{"city": "Cape Town", "time": "7:00 AM"}',
        '{"name": "set_timer", "arguments": {"amount": 5, "unit": "minutes"}}', '{"name": "x", "arguments": {}}',
        'He said "yes", "no" and {"', "a  b\n\tc", "A", "",
    ],
)  # fmt: skip
def test_any_text_survives_the_tokenizer_whole_and_streamed(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == text
    stream = DecodeStream(skip_special_tokens=True)
    pieces = [stream.step(tokenizer, one) for one in ids]
    assert "".join(piece for piece in pieces if piece) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces if piece)


def test_any_tokens_can_be_streamed(tokenizer: Tokenizer) -> None:
    rng = random.Random(1)
    marks = [tokenizer.encode(text).ids[0] for text in ("A", ' {"name": "x', '{"a')] + tokenizer.encode(" ").ids
    for _ in range(300):
        ids = [rng.choice(marks) if rng.random() < 0.5 else rng.randrange(TINY.vocabulary) for _ in range(12)]
        stream = DecodeStream(skip_special_tokens=True)
        text = "".join(stream.step(tokenizer, one) or "" for one in ids)
        assert tokenizer.decode(ids).startswith(text)


def test_a_word_has_the_same_tokens_wherever_it_stands(tokenizer: Tokenizer) -> None:
    word = tokenizer.encode("zorbanik").tokens
    for text in (
        "my name is zorbanik",
        '{"city": "zorbanik"}',
        "Nice to meet you, Zorbanik.",
        "<|user|>Zorbanik lives",
    ):
        tokens = tokenizer.encode(text).tokens
        assert any(tokens[at : at + len(word)] == word for at in range(len(tokens))), (text, tokens)


def test_only_what_the_assistant_writes_is_learnt_in_full(tokenizer: Tokenizer) -> None:
    drawn = dialogue(Entities(random.Random(5), 0.0, lexicon(), 0.5), turns=3)
    ids, weights = encoded(drawn, tokenizer, renderer())
    learnt = tokenizer.decode([one for one, weight in zip(ids, weights, strict=True) if weight == 1])
    for message in drawn.messages:
        if message["role"] == "assistant" and message["content"]:
            assert message["content"] in learnt
        elif message["role"] == "system":
            assert message["content"] not in learnt
    assert ids[0] == tokenizer.token_to_id("<|bos|>")
    assert weights[0] == 0


def test_training_and_service_render_the_same_prompt(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    service = ChatTemplate(tmp_path / "chat_template.jinja", [], "<|bos|>")
    drawn = dialogue(Entities(random.Random(6), 0.0, lexicon(), 0.5), turns=6)
    written = renderer().render(messages=drawn.messages, tools=drawn.tools, bos_token="<|bos|>")
    prompt = service.render(drawn.messages[:-1], drawn.tools)
    assert prompt.endswith("<|assistant|>")
    assert written.startswith(prompt)


def test_the_prompt_lists_only_tools_that_were_not_taught() -> None:
    def system(*tools: object) -> str:
        messages = [{"role": "system", "content": "Hi."}, {"role": "user", "content": "x"}]
        text: str = renderer().render(messages=messages, tools=list(tools))
        return text.partition("<|end|>")[0]

    taught = schemas(TOOLS)
    other = {
        "type": "function",
        "function": {"name": "order", "parameters": {"properties": {"n": {"type": "integer"}}}},
    }
    renamed = {"type": "function", "function": {"name": "get_time", "parameters": {"properties": {"town": {}}}}}
    assert system(*taught) == "<|system|>Hi."
    assert system() == "<|system|>Hi. No tools."
    assert system(*taught, other) == "<|system|>Hi. Also these tools: order ( n: number)"
    assert system(other, renamed) == "<|system|>Hi. Only these tools: order ( n: number); get_time ( town)"


def test_rows_begin_with_a_dialogue_and_are_full() -> None:
    ids, weights = packed(iter([([7] * 5, [0.1] * 5)] * 100), rows=3, length=16)
    assert ids.shape == weights.shape == (3, 17)
    assert (ids == 7).all()
    ids, weights = repeated(random.Random(1), 2, 40, 700)
    assert ids.min() >= 0
    assert ids.max() < 700
    assert 0 < weights.mean() < 1


def test_planted_heads_copy_before_any_training() -> None:
    torch.manual_seed(1)
    model = new_model(Training())
    ids, weights = (torch.from_numpy(array) for array in repeated(random.Random(1), 1, 128, 2048))
    with torch.no_grad():
        logits = model(ids[:, :-1]).logits
    likelier = (logits > logits.gather(-1, ids[:, 1:, None])).sum(-1)  # tokens before the one that repeats, of 2,048
    assert likelier[weights[:, 1:] == 1].float().median() < 500


def test_muon_s_update_has_equal_singular_values() -> None:
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonal(torch.randn(2, 48, 16)))
    assert values.min() > 0.5
    assert values.max() < 1.4


def test_loss_is_a_weighted_mean() -> None:
    logits = torch.zeros(1, 3, 4)
    logits[0, 0, 1] = 100.0
    targets, weights = torch.tensor([[1, 2, 3]]), torch.tensor([[1.0, 0.0, 1.0]])
    assert weighted_loss(logits, targets, weights).item() == pytest.approx(torch.log(torch.tensor(4.0)).item() / 2)


async def test_four_steps_an_interruption_and_a_reply(tokenizer: Tokenizer, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    for run in (whole, halves):
        run.mkdir()
        (run / "training.json").write_text(json.dumps(dataclasses.asdict(TINY)))
        tokenizer.save(str(run / "tokenizer.json"))
    straight = train(TINY, tokenizer, whole).state_dict()
    train(TINY, tokenizer, halves, until=2)
    continued = train(TINY, tokenizer, halves).state_dict()
    for name, values in straight.items():
        assert torch.equal(values, continued[name]), name

    folder = export(halves, tmp_path / "pack")
    assert set(json.loads((folder / "base.json").read_text())) == {"weights", "sha256"}
    chat = CTranslate2Chat(folder, max_tokens=8)
    parts = [part async for part in chat.reply(ChatRequest([{"role": "user", "content": "hello"}]))]
    chat.close()
    assert isinstance(parts[-1], Usage)
    assert parts[-1].completion_tokens <= 8
    assert all(isinstance(part, TextDelta | ToolCall) for part in parts[:-1])


def test_cases_ask_what_was_kept_out() -> None:
    calls = tool_calls("test", 40, kept_out_share=1.0)
    assert len(calls) == 40
    assert all(case.values and case.tool in TOOLS for case in calls)
    for cases in (names("test", 20), recalls("test", 20), outside_generated("test", 20), client_calls("test", 20)):
        assert len(cases) == 20
        assert all(case.messages[-1]["role"] == "user" for case in cases)
    spoken = [case.messages[-1]["content"] for case in outside_generated("test", 60)]
    assert not set(spoken) & {case.messages[-1]["content"] for case in outside_generated("dev", 60)}


def test_judgements() -> None:
    def reply(text: str = "", *calls: tuple[str, str]) -> Reply:
        return Reply(text, tuple(ToolCall("c", name, arguments) for name, arguments in calls), 0.0, 0.0, 1)

    case = Case([], tool="get_time", arguments={"city": "riga"}, values={"city": "riga"})
    assert exact_call(case, reply("", ("get_time", '{"city": "riga"}')))
    assert not exact_call(case, reply("Riga", ("get_time", '{"city": "riga"}')))
    assert not exact_call(case, reply("", ("get_time", "{}")))
    assert copied(case, reply("", ("get_weather", '{"city": "riga"}')))
    assert not copied(case, reply("riga"))
    assert says(Case([], reply="Linda"), reply("Hello, Linda."))
    assert not says(Case([], reply="Linda"), reply("Hello, Lindaro."))
    assert honest(case, reply("Sorry, I only know the time."))
    assert not honest(case, reply("Sorry, I only know it.", ("get_time", "{}")))


def test_a_share_has_an_interval_and_a_verdict() -> None:
    row = share_row("calls", 285, 300, 95.0, "")
    assert (row["value"], row["passed"], row["n"]) == (95.0, True, 300)
    assert row["interval"][0] < 95 < row["interval"][1]
    assert share_row("calls", 284, 300, 95.0, "")["passed"] is False
    assert share_row("calls", 284, 300, None, "")["passed"] is None
