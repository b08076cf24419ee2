"""The replay pool: answers that were recorded, through the same seam as the live pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from jisi_cli.errors import InputError
from jisi_cli.messages import text_of
from jisi_cli.types import Answer, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """What one model answered to one question. Unknown is None, never 0.

    Its `repr` is hashed into the keys of result files, so the names and the order of its fields must stay.

    Attributes:
        text: The response.
        prompt_tokens: Tokens of the prompt.
        completion_tokens: Tokens of the response, reasoning included.
        cost_usd: Dollars it cost.
        error: Why there was no response; None when there was one.
        vector: The response's unit vector (d,).
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    error: str | None = None
    vector: NDArray[np.floating] | None = field(default=None, compare=False, repr=False)


class ReplayPool:
    """Recorded answers; an implementation of `Pool` that calls no model.

    Only the very call that was recorded is answered: the bare question, first sample. Any other (an
    aggregator's prompt, another sample, a system message) is `NOT_RECORDED`, never the nearest thing.

    Args:
        recorded: Answers by (question's text, model).
        models: The names that can be asked; None for those of `recorded`, in its order.
        own: Answers by ((dataset, index), model) of questions whose text stands more than once.
    """

    NOT_RECORDED: ClassVar[str] = "not recorded"

    def __init__(
        self,
        recorded: Mapping[tuple[str, str], RecordedAnswer],
        models: Sequence[str] | None = None,
        own: Mapping[tuple[tuple[str, str], str], RecordedAnswer] | None = None,
    ) -> None:
        self._recorded, self._own = recorded, own or {}
        self._models = tuple(models if models is not None else dict.fromkeys(model for _, model in recorded))

    @property
    def models(self) -> Sequence[str]:
        """The names that can be asked."""
        return self._models

    @property
    def live(self) -> bool:
        """Whether models are called."""
        return False

    def recorded(self, question: str, key: tuple[str, str] | None = None) -> list[tuple[str, RecordedAnswer]]:
        """Return what was recorded of each model on a question, in the order of `models`.

        Args:
            question: Its text.
            key: Its data set and index, which tell it from others with the same text.
        """
        found = ((model, self._lookup(question, key, model)) for model in self._models)
        return [(model, answer) for model, answer in found if answer is not None]

    def part(self, questions: Iterable[tuple[str, tuple[str, str]]]) -> ReplayPool:
        """Return what replays the answers to some of the questions alone.

        Args:
            questions: Text and key of each.
        """
        recorded, own = {}, {}
        for text, key in questions:
            for model in self._models:
                if (text, model) in self._recorded:
                    recorded[text, model] = self._recorded[text, model]
                if (key, model) in self._own:
                    own[key, model] = self._own[key, model]
        return ReplayPool(recorded, self._models, own)

    def can_answer(self, request: Request) -> bool:
        """Whether a response to this request was recorded."""
        found = self._find(request)
        return found is not None and _error(found) is None

    async def ask(self, request: Request) -> Answer:
        """Return what was recorded; see `Pool.ask`. Role and sampling parameters change nothing."""
        model, on_text = request.model, request.on_text
        if model not in self._models:
            known = ", ".join(self._models) or "none"
            raise InputError(f"no answers of a model `{model}` are recorded; recorded are: {known}")
        found = self._find(request)
        if found is None:
            return Answer(model, "", role=request.role, error=self.NOT_RECORDED)
        error = _error(found)
        text = found.text if error is None else ""
        if on_text is not None and text:
            on_text(text)
        counted = found.prompt_tokens is not None or found.completion_tokens is not None
        return Answer(
            model=model,
            text=text,
            role=request.role,
            error=error,
            prompt_tokens=found.prompt_tokens,
            completion_tokens=found.completion_tokens,
            tokens_source="recorded" if counted else None,
            cost_usd=found.cost_usd,
            list_cost_usd=found.cost_usd,
            price_source="recorded" if found.cost_usd is not None else None,
            vector=found.vector,
        )

    def _find(self, request: Request) -> RecordedAnswer | None:
        if request.sample != 0 or len(request.messages) != 1 or request.messages[0]["role"] != "user":
            return None
        text = text_of(request.messages[0])
        if request.query not in (None, text):
            return None
        key = None if request.dataset is None or request.index is None else (request.dataset, request.index)
        return self._lookup(text, key, request.model)

    def _lookup(self, question: str, key: tuple[str, str] | None, model: str) -> RecordedAnswer | None:
        own = None if key is None else self._own.get((key, model))
        return self._recorded.get((question, model)) if own is None else own


def _error(found: RecordedAnswer) -> str | None:
    if found.error is not None:
        return found.error
    return None if found.text.strip() else "the model returned no text"
