"""Words of an utterance while it is spoken: however the recognizer wavers, nothing sent is taken back."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Sequence
from typing import Unpack

import pytest

from app.utterance import Utterance
from app.workers.base import Asked, Health, Transcript

WORDS = ["the", "there", "a", "about", "is", "it", "time", "timer", "timers", "don't", "two", "to"]


class Wavering:
    """A recognizer that guesses as it is told; its one utterance too."""

    def __init__(self, guesses: Sequence[str], final: str) -> None:
        self.guesses = guesses
        self.final = final

    async def start(self, **asked: Unpack[Asked]) -> Wavering:
        return self

    async def health(self) -> Health:
        return Health("recognizer", "wavering", "")

    def feed(self, frame: bytes) -> None:
        pass

    async def hypotheses(self) -> AsyncIterator[str]:
        for guess in self.guesses:
            yield guess

    async def finish(self) -> Transcript:
        return Transcript(self.final, 1.0)

    async def abort(self) -> None:
        pass


async def sent(guesses: Sequence[str], final: str = "") -> tuple[list[str], str]:
    """The deltas, and the rest at the end."""
    utterance = Utterance("item_1", Wavering(guesses, final))
    deltas = [delta async for delta in utterance.deltas()]
    assert "".join(deltas) == utterance.shown
    return deltas, utterance.rest((await utterance.finish()).text)


def guesses_of(rng: random.Random) -> tuple[list[str], str]:
    """A sentence that grows, with words at its end and sometimes anywhere misheard, joined or lost."""
    said = [rng.choice(WORDS) for _ in range(rng.randint(1, 12))]
    guesses = []
    for _ in range(rng.randint(1, 25)):
        heard = said[: rng.randint(0, len(said))]
        for place in range(len(heard)):
            if rng.random() < (0.5 if place >= len(heard) - 2 else 0.1):
                heard[place] = rng.choice(WORDS)
        if heard and rng.random() < 0.1:
            heard.pop(rng.randrange(len(heard)))
        guesses.append(" ".join(heard))
    return guesses, " ".join(said)


@pytest.mark.parametrize("seed", range(20))
async def test_what_was_sent_only_ever_grows_by_whole_words(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(50):
        guesses, final = guesses_of(rng)
        deltas, rest = await sent(guesses, final)
        words: list[str] = []
        for delta in deltas:
            text = " ".join(words) + delta
            assert text.split()[: len(words)] == words, "a word that was sent has changed"
            assert len(text.split()) > len(words), "something that is no word was sent"
            assert text == " ".join(text.split())
            words = text.split()
        agreed = [
            len(
                list(
                    itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one.split(), other.split(), strict=False))
                )
            )
            for one, other in itertools.pairwise(guesses)
        ]
        assert len(words) <= max([0, *(count - 1 for count in agreed)]), "a word was sent that no two guesses agreed on"
        if final.split()[: len(words)] == words:
            assert " ".join(words) + rest == final
        else:
            assert rest == ""


async def test_words_are_sent_when_two_guesses_agree_but_the_last() -> None:
    deltas, rest = await sent(["what", "what time", "what time is", "what time is it"], "what time is it")
    assert deltas == ["what", " time"]
    assert rest == " is it"


async def test_a_longer_word_does_not_continue_a_shorter_one() -> None:
    deltas, rest = await sent(["the time", "the time", "there is a", "there is a"], "there is a timer")
    assert deltas == ["the"]
    assert rest == ""


async def test_what_is_withheld_is_given_out_whole_once_it_is_wanted() -> None:
    utterance = Utterance("item_1", Wavering(["what time", "what time is", "what time is it", "what time is it"], ""))
    utterance.withheld = True
    hypotheses, given = [], []
    async for delta in utterance.deltas():
        given.append(delta)
    assert given == []
    hypotheses.append(utterance.hypothesis)
    assert hypotheses == ["what time is it"]
    assert utterance.shown == ""
