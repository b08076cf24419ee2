"""What the tests of live methods share: a question put to a method whose models are on the loopback server."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

from jisi_cli.methods.protocol import Outcome, Query, Silent
from jisi_cli.methods.rankings import best_first
from jisi_cli.methods.registry import make_method
from tests.loopback import Loopback, Request
from tests.methods.synthetic import Setting, changed, setting
from tests.models.asking import entry, pool

QUESTION = "How many legs has a spider?"


def ranked(given: Setting) -> tuple[str, ...]:
    """Models of a setting, best on train first."""
    return best_first(given.context.bank, given.context.datasets)


FIRST, SECOND, THIRD, FOURTH = ranked(setting())
"""The models of the usual setting, best on train first."""


def answer(
    server: Loopback,
    name: str,
    given: Setting | None = None,
    *,
    query: Query | None = None,
    budget: Any = None,
    **changes: Any,
) -> Outcome:
    """Let a method answer through LiteLLM, without retries; `changes` are those of its context."""
    given = given or setting()
    method = make_method(name, changed(given.context, **changes))
    asked = query or replace(given.tests.queries[0], text=QUESTION, grader=None)
    live = pool(*(entry(server, model) for model in given.models), max_retries=0, budget=budget)

    async def once() -> Outcome:
        async with live:
            (plan,) = method.plan([asked])
            return await method.answer(asked, plan, live, Silent())

    return asyncio.run(once())


def script_all(server: Loopback, *models: str) -> None:
    """Let every model answer `<name> says <number>`, unless it was scripted already."""
    for model in models or (FIRST, SECOND, THIRD, FOURTH):
        if model not in server.scripts:
            server.script(model, text="{model} says {number}")


def models_of(requests: list[Request]) -> list[str]:
    return [request.model for request in requests]


def system_of(request: Request) -> str:
    """The system message of a request; empty when it has none."""
    return next((message["content"] for message in request.body["messages"] if message["role"] == "system"), "")


def user_of(request: Request) -> str:
    return next(message["content"] for message in request.body["messages"] if message["role"] == "user")


def fenced(text: str) -> list[str]:
    """The responses between the fences of a prompt, in order; their numbers must count from 1."""
    found = re.findall(r'<(response-[0-9a-f]{8}) n="(\d+)">\n(.*?)\n</\1>', text, re.DOTALL)
    assert [int(number) for _, number, _ in found] == list(range(1, len(found) + 1))
    assert len({tag for tag, _, _ in found}) <= 1
    return [response for _, _, response in found]
