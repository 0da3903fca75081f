"""The table from a recognizer's tokens to a language model's, and soft embeddings through it."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from finetune.joint.byte_spans import pieces
from finetune.joint.token_table import heard_embeddings, token_table
from tests.finetune.joint import tiny

SIZE = 292
"""Of the larger vocabulary: there is nothing more to merge in so few words."""


def byte_level(size: int) -> Tokenizer:
    """Trained on a few words of several scripts."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(["what time is it für zwölf Äpfel 日本語 日本 " * 3], trainer)
    return made


@pytest.fixture(scope="module")
def heard() -> Tokenizer:
    made = byte_level(300)
    assert made.get_vocab_size() == SIZE
    return made


def test_each_row_shares_one_among_the_tokens_of_its_text(heard: Tokenizer) -> None:
    read = byte_level(275)
    end = heard.get_vocab_size() - 1
    table = token_table(heard, read, until=end, rows=310, columns=280).to_dense()
    assert table.shape == (310, 280)
    rows = table.sum(1)
    assert torch.allclose(rows[:end], torch.ones(end))  # broken letters too: both know single bytes
    assert not rows[end:].any()
    parts = pieces(heard, range(end))
    for text in (" time", " zwölf", " Äpfel"):
        ids = read.encode(text, add_special_tokens=False).ids
        assert len(ids) > 1
        for token in ids:
            assert table[parts.index(text.encode()), token] == pytest.approx(ids.count(token) / len(ids))
    begun = table[parts.index(b" f\xc3")]  # half of a letter behind a whole one
    ids = [*read.encode(" f", add_special_tokens=False).ids, read.token_to_id("Ã")]
    assert begun.nonzero().flatten().tolist() == sorted(ids)


def test_a_vocabulary_in_itself_is_the_identity(heard: Tokenizer) -> None:
    table = token_table(heard, heard, until=SIZE, rows=SIZE, columns=SIZE).to_dense()
    parts = pieces(heard, range(SIZE))
    whole = [i for i, part in enumerate(parts) if len(part) == 1 or part == part.decode(errors="ignore").encode()]
    assert len(whole) > SIZE - 20
    assert torch.equal(table[whole], torch.eye(SIZE)[whole])


def test_a_space_that_a_tokenizer_puts_first_is_not_doubled() -> None:
    heard, read = tiny.whisper_tokenizer(), tiny.chat_tokenizer().backend_tokenizer
    table = token_table(heard, read, until=900, rows=heard.get_vocab_size(), columns=2054).to_dense()
    time = heard.token_to_id("Ġtime")
    assert table[time].nonzero().flatten().tolist() == read.encode("time", add_special_tokens=False).ids
    assert not table[heard.token_to_id("<|endoftext|>") :].any()


def test_soft_embeddings_of_certain_posteriors_are_the_tokens_own_and_only_posteriors_learn(heard: Tokenizer) -> None:
    table = token_table(heard, heard, until=SIZE, rows=SIZE, columns=SIZE)
    embeddings = torch.randn(SIZE, 6, requires_grad=True)
    ids = heard.encode("what time 日本", add_special_tokens=False).ids
    posteriors = torch.eye(SIZE)[ids].requires_grad_()
    soft = posteriors @ heard_embeddings(table, embeddings)
    assert torch.allclose(soft, embeddings[ids])
    soft.sum().backward()
    assert embeddings.grad is None
    assert torch.allclose(posteriors.grad, (table.to_dense() @ embeddings.detach().sum(1)).expand(len(ids), -1))
