"""A replay that is answered in blocks elsewhere brings what one brings here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from jisi_cli.evaluation import elsewhere
from jisi_cli.evaluation.one_question import Entry
from jisi_cli.evaluation.runner import Ran, run_entries
from jisi_cli.methods.registry import make_method
from jisi_cli.models.replay import RecordedAnswer, ReplayPool
from tests.methods.synthetic import Setting, setting

T = TypeVar("T")
R = TypeVar("R")

METHODS = ("jisi-router", "jisi-vote", "knn")


class Aside:
    """Does pieces in this process, the way a worker does."""

    size = 2

    def __init__(self) -> None:
        self.pieces: list[Any] = []

    def each(self, make: Callable[..., Callable[[T], R]], given: tuple[Any, ...], pieces: Iterable[T]) -> Iterator[R]:
        do = make(*given)
        for piece in pieces:
            self.pieces.append(piece)
            yield do(piece)

    @property
    def seen(self) -> list[tuple[int, list[str]]]:
        return [(len(block.tests), sorted(block.keys)) for block in self.pieces]


@pytest.fixture(autouse=True)
def blocks_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "_LEAST", 3)
    monkeypatch.setattr(elsewhere, "_MOST", 3)


def ran(given: Setting, workers: Aside | None, out: Path | None = None, only: Sequence[int] | None = None) -> Ran:
    entries = [Entry(name, make_method(name, given.context), (name,)) for name in METHODS]
    entries += [Entry("oracle", None, ("oracle",)), Entry("moa", None, ("moa",), needs_live=True)]
    tests = given.tests if only is None else given.tests.part(only)
    told: list[tuple[int, int]] = []
    run = run_entries(
        entries, tests, tests.pool, out=out, on_progress=lambda *how_far: told.append(how_far), workers=workers
    )
    found = asyncio.run(run)
    assert told[-1] == (len(METHODS) * len(tests), len(METHODS) * len(tests))
    return found


def of(given: Setting, text: str) -> list[tuple[str, RecordedAnswer]]:
    return given.tests.pool.recorded(text)


def test_blocks_elsewhere_bring_the_same_results_and_the_same_file(tmp_path: Path) -> None:
    given = setting()
    here, away = ran(given, None, tmp_path / "here.jsonl"), ran(given, workers := Aside(), tmp_path / "away.jsonl")
    assert away.results == here.results
    assert (tmp_path / "away.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()
    assert sum(size for size, _ in workers.seen) == len(given.tests)
    assert {size for size, _ in workers.seen[:-1]} == {3}
    assert all(names == sorted(METHODS) for _, names in workers.seen)


def test_only_what_no_earlier_run_settled_is_dealt_out(tmp_path: Path) -> None:
    given, out = setting(), tmp_path / "results.jsonl"
    ran(given, None, out, only=range(4))
    resumed = ran(given, workers := Aside(), out)
    assert resumed.results == ran(given, None).results
    assert sum(size for size, _ in workers.seen) == len(given.tests) - 4
    assert ran(given, idle := Aside(), out).results == resumed.results
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
