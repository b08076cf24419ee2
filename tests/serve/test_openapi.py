"""The server's description of itself, and that it does what is described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from tests.serve.running import PATIENCE, Running, serving

QUESTION = [{"role": "user", "content": "What is 1 plus 1?"}]
REQUESTS: tuple[tuple[str, str, Any], ...] = (
    ("post", "/v1/chat/completions", {"messages": QUESTION}),
    ("post", "/v1/chat/completions", {"messages": QUESTION, "model": "ada", "temperature": 0.5, "max_tokens": 9}),
    ("post", "/v1/chat/completions", {"messages": QUESTION, "stream": True, "stream_options": {"include_usage": True}}),
    ("post", "/v1/chat/completions", {"messages": []}),
    ("post", "/v1/chat/completions", {"messages": QUESTION, "model": "nobody"}),
    ("post", "/v1/chat/completions", {"messages": QUESTION, "jisi": {"max_cost": 1e-12, "explain": True}}),
    ("post", "/v1/route", {"query": "What is 1 plus 1?", "jisi": {"k": 2}}),
    ("post", "/v1/route", {"messages": QUESTION, "query": "both"}),
    ("post", "/v1/feedback", {"id": "chatcmpl-nobody", "score": "good"}),
    ("post", "/v1/feedback", {"id": 7}),
    ("get", "/v1/models", None),
    ("get", "/v1/models/ada", None),
    ("get", "/v1/models/a/b", None),
    ("get", "/health", None),
    ("get", "/metrics", None),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("described")) as found:
        yield found


@pytest.fixture(scope="module")
def described(running: Running) -> dict[str, Any]:
    return dict(running.get("/openapi.json").json()["paths"])


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_every_response_is_as_it_is_described(
    running: Running, described: dict[str, Any], method: str, path: str, body: Any
) -> None:
    response = httpx.request(method, f"{running.url}{path}", json=body, timeout=PATIENCE)
    assert response.status_code < 500
    operation = described["/v1/models/{name}" if path.startswith("/v1/models/") else path][method]
    content = operation["responses"][str(response.status_code)]["content"]
    kind = response.headers["content-type"].partition(";")[0]
    found = response.json() if kind == "application/json" else response.text
    jsonschema.validate(found, content[kind]["schema"])


def test_every_path_is_described_and_tried(described: dict[str, Any]) -> None:
    tried = {"/v1/models/{name}" if path.startswith("/v1/models/") else path for _, path, _ in REQUESTS}
    assert tried == set(described)


def test_another_method_is_refused_with_those_that_are_allowed(running: Running, described: dict[str, Any]) -> None:
    for path in described:
        response = httpx.request("DELETE", f"{running.url}{path}", timeout=PATIENCE)
        assert response.status_code == 405
        assert response.headers["allow"].split(", ")[0] in ("GET", "HEAD", "POST")
