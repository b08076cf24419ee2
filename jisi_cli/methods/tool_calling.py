"""How a question with tools is answered: by one model, the best that can call them, or the one that has begun."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from threading import Lock

from jisi_cli.messages import ToolCall
from jisi_cli.methods.calls import Asker
from jisi_cli.methods.protocol import Listener, Outcome, Query
from jisi_cli.types import Answer, Pool, Sampling

_MOST_REMEMBERED = 10_000


class Callers:
    """Which model made which tool call, of the last few thousand; for several threads.

    A call is known by the question it was made for, too: some servers number their calls, each from the first.
    """

    def __init__(self) -> None:
        self._models: OrderedDict[tuple[bytes, str, str], str] = OrderedDict()
        self._lock = Lock()

    def note(self, question: str, answer: Answer) -> None:
        """Remember who made the calls of an answer."""
        with self._lock:
            for key in _keys(question, answer.tool_calls):
                self._models[key] = answer.model
                self._models.move_to_end(key)
            while len(self._models) > _MOST_REMEMBERED:
                self._models.popitem(last=False)

    def of(self, question: str, calls: Iterable[ToolCall]) -> str | None:
        """Return the model that made some calls; None where that is not known, or several did."""
        with self._lock:
            models = {self._models.get(key) for key in _keys(question, calls)}
        return models.pop() if len(models) == 1 else None


def _keys(question: str, calls: Iterable[ToolCall]) -> list[tuple[bytes, str, str]]:
    asked = hashlib.sha256(question.encode("utf-8", "surrogatepass")).digest()
    return [(asked, call.id, call.name) for call in calls]


async def answer_by_one(
    ranking: Sequence[str], caller: str | None, query: Query, pool: Pool, listener: Listener, sampling: Sampling
) -> Outcome:
    """Let one model answer, and where it fails the next: calls of tools cannot be put together from several answers.

    Args:
        ranking: The models that can call tools, best first.
        caller: The model that made the calls whose results came; None where there are none, or it is not known.
        query: The question.
        pool: The models.
        listener: Told of every call.
        sampling: How they are asked.

    Raises:
        NoAnswerError: No model could answer.
        BudgetError: The budget stopped every call before there was an answer.
    """
    goes_on = caller is not None and caller in ranking
    order = [caller, *(model for model in ranking if model != caller)] if goes_on and caller else list(ranking)
    asker = Asker(pool, listener, query)
    answer = await asker.first_that_answers(order, query.messages(), "expert", sampling)
    if answer is None:
        raise asker.no_answer_error()
    if answer.model != order[0]:
        return asker.outcome(answer, "fallback", f"{order[0]} did not answer")
    if goes_on:
        return asker.outcome(answer, "route", "it made the tool calls whose results came")
    first = "it ranks first of the models that can call tools"
    return asker.outcome(answer, "route", first if len(order) > 1 else "it is the only one that may be asked")
