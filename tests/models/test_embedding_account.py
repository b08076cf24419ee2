"""What an endpoint that embeds costs: booked like any other call, and held to the same budget."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import tests.loopback
from jisi_cli.config import ModelEntry, Price
from jisi_cli.embed.account import EmbeddingAccount
from jisi_cli.embed.protocol import EmbedderSpec, embed_async
from jisi_cli.embed.registry import load_embedder
from jisi_cli.embed.unit_embedder import UnitEmbedder
from jisi_cli.errors import BudgetError, InputError, NoAnswerError
from jisi_cli.models.call import CUT_OFF
from jisi_cli.models.ledger import LedgerEntry
from jisi_cli.models.limits import Budget
from jisi_cli.models.litellm_client import load_litellm
from jisi_cli.models.live import Run
from jisi_cli.types import Sampling
from tests.loopback import Fault, Loopback
from tests.models.asking import ask, entry, ledger_in, pool

TENTH_OF_A_CENT = Price(1000, 0)
"""What a token costs here."""

TEXTS = [f"text number {number}" for number in range(40)]
"""Of three words each, which the loopback server counts as tokens."""


def endpoint(
    loopback: Loopback,
    folder: Path,
    *,
    budget: Budget | None = None,
    price: Price | None = TENTH_OF_A_CENT,
    model: str = "vectors",
    **how: Any,
) -> UnitEmbedder:
    name = f"litellm:openai/{model}"
    entry = ModelEntry(name, f"openai/{model}", price=price)
    account = EmbeddingAccount(entry, Run(id="r", command="test"), ledger_in(folder), budget)
    return load_embedder(EmbedderSpec(name), api_base=loopback.api_base, account=account, **how)


def booked(folder: Path) -> list[LedgerEntry]:
    return list(ledger_in(folder).rows())


def test_every_request_is_a_row_of_its_own_with_tokens_and_dollars(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("vectors")
    endpoint(loopback, tmp_path, batch_size=16).embed(TEXTS)
    rows = booked(tmp_path)
    assert sorted(row.prompt_tokens or 0 for row in rows) == [24, 48, 48]
    assert sorted(row.cost_usd or 0 for row in rows) == pytest.approx([0.024, 0.048, 0.048])
    for row in rows:
        assert (row.run, row.command, row.role) == ("r", "test", "embedding")
        assert (row.model, row.litellm) == ("litellm:openai/vectors", "openai/vectors")
        assert (row.completion_tokens, row.tokens_source, row.price_source) == (0, "provider", "pool")
        assert row.list_cost_usd == row.cost_usd
        assert (row.cached, row.attempts, row.error) == (False, 1, None)
        assert (row.dataset, row.query_hash) == (None, None)


def test_the_price_is_litellms_where_the_pool_file_names_none_and_else_unknown(
    loopback: Loopback, tmp_path: Path
) -> None:
    for model in ("text-embedding-3-small", "vectors"):
        loopback.script(model)
        endpoint(loopback, tmp_path, model=model, price=None).embed(["one two three"])
    public, unknown = booked(tmp_path)
    # Two cents per million tokens.
    assert (public.cost_usd, public.price_source) == (pytest.approx(6e-8), "litellm")
    assert (unknown.cost_usd, unknown.list_cost_usd, unknown.price_source) == (None, None, None)


@pytest.mark.parametrize("reported", [10**30, "many"], ids=["huge", "words"])
def test_tokens_that_cannot_be_true_are_counted_and_lose_no_vector(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reported: object
) -> None:
    def odd(*how: Any, answer: Any = tests.loopback._embeddings) -> dict[str, Any]:
        return answer(*how) | {"usage": {"prompt_tokens": reported, "total_tokens": reported}}

    monkeypatch.setattr(tests.loopback, "_embeddings", odd)
    loopback.script("vectors")
    assert endpoint(loopback, tmp_path).embed(["one two three"]).shape == (1, 8)
    (row,) = booked(tmp_path)
    assert (row.prompt_tokens, row.tokens_source, row.cost_usd) == (3, "counted", pytest.approx(0.003))


def test_requests_that_failed_are_booked_with_what_they_may_have_cost(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("vectors", faults=(Fault("status", status=503, retry_after=0),))
    endpoint(loopback, tmp_path).embed(["one"])
    loopback.script("vectors", every=1, every_fault=Fault("status", status=401))
    with pytest.raises(InputError):
        endpoint(loopback, tmp_path).embed(["one"])
    loopback.script("vectors", every=1, every_fault=Fault("malformed"))
    with pytest.raises(NoAnswerError):
        endpoint(loopback, tmp_path).embed(["one"])
    again, refused, broken = booked(tmp_path)
    assert (again.attempts, again.cost_usd, again.error) == (2, pytest.approx(0.001), None)
    # A refusal costs nothing; an answer that cannot be read may have cost anything.
    assert (refused.attempts, refused.cost_usd) == (1, 0.0)
    assert (broken.attempts, broken.cost_usd) == (1, None)
    assert "HTTP 401" in str(refused.error) and "no vectors" in str(broken.error)
    assert refused.list_cost_usd is None and refused.prompt_tokens is None


def test_the_limit_holds_over_threads_and_what_was_embedded_is_paid(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("vectors", delay=0.01)
    budget = Budget(0.050)
    with pytest.raises(BudgetError, match=r"`litellm:openai/vectors` may cost"):
        endpoint(loopback, tmp_path, budget=budget, batch_size=1, concurrency=8).embed(TEXTS)
    paid = 0.003 * loopback.count()
    # It stops because another worst case does not fit: 14 or 15 bytes, and 8 tokens around a text.
    assert 0.050 - 0.023 - 0.003 < paid <= 0.050
    assert budget.spent_usd == pytest.approx(paid) == sum(row.cost_usd or 0 for row in booked(tmp_path))
    assert budget.left_usd == pytest.approx(0.050 - paid)


def test_without_a_price_nothing_is_sent_under_a_limit(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("vectors")
    with pytest.raises(BudgetError, match="needs a price for `litellm:openai/vectors`"):
        endpoint(loopback, tmp_path, budget=Budget(1.0), price=None).embed(["one"])
    assert loopback.count() == 0
    assert booked(tmp_path) == []


def test_a_request_that_broke_off_counts_as_its_worst_case(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("vectors", every=1, every_fault=Fault("reset"))
    budget = Budget(0.025)
    with pytest.raises(NoAnswerError):
        endpoint(loopback, tmp_path, budget=budget).embed(["one"])
    # Three bytes and eight special tokens: 1.1 cents, twice; a third time is too dear.
    assert loopback.count() == 2
    assert budget.spent_usd == pytest.approx(0.022)
    (row,) = booked(tmp_path)
    assert (row.cost_usd, row.most_cost_usd) == (None, pytest.approx(0.022))


@pytest.mark.parametrize("limit", [None, 1.0], ids=["without a limit", "with one"])
def test_a_request_that_is_cut_off_is_booked_at_its_worst_case(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float | None
) -> None:
    loopback.script("vectors")
    budget = None if limit is None else Budget(limit)
    embedder = endpoint(loopback, tmp_path, budget=budget)

    def interrupted(**request: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(load_litellm(), "embedding", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embedder.embed(["one"])
    (row,) = booked(tmp_path)
    assert (row.error, row.cost_usd, row.attempts) == (CUT_OFF, None, 1)
    assert row.most_cost_usd == pytest.approx(0.011)
    assert budget is None or budget.spent_usd == row.most_cost_usd


def test_money_that_is_held_back_is_spent_only_when_its_time_has_come(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("vectors")
    budget = Budget(0.020)
    budget.hold_back(0.017)
    embedder = endpoint(loopback, tmp_path, budget=budget)
    with pytest.raises(BudgetError, match=r"\$0\.00300 of \$0\.0200 are left"):
        embedder.embed(["one"])
    budget.release_held()
    embedder.embed(["one"])
    assert budget.spent_usd == pytest.approx(0.001)


def test_embedding_that_waits_for_the_money_of_calls_does_not_keep_them_from_giving_it_back(
    loopback: Loopback, tmp_path: Path
) -> None:
    # Without a usage the call's tokens are counted, in a thread.
    loopback.script("a", "five words and no more", usage=None, delay=0.2)
    loopback.script("vectors")
    budget = Budget(0.0625)
    embedder = endpoint(loopback, tmp_path, budget=budget)
    asked = pool(entry(loopback, price=Price(0, 1000)), budget=budget)

    async def answer_and_embed() -> tuple[str, int]:
        async with asked:
            call = asyncio.create_task(ask(asked, sampling=Sampling(max_tokens=60)))
            while loopback.count("a") == 0:
                await asyncio.sleep(0.01)
            # More than the event loop has threads.
            waiting = [asyncio.create_task(embed_async(embedder, ["word"])) for _ in range(40)]
            text = (await call).text
            done = await asyncio.gather(*waiting, return_exceptions=True)
            return text, sum(not isinstance(vector, BudgetError) for vector in done)

    # The call, of 22 bytes, leaves 40.5 of 62.5 tenths of a cent; an embedding costs one, and its worst case is twelve.
    assert asyncio.run(answer_and_embed()) == ("five words and no more", 29)


@pytest.mark.parametrize(
    "told", [{"prompt_tokens": 5000, "total_tokens": 5000}, {"prompt_tokens": 1, "total_tokens": 5000}], ids=str
)
def test_a_request_that_cost_more_than_its_worst_case_is_kept_and_is_the_last(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any]
) -> None:
    def dear(*how: Any, answer: Any = tests.loopback._embeddings) -> dict[str, Any]:
        return answer(*how) | {"usage": told}

    monkeypatch.setattr(tests.loopback, "_embeddings", dear)
    loopback.script("vectors")
    budget = Budget(100.0)
    embedder = endpoint(loopback, tmp_path, budget=budget)
    assert embedder.embed(["one two three"]).shape == (1, 8)
    with pytest.raises(BudgetError, match=r"vectors` cost \$5\.00 by what was reported"):
        embedder.embed(["four"])
    assert loopback.count() == 1
    assert [row.cost_usd for row in booked(tmp_path)] == [pytest.approx(5.0)]
