"""The pool as tools of an agent: a server of the Model Context Protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

import jisi_cli
from jisi_cli.costs.bills import find_calls, summarise
from jisi_cli.errors import JisiError
from jisi_cli.jisi import Jisi
from jisi_cli.serve.responses import told

_INSTRUCTIONS = (
    "A pool of language models that acts as one. `ask` costs money, once for each model that it asks; `route` says for "
    "free who would be asked; `cost` says what was spent."
)


def make_server(pool: Jisi) -> MCPServer[None]:
    """Return the server; it opens the pool when it starts and closes it when it ends.

    Args:
        pool: Who answers.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
        opening = asyncio.create_task(asyncio.to_thread(_open, pool))
        try:
            yield
        finally:
            await opening
            await asyncio.to_thread(pool.close)

    server = MCPServer[None](
        "jisi", version=jisi_cli.__version__, instructions=_INSTRUCTIONS, lifespan=lifespan, log_level="ERROR"
    )
    tools = Tools(pool)
    for tool in (tools.ask, tools.route, tools.cost):
        server.add_tool(tool)
    return server


def _open(pool: Jisi) -> None:
    try:
        pool.warm_up()
    except JisiError as error:
        pool.user.warn(str(error))


class Tools:
    """What an agent can call; the docstrings of its methods are what the agent's model reads.

    Args:
        pool: Who answers.
    """

    def __init__(self, pool: Jisi) -> None:
        self._pool = pool

    async def ask(self, question: str, system: str | None = None) -> dict[str, Any]:
        """Ask several language models a question and return the answer that they, taken together, give.

        The models that did best on similar questions are asked; their answers are compared, and the best one, or one
        written from them, comes back with how sure it is and what it cost. The models know nothing of this
        conversation: the question must say all that they need.

        Args:
            question: The question, complete in itself.
            system: Instructions for every model.
        """
        with _as_tool_error():
            outcome = await self._pool.aask(question, system)
            name = await asyncio.to_thread(self._pool.remember, question, outcome, is_last=False)
            return {"id": name, "answer": outcome.answer.text, "model": outcome.answer.model, **told(outcome)}

    async def route(self, question: str) -> dict[str, Any]:
        """Say which models would be asked a question and why, without asking one: it is free.

        Args:
            question: The question.
        """
        with _as_tool_error():
            decision = await asyncio.to_thread(self._pool.route, question)
            return await asyncio.to_thread(self._pool.explain, question, decision)

    async def cost(self, since: str = "today", by: str = "model") -> dict[str, Any]:
        """Add up what calls of models have cost, in dollars; a cost that is unknown is null.

        Args:
            since: From then on: `7d`, `12h`, `today`, `yesterday`, `monday` or a day like `2026-01-31`.
            by: What keeps them apart: model, dataset, role, day, run, command or label.
        """
        with _as_tool_error():
            return await asyncio.to_thread(self._bill, since, by)

    def _bill(self, since: str, by: str) -> dict[str, Any]:
        found = find_calls((), (), (by,), since, None, self._pool.user)
        bill = summarise(found.calls, found.by)
        groups = [{by: group.key[0], **asdict(group.totals)} for group in bill.groups]
        return {"since": since, "by": by, "groups": groups, "total": asdict(bill.total)}


@contextmanager
def _as_tool_error() -> Iterator[None]:
    """Let the agent's model read what went wrong."""
    try:
        yield
    except JisiError as error:
        raise ToolError(str(error)) from None
