"""Names, labels and buckets of everything that is counted, and the page that Prometheus reads. A leaf; docs/metrics.md.

Labels hold only words of this code (a stage, a status, an error's code), never what a caller said, sent or is called:
`/metrics` asks for no key. One registry a process; gateway processes that share a port share a folder of counters, so
that any of them answers for all (prometheus_client's multiprocess mode).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from time import perf_counter
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, multiprocess
from prometheus_client import generate_latest as _generate

SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads this name once, when it is imported

STAGE_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
WAIT_SECONDS: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)  # a turn's silence is 0.5 s at first
WORK_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
LAG_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
COUNTS: Final = (0, 1, 2, 4, 8, 16, 32, 64, 128)

# The gateway: where the time of a spoken turn went. Consecutive, as in app.timings.
ENDPOINT_WAIT = Histogram("parley_endpoint_wait_seconds", "Silence heard before a turn ended", buckets=WAIT_SECONDS)
RECOGNIZER = Histogram("parley_recognizer_seconds", "End of the turn to its transcript", buckets=STAGE_SECONDS)
FIRST_TOKEN = Histogram("parley_first_token_seconds", "Transcript to the first token", buckets=STAGE_SECONDS)
FIRST_CLAUSE = Histogram("parley_first_clause_seconds", "First token to the first clause", buckets=STAGE_SECONDS)
FIRST_AUDIO = Histogram("parley_first_audio_seconds", "First clause to its first audio", buckets=STAGE_SECONDS)
ANSWER = Histogram("parley_answer_seconds", "End of the turn to the first audio, all stages", buckets=STAGE_SECONDS)

SESSIONS = Gauge("parley_sessions", "Open sessions", multiprocess_mode="livesum")
TURNS = Counter("parley_turns", "Replies that ended", ["status"])
SPECULATIONS = Counter("parley_speculations", "Replies begun before the turn had certainly ended", ["outcome"])
REFUSALS = Counter("parley_refusals", "Requests and events answered with an error", ["code"])
STORE_FAILURES = Counter("parley_store_failures", "Writes of conversations that failed, to be tried again")
LOOP_LAG = Histogram("parley_loop_lag_seconds", "How late the event loop wakes a sleeper", buckets=LAG_SECONDS)

# Every stage, by the label `stage`: gateway, recognizer, language or synthesizer.
OPEN_WORK = Gauge(
    "parley_open_work", "Utterances, replies or clauses under way", ["stage"], multiprocess_mode="livesum"
)
WORK = Histogram("parley_work_seconds", "One utterance, reply or clause in its worker", ["stage"], buckets=WORK_SECONDS)
CANCELLED = Counter("parley_cancelled", "Work stopped before its end, mostly by a caller's interruption", ["stage"])
QUEUE_DEPTH = Histogram(
    "parley_queue_depth", "What else waited when work was put into a queue", ["stage"], buckets=COUNTS
)
BATCH_SIZE = Histogram("parley_batch_size", "Requests that shared one call of the model", ["stage"], buckets=COUNTS[1:])

LAG_PROBE_SECONDS: Final = 0.05  # 20 wake-ups a second cost less than a thousandth of a core


def page() -> tuple[bytes, str]:
    """The exposition of all metrics and its content type. Reads files in multiprocess mode: not for an event loop."""
    registry = REGISTRY
    if os.environ.get(SHARED_FOLDER):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return _generate(registry), CONTENT_TYPE_LATEST


def forget(process_id: int, folder: Path) -> None:
    """Takes the gauges of a process that has ended out of a shared folder; its counts stay."""
    multiprocess.mark_process_dead(process_id, str(folder))  # type: ignore[no-untyped-call]


async def watch_loop() -> None:
    """Measures the event loop's lag until cancelled: what blocks the loop, every caller of the process waits for."""
    while True:
        due = perf_counter() + LAG_PROBE_SECONDS
        await asyncio.sleep(LAG_PROBE_SECONDS)
        LOOP_LAG.observe(max(0.0, perf_counter() - due))
