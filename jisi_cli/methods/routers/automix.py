"""`automix`: the cheapest model answers and checks itself; where it doubts, the best one answers (arXiv 2310.12963).

Aggarwal, Madaan et al. 2023, AutoMix. The checks are samples of the same model, shown its answer and asked whether it
is correct; the share that says so is its confidence. No bank has recorded such checks, so that a replay cannot say
what they would have been: it needs live calls.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jisi_cli.errors import InputError
from jisi_cli.methods.calls import Asker
from jisi_cli.methods.prompts import numbered
from jisi_cli.methods.protocol import Listener, Mode, Outcome, Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.types import Answer, Message, Pool, Sampling

_INSTRUCTIONS = """\
You check one response to a question.
{fences}
Work out for yourself what the question asks for, then compare. End with one line and write nothing after it:
Verdict: correct
or
Verdict: incorrect"""

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


class AutoMix:
    """Lets a small model answer and check its answer, and asks a large one where the checks find it wrong.

    What differs from the original: a fixed threshold on the confidence stands for its decision process (POMDP), which
    is fitted to recorded checks that no bank has; the check is asked for without examples; the small model is the
    cheapest and the large one the best on train.

    Args:
        order: All models; the first is the small one, the second the large one, the others stand in.
        settings: Checks and threshold.
        sampling: Sampling parameters of the answers.
        checking: Those of the checks.
    """

    def __init__(
        self,
        order: Ranking,
        settings: AutoMixSettings | None = None,
        sampling: Sampling | None = None,
        checking: Sampling | None = None,
    ) -> None:
        self._order, self._settings = order, settings or AutoMixSettings()
        self._sampling = sampling or Sampling()
        self._checking = checking or Sampling(self._settings.temperature)

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
        first = await asker.ask(small, query.messages(), "expert", self._sampling)
        if first is not None and not rest:
            return asker.settle_on(first, "route", "there is no other model")
        sure = None if first is None else await self._confidence(asker, query, first)
        if first is not None and sure is not None and sure >= self._settings.threshold:
            return asker.settle_on(first, "route", f"{sure:.0%} of its checks find it correct")
        large = None
        if asker.stopped is None:
            large = await asker.first_that_answers(rest, query.messages(), "expert", self._sampling)
        if large is not None:
            doubt = "no check could be read" if sure is None else f"only {sure:.0%} of the checks find {small} correct"
            reason = f"{small} did not answer" if first is None else doubt
            mode: Mode = "route" if first is not None and large.model == rest[0] else "fallback"
            return asker.outcome(large, mode, reason)
        if first is None:
            raise asker.nobody()
        return asker.settle_on(first, "fallback", "nobody answered in its place")

    async def _confidence(self, asker: Asker, query: Query, answer: Answer) -> float | None:
        """Return the share of checks that find an answer correct; None when none can be read."""
        messages = verification_messages(query, answer.text)
        calls = (
            asker.ask(answer.model, messages, "judge", self._checking, sample=sample)
            for sample in range(self._settings.checks)
        )
        verdicts = [read_verdict(reply.text) for reply in await asyncio.gather(*calls) if reply is not None]
        known = [verdict for verdict in verdicts if verdict is not None]
        return sum(known) / len(known) if known else None


def verification_messages(query: Query, response: str) -> list[Message]:
    """Return the conversation in which a model checks a response."""
    fences, listed = numbered(query.text, [response])
    demanded = f"Instructions that came with it:\n{query.system}\n\n" if query.system else ""
    content = f"Question:\n{query.text}\n\n{demanded}Response:\n\n{listed}"
    return [{"role": "system", "content": _INSTRUCTIONS.format(fences=fences)}, {"role": "user", "content": content}]


def read_verdict(reply: str) -> bool | None:
    """Return whether the last verdict of a reply is `correct`; None when there is none."""
    found = _VERDICT.findall(reply)
    return None if not found else not found[-1]
