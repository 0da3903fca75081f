"""The logic of `parley bench synthesizer`, with a scripted voice."""

from __future__ import annotations

from app.bench import synthesizer
from app.bench.caller import Ear
from app.bench.synthesizer import Spoken, rtf, summarise
from app.workers.scripted import ScriptedSynthesizer


def test_failures_are_counted_and_have_no_latency() -> None:
    good = Spoken(Ear(), first_audio_ms=40.0)
    good.ear.hear(bytes(48_000), 1.0)
    good.ear.hear(bytes(48_000), 2.5)
    row = summarise([good, Spoken(failure="full")], 2)
    assert (row["callers"], row["replies"], row["failed"], row["underruns"]) == (2, 2, 1, 1)
    assert (row["first_audio_p95_ms"], row["longest_gap_ms"], row["audio_s"]) == (40, 500, 2)


def test_the_slowest_reply_is_the_real_time_factor() -> None:
    quick, slow = Spoken(seconds=0.5), Spoken(seconds=1.5)
    for spoken in (quick, slow):
        spoken.ear.hear(bytes(48_000), 0.0)
    assert rtf([quick, slow, Spoken()]) == 1.5


async def test_every_reply_of_every_caller_is_heard() -> None:
    report = await synthesizer.bench(
        ScriptedSynthesizer(samples_per_character=60), [2], 1, {"pack": "none"}, in_here=True
    )
    (row,) = report.rows
    assert (row["callers"], row["replies"], row["failed"]) == (2, 2, 0)
    assert float(row["audio_s"]) > 0
    assert report.configuration["engine"] == "scripted"
