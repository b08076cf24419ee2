"""A panel: several answers to one question, asked for at the same time; those that fail are dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from jisi_cli.llm.answer import Answer, Message, Sampling
from jisi_cli.methods.asking import Asker
from jisi_cli.methods.protocol import Outcome, Query


@dataclass(frozen=True, slots=True)
class Member:
    """One place on a panel.

    Attributes:
        model: Who is asked.
        sample: Which of this model's several answers to the same question it is.
    """

    model: str
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Panel:
    """Who is asked at once, and who stands in when none of them answers.

    Attributes:
        members: The panel, best first.
        stand_ins: Other models, best first.
    """

    members: tuple[Member, ...]
    stand_ins: tuple[str, ...] = ()

    @classmethod
    def of_best(cls, ranking: Sequence[str], size: int | None = None) -> Panel:
        """Seat the first `size` models of a ranking (None for all); the others stand in."""
        places = len(ranking) if size is None else size
        return cls(tuple(Member(model) for model in ranking[:places]), tuple(ranking[places:]))

    @classmethod
    def of_samples(cls, ranking: Sequence[str], samples: int) -> Panel:
        """Seat the first model of a ranking `samples` times; the others stand in."""
        return cls(tuple(Member(ranking[0], sample) for sample in range(samples)), tuple(ranking[1:]))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model once, best first: the panel's, then those that stand in."""
        return tuple(dict.fromkeys([member.model for member in self.members] + list(self.stand_ins)))

    async def ask(self, asker: Asker, messages: Sequence[Message], sampling: Sampling) -> list[Answer]:
        """Ask all members at the same time; return the answers that came, best member first."""
        found = await asyncio.gather(
            *(asker.ask(member.model, messages, "expert", sampling, sample=member.sample) for member in self.members)
        )
        return [answer for answer in found if answer is not None]

    async def stand_in(self, asker: Asker, query: Query, sampling: Sampling) -> Outcome:
        """Let one model after another answer alone, when no member did.

        Raises:
            NoAnswerError: None of them answered either.
            BudgetError: The budget stopped every call.
        """
        answer = None
        if asker.stopped is None:
            answer = await asker.first_that_answers(self.stand_ins, query.messages(), "expert", sampling)
        if answer is None:
            raise asker.nobody()
        return asker.outcome(answer, "fallback", "none of the models asked first answered")
