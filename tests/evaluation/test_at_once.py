"""Several questions under way at one time."""

from __future__ import annotations

import asyncio

from jisi_cli.evaluation.at_once import for_each


def test_no_more_is_under_way_than_there_are_items() -> None:
    done: list[int] = []

    async def do(item: int) -> None:
        await asyncio.sleep(0)
        done.append(item)

    asyncio.run(for_each(range(3), do, 10**18))
    asyncio.run(for_each((), do, 10**18))
    assert done == [0, 1, 2]
