"""Stages shared by methods: the same bits as without, computed once, within a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from jisi_cli.evaluation.one_question import Entry
from jisi_cli.evaluation.results import ResultFile
from jisi_cli.evaluation.runner import run_method
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods import shared_stages
from jisi_cli.methods.registry import make_method
from jisi_cli.methods.shared_stages import SharedCoarse, SharedFine
from jisi_cli.scoring import BankArrays, Coarse, Fine, Probes, bank_arrays, coarse, coarse_block, fine, fine_block
from tests.methods.synthetic import setting

GIVEN = setting(gaps=0.2)
BANK = GIVEN.context.bank
QUERIES = np.stack([query.vector for query in GIVEN.tests.queries])
SETTINGS = Hyperparameters(n_base=8)
VARIANTS = ("jisi", "jisi-router", "jisi-static", "jisi-query", "jisi-vote", "jisi-consensus")

# Another value of every hyperparameter; the three weights change together.
CHANGES: dict[str, dict[str, object]] = {
    "k": {"k": 2},
    "n_base": {"n_base": 20},
    "gamma": {"gamma": 0.5},
    "beta": {"beta": 0.1},
    **{name: {"epsilon": 0.2, "sigma": 0.2, "delta": 0.6} for name in ("epsilon", "sigma", "delta")},
    "t": {"t": 0.1},
    "max_aggregate_tokens": {"max_aggregate_tokens": 1},
    "compat": {"compat": "openjisi"},
    "switch": {"switch": "consensus"},
    "u": {"u": 0.5},
    "probe_schedule": {"switch": "consensus", "probe_schedule": "2,1"},
    "price_weight": {"price_weight": 0.5},
    "prior": {"prior": 10.0},
}
DECIDES = {"n_base", "gamma", "compat", "prior"}
DECIDES_FINE = {"beta", "epsilon", "sigma", "delta", "t", "compat", "prior"}


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Hyperparameters]:
    """The settings of every stage 1 that is really computed."""
    found: list[Hyperparameters] = []

    def noted(bank: object, vectors: object, settings: Hyperparameters) -> Iterator[Coarse]:
        found.append(settings)
        return coarse_block(bank, vectors, settings)  # type: ignore[arg-type]

    monkeypatch.setattr(shared_stages, "coarse_block", noted)
    return found


def bits(results: Iterator[Coarse]) -> list[tuple[object, ...]]:
    arrays = ("rows", "similarities", "scores")
    return [
        (*(getattr(part, name).tobytes() for name in arrays), part.kth, part.threshold, part.ranking, part.k)
        for part in results
    ]


@pytest.mark.parametrize("name", [field.name for field in fields(Hyperparameters)])
def test_what_is_found_again_is_what_would_be_computed(name: str, computed: list[Hyperparameters]) -> None:
    shared, changed = SharedCoarse(), SETTINGS.with_changes(CHANGES[name], "test")
    list(shared(BANK, QUERIES, SETTINGS))
    assert bits(shared(BANK, QUERIES, changed)) == bits(coarse_block(BANK, QUERIES, changed))
    assert bits(shared(BANK, QUERIES, SETTINGS)) == bits(coarse_block(BANK, QUERIES, SETTINGS))
    assert len(computed) == (2 if name in DECIDES else 1)


def test_other_queries_and_other_banks_are_computed(computed: list[Hyperparameters]) -> None:
    shared = SharedCoarse()
    smaller = GIVEN.with_rows(range(30)).context.bank
    for bank, queries in ((BANK, QUERIES), (BANK, QUERIES[::-1]), (smaller, QUERIES), (BANK, QUERIES.astype(float))):
        assert bits(shared(bank, queries, SETTINGS)) == bits(coarse_block(bank, queries, SETTINGS))
    assert len(computed) == 4
    assert shared.saved == 0


def test_no_more_is_kept_than_there_is_room_for(computed: list[Hyperparameters]) -> None:
    (size,) = (found.size for found in kept(SharedCoarse(), SETTINGS))
    first, second, third = (replace(SETTINGS, gamma=gamma) for gamma in (0.95, 0.951, 0.952))
    shared = SharedCoarse(room=int(2.5 * size))
    assert len(kept(shared, first, second, first, third)) == 2
    computed.clear()
    # The second was not asked for longest.
    assert len(kept(shared, first, third)) == 2
    assert computed == []
    assert kept(SharedCoarse(room=size - 1), SETTINGS, SETTINGS) == []


def kept(shared: SharedCoarse, *asked: Hyperparameters) -> list[shared_stages._Found[tuple[Coarse, ...]]]:
    for settings in asked:
        shared(BANK, QUERIES, settings)
    return list(shared._kept.values())


@pytest.fixture
def refined(monkeypatch: pytest.MonkeyPatch) -> list[Hyperparameters]:
    """The settings of every stage 2 that is really computed."""
    found: list[Hyperparameters] = []

    def noted(
        bank: BankArrays,
        firsts: Sequence[Coarse],
        probes: Sequence[Probes],
        settings: Hyperparameters,
        answerable: Sequence[Models],
    ) -> list[Fine]:
        found.extend([settings] * len(firsts))
        return fine_block(bank, firsts, probes, settings, answerable)

    monkeypatch.setattr(shared_stages, "fine_block", noted)
    return found


Models = NDArray[np.bool_] | None
FIRST = coarse(BANK, QUERIES[0], SETTINGS)
PROBES = Probes(FIRST.candidates, QUERIES[1 : 1 + SETTINGS.k], np.array([10.0, 200.0, 900.0]))
ANSWERABLE = np.arange(len(BANK.model_names)) != FIRST.ranking[0]


def fine_bits(found: Fine) -> tuple[object, ...]:
    arrays = ("response_similarities", "cost_similarities", "mixed", "kept", "scores")
    return (*(getattr(found, name).tobytes() for name in arrays), found.ranking, found.aggregatees, found.ratios)


@pytest.mark.parametrize("name", [field.name for field in fields(Hyperparameters)])
def test_a_stage_2_found_again_is_what_would_be_computed(name: str, refined: list[Hyperparameters]) -> None:
    shared, changed = SharedFine(), SETTINGS.with_changes(CHANGES[name], "test")
    asyncio.run(shared(BANK, FIRST, PROBES, SETTINGS, ANSWERABLE))
    for settings in (changed, SETTINGS):
        expected = fine_bits(fine(BANK, FIRST, PROBES, settings, ANSWERABLE))
        assert fine_bits(asyncio.run(shared(BANK, FIRST, PROBES, settings, ANSWERABLE))) == expected
    assert len(refined) == (2 if name in DECIDES_FINE else 1)


def test_another_stage_1_and_other_answers_make_another_stage_2(refined: list[Hyperparameters]) -> None:
    shared, settings = SharedFine(), replace(SETTINGS, compat="openjisi")
    others = [
        (coarse(BANK, QUERIES[1], SETTINGS), PROBES, ANSWERABLE),
        (replace(FIRST, similarities=FIRST.similarities / 2), PROBES, ANSWERABLE),
        (FIRST, replace(PROBES, models=PROBES.models[::-1]), ANSWERABLE),
        (FIRST, replace(PROBES, vectors=PROBES.vectors[::-1]), ANSWERABLE),
        (FIRST, replace(PROBES, completion_tokens=np.array([10.0, 200.0, np.nan])), ANSWERABLE),
        (FIRST, PROBES, ~ANSWERABLE),
        (FIRST, PROBES, None),
    ]
    for first, probes, answerable in [(FIRST, PROBES, ANSWERABLE), *others]:
        expected = fine_bits(fine(BANK, first, probes, settings, answerable))
        assert fine_bits(asyncio.run(shared(BANK, first, probes, settings, answerable))) == expected
    assert len(refined) == 1 + len(others)
    assert shared.saved == 0


def test_questions_under_way_at_the_same_time_are_decided_together(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def noted(bank: BankArrays, firsts: Sequence[Coarse], *rest: object) -> list[Fine]:
        sizes.append(len(firsts))
        return fine_block(bank, firsts, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(shared_stages, "fine_block", noted)
    shared, other = SharedFine(room=0), replace(SETTINGS, beta=0.1)
    asked = [(first, settings) for settings in (SETTINGS, other) for first in coarse_block(BANK, QUERIES, SETTINGS)]

    async def one(first: Coarse, settings: Hyperparameters) -> Fine:
        probes = replace(PROBES, models=first.candidates)
        return await shared(BANK, first, probes, settings, None)

    async def together() -> list[Fine | BaseException]:
        tasks = [asyncio.create_task(one(*work)) for work in asked]
        tasks[0].add_done_callback(lambda _: order.append(0))
        tasks[1].add_done_callback(lambda _: order.append(1))
        await asyncio.sleep(0)
        tasks[2].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    order: list[int] = []
    found = asyncio.run(together())
    assert sizes == [len(QUERIES) - 1, len(QUERIES)]
    assert order == [0, 1]
    assert isinstance(found[2], asyncio.CancelledError)
    for (first, settings), result in zip(asked[:2] + asked[3:], found[:2] + found[3:], strict=True):
        assert isinstance(result, Fine)
        assert fine_bits(result) == fine_bits(fine(BANK, first, replace(PROBES, models=first.candidates), settings))


def test_questions_that_take_much_memory_are_decided_some_at_a_time_and_not_if_they_are_given_up_meanwhile(
    monkeypatch: pytest.MonkeyPatch, refined: list[Hyperparameters]
) -> None:
    monkeypatch.setattr(bank_arrays, "_MOST_SCORES", 1)
    shared, firsts = SharedFine(room=0), list(coarse_block(BANK, QUERIES, SETTINGS))
    tasks: list[asyncio.Task[Fine]] = []

    async def one(place: int) -> Fine:
        found = await shared(BANK, firsts[place], replace(PROBES, models=firsts[place].candidates), SETTINGS, None)
        if place == 1:
            for task in tasks[2:]:
                task.cancel()
        return found

    async def together() -> list[Fine | BaseException]:
        tasks.extend(asyncio.create_task(one(place)) for place in range(len(firsts)))
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(together())
    assert len(refined) == 2 < len(firsts)
    assert [type(each) for each in found] == [Fine] * 2 + [asyncio.CancelledError] * (len(firsts) - 2)


def test_a_question_that_is_asked_many_times_at_once_takes_room_once(refined: list[Hyperparameters]) -> None:
    room = 2 * shared_stages._fine_bytes(fine(BANK, FIRST, PROBES, SETTINGS, None))
    shared = SharedFine(room)

    async def at_once(count: int) -> None:
        await asyncio.gather(*(shared(BANK, FIRST, PROBES, SETTINGS, None) for _ in range(count)))

    asyncio.run(at_once(5))
    asyncio.run(at_once(1))
    assert len(refined) == 5


def test_every_question_is_told_why_a_block_could_not_be_decided() -> None:
    shared = SharedFine()
    nothing = Probes((), np.empty((0, 3)), np.empty(0))

    async def together() -> list[Fine | BaseException]:
        waiting = [shared(BANK, FIRST, probes, SETTINGS, None) for probes in (PROBES, nothing)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(found) for found in asyncio.run(together())] == [ValueError, ValueError]


def test_all_variants_of_jisi_compute_each_stage_once_and_each_is_charged_for_it(
    computed: list[Hyperparameters], refined: list[Hyperparameters]
) -> None:
    context = replace(GIVEN.context, coarse=SharedCoarse(), fine=SharedFine())
    timings, alone, saved = {}, {}, {}
    for name in VARIANTS:
        entry = Entry(name, make_method(name, context), (name,), coarse=context.coarse, fine=context.fine)
        before = context.fine.saved
        with ResultFile(None) as file:
            results, timings[name] = asyncio.run(run_method(entry, GIVEN.tests, GIVEN.tests.pool, file))
        saved[name] = context.fine.saved - before
        shared = len(computed), len(refined)
        with ResultFile(None) as file:
            apart = replace(context, coarse=SharedCoarse(), fine=SharedFine())
            entry = Entry(name, make_method(name, apart), (name,))
            assert asyncio.run(run_method(entry, GIVEN.tests, GIVEN.tests.pool, file))[0] == results
        alone[name] = len(refined) - shared[1]
        del computed[shared[0] :], refined[shared[1] :]
    assert len(computed) == 1
    # The one that always aggregates has another t, and so another stage 3.
    assert len(refined) == alone["jisi"] + alone["jisi-static"]
    (found,) = context.coarse._kept.values()
    assert all(timing.plan >= found.seconds for timing in timings.values())
    assert saved["jisi-router"] > 0
    assert all(timings[name].answer >= saved[name] for name in VARIANTS)
