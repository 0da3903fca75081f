"""Byte spans of tokens, on the starter's tokenizers and on one of another kind."""

from __future__ import annotations

import itertools

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers

from finetune.joint.byte_spans import moved, overlap, pieces, spans, token_spans
from tests.finetune.joint import tiny

TEXTS = ["what time is it", " set a timer", "zwölf Äpfel für 3 €", "日本語 ok", "🙂🙂", "a\n\tb  c", ""]


@pytest.mark.parametrize("text", TEXTS)
def test_spans_of_a_byte_level_tokenizer_follow_each_other_to_the_end(text: str) -> None:
    tokenizer = tiny.whisper_tokenizer()
    ids, found = token_spans(tokenizer, text)
    assert ids == tokenizer.encode(text, add_special_tokens=False).ids
    assert [span[0] for span in found] == [0, *(span[1] for span in found)][: len(found)]
    assert not found or found[-1][1] == len(text.encode())
    assert [text.encode()[begin:end] for begin, end in found] == pieces(tokenizer, ids)


@pytest.mark.parametrize("text", TEXTS)
def test_a_tokenizer_that_rewrites_its_text_tells_offsets(text: str) -> None:
    chat = tiny.chat_tokenizer().backend_tokenizer  # puts a space first, and marks capital letters
    ids, found = token_spans(chat, text)
    assert ids == chat.encode(text, add_special_tokens=False).ids
    assert {byte for begin, end in found for byte in range(begin, end)} == set(range(len(text.encode())))
    assert all(one[0] <= other[0] for one, other in itertools.pairwise(found))


def test_special_tokens_of_a_text_cover_their_own_letters_and_whispers_write_nothing() -> None:
    chat = tiny.chat_tokenizer().backend_tokenizer
    text = "<|user|>hi<|end|>"
    assert token_spans(chat, text)[1][0] == (0, len("<|user|>"))
    assert token_spans(chat, text)[1][-1] == (len("<|user|>hi"), len(text))
    whisper = tiny.whisper_tokenizer()
    end = whisper.token_to_id("<|endoftext|>")
    words = whisper.encode(" hi", add_special_tokens=False).ids
    assert pieces(whisper, [end, *words, end + 1], until=end) == [b"", *pieces(whisper, words), b""]
    assert b"".join(pieces(whisper, words)) == b" hi"


def test_a_tokenizer_that_is_not_byte_level_is_as_fine_as_letters() -> None:
    vocabulary = {"<unk>": 0, "▁": 1, "b": 2, **{f"<0x{byte:02X}>": 3 + byte for byte in range(256)}}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Prepend("▁")
    ids, found = token_spans(tokenizer, "bü")
    assert len(ids) == 4  # ▁, b, and the two bytes of ü, which cover all of it
    assert found[-3:] == [(0, 1), (1, 3), (1, 3)]
    assert overlap([(1, 3)], found)[0].tolist() == [0, 0, 0.5, 0.5]


def test_broken_letters_are_replaced_as_the_service_decodes_them() -> None:
    whisper = tiny.whisper_tokenizer()
    ids = whisper.encode(" für 🙂", add_special_tokens=False).ids
    for cut in (ids[:-1], ids[1:], [*ids[:-2], *ids[:3]], ids[-1:], []):
        parts = pieces(whisper, cut)
        text = b"".join(parts).decode(errors="replace")
        assert text == whisper.decode(cut)
        found = spans(parts)
        assert max((end for _, end in found), default=0) == len(text.encode())
        assert all(a[0] <= b[0] for a, b in itertools.pairwise(found))


def test_overlap_is_the_share_of_bytes() -> None:
    a = overlap([(0, 2), (2, 4), (4, 4), (4, 8)], [(0, 3), (3, 6)])
    assert torch.equal(a, torch.tensor([[1, 0], [0.5, 0.5], [0, 0], [0, 0.5]]))
    assert overlap([(0, 1)], []).shape == (1, 0)
    assert overlap([], [(0, 1)]).shape == (0, 1)
    assert float(overlap([(0, 3)], [(0, 3), (0, 3)]).sum()) == 1  # two halves of one replaced letter


def test_spans_move_into_a_prompt_that_changes_the_words() -> None:
    read = [(0, 6), (6, 9)]  # " Hello", " 12"
    assert moved(read, " Hello 12", " Hello 12", 10) == [(10, 16), (16, 19)]
    assert moved(read, " Hello 12", "Hello 12", 10) == [(10, 15), (15, 18)]
    spoken = moved(read, " Hello 12", "hello twelve", 0)
    assert spoken[0][1] <= 6
    assert spoken[1][1] == len("hello twelve")
    assert moved(read, " Hello 12", "", 7) == [(7, 7), (7, 7)]
