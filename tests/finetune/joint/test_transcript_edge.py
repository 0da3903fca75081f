"""The straight-through edge: forwards what is served, backwards into the recognizer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from app.spoken import spoken_form
from finetune.data.rows import Dialogue, Turn
from finetune.errors import TrainingError
from finetune.joint.edges import Crossing
from finetune.joint.hypotheses import likeliest, scores
from finetune.joint.token_table import heard_embeddings, token_table
from finetune.joint.transcript_edge import Heard, Transcripts, inputs
from finetune.recipes.recognizer_model import Network
from finetune.recipes.recognizer_rows import Encoder as Vocabulary
from tests.finetune.joint import tiny

VOCABULARY = 2410


def dialogue(*turns: tuple[str, str]) -> Dialogue:
    made = tuple(Turn(role, text) for role, text in turns)
    return Dialogue("one", "en", made, "made for a test", "CC0-1.0", "training")


ASKED = dialogue(("user", "what time is it"), ("assistant", "it is three"))
LONGER = dialogue(
    ("user", "hello"), ("assistant", "hello time"), ("user", "time"), ("assistant", "yes"), ("user", "bye")
)


@pytest.fixture(scope="module")
def words() -> Vocabulary:
    return Vocabulary(tiny.whisper_tokenizer(), False, "words")


@pytest.fixture(scope="module")
def transcripts(words: Vocabulary) -> Transcripts:
    return Transcripts(tiny.chat_encoder(), tiny.whisper_tokenizer(), words.end)


def ids_of(text: str) -> list[int]:
    ids: list[int] = tiny.whisper_tokenizer().encode(text, add_special_tokens=False).ids
    return ids


@pytest.mark.parametrize("text", [" what time is it", " user", " für zwölf €", " 12 o'clock, Anna!", "🙂 ok"])
def test_the_prompt_is_the_one_that_the_service_makes(transcripts: Transcripts, text: str) -> None:
    encoder = tiny.chat_encoder()
    heard = transcripts.heard(ASKED, ids_of(text))
    assert heard
    served = encoder.prompt(
        [{"role": "system", "content": "You are Parley."}, {"role": "user", "content": text.strip()}], []
    )
    assert list(heard.row.ids[: len(served)]) == served
    assert heard.row.written == tuple(i >= len(served) for i in range(len(heard.row.ids)))
    assert heard.overlap.shape == (len(heard.row.ids), len(ids_of(text)))
    covered = heard.overlap.sum(0) > 0
    assert covered[len(ids_of(" ")) - (text[0] != " ") :].any()
    assert not heard.overlap[: len(encoder.tokens("<|system|>"))].any()
    assert not heard.overlap[len(served) :].any()


def test_each_word_stands_for_its_own_token(transcripts: Transcripts) -> None:
    hypothesis = ids_of(" what time is it")
    heard = transcripts.heard(ASKED, hypothesis)
    assert heard
    read = tiny.chat_encoder().tokenizer
    times = [i for i, token in enumerate(heard.row.ids) if token == read.encode("time").ids[0]]
    place = times[0]
    assert heard.overlap[place].tolist() == [0, 1, 0, 0]


def test_the_turn_before_the_last_reply_is_heard_where_words_repeat(transcripts: Transcripts) -> None:
    heard = transcripts.heard(LONGER, ids_of(" time"))
    assert heard
    places = heard.overlap.sum(1).nonzero().flatten().tolist()
    read = tiny.chat_encoder().tokenizer
    times = [i for i, token in enumerate(heard.row.ids) if token == read.encode("time").ids[0]]
    assert len(times) == 2
    assert places == times[-1:]


def test_what_the_service_rewrites_keeps_its_place(words: Vocabulary) -> None:
    spoken = Transcripts(tiny.chat_encoder(), tiny.whisper_tokenizer(), words.end, spoken_form)
    heard = spoken.heard(ASKED, ids_of(" What time, Anna?"))
    assert heard
    assert heard.overlap.sum() > 2
    text = tiny.chat_encoder().tokenizer.decode(list(heard.row.ids))
    assert "what time anna" in text


def test_nothing_heard_is_no_turn_and_special_tokens_are_no_words(transcripts: Transcripts, words: Vocabulary) -> None:
    assert transcripts.heard(ASKED, []) is None
    assert transcripts.heard(ASKED, [words.end + 1, *ids_of(" ")]) is None
    assert transcripts.text([words.start, *ids_of(" a b"), words.end]) == "a b"
    with pytest.raises(TrainingError, match="no reply after a user's turn"):
        transcripts.heard(dialogue(("assistant", "hello")), ids_of(" a"))


@pytest.fixture(scope="module")
def models() -> tuple[Network, Any]:
    read = tiny.chat_tokenizer()
    return Network(tiny.whisper(VOCABULARY)), tiny.llama(len(read))


def edge(models: tuple[Network, Any], words: Vocabulary, transcripts: Transcripts, scale: float) -> dict[str, Any]:
    """Two clips' hypotheses through the edge."""
    network, chat = models
    mels = torch.randn(2, 80, 200, generator=torch.Generator().manual_seed(3))
    prompts = [words.prompt("en")] * 2
    written = likeliest(network, [tiny.window(one, 6) for one in mels], prompts, 2, words.end)
    logits = scores(network, mels, prompts, written, words.end)
    chat_embeddings = chat.get_input_embeddings()
    table = token_table(
        tiny.whisper_tokenizer(),
        tiny.chat_encoder().tokenizer,
        until=words.end,
        rows=VOCABULARY,
        columns=chat_embeddings.num_embeddings,
    )
    crossing = Crossing()
    heard: list[Heard] = []
    soft: list[Tensor] = []
    for row, ids in enumerate(written):
        one = transcripts.heard(ASKED, ids)
        assert one
        heard.append(one)
        posteriors = crossing(logits[row, : len(ids)], scale).softmax(-1)
        soft.append(posteriors @ heard_embeddings(table, chat_embeddings.weight))
    made = inputs(heard, soft, chat_embeddings)
    return {**made, "heard": heard, "crossing": crossing}


def reply_loss(chat: Any, made: dict[str, Any]) -> Tensor:
    logits = chat(inputs_embeds=made["inputs_embeds"], position_ids=made["position_ids"], use_cache=False).logits
    targets = made["labels"][:, 1:]
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten())


def test_forwards_it_is_what_is_served_to_the_last_bit(
    models: tuple[Network, Any], words: Vocabulary, transcripts: Transcripts
) -> None:
    made = edge(models, words, transcripts, 1.0)
    ids = torch.zeros(made["labels"].shape, dtype=torch.long)
    for row, one in enumerate(made["heard"]):
        ids[row, : len(one.row.ids)] = torch.tensor(one.row.ids)
    served = models[1].get_input_embeddings()(ids)
    assert float((made["inputs_embeds"] - served).detach().abs().max()) == 0.0
    with torch.no_grad():
        one = models[1](inputs_embeds=made["inputs_embeds"], position_ids=made["position_ids"]).logits
        other = models[1](input_ids=ids, position_ids=made["position_ids"]).logits
    assert float((one - other).abs().max()) == 0.0


def test_gradients_reach_encoder_and_decoder_and_none_when_detached(
    models: tuple[Network, Any], words: Vocabulary, transcripts: Transcripts
) -> None:
    network, chat = models
    chat.requires_grad_(False)
    norms = {}
    for scale in (1.0, 0.5, 0.0):
        tiny.forget(network, chat)
        made = edge(models, words, transcripts, scale)
        if not scale:
            assert not made["inputs_embeds"].requires_grad
            break
        reply_loss(chat, made).backward()
        model = network.whisper.model
        norms[scale] = [tiny.norm(part.parameters()) for part in (model.encoder, model.decoder)]
        assert all(norm > 1e-8 for norm in norms[scale])
        crossed = made["crossing"].norm()
        assert crossed > 0
        assert made["crossing"].norm() == 0
        norms[scale].append(crossed)
    assert norms[0.5] == pytest.approx([norm / 2 for norm in norms[1.0]], rel=1e-4)
    chat.requires_grad_(True)
    tiny.forget(network, chat)
    reply_loss(chat, edge(models, words, transcripts, 0.0)).backward()
    assert tiny.norm(chat.parameters()) > 0
    assert tiny.norm(network.parameters()) == 0
