"""Spans of OpenTelemetry, by its conventions for generative AI, where the program that runs jisi records any.

They say who was asked, how long it took and what it cost; never what was asked or answered. Nothing is imported: a
program that records spans has imported OpenTelemetry before (`opentelemetry-instrument jisi serve` does).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import jisi_cli

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""The conventions' names of providers, where LiteLLM has another."""


class Span(Protocol):
    """What is written of one step."""

    def note(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes; those that are None are left out."""
        ...

    def failed(self, kind: str) -> None:
        """Say that it failed, and how, in a word."""
        ...


class _Unrecorded:
    """A step of which nothing is recorded."""

    def note(self, attributes: Mapping[str, Any]) -> None:
        """Do nothing."""

    def failed(self, kind: str) -> None:
        """Do nothing."""


class _Recorded:
    def __init__(self, span: Any, api: Any) -> None:  # noqa: ANN401 - OpenTelemetry's own, which may not be installed
        self._span, self._api = span, api

    def note(self, attributes: Mapping[str, Any]) -> None:
        self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})

    def failed(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(self._api.StatusCode.ERROR)


@contextmanager
def question_span(method: str, since: float) -> Iterator[Span]:
    """Record how one question is answered.

    Args:
        method: Who answers.
        since: Seconds that the question has been under way already.
    """
    attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "jisi", "jisi.method": method}
    with _span("invoke_agent jisi", "INTERNAL", attributes, since) as span:
        yield span


@contextmanager
def call_span(model: str, litellm: str, role: str) -> Iterator[Span]:
    """Record one call of a model.

    Args:
        model: The pool's name of it.
        litellm: LiteLLM's name, whose first part is the provider.
        role: Why it is called.
    """
    provider, slash, name = litellm.partition("/")
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": name if slash else litellm,
        "jisi.model": model,
        "jisi.role": role,
    }
    if slash:
        attributes["gen_ai.provider.name"] = _PROVIDERS.get(provider, provider)
    with _span(f"chat {attributes['gen_ai.request.model']}", "CLIENT", attributes, 0.0) as span:
        yield span


@contextmanager
def _span(name: str, kind: str, attributes: Mapping[str, str], since: float) -> Iterator[Span]:
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        yield _Unrecorded()
        return
    tracer = api.get_tracer("jisi", jisi_cli.__version__)
    began = time.time_ns() - int(since * 1e9)
    # An exception's words may quote a question, so that its kind alone is recorded.
    with tracer.start_as_current_span(
        name,
        kind=api.SpanKind[kind],
        attributes=attributes,
        start_time=began,
        record_exception=False,
        set_status_on_exception=False,
    ) as started:
        span = _Recorded(started, api)
        try:
            yield span
        except BaseException as error:
            span.failed(type(error).__qualname__)
            raise
