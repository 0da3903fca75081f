"""The generated domain: spoken form, splits without leakage, dialogues that fit the service's tools."""

from __future__ import annotations

import json
import random
import re

import pytest

from app.tools import schemas
from finetune.starter import words
from finetune.starter.domain import CORE, Split, exchange, split_of, user_sentences
from finetune.starter.domain_entities import Entities
from finetune.starter.domain_outside import HONEST, REFUSALS
from finetune.starter.domain_requests import REQUESTS
from finetune.starter.domain_stories import STORIES
from finetune.starter.domain_talk import spelling
from finetune.starter.language_dialogues import TOOLS, dialogue, noisy
from finetune.starter.language_lexicon import lexicon

SPLITS: tuple[Split, ...] = ("train", "dev", "test")


def training_entities(seed: int) -> Entities:
    """As a training run draws them."""
    return Entities(random.Random(seed), 0.0, lexicon(), 0.5)


@pytest.mark.parametrize("split", SPLITS)
def test_sentences_are_spoken_forms_of_their_split(split: Split) -> None:
    sentences = user_sentences(600, 3, split)
    assert len(set(sentences)) == 600
    for sentence in sentences:
        assert re.fullmatch(r"[a-z']+( [a-z']+)*", sentence), sentence
        assert split_of(sentence) == split


def test_splits_share_no_sentence_and_a_seed_gives_the_same() -> None:
    drawn = {split: user_sentences(500, 3, split) for split in SPLITS}
    assert len({sentence for sentences in drawn.values() for sentence in sentences}) == 1500
    assert user_sentences(500, 3, "train") == drawn["train"]
    assert user_sentences(500, 4, "train") != drawn["train"]


def test_what_every_caller_says_is_always_taught() -> None:
    assert all(split_of(sentence) == "train" for sentence in CORE)


def test_kept_out_names_cities_and_numbers_never_occur_in_training() -> None:
    kept_out = {word for word in (*words.NAMES, *words.CITIES) if words.is_kept_out(word)}
    assert len(kept_out) > 15
    for sentence in user_sentences(5000, 3, "train"):
        for entity in kept_out - set(words.COMMON) - set(words.COLORS) - set(words.OPPOSITES):
            if re.search(rf"(my name is|time is it in|call me) {entity}$", sentence):
                pytest.fail(f"{entity!r} is kept out, but in {sentence!r}")
    e = training_entities(1)
    for _ in range(3000):
        assert not words.is_kept_out(e.name())
        assert not words.is_kept_out(e.city())
        assert not words.is_kept_out(e.number(1, 999))


def test_a_test_draws_only_what_was_kept_out() -> None:
    e = Entities(random.Random(1), 1.0, lexicon(), 0.5)
    assert all(words.is_kept_out(e.name()) and words.is_kept_out(e.city()) for _ in range(300))
    assert sum(words.is_kept_out(e.number(21, 99)) for _ in range(300)) > 280  # a rare draw finds none in time


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "zero"), (42, "forty two"), (100, "one hundred"), (342, "three hundred and forty two"), (-7, "minus seven"),
     (1999, "one thousand nine hundred and ninety nine")],
)  # fmt: skip
def test_numbers_in_words(value: int, expected: str) -> None:
    assert words.number_words(value) == expected


def test_requests_fit_the_schemas_of_the_service() -> None:
    declared = {tool["function"]["name"]: tool["function"]["parameters"] for tool in schemas(TOOLS)}
    e = training_entities(2)
    seen = set()
    for topic in (*(topic for topic, _ in REQUESTS), spelling):
        for _ in range(200):
            spoken = topic(e)
            assert spoken.arguments is not None
            seen.add(spoken.tool)
            assert set(declared[spoken.tool]["required"]) <= set(spoken.arguments)
            assert set(spoken.arguments) <= set(declared[spoken.tool]["properties"])
    assert seen == set(TOOLS)


def test_replies_are_written_english_or_come_from_a_tool() -> None:
    e = training_entities(3)
    for _ in range(3000):
        spoken = exchange(e)
        if spoken.topic in ("caller", "assistant"):
            continue
        assert bool(spoken.reply) != bool(spoken.tool), spoken
        if spoken.reply:
            assert spoken.reply[0].isupper() or spoken.reply[0].isdigit(), spoken
            assert spoken.reply[-1] in ".?!", spoken


def test_there_is_something_to_interrupt() -> None:
    assert len(STORIES) >= 4
    for story in STORIES.values():
        sentences = re.findall(r"[^.?!]+[.?!]", story)
        assert 8 <= len(sentences) <= 15
        assert max(map(len, sentences)) < 160


def test_refusals_are_honest() -> None:
    assert all(HONEST in refusal for refusal in REFUSALS)


def test_noise_spares_what_matters() -> None:
    rng = random.Random(1)
    changed = 0
    for _ in range(2000):
        heard = noisy("please set the timer for a twelve minutes in oslo", rng)
        changed += heard != "please set the timer for a twelve minutes in oslo"
        assert {"set", "timer", "twelve", "minutes", "oslo"} <= set(heard.split())
    assert 150 < changed < 350


def test_dialogues_are_openai_messages_with_the_tools_real_results() -> None:
    e = training_entities(4)
    calls = results = 0
    for _ in range(400):
        drawn = dialogue(e, turns=4)
        names = {tool["function"]["name"] for tool in drawn.tools}
        previous = ""
        for message in drawn.messages:
            assert message["role"] in ("system", "user", "assistant", "tool")
            for call in message.get("tool_calls", ()):
                calls += 1
                assert call["function"]["name"] in names
                assert isinstance(json.loads(call["function"]["arguments"]), dict)
            if message["role"] == "tool":
                results += 1
                assert previous == "assistant"
            previous = message["role"]
        assert previous == "assistant"
    assert calls == results > 300
