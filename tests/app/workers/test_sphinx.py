"""The PocketSphinx engine with the wheel's own English model."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from app.audio import to_pcm16
from app.errors import BadRequest, WorkerBusy, WorkerError
from app.workers.sphinx import SphinxRecognizer
from tests.sounds import flite, noise, silence

RATE = 16_000


@pytest.fixture(scope="module")
def sphinx() -> SphinxRecognizer:
    return SphinxRecognizer(processes=1)


async def test_it_hears_a_voice_that_it_does_not_know(sphinx: SphinxRecognizer) -> None:
    pcm = flite("please turn on the lights in the kitchen", "rms", RATE)
    recognition = await sphinx.start(language="en-US")
    recognition.feed(pcm)
    hypotheses = recognition.hypotheses()
    assert await anext(hypotheses)
    transcript = await recognition.finish()
    assert {"please", "turn", "on", "the"} <= set(transcript.text.split())
    assert transcript.text == transcript.text.lower()
    assert transcript.seconds == len(pcm) / 2 / RATE
    assert 0.0 < transcript.confidence <= 1.0
    assert transcript.engine == "pocketsphinx"


async def test_the_times_of_words_are_told_where_they_are_asked_for(sphinx: SphinxRecognizer) -> None:
    pcm = silence(0.5, RATE) + flite("please turn on the lights", "rms", RATE)
    for asked in (True, False):
        recognition = await sphinx.start(word_times=asked)
        recognition.feed(pcm)
        transcript = await recognition.finish()
        assert " ".join(word.text for word in transcript.words) == (transcript.text if asked else "")
        times = [time for word in transcript.words for time in (word.start_s, word.end_s)]
        assert times == sorted(times)
        assert not times or 0.4 < times[0] < times[-1] <= len(pcm) / 2 / RATE


@pytest.mark.parametrize("pcm", [b"", silence(1.0, RATE), to_pcm16(noise(1.0, 0.0005, RATE))])
async def test_silence_has_no_words(sphinx: SphinxRecognizer, pcm: bytes) -> None:
    recognition = await sphinx.start()
    recognition.feed(pcm)
    transcript = await recognition.finish()
    assert (transcript.text, transcript.no_speech_probability) == ("", 1.0)


async def test_one_utterance_leaves_nothing_behind_for_the_next(sphinx: SphinxRecognizer) -> None:
    async def hear(pcm: bytes) -> str:
        recognition = await sphinx.start()
        recognition.feed(pcm)
        return (await recognition.finish()).text

    question = flite("what is the weather like today", "rms", RATE)
    first = await hear(question)
    dropped = await sphinx.start()
    dropped.feed(to_pcm16(noise(1.0, 0.3, RATE)))
    await dropped.abort()
    assert await hear(question) == first != ""


async def test_slots_languages_and_a_second_end(sphinx: SphinxRecognizer) -> None:
    with pytest.raises(BadRequest, match="English"):
        await sphinx.start(language="de")
    recognition = await sphinx.start()
    with pytest.raises(WorkerBusy, match="the limit is 1"):
        await sphinx.start()
    assert (await sphinx.health()).detail == {"slots": 1, "open": 1}
    await recognition.abort()
    await recognition.abort()
    with pytest.raises(WorkerError, match="ended"):
        await recognition.finish()
    assert (await sphinx.health()).detail == {"slots": 1, "open": 0}


async def test_a_killed_process_fails_its_utterance_and_is_replaced(sphinx: SphinxRecognizer) -> None:
    recognition = await sphinx.start()
    recognition.feed(silence(0.1, RATE))
    pid = recognition.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="died"):
        await recognition.finish()
    again = await sphinx.start()
    again.feed(flite("hello", "rms", RATE))
    assert (await again.finish()).text
    assert sphinx.idle_pids != [pid]


async def test_processes_end_with_their_parent() -> None:
    program = textwrap.dedent("""
        import os, signal
        from app.workers.sphinx import SphinxRecognizer
        if __name__ == "__main__":
            print(*SphinxRecognizer(processes=1).idle_pids, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    pid = int(run.stdout)
    for _ in range(600):
        if not _lives(pid):
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"process {pid} outlived its parent by a minute")


async def test_closing_ends_idle_processes_at_once_and_others_after_their_utterance() -> None:
    recognizer = SphinxRecognizer(processes=2)
    recognition = await recognizer.start()
    [idle] = recognizer.idle_pids
    busy = recognition.pid
    recognizer.close()
    recognition.feed(silence(0.5, RATE))
    assert (await recognition.finish()).text == ""
    for pid in (idle, busy):
        async with asyncio.timeout(60):
            while pid and _lives(pid):
                await asyncio.sleep(0.05)
    with pytest.raises(WorkerBusy):
        await recognizer.start()


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
