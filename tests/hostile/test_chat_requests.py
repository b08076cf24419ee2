"""Chat requests with tools, pictures and schemas in which anything stands anywhere: read, or refused in words."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from jisi_cli.answer_format import UnfitError
from jisi_cli.serve.requests import RequestError, read_chat_request
from jisi_cli.serve.responses import error_parts

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
REQUEST: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}, PICTURE]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "parallel_tool_calls": False,
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "a",
            "schema": {
                "properties": {"a": {"$ref": "#/$defs/a"}},
                "$defs": {"a": {"pattern": "^x"}},
                "required": ["a"],
            },
        },
    },
}
VALUES = [
    *(None, True, 0, -1, 1.5, "", "a", "user", "tool", "assistant", "text", "json_object", "auto", "required", "none"),
    *("\ud800", "https://host/picture.png", "data:image/png;base64,AAAA", "#/$defs/a", "#/required/a", "(a+)+$"),
]
NAMES = [
    *("role", "content", "type", "text", "url", "id", "function", "name", "arguments", "schema", "properties", "$ref"),
    *("$defs", "$id", "$schema", "$anchor", "pattern", "items", "enum", "const", "allOf", "uniqueItems", "detail"),
    "\ud800",
]


def anything(rng: random.Random, levels: int) -> Any:
    kind = rng.random() if levels else 0.0
    if kind < 0.5:
        return rng.choice(VALUES)
    parts = [anything(rng, levels - 1) for _ in range(rng.randrange(4))]
    return parts if kind < 0.7 else {rng.choice(NAMES): part for part in parts}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container with a name or number in it."""
    for name in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, name
        yield from places(value[name])


def changed(rng: random.Random) -> dict[str, Any]:
    request = copy.deepcopy(REQUEST)
    for _ in range(rng.randrange(1, 4)):
        found = list(places(request))
        container, name = rng.choice(found)
        if rng.random() < 0.1:
            request[rng.choice(NAMES)] = anything(rng, 1)
        elif isinstance(container, dict) and rng.random() < 0.3:
            container[rng.choice(NAMES)] = anything(rng, 3)
        else:
            container[name] = anything(rng, 3)
    return request


@pytest.mark.parametrize("seed", range(8))
def test_whatever_stands_in_a_request_it_is_read_or_refused_in_words(seed: int) -> None:
    rng = random.Random(seed)
    read = 0
    for _ in range(150):
        request = changed(rng)
        try:
            asked = read_chat_request(request).conversation
        except RequestError as error:
            assert error.param is not None and len(str(error)) < 1000
            json.dumps(error_parts(error)[1], ensure_ascii=False).encode()  # as it is sent
            continue
        read += 1
        assert asked.routed_text is not None and asked.needs is not None and asked.called is not None
        json.dumps(asked.wanted.parameters())
        if asked.wanted.format is not None:
            try:
                asked.wanted.format.fit(json.dumps(anything(rng, 3)))
            except UnfitError as error:
                assert len(str(error)) < 1000
    assert read > 3, "what is refused always tells nothing"
