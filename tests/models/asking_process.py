"""A process that asks the model `a`: `python -m tests.models.asking_process API_BASE COUNT [streamed] [told]`.

It prints each answer as it comes, and when told so also that it waits for another process. Tests start
several, and kill some.
"""

from __future__ import annotations

import asyncio
import random
import sys

from jisi_cli.config import ModelEntry, Price
from jisi_cli.models.json_disk import open_cache
from jisi_cli.models.ledger import Ledger, ledger_path
from jisi_cli.models.limits import Limits
from jisi_cli.models.live import LivePool, Run
from jisi_cli.paths import cache_folder
from jisi_cli.types import Message, Request


async def main(api_base: str, count: int, streamed: bool, told: bool) -> None:
    pool = LivePool(
        [ModelEntry("a", "openai/a", api_base=api_base, price=Price(1, 2))],
        rng=random.Random(),
        cache=open_cache(cache_folder() / "answers", warn=sys.exit),
        ledger=Ledger(ledger_path(), warn=sys.exit),
        limits=Limits(concurrency=4),
        timeout=600,
        run=Run(id="r", command="test"),
        on_event=lambda event: print(event.kind, flush=True) if told and event.kind == "waiting" else None,
    )

    async def one(number: int) -> None:
        messages = [Message(role="user", content=f"question {number}")]
        answer = await pool.ask(Request("a", messages, "probe", on_text=(lambda _: None) if streamed else None))
        print(f"{number}\t{answer.error or answer.text}", flush=True)

    async with pool:
        await asyncio.gather(*(one(number) for number in range(count)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), "streamed" in sys.argv[3:], "told" in sys.argv[3:]))
