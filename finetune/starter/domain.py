"""The starter's domain: which sentences exist and to which split each belongs. Knows no model and no audio.

Splits are by the text of the user's turn, so that no sentence of a test occurs in training; besides, one name, city,
word and number in ten never occurs in training at all (`words.is_kept_out`).
"""

from __future__ import annotations

import random
from typing import Final, Literal

from finetune.starter import words
from finetune.starter.domain_entities import Entities
from finetune.starter.domain_outside import outside
from finetune.starter.domain_requests import REQUESTS, Exchange
from finetune.starter.domain_talk import ASSISTANT_QUESTIONS, CALLER_QUESTIONS, SMALL_TALK, TALK

Split = Literal["train", "dev", "test"]
DEV_BUCKETS: Final = range(90, 94)
TEST_BUCKETS: Final = range(94, 100)
KEPT_OUT_SHARE: Final = 0.1
"""Share of argument values in dev and test sentences that training never sees."""
OUTSIDE_SHARE: Final = 0.14
NAME_QUESTION_SHARE: Final = 0.04
CORE: Final = frozenset((
    "what time is it", "what's the time", "what is the date", "what is the date today", "what day is it",
    "what day is it today", "hello", "hi", "hey", "good morning", "good evening", "goodbye", "bye", "good night",
    "thank you", "thanks", "thank you very much", "what is your name", "what's your name", "who are you",
    "what is my name", "what's my name", "tell me a story", "tell me a joke", "what can you do", "help", "stop",
    "yes", "no", "how are you", "hello how are you", "cancel the timer", "stop the timer", "how much time is left",
    "set a timer for five minutes", "turn on the light", "turn off the light", "turn on the lights",
    "turn off the lights", "what is the weather", "what's the weather like", "what is the weather today",
    "count to ten", "what is twelve plus thirty", "turn on the lights in the kitchen", "my name is anna",
)) | {user for user, _ in SMALL_TALK}  # fmt: skip
"""What every caller says. Always in training: an assistant that does not know "hello" helps nobody."""


def split_of(user: str) -> Split:
    """The split to which a user's turn belongs."""
    if user in CORE:
        return "train"
    bucket = words.bucket(user)
    return "dev" if bucket in DEV_BUCKETS else "test" if bucket in TEST_BUCKETS else "train"


def exchange(e: Entities) -> Exchange:
    """One turn of any topic and split."""
    chance = e.rng.random()
    if chance < OUTSIDE_SHARE:
        return outside(e)
    if chance < OUTSIDE_SHARE + NAME_QUESTION_SHARE:
        question = e.rng.choice(CALLER_QUESTIONS + ASSISTANT_QUESTIONS)
        return Exchange(question, topic="caller" if question in CALLER_QUESTIONS else "assistant")
    topics = REQUESTS + TALK
    return e.rng.choices([topic for topic, _ in topics], [weight for _, weight in topics])[0](e)


def user_sentences(count: int, seed: int, split: Split) -> list[str]:
    """`count` different user turns of a split in spoken form: lower case, no punctuation, numbers in words."""
    rng = random.Random(f"{seed} {split}")
    e = Entities(rng, 0.0 if split == "train" else KEPT_OUT_SHARE)
    sentences: dict[str, None] = {}
    for _ in range(200 * count + 10_000):
        user = exchange(e).user
        if split_of(user) == split:
            sentences[user] = None
            if len(sentences) == count:
                return list(sentences)
    raise ValueError(f"the domain has only {len(sentences)} sentences of split {split!r}, expected {count}")
