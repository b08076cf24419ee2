"""`automix`: the cheapest model answers and checks itself; where it doubts, the best one answers (arXiv 2310.12963).

Aggarwal, Madaan et al. 2023, AutoMix. The checks are samples of the same model, shown its answer and asked whether it
is correct; the share that says so is its confidence. No bank has recorded such checks, so that a replay cannot say
what they would have been: it needs live calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jisi_cli.errors import InputError
from jisi_cli.methods.calls import Asker
from jisi_cli.methods.prompts import verification_messages
from jisi_cli.methods.protocol import ContextMethod, Listener, Mode, Outcome, Query
from jisi_cli.methods.rankings import Ranking
from jisi_cli.methods.registry import register_method
from jisi_cli.types import Answer, Pool

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_VERDICT = re.compile(r"\bverdict\b\W{0,9}(in)?correct\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AutoMixSettings:
    """Settings of `automix`.

    Attributes:
        checks: Samples of the verification.
        threshold: Share of checks that must find the answer correct.
        temperature: Of the checks, which must differ; a model's own in the pool file wins.
    """

    checks: int = 8
    threshold: float = 0.5
    temperature: float = 0.7

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise InputError(f"automix: threshold is a number from 0 to 1, not {self.threshold:g}")


@register_method(
    "automix",
    "the cheapest model answers and checks itself 8 times; where it doubts, the best answers",
    "live",
    "AutoMix, arXiv 2310.12963",
    settings=AutoMixSettings(),
    departures=(
        "a fixed threshold on the share of checks stands for its decision process (POMDP), which needs recorded "
        "checks; checks are asked for without examples; the cheapest model is the small one and the best on train "
        "the large one"
    ),
)
class AutoMix(ContextMethod[AutoMixSettings]):
    """Lets a small model answer and check its answer, and asks a large one where the checks find it wrong.

    Raises:
        InputError: No price is known.
    """

    def __init__(self, context: MethodContext, settings: AutoMixSettings) -> None:
        super().__init__(context, settings)
        best, *rest = context.best_then_cheapest("automix")
        self._order = (*rest[:1], best, *rest[1:])
        self._checking = context.sampling(settings.temperature)

    def plan(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield the same order once per query."""
        return (self._order for _ in queries)

    async def answer(self, query: Query, plan: Ranking, pool: Pool, listener: Listener) -> Outcome:
        """Ask the small model, let it check itself, and ask the large one where it doubts.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        asker = Asker(pool, listener, query)
        small, *rest = plan
        first = await asker.ask(small, query.messages(), "expert", self.sampling)
        if first is not None and not rest:
            return asker.settle_on(first, "route", "there is no other model")
        sure = None if first is None else await self._confidence(asker, query, first)
        if first is not None and sure is not None and sure >= self.settings.threshold:
            return asker.settle_on(first, "route", f"{sure:.0%} of its checks find it correct")
        large = None
        if asker.stopped is None:
            large = await asker.first_that_answers(rest, query.messages(), "expert", self.sampling)
        if large is not None:
            doubt = "no check could be read" if sure is None else f"only {sure:.0%} of the checks find {small} correct"
            reason = f"{small} did not answer" if first is None else doubt
            mode: Mode = "route" if first is not None and large.model == rest[0] else "fallback"
            return asker.outcome(large, mode, reason)
        if first is None:
            raise asker.no_answer_error()
        return asker.settle_on(first, "fallback", "no other model answered in its place")

    async def _confidence(self, asker: Asker, query: Query, answer: Answer) -> float | None:
        """Return the share of checks that find an answer correct; None when none can be read."""
        messages = verification_messages(query, answer.text)
        calls = (
            asker.ask(answer.model, messages, "judge", self._checking, sample=sample)
            for sample in range(self.settings.checks)
        )
        verdicts = [read_verdict(reply.text) for reply in await asker.together(calls) if reply is not None]
        known = [verdict for verdict in verdicts if verdict is not None]
        return sum(known) / len(known) if known else None


def read_verdict(reply: str) -> bool | None:
    """Return whether the last verdict of a reply is `correct`; None when there is none."""
    found = _VERDICT.findall(reply)
    return None if not found else not found[-1]
