"""All that methods will ask, asked before any of it is needed: a batch takes the longer the less it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from jisi_cli.errors import BudgetError, NoAnswerError
from jisi_cli.evaluation.at_once import for_each
from jisi_cli.evaluation.test_set import TestSet, blocks
from jisi_cli.methods.protocol import Method, Query, Silent
from jisi_cli.types import Pool

_BLOCK = 1024
"""Questions whose similarities are one matrix product."""

Planned = tuple[Method[Any], Query, Any]


async def ask_ahead(work: Sequence[tuple[Method[Any], Sequence[int]]], tests: TestSet, pool: Pool) -> None:
    """Have every method answer its questions, all at once, for what it asks alone.

    What cannot be asked for want of money is told when it is needed.

    Args:
        work: Methods, and which of the questions each is to answer.
        tests: The questions.
        pool: Brings the answers; as a rule one that waits until nothing more is asked.

    Raises:
        InputError: See `pool`.
    """
    planned = [item for method, rows in work for item in _planned(method, [tests.queries[row] for row in rows])]

    async def one(item: Planned) -> None:
        method, query, plan = item
        with suppress(NoAnswerError):
            await method.answer(query, plan, pool, Silent())

    with suppress(BudgetError):
        await for_each(planned, one, max(1, len(planned)))


def _planned(method: Method[Any], queries: Sequence[Query]) -> Iterator[Planned]:
    for part in blocks(len(queries), _BLOCK):
        for query, plan in zip(queries[part], method.plan(queries[part]), strict=True):
            yield method, query, plan
