"""Stage 1 shared by methods: the same bits as without, computed once, within a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np
import pytest

from jisi_cli.evaluation.results import ResultFile
from jisi_cli.evaluation.runner import Entry, run_method
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods import context as shared_coarse
from jisi_cli.methods.context import SharedCoarse
from jisi_cli.methods.registry import make_method
from jisi_cli.scoring import Coarse, coarse_block
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


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Hyperparameters]:
    """The settings of every stage 1 that is really computed."""
    found: list[Hyperparameters] = []

    def noted(bank: object, vectors: object, settings: Hyperparameters) -> Iterator[Coarse]:
        found.append(settings)
        return coarse_block(bank, vectors, settings)  # type: ignore[arg-type]

    monkeypatch.setattr(shared_coarse, "coarse_block", noted)
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


def kept(shared: SharedCoarse, *asked: Hyperparameters) -> list[shared_coarse._Found]:
    for settings in asked:
        shared(BANK, QUERIES, settings)
    return list(shared._kept.values())


def test_all_variants_of_jisi_compute_stage_1_once_and_each_is_charged_for_it(computed: list[Hyperparameters]) -> None:
    context = replace(GIVEN.context, coarse=SharedCoarse())
    seconds = []
    for name in VARIANTS:
        entry = Entry(name, make_method(name, context), (name,), coarse=context.coarse)
        with ResultFile(None) as file:
            results, timing = asyncio.run(run_method(entry, GIVEN.tests, GIVEN.tests.pool, file))
        with ResultFile(None) as file:
            alone = Entry(name, make_method(name, replace(context, coarse=SharedCoarse())), (name,))
            assert asyncio.run(run_method(alone, GIVEN.tests, GIVEN.tests.pool, file))[0] == results
        seconds.append(timing.plan)
    assert len(computed) == 1 + len(VARIANTS)
    (found,) = context.coarse._kept.values()
    assert all(plan >= found.seconds for plan in seconds)
