"""What every method of answering is: a plan made without a call, then an answer by asking a pool; and who watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, Self, TypeVar, runtime_checkable

from jisi_cli.messages import NOTHING, Wanted, pictures_of
from jisi_cli.types import Answer, Message, Pool, Role, whole_characters, whole_sum

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from jisi_cli.hyperparameters import Hyperparameters
    from jisi_cli.methods.answers import GivenAnswer
    from jisi_cli.methods.context import MethodContext
    from jisi_cli.methods.decision import Decision
    from jisi_cli.models.call import CallEvent


Mode = Literal["route", "aggregate", "consensus", "fallback"]
"""How the final answer came about; `fallback` when what was decided could not be carried out."""

Aggregation = Literal["auto", "never", "always"]
"""`auto`: JiSi's adaptive switch decides. `never`: the best aggregatee answers, or with the consensus switch the
heaviest group. `always`: the top K are aggregated (t = 0)."""


@dataclass(frozen=True, slots=True)
class Query:
    """A new question.

    Attributes:
        text: What is asked.
        vector: The bank's embedder applied to `text` (d,), or to the words that a conversation is routed by.
        system: The user's own system message.
        dataset: Where a test question comes from; only methods whose name says `-oracle` may look.
        grader: The kind of answer that is wanted, where it is known.
        index: Its name within `dataset`; it tells questions with the same text apart.
        history: What was said before, in a conversation.
        turn: The last turn where it is more than words, as a `Conversation` has it.
        wanted: What is asked for besides an answer in words.
    """

    text: str
    vector: NDArray[np.floating] = field(compare=False, repr=False)
    system: str | None = None
    dataset: str | None = None
    grader: str | None = None
    index: str | None = None
    history: tuple[Message, ...] = ()
    turn: tuple[Message, ...] = ()
    wanted: Wanted = NOTHING

    def messages(self) -> list[Message]:
        """Return the conversation that puts the question to one model."""
        system: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *self.history, *(self.turn or (Message(role="user", content=self.text),))]

    @property
    def is_json(self) -> bool:
        """Whether the answer has to be JSON."""
        return self.wanted.format is not None

    def with_pictures(self, text: str) -> Message:
        """Return a message about the question, with the pictures that came with it."""
        pictures = pictures_of(self.turn[0]) if self.turn else []
        return Message(role="user", content=[{"type": "text", "text": text}, *pictures] if pictures else text)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A question's final answer and everything that led to it.

    Attributes:
        answer: The final answer; for an aggregation the aggregator's.
        mode: How it came about.
        reason: Why, in one sentence.
        calls: Every call in the order in which they ended.
        decision: What was computed; None for methods that compute nothing.
        seconds: Wall time per step.
        stopped_by_budget: Whether a call was not made because it did not fit the budget.
        references: Models whose responses an aggregation was made from, best first, where no decision names them.
        missing: What did not work besides the calls that failed, a sentence each.
        confidence: Probability that the answer is right, in [0, 1]; None for methods that do not know.
        is_json: Whether JSON was asked for, so that answers are compared as such.

    `cost_usd` is what the question cost.
    """

    answer: Answer
    mode: Mode
    reason: str
    calls: tuple[Answer, ...] = field(repr=False)
    decision: Decision | None = field(default=None, repr=False)
    seconds: dict[str, float] = field(default_factory=dict, repr=False)
    stopped_by_budget: bool = False
    references: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    confidence: float | None = None
    is_json: bool = False

    @property
    def cost_usd(self) -> float | None:
        """Dollars paid for all calls together, 0 for those from the cache; None where the cost of one is unknown."""
        return whole_sum(call.cost_usd for call in self.calls)

    @property
    def answers(self) -> tuple[GivenAnswer, ...]:
        """What each model answered to the question, the model ranked best first, and whether it is the final answer."""
        from jisi_cli.methods.answers import answers_of

        return answers_of(self)


class Listener(Protocol):
    """Told what is happening while a question is answered.

    Attributes:
        streams: Whether it shows pieces of the final answer; else the answer is asked for as a whole.
    """

    streams: bool

    def asked(self, model: str, role: Role) -> None:
        """A call has begun."""
        ...

    def answered(self, answer: Answer) -> None:
        """A call has ended, well or badly."""
        ...

    def concluded(self, words: str) -> None:
        """The answers so far have been compared; the words say what came of it."""
        ...

    def writing(self, model: str) -> None:
        """A model begins to write the final answer; what another had begun counts no more."""
        ...

    def text(self, piece: str) -> None:
        """A piece of the final answer has arrived."""
        ...


class Silent:
    """A listener that does nothing."""

    streams = False

    def asked(self, model: str, role: Role) -> None:
        """A call has begun."""

    def answered(self, answer: Answer) -> None:
        """A call has ended, well or badly."""

    def concluded(self, words: str) -> None:
        """The answers so far have been compared."""

    def writing(self, model: str) -> None:
        """A model begins to write the final answer."""

    def text(self, piece: str) -> None:
        """A piece of the final answer has arrived."""


Plan = TypeVar("Plan")


class Watcher(Listener, Protocol):
    """A listener that is also told of the requests of each call."""

    def called(self, event: CallEvent) -> None:
        """A request has gone out, waits, or goes out again."""
        ...


watcher_in_force: ContextVar[Watcher | None] = ContextVar("watcher_in_force", default=None)
"""Who watches the question that a call belongs to; the pool is shared by many questions."""


class Pieces(Silent):
    """A watcher that passes on the final answer piece by piece.

    Args:
        put: Receives each piece, on another thread.

    Attributes:
        model: Who is writing; None before anyone is.
    """

    streams = True

    def __init__(self, put: Callable[[str], None]) -> None:
        self._put, self._text = put, ""
        self.model: str | None = None

    def called(self, event: CallEvent) -> None:
        """Start over when a request is sent again."""
        if event.kind == "retry" and event.role in ("aggregator", "expert"):
            self.writing(event.model)

    def writing(self, model: str) -> None:
        """Set apart what another model, or another attempt, had begun."""
        self.model = model
        if self._text:
            self._put("\n\n")
        self._text = ""

    def text(self, piece: str) -> None:
        """Pass on a piece."""
        self._text += piece
        self._put(piece)

    def finish(self, answer: Answer) -> None:
        """Pass on the answer where something else, or nothing, was streamed."""
        if whole_characters(self._text) != answer.text:
            self.writing(answer.model)
            self.text(answer.text)


S = TypeVar("S")
"""A method's settings: a frozen dataclass, or None."""


class Method(Protocol[Plan]):
    """A way of answering with a pool of models."""

    @property
    def settings(self) -> object:
        """What it runs with, and so what is reported: a dataclass or a mapping of plain data; None without settings."""
        ...

    def plan(self, queries: Sequence[Query]) -> Iterator[Plan]:
        """Decide what can be decided without a call, for a block of queries at once, in order."""
        ...

    async def answer(self, query: Query, plan: Plan, pool: Pool, listener: Listener) -> Outcome:
        """Answer one query.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        ...


@runtime_checkable
class StagedMethod(Protocol):
    """A method that can say what it decides before a model is called, and complete the decision without an answer."""

    @property
    def hyperparameters(self) -> Hyperparameters:
        """Those of its support set and of its stages."""
        ...

    def plan(self, queries: Sequence[Query]) -> Iterator[Any]:
        """Decide what can be decided without a call, for a block of queries at once, in order."""
        ...

    def decision(self, plan: Any) -> Decision:  # noqa: ANN401 - each has plans of its own
        """Return what is decided without a call."""
        ...

    async def probe(
        self,
        query: Query,
        plan: Any,  # noqa: ANN401 - each has plans of its own
        pool: Pool,
        listener: Listener,
    ) -> tuple[Decision, tuple[Answer, ...]]:
        """Make the calls that decide, but none that only writes the answer.

        Raises:
            NoAnswerError: No model that was asked could answer.
            BudgetError: The budget stopped every call.
        """
        ...


def settings_json(method: Method[Any]) -> dict[str, Any] | None:
    """Return what a method runs with as plain data; None where it has no settings."""
    found = method.settings
    if is_dataclass(found) and not isinstance(found, type):
        return asdict(found)
    return dict(found) if isinstance(found, Mapping) else None


class ContextMethod(Generic[S]):
    """What most methods share: they are made from a context and settings, and hold these.

    Args:
        context: What the method is made from.
        settings: A frozen dataclass, or None.

    Attributes:
        settings: The settings it runs with.
        sampling: Sampling parameters of its calls.
    """

    def __init__(self, context: MethodContext, settings: S) -> None:
        self.settings = settings
        self.sampling = context.sampling()

    @classmethod
    def from_context(cls, context: MethodContext, settings: S) -> Self:
        """Make the method."""
        return cls(context, settings)
