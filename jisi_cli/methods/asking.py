"""Calls on behalf of one question: made, told to the listener, noted, and held by the budget."""

from __future__ import annotations

from collections.abc import Sequence

from jisi_cli.errors import BudgetError, NoAnswerError
from jisi_cli.llm.answer import Answer, Message, OnText, Pool, Role, Sampling
from jisi_cli.methods.protocol import Call, Listener, Mode, Outcome


class Asker:
    """Makes the calls of one question.

    Args:
        pool: Whom to ask.
        listener: Told of every call.

    Attributes:
        calls: Every call so far, in the order in which they ended.
        stopped: The budget's refusal, once there was one.
    """

    def __init__(self, pool: Pool, listener: Listener) -> None:
        self._pool, self._listener = pool, listener
        self.calls: list[Call] = []
        self.stopped: BudgetError | None = None

    async def ask(
        self,
        model: str,
        messages: Sequence[Message],
        role: Role,
        sampling: Sampling,
        on_text: OnText | None = None,
        *,
        sample: int = 0,
    ) -> Answer | None:
        """Make one call; None when the budget forbids it or no answer came."""
        self._listener.asked(model, role)
        try:
            answer = await self._pool.ask(model, messages, role=role, sampling=sampling, sample=sample, on_text=on_text)
        except BudgetError as error:
            self.stopped = error
            return None
        call = Call(role, answer)
        self.calls.append(call)
        self._listener.answered(call)
        return answer if answer.ok else None

    async def first_that_answers(
        self, models: Sequence[str], messages: Sequence[Message], role: Role, sampling: Sampling
    ) -> Answer | None:
        """Let one model after another write the final answer until one does; None when none does."""
        for model in models:
            self._listener.writing(model)
            on_text = self._listener.text if self._listener.streams else None
            answer = await self.ask(model, messages, role, sampling, on_text)
            if answer is not None or self.stopped is not None:
                return answer
        return None

    def settle_on(self, answer: Answer, mode: Mode, reason: str, references: Sequence[Answer] = ()) -> Outcome:
        """Make a response that is already there the final answer; whatever was being written counts no more."""
        self._listener.writing(answer.model)
        self._listener.text(answer.text)
        return self.outcome(answer, mode, reason, references)

    def outcome(self, answer: Answer, mode: Mode, reason: str, references: Sequence[Answer] = ()) -> Outcome:
        """Return how the question ended, with every call that was made for it."""
        return Outcome(
            answer=answer,
            mode=mode,
            reason=reason,
            calls=tuple(self.calls),
            stopped_by_budget=self.stopped is not None,
            references=tuple(dict.fromkeys(reference.model for reference in references)),
        )

    def nobody(self) -> NoAnswerError | BudgetError:
        """Return the error for a question that no model answered, with each model's own words."""
        if self.stopped is not None:
            return self.stopped
        reasons = "; ".join(f"{call.answer.model}: {call.answer.error or 'empty answer'}" for call in self.calls)
        return NoAnswerError(f"no model could answer ({reasons or 'none was asked'})")
