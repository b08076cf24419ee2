"""What is left of routing where a question has no vector, as when the embedder's endpoint is down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jisi_cli.methods.calls import Asker
from jisi_cli.methods.protocol import Listener, Outcome, Query
from jisi_cli.scoring import BankArrays, rank
from jisi_cli.types import Pool, Sampling


def by_mean_score(bank: BankArrays) -> list[str]:
    """Return the models by their mean score on the train rows that they answered, best first; ties by name."""
    nothing_near = np.zeros(len(bank.model_names))
    return [bank.model_names[model] for model in rank(bank, nothing_near, "paper")]


async def answer_unrouted(
    bank: BankArrays, query: Query, pool: Pool, listener: Listener, sampling: Sampling, why: str
) -> Outcome:
    """Let the best model on the whole bank answer, or the next where it fails.

    Args:
        bank: The bank's arrays.
        query: The question; its vector is not used.
        pool: Whom to ask.
        listener: Told of every call.
        sampling: How it is asked.
        why: What is wrong with the embedder, in a sentence.

    Raises:
        NoAnswerError: No model could answer.
        BudgetError: The budget stopped every call before there was an answer.
    """
    asker = Asker(pool, listener, query)
    answer = await asker.first_that_answers(by_mean_score(bank), query.messages(), "expert", sampling)
    if answer is None:
        raise asker.nobody()
    outcome = asker.outcome(answer, "fallback", "the question has no vector; this is the best model on the whole bank")
    return replace(outcome, missing=(f"{why}; asked without routing",))
