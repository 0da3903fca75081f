"""Whose work this is, carried from process to process: the session's id, and on request OpenTelemetry spans. A leaf.

The id goes to workers as a header and into their log lines. Spans are off until `start`; until then nothing of
OpenTelemetry's SDK is imported, and each function here returns at once. One trace is one turn: `utterance` and `reply`
with their stages in the gateway, and below them what each worker did (W3C Trace Context, the header `traceparent`).
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from app.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span, Tracer

SESSION_HEADER: Final = "x-parley-session"
_SESSION_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of a peer: anything else could forge lines of the log

session: ContextVar[str] = ContextVar("session", default="")
"""Id of the session that the running task works for."""

_tracer: Tracer | None = None
_provider: TracerProvider | None = None


def start(endpoint: str, process: str) -> None:
    """Sends spans to the OTLP/HTTP collector at `endpoint` (http://HOST:4318). Raises SettingsError without the SDK."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(f"otel-endpoint needs the extra `otel`: pip install -e '.[otel]' ({error})") from error
    install(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")), process)


def install(processor: SpanProcessor, process: str) -> None:
    """Gives every span of this process to `processor`."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    global _tracer, _provider
    _provider = TracerProvider(resource=Resource.create({"service.name": f"parley-{process}"}))
    _provider.add_span_processor(processor)
    _tracer = _provider.get_tracer("parley")


def stop() -> None:
    """Sends what waits, then no more spans. The SDK does the first by itself when the process ends."""
    global _tracer, _provider
    if _provider is not None:
        _provider.shutdown()
    _tracer = _provider = None


def begin(name: str, parent: Span | None = None) -> Span | None:
    """A span below `parent`, or the first of a trace; what this task and its later children do comes below it."""
    if _tracer is None:
        return None
    from opentelemetry import context, trace

    above = trace.set_span_in_context(parent) if parent is not None else context.Context()
    span = _tracer.start_span(name, above, attributes={"session.id": session.get()})
    context.attach(trace.set_span_in_context(span, above))  # never detached: the task's context ends with the task
    return span


def end(span: Span | None) -> None:
    """Ends a span, once."""
    if span is not None and span.is_recording():
        span.end()


def record(name: str, began: float, ended: float, parent: Span | None) -> None:
    """A span that is over already, in `time.monotonic()` seconds."""
    if _tracer is None or parent is None:
        return
    from opentelemetry import trace

    epoch = time.time_ns() - time.monotonic_ns()
    span = _tracer.start_span(name, trace.set_span_in_context(parent), start_time=epoch + int(began * 1e9))
    span.end(epoch + int(ended * 1e9))


def headers() -> dict[str, str]:
    """What a request to a worker carries of the present work."""
    carried = {SESSION_HEADER: session.get()} if session.get() else {}
    if _tracer is not None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(carried)
    return carried


@contextlib.contextmanager
def carried_on(received: Mapping[str, str], name: str) -> Iterator[None]:
    """A worker's request, within which the session and the trace are those of its headers."""
    sent = received.get(SESSION_HEADER, "")
    session.set(sent if _SESSION_ID.fullmatch(sent) else "")
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    above = TraceContextTextMapPropagator().extract(dict(received))
    with _tracer.start_as_current_span(name, above, kind=SpanKind.SERVER, attributes={"session.id": session.get()}):
        yield
