"""Methods that put the question to one panel of models and make one answer of theirs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from jisi_cli.llm.answer import Answer, Pool, Sampling
from jisi_cli.methods.asking import Asker
from jisi_cli.methods.panel import Panel
from jisi_cli.methods.protocol import Listener, Outcome, Query


class PanelMethod(ABC):
    """All members of a panel are asked at the same time; who fails is left out, and others stand in for all.

    Args:
        panel: Whom every question is put to.
        sampling: Sampling parameters of their calls.
    """

    def __init__(self, panel: Panel, sampling: Sampling | None = None) -> None:
        self._panel = panel
        self._sampling = sampling or Sampling()

    def plan(self, queries: Sequence[Query]) -> Iterator[Panel]:
        """Yield the panel once per query."""
        return (self._panel for _ in queries)

    async def answer(self, query: Query, plan: Panel, pool: Pool, listener: Listener) -> Outcome:
        """Ask the panel and make one answer of what it says.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        asker = Asker(pool, listener)
        answers = await plan.ask(asker, query.messages(), self._sampling)
        if not answers:
            return await plan.stand_in(asker, query, self._sampling)
        return await self.settle(asker, query, answers)

    @abstractmethod
    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Make one answer of several.

        Args:
            asker: Makes further calls.
            query: The question.
            answers: At least one, best member first.
        """
