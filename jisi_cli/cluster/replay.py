"""A replay on a cluster: blocks of test questions are dealt out to workers that hold the methods and open the bank."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from jisi_cli.cluster.crew import Crew
from jisi_cli.cluster.session import Session
from jisi_cli.cluster.shipping import packed, unpacked
from jisi_cli.evaluation.elsewhere import Block, Replayed
from jisi_cli.evaluation.runner import Entry, replay_block

_LEAST, _MOST = 32, 1024
_EACH = 4
"""Blocks for each worker, so that the last one to end is not waited for long."""


class ClusterReplay:
    """Answers blocks of a replay on a cluster; see `Elsewhere`.

    Args:
        session: The cluster.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def block_size(self, questions: int) -> int:
        """Return how many questions make a block: some for each worker."""
        return min(_MOST, max(_LEAST, -(-questions // (_EACH * self._session.cpus))))

    def replay(
        self, entries: Sequence[Entry], train: Sequence[tuple[str, str]], blocks: Iterable[Block]
    ) -> Iterator[Mapping[str, Replayed]]:
        """Yield what the methods made of each block; the methods travel once to each node."""
        methods = self._session.ray.put(packed((list(entries), list(train))))
        crew: Crew[bytes, Mapping[str, Replayed]] = Crew(self._session, self._session.cpus, _answerer, methods)
        with crew:
            yield from crew.in_order(map(packed, blocks))


def _answerer(methods: bytes) -> Callable[[bytes], Mapping[str, Replayed]]:
    """Return what answers blocks in a worker."""
    found: tuple[Sequence[Entry], Sequence[tuple[str, str]]] = unpacked(methods)
    entries, train = found
    named = {entry.name: entry for entry in entries}

    async def answered(block: Block) -> dict[str, Replayed]:
        return {name: await replay_block(named[name], block, train) for name in block.keys}

    def answer(block: bytes) -> Mapping[str, Replayed]:
        return asyncio.run(answered(unpacked(block)))

    return answer
