"""A replay that is answered in blocks elsewhere brings what one brings here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jisi_cli.evaluation.elsewhere import Block, Replayed
from jisi_cli.evaluation.runner import Entry, Ran, replay_block, run_entries
from jisi_cli.methods.registry import make_method
from jisi_cli.models.replay import RecordedAnswer, ReplayPool
from tests.methods.synthetic import Setting, setting

METHODS = ("jisi-router", "jisi-vote", "knn")


class Blockwise:
    """Answers blocks of three in this process, the way a worker does."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, list[str]]] = []

    def block_size(self, questions: int) -> int:
        return 3

    def replay(
        self, entries: Sequence[Entry], train: Sequence[tuple[str, str]], blocks: Iterable[Block]
    ) -> Iterator[Mapping[str, Replayed]]:
        named = {entry.name: entry for entry in entries}
        for block in blocks:
            self.seen.append((len(block.tests), sorted(block.keys)))
            yield {name: asyncio.run(replay_block(named[name], block, train)) for name in block.keys}


def ran(given: Setting, elsewhere: Blockwise | None, out: Path | None = None, only: Sequence[int] | None = None) -> Ran:
    entries = [Entry(name, make_method(name, given.context), (name,)) for name in METHODS]
    entries += [Entry("oracle", None, ("oracle",)), Entry("moa", None, ("moa",), needs_live=True)]
    tests = given.tests if only is None else given.tests.part(only)
    told: list[tuple[int, int]] = []
    run = run_entries(
        entries, tests, tests.pool, out=out, on_progress=lambda *how_far: told.append(how_far), elsewhere=elsewhere
    )
    found = asyncio.run(run)
    assert told[-1] == (len(METHODS) * len(tests), len(METHODS) * len(tests))
    return found


def of(given: Setting, text: str) -> list[tuple[str, RecordedAnswer]]:
    return given.tests.pool.recorded(text)


def test_blocks_elsewhere_bring_the_same_results_and_the_same_file(tmp_path: Path) -> None:
    given = setting()
    here, away = ran(given, None, tmp_path / "here.jsonl"), ran(given, workers := Blockwise(), tmp_path / "away.jsonl")
    assert away.results == here.results
    assert (tmp_path / "away.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()
    assert sum(size for size, _ in workers.seen) == len(given.tests)
    assert {size for size, _ in workers.seen[:-1]} == {3}
    assert all(names == sorted(METHODS) for _, names in workers.seen)


def test_only_what_no_earlier_run_settled_is_dealt_out(tmp_path: Path) -> None:
    given, out = setting(), tmp_path / "results.jsonl"
    ran(given, None, out, only=range(4))
    resumed = ran(given, workers := Blockwise(), out)
    assert resumed.results == ran(given, None).results
    assert sum(size for size, _ in workers.seen) == len(given.tests) - 4
    assert ran(given, idle := Blockwise(), out).results == resumed.results
    assert idle.seen == []


def test_a_part_of_a_test_set_replays_its_own_answers_to_a_text_that_stands_twice() -> None:
    given = setting()
    first, second = given.tests.questions[:2]
    twin = replace(second, query=first.query)
    questions = [first, twin, *given.tests.questions[2:]]
    key, model = twin.key, given.models[0]
    recorded = {(q.query, name): answer for q in given.tests.questions for name, answer in of(given, q.query)}
    pool = ReplayPool(recorded, given.models, {(key, model): of(given, second.query)[0][1]})
    tests = replace(given.tests, questions=questions, pool=pool)
    assert tests.part([1]).pool.recorded(first.query, key) == tests.pool.recorded(first.query, key)
    assert tests.part([1]).fingerprints == [tests.fingerprints[1]]
