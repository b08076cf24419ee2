"""A pool without a bank: against a slow version of the rule, for any answers, failures and settings."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.bank.no_bank import NoBank
from jisi_cli.embed.protocol import EmbedderSpec, LazyEmbedder
from jisi_cli.errors import InputError, NoAnswerError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.context import BankRows, MethodContext
from jisi_cli.methods.pool_order import PoolOrder
from jisi_cli.methods.protocol import Aggregation, Outcome, Query, Silent
from jisi_cli.types import Answer, Request

MODELS = ("zed", "ada", "cyd", "bob")


class Saying:
    """Models that say what they are told to; None fails."""

    models, live = MODELS, True

    def __init__(self, answers: Mapping[str, int | None], tokens: int | None = None) -> None:
        self.answers, self.tokens = answers, tokens

    def can_answer(self, request: Request) -> bool:
        return True

    async def ask(self, request: Request) -> Answer:
        said = self.answers[request.model]
        error = "gone" if said is None else None
        text = "" if error else f"The answer is {said}"
        return Answer(request.model, text, role=request.role, error=error, completion_tokens=self.tokens)


def method(aggregation: Aggregation | None = None, **settings: float) -> PoolOrder:
    bank = NoBank(MODELS)
    context = MethodContext(
        bank=bank.arrays(),
        rows=BankRows(bank, MODELS, {}),
        embedder=LazyEmbedder(EmbedderSpec("none"), lambda: pytest.fail("there is nothing to embed for")),
        hyperparameters=Hyperparameters(**settings),
        aggregation=aggregation,
    )
    return PoolOrder.of_context(context, settings)


def answer(made: PoolOrder, answers: Mapping[str, int | None], tokens: int | None = None) -> Outcome:
    query = Query("What is it?", np.zeros(0, np.float32))
    (plan,) = made.plan([query])
    return asyncio.run(made.answer(query, plan, Saying(answers, tokens), Silent()))


def by_the_rule(
    answers: Mapping[str, int | None], k: int, u: float, aggregation: Aggregation
) -> tuple[str, str] | None:
    """Return how a question ends and who answers, as the documentation says it; None where none can."""
    in_order = [model for model in MODELS if answers[model] is not None]
    asked = MODELS[: 1 if aggregation == "never" else k]
    heard = [model for model in in_order if model in asked]
    if not in_order:
        return None
    if not heard:
        return "fallback", in_order[0]
    if len(asked) == 1:
        return "route", heard[0]
    if aggregation != "always":
        if len(heard) == 1:
            return "route", heard[0]
        said, times = Counter(answers[model] for model in heard).most_common(1)[0]
        if times > 1 and times / len(heard) >= u:
            return "consensus", next(model for model in heard if answers[model] == said)
    return "aggregate", in_order[0]


@given(
    st.lists(st.one_of(st.none(), st.integers(1, 2)), min_size=4, max_size=4),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.5, 0.6, 0.999]),
    st.sampled_from(["auto", "never", "always"]),
)
def test_it_follows_the_rule(said: list[int | None], k: int, u: float, aggregation: Aggregation) -> None:
    answers = dict(zip(MODELS, said, strict=True))
    made, expected = method(aggregation, k=k, u=u), by_the_rule(answers, k, u, aggregation)
    if expected is None:
        with pytest.raises(NoAnswerError):
            answer(made, answers)
        return
    outcome = answer(made, answers)
    assert (outcome.mode, outcome.answer.model) == expected
    assert outcome.decision is not None
    assert set(outcome.decision.answered) >= set(outcome.decision.aggregatees)


def test_long_responses_are_cut_down_to_two() -> None:
    answers = {"zed": 1, "ada": 2, "cyd": 1, "bob": 2}
    for tokens, shown in ((None, 4), (25, 4), (26, 2)):
        assert len(answer(method(k=4, max_aggregate_tokens=100), answers, tokens).references) == shown


def test_a_setting_that_needs_a_bank_is_refused() -> None:
    with pytest.raises(InputError, match="--gamma"):
        method(gamma=0.4)


def test_a_bank_of_nothing_answers_everything_with_nothing() -> None:
    bank = NoBank(MODELS)
    assert (bank.models, bank.rows, bank.questions) == (MODELS, 0, [])
    assert (bank.some_questions(bank.train_rows), len(bank.test_rows)) == ([], 0)
    assert bank.hyperparameters() == Hyperparameters() and bank.cascade_options() == {}
    assert len(bank.answers("zed").cost_usd) == 0
    assert bank.arrays(("ada",)).model_names == ("ada",)
