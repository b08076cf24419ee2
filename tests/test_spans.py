"""Spans of OpenTelemetry, recorded by its own SDK."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import jisi_cli as jisi
from tests.cli.commands import MODELS, ROOT, build_small_bank, pool_file
from tests.loopback import Fault, Loopback

pytestmark = pytest.mark.slow
QUESTION = "What is 3 plus 6, and why?"


@pytest.fixture(scope="module")
def exporter() -> Iterator[InMemorySpanExporter]:
    found, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(found))
    trace.set_tracer_provider(provider)  # a process has one, for good
    yield found
    found.shutdown()  # what later tests do is not kept


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> InMemorySpanExporter:
    exporter.clear()
    return exporter


@pytest.fixture
def options(tmp_path: Path, loopback: Loopback) -> dict[str, Path]:
    for model in MODELS:
        loopback.script(model, f"{model} says so")
    return {"bank": Path(build_small_bank(tmp_path)), "config": Path(pool_file(tmp_path / "jisi.toml", loopback))}


def by_kind(spans: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    found = spans.get_finished_spans()
    (question,) = [span for span in found if span.name == "invoke_agent jisi"]
    return question, [span for span in found if span.name.startswith("chat ")]


def test_a_question_is_a_span_with_one_for_each_call_below_it(
    spans: InMemorySpanExporter, options: dict[str, Path]
) -> None:
    with (
        trace.get_tracer("a program of the user's").start_as_current_span("above") as above,
        jisi.open(**options) as pool,
    ):
        outcome = pool.ask(QUESTION)
    question, calls = by_kind(spans)
    assert question.parent is not None and question.parent.span_id == above.get_span_context().span_id
    assert question.attributes is not None and question.context is not None
    assert question.attributes["jisi.method"] == "jisi" and question.attributes["jisi.mode"] == outcome.mode
    assert question.attributes["jisi.calls"] == len(outcome.calls) == len(calls)
    assert {call.parent.span_id for call in calls if call.parent} == {question.context.span_id}
    for span, call in zip(calls, outcome.calls, strict=True):
        assert span.attributes is not None
        assert (span.kind, span.name) == (trace.SpanKind.CLIENT, f"chat {call.model}")
        assert span.attributes["gen_ai.provider.name"] == "openai"
        assert span.attributes["gen_ai.usage.input_tokens"] == call.prompt_tokens
        assert span.attributes["jisi.cost_usd"] == call.cost_usd
        assert span.attributes["jisi.role"] == call.role


def test_what_was_asked_and_answered_is_in_no_span(
    spans: InMemorySpanExporter, options: dict[str, Path], loopback: Loopback
) -> None:
    loopback.script("bob", faults=[Fault("status", status=400, message="I will not read `What is 3 plus 6`")] * 4)
    with jisi.open(**options) as pool:
        pool.ask(QUESTION, "a secret system message")
    question, calls = by_kind(spans)
    said = " ".join(span.to_json() for span in (question, *calls))
    assert not any(words in said for words in ("plus 6", "says so", "secret", "not read"))
    (failed,) = [call for call in calls if not call.status.is_ok and call.status.status_code.name == "ERROR"]
    assert failed.name == "chat bob" and failed.attributes and failed.attributes["error.type"] == "failed_call"


def test_a_question_that_nobody_could_answer_is_a_failed_span(
    spans: InMemorySpanExporter, options: dict[str, Path], loopback: Loopback
) -> None:
    for model in MODELS:
        loopback.script(model, faults=[Fault("status", status=400)] * 9)
    with jisi.open(**options) as pool, pytest.raises(jisi.NoAnswerError):
        pool.ask(QUESTION)
    question, _ = by_kind(spans)
    assert question.attributes is not None
    assert question.attributes["error.type"] == "NoAnswerError" and not question.events


def test_a_program_without_opentelemetry_imports_none() -> None:
    code = (
        "import sys; from jisi_cli.spans import call_span\n"
        "with call_span('a', 'openai/a', 'probe') as span: span.note({'x': 1}); span.failed('y')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert run.stdout == "[]\n"
