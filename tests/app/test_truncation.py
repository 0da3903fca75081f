"""Words kept of a reply that was cut: by the voice's own marks, against an alignment of the audio by another engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app import reply
from app.audio import HEARING_RATE, REALTIME_RATE, resample, to_pcm16, to_waveform
from app.conversation import Conversation, Item
from app.response import Response
from app.workers.connect import load_synthesizer
from tests.packs import starter

TEXT = (
    "Once upon a time there was a little fox who lived in a green forest. Every morning it went to the river, and "
    "looked for something to eat. One day it found a big red apple under an old tree."
)
WORDS = TEXT.lower().replace(".", "").replace(",", "").split()


async def deltas() -> AsyncIterator[str]:
    for word in TEXT.split(" "):
        yield f"{word} "


@pytest.fixture
async def spoken() -> tuple[Item, list[float]]:
    """The item of a whole reply, and when each of WORDS ends in its audio by PocketSphinx's alignment, in ms."""
    pack = starter()
    conversation = Conversation()
    response = Response(config={}, conversation=conversation, speaks=True)
    pcm = b""
    clauses = reply.clauses(deltas(), first_min=8, least=24, most=160)
    async for piece in reply.speak(clauses, load_synthesizer(pack)):
        pcm += piece.pcm
        for booking in response.say(piece):
            response.book(booking)
    response.end("completed")
    assert response.message is not None
    return response.message, aligned(to_pcm16(resample(to_waveform(pcm), REALTIME_RATE, HEARING_RATE)))


def aligned(pcm: bytes) -> list[float]:
    import pocketsphinx

    decoder = pocketsphinx.Decoder(loglevel="FATAL", lm=None)
    decoder.set_align_text(" ".join(WORDS))
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    said = [(segment.word.partition("(")[0], segment.end_frame) for segment in decoder.seg()]
    words = [(word, 10.0 * (end + 1)) for word, end in said if word[0] not in "<["]
    assert [word for word, _ in words] == WORDS
    return [end for _, end in words]


async def test_at_every_moment_the_words_kept_are_those_heard_or_one_off(spoken: tuple[Item, list[float]]) -> None:
    item, ends = spoken
    whole = item.text
    errors = []
    for heard_ms in range(0, item.audio_ms, 50):
        cut = Item(item.id, "message", role="assistant", content=[dict(item.content[0])])
        cut.marks, cut.audio_ms = list(item.marks), item.audio_ms
        conversation = Conversation()
        conversation.append(cut)
        kept = conversation.truncate(item.id, 0, heard_ms)
        assert whole.startswith(kept.text)
        assert kept.audio_ms == heard_ms
        errors.append(len(kept.text.split()) - sum(end <= heard_ms for end in ends))
    assert max(errors) <= 1
    assert min(errors) >= -1
    assert sum(error == 0 for error in errors) > 0.8 * len(errors)
