"""Several questions under way at one time, until there are no more or the budget is used up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from jisi_cli.errors import BudgetError, JisiError

T = TypeVar("T")


async def for_each(items: Iterable[T], do: Callable[[T], Awaitable[None]], concurrency: int) -> None:
    """Do something with each item, so many at one time.

    Args:
        items: The items, begun in this order.
        do: What is done with one.
        concurrency: How many are under way at one time, at most.

    Raises:
        BudgetError: The budget is used up; what was under way then was finished, since it is paid for.
        JisiError: The first that `do` raised; what was under way is cancelled.
    """
    known = list(items)
    work, stopped = iter(known), list[BudgetError]()

    async def worker() -> None:
        for item in work:
            if stopped:
                return
            try:
                await do(item)
            except BudgetError as error:
                stopped.append(error)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(known))):
                group.create_task(worker())
    except* JisiError as failed:
        raise failed.exceptions[0] from None
    if stopped:
        raise stopped[0]
