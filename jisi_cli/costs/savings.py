"""What the same work would have cost with a reference model (the paper's Table 2).

The work is the questions that were answered. Ours costs what all its calls cost when nothing is cached: the probes,
the experts and the aggregator of a question together. The reference model would have answered each question once. That
call is priced from the tokens recorded for this model on the same question; where none are recorded, from the work's
own tokens: the prompt that put the bare question to a model, and the response that was the answer. The reference model
would not have read an aggregator's prompt, which holds the responses of other models.

    saving = 1 - cost of the work / cost of the reference model
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jisi_cli.config import ModelEntry, Price
from jisi_cli.costs.bills import WORK_DIMENSIONS, Charge, Dimension, Key, key_of
from jisi_cli.errors import InputError, did_you_mean
from jisi_cli.types import CallRecord, whole_sum

if TYPE_CHECKING:
    from jisi_cli.bank.bank import Bank

Basis = Literal["recorded", "own tokens"]


@dataclass(frozen=True, slots=True)
class Reference:
    """The model that work is compared with.

    Attributes:
        name: Its name.
        price: Dollars for (prompt tokens, completion tokens); None where no price is known.
        recorded: What it took for questions, by SHA-256 of the question.
    """

    name: str
    price: Callable[[int, int], float | None]
    recorded: Mapping[str, CallRecord] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Saving:
    """A comparison over some questions.

    Attributes:
        questions: Questions that are compared.
        recorded_questions: Of these, priced from the reference model's own recorded tokens.
        own_token_questions: Of these, priced from the tokens of this work.
        left_out: Questions that cannot be compared, by reason.
        cost_usd: Dollars of this work, when nothing is cached.
        reference_cost_usd: Dollars of the reference model.
    """

    questions: int
    recorded_questions: int
    own_token_questions: int
    left_out: dict[str, int]
    cost_usd: float
    reference_cost_usd: float

    @property
    def saving(self) -> float | None:
        """The share of the reference's cost that is saved, below 0 when this work is dearer; None without cost."""
        return 1 - self.cost_usd / self.reference_cost_usd if self.reference_cost_usd > 0 else None


@dataclass(frozen=True, slots=True)
class _Compared:
    """One question: its dollars on both sides, or the reason why there are none."""

    cost_usd: float = 0.0
    reference_cost_usd: float = 0.0
    basis: Basis | None = None
    left_out: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Savings by group and in all.

    Attributes:
        reference: Name of the reference model.
        by: The dimensions of the groups; none where one was asked for that divides a question's calls.
        groups: A saving by group.
        total: Over all questions.
        other_calls: Calls that answered no question of their own, by command; they are not compared.
    """

    reference: str
    by: tuple[Dimension, ...]
    groups: dict[Key, Saving]
    total: Saving
    other_calls: dict[str, int]


def compare(charges: Iterable[Charge], reference: Reference, by: Sequence[Dimension] = ()) -> Comparison:
    """Compare what answering questions cost with what a reference model would have cost.

    Args:
        charges: All calls; those that belong to no answered question are counted and left out.
        reference: The other model.
        by: What keeps questions apart; ignored unless all of it is in `WORK_DIMENSIONS`.
    """
    by = tuple(by) if WORK_DIMENSIONS.issuperset(by) else ()
    works: dict[str, list[Charge]] = defaultdict(list)
    others: Counter[str] = Counter()
    for charge in charges:
        if charge.work is None:
            others[charge.command] += 1
        else:
            works[charge.work].append(charge)
    grouped: dict[Key, list[_Compared]] = defaultdict(list)
    for calls in works.values():
        grouped[key_of(calls[0], by)].append(_compared(calls, reference))
    everything = [compared for group in grouped.values() for compared in group]
    groups = {key: _saving(group) for key, group in grouped.items()} if by else {}
    return Comparison(reference.name, by, groups, _saving(everything), dict(others))


def _compared(calls: Sequence[Charge], reference: Reference) -> _Compared:
    if all(call.failed for call in calls if call.role != "embedding"):
        return _Compared(left_out="no model answered")
    cost = whole_sum(call.value_usd for call in calls)
    if cost is None:
        return _Compared(left_out="the cost of a call is unknown")
    recorded = _recorded(calls, reference)
    if recorded is not None:
        return _Compared(cost, recorded, "recorded")
    tokens = own_tokens(calls)
    if tokens is None:
        return _Compared(left_out="the tokens of the answer are unknown")
    priced = reference.price(*tokens)
    if priced is None:
        return _Compared(left_out=f"no price is known for {reference.name}")
    return _Compared(cost, priced, "own tokens")


def _recorded(calls: Sequence[Charge], reference: Reference) -> float | None:
    """Dollars of the reference model's recorded answer: its tokens at its price, else what was recorded."""
    question = next((call.question for call in calls if call.question is not None), None)
    use = reference.recorded.get(question) if question is not None else None
    if use is None:
        return None
    if use.prompt_tokens is not None and use.completion_tokens is not None:
        priced = reference.price(use.prompt_tokens, use.completion_tokens)
        if priced is not None:
            return priced
    return use.cost_usd


def own_tokens(calls: Sequence[Charge]) -> tuple[int, int] | None:
    """Return (prompt, completion) tokens of answering one question once, from the calls that answered it.

    The completion is the final answer's: the call that is marked as such, else the aggregator's, else, because
    the ledger does not know which response was chosen, the mean of the responses. The prompt is that of the bare
    question: the mean over the calls that were no aggregation.
    """
    answered = [call for call in calls if not call.failed]
    asked = [call for call in answered if call.role in ("probe", "expert")]
    marked = [call for call in answered if call.is_answer]
    aggregated = [call for call in answered if call.role == "aggregator"]
    completion = _mean([call.completion_tokens for call in marked or aggregated or asked])
    prompt = _mean([call.prompt_tokens for call in asked])
    return None if prompt is None or completion is None else (prompt, completion)


def _mean(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return round(sum(known) / len(known)) if known else None


def _saving(compared: Sequence[_Compared]) -> Saving:
    kept = [question for question in compared if question.left_out is None]
    return Saving(
        questions=len(kept),
        recorded_questions=sum(question.basis == "recorded" for question in kept),
        own_token_questions=sum(question.basis == "own tokens" for question in kept),
        left_out=dict(Counter(question.left_out for question in compared if question.left_out is not None)),
        cost_usd=math.fsum(question.cost_usd for question in kept),
        reference_cost_usd=math.fsum(question.reference_cost_usd for question in kept),
    )


def read_reference(
    name: str, pool: Sequence[ModelEntry], prices: Mapping[str, Price], bank: Bank | None, where: Path | None
) -> Reference:
    """Return a model to compare with.

    Args:
        name: A model of the pool or of the bank, or LiteLLM's name of one.
        pool: The pool's models, with their prices.
        prices: List prices by model; they win.
        bank: Where its recorded answers are looked up; None for nowhere.
        where: The pool file, for messages.

    Raises:
        InputError: Neither a price nor a recorded answer of the model is known.
        BankError: The bank cannot be read.
    """
    from jisi_cli.models.pricing import price_of_call

    found = next((entry for entry in pool if entry.name == name), ModelEntry(name, name))
    entry = ModelEntry(name, found.litellm, price=prices.get(name, found.price))
    recorded = recorded_use(bank, name) if bank is not None and name in bank.models else {}
    if not recorded and price_of_call(entry, 1, 1).usd is None:
        if found in pool:
            raise InputError(
                f"--against: `{name}` has no price in {where}; add price = {{ input = …, output = … }} (USD per "
                "million tokens), name a file with --prices, or a bank that holds its answers with --bank"
            )
        near = did_you_mean(name, [*(entry.name for entry in pool), *prices, *(bank.models if bank else ())])
        raise InputError(
            f"--against: no price is known for `{name}`{near}, and no bank has answers of it; add it with its price to "
            f"{where or 'a pool file (--config)'}, name a file with --prices, or a bank that holds it with --bank"
        )
    return Reference(name, lambda prompt, completion: price_of_call(entry, prompt, completion).usd, recorded)


def recorded_use(bank: Bank, model: str) -> dict[str, CallRecord]:
    """Return what a model took for each question of a bank that it answered, by SHA-256 of the question."""
    import numpy as np

    from jisi_cli.models.live import query_hash

    columns = bank.answers(model)
    found: dict[str, CallRecord] = {}
    answered = np.isin(columns.status, ("ok", "unscored"))
    for row in np.flatnonzero(answered).tolist():
        use = CallRecord(
            model,
            prompt_tokens=_whole(columns.prompt_tokens[row]),
            completion_tokens=_whole(columns.completion_tokens[row]),
            cost_usd=_known(columns.cost_usd[row]),
        )
        if use.cost_usd is not None or (use.prompt_tokens is not None and use.completion_tokens is not None):
            found.setdefault(query_hash(bank.questions[row].query), use)
    return found


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else int(value)
