"""A turn's spans across real HTTP and WebSocket hops, the session's id in workers' logs, and nothing of it when off."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI, Request, Response
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app import tracing
from app.access import Access
from app.errors import SettingsError
from app.gateway import create_app
from app.speaking import Workers
from app.workers import server
from app.workers.connect import reach_language, reach_recognizer, reach_synthesizer
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.realtime import Caller, calling
from tests.serving import serving
from tests.sounds import flite

STAGES = {"endpoint wait", "recognizer", "first token", "first clause", "first audio"}


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Every span that ends; tracing is on meanwhile."""
    exporter = InMemorySpanExporter()
    tracing.install(SimpleSpanProcessor(exporter), "test")
    yield exporter
    tracing.stop()


@pytest.fixture
async def service() -> AsyncIterator[str]:
    """A gateway whose workers are reached over real sockets."""
    access = Access()
    recognizer = server.recognizer_app(ScriptedRecognizer(["what time is it"] * 2), access=access, model="scripted")
    language = server.language_app(ScriptedLanguage(["Ten past four."] * 2), access=access, model="scripted")
    synthesizer = server.synthesizer_app(ScriptedSynthesizer(), access=access, model="scripted")
    async with serving(recognizer) as hears, serving(language) as writes, serving(synthesizer) as speaks:
        workers = Workers(reach_recognizer(hears), reach_language(writes, model="scripted"), reach_synthesizer(speaks))
        async with serving(create_app(SCRIPTED, workers)) as url:
            yield url


async def turn(caller: Caller) -> str:
    """One spoken turn; gives the session's id."""
    await caller.say(flite("what time is it"), then_silence=1.0)
    await caller.until("response.done")
    id: str = caller.all("session.created")[0]["session"]["id"]
    return id


def parents(spans: list[ReadableSpan]) -> dict[str, set[str | None]]:
    """Names of spans, and of what they lie below."""
    names = {span.context.span_id: span.name for span in spans}
    found: dict[str, set[str | None]] = {}
    for span in spans:
        found.setdefault(span.name, set()).add(names[span.parent.span_id] if span.parent is not None else None)
    return found


async def ended(spans: InMemorySpanExporter, count: int) -> list[ReadableSpan]:
    """All spans, once there are so many: a worker may end its own just after the caller has the whole reply."""
    async with asyncio.timeout(20):
        while len(spans.get_finished_spans()) < count:
            await asyncio.sleep(0.01)
    return list(spans.get_finished_spans())


async def test_a_turn_is_one_trace_through_every_process(spans: InMemorySpanExporter, service: str) -> None:
    async with calling(service) as caller:
        session = await turn(caller)
    finished = await ended(spans, 10)
    assert parents(finished) == {
        "utterance": {None},
        "endpoint wait": {"utterance"},
        "recognizer": {"utterance"},  # the stage, and the worker's own span
        "reply": {"utterance"},
        "first token": {"reply"},
        "first clause": {"reply"},
        "first audio": {"reply"},
        "language": {"reply"},
        "synthesizer": {"reply"},
    }
    assert len({span.context.trace_id for span in finished}) == 1
    whose = {span.name: (span.attributes or {}).get("session.id") for span in finished if span.name not in STAGES}
    assert whose == dict.fromkeys(("utterance", "reply", "language", "synthesizer"), session)
    (whole,) = [span for span in finished if span.name == "first audio"]
    (reply,) = [span for span in finished if span.name == "reply"]
    assert reply.start_time <= whole.start_time <= whole.end_time <= reply.end_time  # type: ignore[operator]


async def test_each_turn_is_a_trace_of_its_own(spans: InMemorySpanExporter, service: str) -> None:
    async with calling(service) as caller:
        await turn(caller)
        await turn(caller)
    finished = await ended(spans, 20)
    assert [span.name for span in finished if span.parent is None] == ["utterance", "utterance"]
    assert len({span.context.trace_id for span in finished}) == 2


async def test_workers_log_whose_work_it_was(service: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "parley.worker")
    async with calling(service) as caller:
        session = await turn(caller)
    for path in ("/wire/recognize", "/v1/chat/completions", "/wire/speak"):
        async with asyncio.timeout(20):
            while not any(line.startswith(f"[{session}] {path} ended after") for line in caplog.messages):
                await asyncio.sleep(0.01)


async def test_spans_reach_a_collector() -> None:
    collector = FastAPI()
    bodies: list[bytes] = []

    @collector.post("/v1/traces")
    async def take(request: Request) -> Response:
        bodies.append(await request.body())
        return Response(media_type="application/x-protobuf")

    async with serving(collector) as url:
        tracing.start(f"{url}/", "gateway")
        tracing.end(tracing.begin("utterance"))
        await asyncio.to_thread(tracing.stop)
    assert b"utterance" in bodies[0]
    assert b"parley-gateway" in bodies[0]


def test_an_endpoint_without_the_sdk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match="otel-endpoint needs the extra `otel`"):
        tracing.start("http://127.0.0.1:4318", "gateway")


def test_a_peer_cannot_forge_a_log_line() -> None:
    with tracing.carried_on({tracing.SESSION_HEADER: "sess_1] failed\n[sess_2"}, "recognizer"):
        assert tracing.session.get() == ""
    with tracing.carried_on({tracing.SESSION_HEADER: "sess_1"}, "recognizer"):
        assert tracing.session.get() == "sess_1"


def test_nothing_of_the_sdk_is_imported_when_off() -> None:
    code = "import sys, app.gateway, app.workers.server, app.workers.remote; print('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
    assert tracing.begin("utterance") is None
