"""A hard limit on the dollars of one run, and the most that one call can cost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from jisi_cli.config import ModelEntry, Price
from jisi_cli.errors import BudgetError, InputError
from jisi_cli.models.litellm_setup import load_litellm
from jisi_cli.models.parameters import Extras, read_extras
from jisi_cli.models.pricing import Parts, allowed_tokens, max_output_tokens, price_of_call, sends_limit
from jisi_cli.models.provider import Completion
from jisi_cli.models.usage import most_prompt_tokens
from jisi_cli.types import Message

# A hard limit on the dollars of one run: no call starts unless its worst case fits what is left.


_ROUNDING = 1e-9


class Reservation:
    """Money set aside for one call until it is known what the call cost."""

    def __init__(self, budget: Budget, model: str, usd: float) -> None:
        self._budget = budget
        self._model = model
        self._usd: float | None = usd

    def settle(self, actual_usd: float | None) -> None:
        """Replace the reservation by what the call cost.

        Args:
            actual_usd: Dollars; 0 when the call cost nothing. None when that is unknown: the worst case then
                counts as spent, because the limit must hold. More than the worst case ends the run.
        """
        if self._usd is None:
            return
        self._budget.settle(self._model, self._usd, self._usd if actual_usd is None else actual_usd)
        self._usd = None


class Budget:
    """What a run may spend; shared by the calls of an event loop and by the threads that embed.

    Args:
        limit_usd: The most, in dollars.

    Attributes:
        spent_usd: Dollars that are spent, calls of unknown cost at their worst case.
        overrun: Which call cost more than its worst case; None as long as none did. No call starts after it.
    """

    def __init__(self, limit_usd: float) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = 0.0
        self.overrun: str | None = None
        self._reserved_usd = 0.0
        self._reservations = 0
        self._held_usd = 0.0
        self._waiting: list[Future[None]] = []
        self._lock = threading.Lock()

    @property
    def left_usd(self) -> float:
        """Dollars that are neither spent nor set aside."""
        return self.limit_usd - self.spent_usd - self._held_usd - self._reserved_usd

    async def reserve(self, model: str, worst_case_usd: float | None) -> Reservation:
        """Set aside the worst case of one call.

        A call that would fit but for the reservations of calls still out waits for them: most cost less
        than their worst case.

        Args:
            model: The pool's name of the model, for messages.
            worst_case_usd: The most the call can cost; None when there is no price.

        Raises:
            BudgetError: There is no price, the worst case is more than the run has left, or a call before it cost
                more than its own.
        """
        while isinstance(found := self._reserve(model, worst_case_usd), Future):
            await asyncio.wrap_future(found)
        return found

    def reserve_in_thread(self, model: str, worst_case_usd: float | None) -> Reservation:
        """Do the same from a thread other than the one that settles the calls that are out.

        Raises:
            BudgetError: As `reserve` says.
        """
        while isinstance(found := self._reserve(model, worst_case_usd), Future):
            found.result()
        return found

    def hold_back(self, usd: float) -> None:
        """Keep money for a later part of the run; to the calls until then it is as good as spent."""
        with self._lock:
            self._held_usd += usd

    def release_held(self) -> None:
        """Let what was held back be spent: its time has come."""
        with self._lock:
            self._held_usd = 0.0
            self._wake()

    def check(self) -> None:
        """End a run that cost more than could be foreseen, once everything that came in is kept.

        Raises:
            BudgetError: A call cost more than its worst case.
        """
        if self.overrun is not None:
            raise BudgetError(self.overrun)

    def settle(self, model: str, reserved_usd: float, actual_usd: float) -> None:
        """Book what a call cost in place of what was set aside for it (called by its `Reservation`)."""
        with self._lock:
            if actual_usd > reserved_usd * (1 + _ROUNDING) + _ROUNDING and self.overrun is None:
                self.overrun = (
                    f"a call to `{model}` cost ${actual_usd:.6f} by what was reported, and ${reserved_usd:.6f} was the "
                    "most that it could cost; no other call goes out, and every answer is kept. Look at the model's "
                    "`price` and `params` in the pool file, or leave --max-cost out"
                )
            self._reservations -= 1
            # With nothing out there is nobody to wait for, so no rest of rounding may seem to be set aside.
            self._reserved_usd = self._reserved_usd - reserved_usd if self._reservations else 0.0
            self.spent_usd += actual_usd
            self._wake()

    def _reserve(self, model: str, worst_case_usd: float | None) -> Reservation | Future[None]:
        """Set money aside, or return what is done once another call has been settled."""
        if worst_case_usd is None:
            raise BudgetError(
                f"--max-cost needs a price for `{model}`, and nobody knows one; "
                "add `price = { input = …, output = … }` to it in the pool file"
            )
        with self._lock:
            self.check()
            if worst_case_usd <= self.left_usd:
                self._reserved_usd += worst_case_usd
                self._reservations += 1
                return Reservation(self, model, worst_case_usd)
            unspent = self.limit_usd - self.spent_usd - self._held_usd
            if worst_case_usd > unspent:
                raise BudgetError(
                    f"a call to `{model}` may cost ${worst_case_usd:.6f}, and ${max(0.0, unspent):.6f} of "
                    f"${self.limit_usd:g} are left; raise --max-cost or lower `max_tokens`"
                )
            waiting: Future[None] = Future()
            self._waiting.append(waiting)
            return waiting

    def _wake(self) -> None:
        """Let those that wait look again; one that was cancelled meanwhile no longer wants to."""
        for waiting in self._waiting:
            if waiting.set_running_or_notify_cancel():
                waiting.set_result(None)
        self._waiting.clear()


# The most that one call can cost, known before it goes out, and the most that it can have cost, known afterwards.


_PRIORITY_FACTOR = 2.0
"""How much dearer the priority tier is than the usual one, at most; for prices that the pool file names."""
_SEARCHES = ("sonar", "search-preview", "search-api")
"""Names of models that search the web for every answer, at a fee."""


async def worst_case_of(entry: ModelEntry, messages: Sequence[Message], parameters: Mapping[str, Any]) -> float | None:
    """Return the most that one attempt can cost, in dollars; None when the model has no price.

    Args:
        entry: The model's pool entry.
        messages: The conversation as it will be sent.
        parameters: The call's parameters by LiteLLM's names.

    Raises:
        BudgetError: How long the response may get is not known.
        InputError: A parameter makes the worst case unknowable.
    """
    extras = read_extras(entry, parameters)
    completion = (_longest_answer(entry, parameters, extras) + extras.reasoning) * extras.copies + extras.predicted
    prompt = await asyncio.to_thread(most_prompt_tokens, entry, messages) + extras.prompt
    dearest = _dearest(entry, prompt, completion, extras)
    return None if dearest is None else dearest + _search_fee(entry)


def most_spent(entry: ModelEntry, completion: Completion, bill: float | None, worst: float) -> float | None:
    """Return the dollars that a budget counts for an answer: the largest figure that can be true.

    Args:
        entry: The model's pool entry.
        completion: What came back.
        bill: What the bill says; None when unknown.
        worst: The worst case that was set aside. Where nobody reported tokens, an answer counts for no more.

    Returns:
        Dollars; None when nothing is known.
    """
    usage = completion.usage
    if usage is None:
        return bill
    counted = completion.tokens_source == "counted"
    listed = _listed(entry, completion, usage.most_prompt, usage.most_completion)
    if listed is not None and counted:
        # A bound that every text keeps; where the provider says what it charged, nothing has to be guessed.
        listed = min(listed, worst) if usage.cost is None else None
    return max((amount for amount in (bill, usage.most_cost, listed) if amount is not None), default=None)


def _listed(entry: ModelEntry, completion: Completion, prompt: int, response: int) -> float | None:
    """Return what an answer costs by its tokens and the list price; None without a price."""
    listed = price_of_call(entry, prompt, response, parts=completion.parts).usd
    if listed is None:
        return None
    dearer = entry.price is not None and completion.service_tier == "priority"
    return listed * (_PRIORITY_FACTOR if dearer else 1.0) + _search_fee(entry)


def _longest_answer(entry: ModelEntry, parameters: Mapping[str, Any], extras: Extras) -> int:
    """Return the most tokens of one answer.

    Raises:
        BudgetError: Nothing limits them.
    """
    is_limited = sends_limit(entry)
    asked = allowed_tokens(parameters) if is_limited and not extras.unlimited else None
    longest = asked or max_output_tokens(entry)
    if longest is None:
        remedy = (
            "add `params = { max_tokens = … }` to the model in the pool file"
            if is_limited
            else "LiteLLM sends its provider no `max_tokens`; leave the model out, or --max-cost"
        )
        raise BudgetError(f"--max-cost needs to know how long an answer of `{entry.name}` may get; {remedy}")
    return max(longest, extras.longest)


def _dearest(entry: ModelEntry, prompt: int, completion: int, extras: Extras) -> float | None:
    """Return the dollars of so many tokens at the dearest price they can have; None without a price."""
    if entry.price is not None:
        price = entry.price
        dearest = max(price.input, price.cached_input or 0.0, price.cache_write or 0.0)
        usd = price_of_call(replace(entry, price=Price(dearest, price.output)), prompt, completion).usd
        return None if usd is None else usd * (_PRIORITY_FACTOR if extras.tier else 1.0)
    usual = price_of_call(entry, prompt, completion).usd
    if usual is None:
        return None
    dear = price_of_call(entry, prompt, completion, parts=Parts(tier=extras.tier)).usd or 0.0
    if extras.tier and dear <= usual:
        raise InputError(
            f"--max-cost cannot hold for model `{entry.name}`: nobody knows what `service_tier = {extras.tier}` costs "
            "there; remove it, or give the model a `price`"
        )
    hour = prompt if extras.hour else 0
    variants = (Parts(written=prompt, written_for_an_hour=hour, tier=extras.tier), Parts(0, 0, 0, completion))
    dearer = [price_of_call(entry, prompt, completion, parts=parts).usd or 0.0 for parts in variants]
    return max(usual, dear, *dearer)


def _search_fee(entry: ModelEntry) -> float:
    """Return the dollars of the search that some models make for every answer, by LiteLLM's map."""
    if not any(word in entry.litellm.lower() for word in _SEARCHES):
        return 0.0
    prices = load_litellm().model_cost
    known = prices.get(entry.litellm) or prices.get(entry.litellm.partition("/")[2]) or {}
    fees = known.get("search_context_cost_per_query") or {}
    return max((float(fee) for fee in fees.values()), default=0.0)
