"""The words that every room shares: what is asked of a model, what comes back, and what its numbers may be."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard

from jisi_cli.messages import NOTHING, ToolCall, Wanted
from jisi_cli.messages import Message as Message

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# What a number of tokens or dollars can be: anything larger is a mistake or a trap, and would end in infinite sums.
#
# Every reader of such numbers, of recorded answers, banks, pool files, results and the ledger, asks here.


MOST_TOKENS = 2**31 - 1
"""Tokens of one answer."""
MOST_DOLLARS = 1_000_000
"""Dollars of one answer."""
LARGEST_SEED = 2**32 - 1
"""What NumPy's older generators take, and with them the paper's split and scikit-learn."""
DEAREST = 10**12
"""Dollars for a million tokens, at which a million dollars buy one."""


def is_tokens(value: object) -> TypeGuard[int]:
    """Whether a value can be a number of tokens: whole, and not negative."""
    return type(value) is int and 0 <= value <= MOST_TOKENS


def is_dollars(value: object) -> TypeGuard[float]:
    """Whether a value can be the dollars of an answer: a number, and not negative."""
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value <= MOST_DOLLARS


def is_price(value: object) -> TypeGuard[float]:
    """Whether a value can be the price of a million tokens in dollars."""
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value < DEAREST


def format_dollars(value: float) -> str:
    """Return dollars for people, as everywhere in jisi: three significant digits, in whole cents from a dollar on."""
    if value == 0:
        return "$0"
    if value >= 1:
        return f"${value:,.2f}"
    from decimal import Decimal

    return f"${Decimal(f'{value:.2e}'):f}"  # rounded first: 0.9999 is 1.00


# Why a response ended, in the words of many providers: whether it is whole.


CutOff = Literal["length", "content_filter"]
"""What ended a response before its own end: the longest answer that was allowed, or a filter."""

_LENGTH = frozenset(
    {
        *("length", "max_tokens", "max_output_tokens", "max_completion_tokens", "max_length", "model_length"),
        *("token_limit", "truncated", "continuation", "context_length_exceeded", "model_context_window_exceeded"),
        *("incomplete", "compaction", "pause_turn"),
    }
)
_FILTERED = frozenset(
    {
        *("content_filter", "content_filtered", "content_policy", "filtered", "safety", "refusal", "recitation"),
        *("blocklist", "prohibited_content", "spii", "language", "image_safety", "sensitive", "error_toxic"),
        *("guardrail_intervened", "guardrails", "moderation"),
    }
)


def cut_off(finish_reason: str | None) -> CutOff | None:
    """Return what cut a response off; None where it is whole, or nothing says otherwise.

    Args:
        finish_reason: Why it ended, in the provider's word; None when it did not say.
    """
    word = (finish_reason or "").strip().lower()
    if word in _LENGTH:
        return "length"
    return "content_filter" if word in _FILTERED else None


def cut_off_words(found: CutOff) -> str:
    """Return how a response was cut off, in words."""
    return "at its longest length (`max_tokens`)" if found == "length" else "by the provider's content filter"


# What is asked of a model, what comes back, and the seam through which every method asks.


Role = Literal["probe", "expert", "aggregator", "judge", "embedding"]
"""Why a call was made: `probe` for a stage-1 candidate, `expert` for any other answer that was wanted."""

TokensSource = Literal["provider", "counted", "recorded"]
PriceSource = Literal["provider", "pool", "litellm", "recorded"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters of one call; the defaults are the paper's (§4.1).

    `logprobs` asks for the log-probabilities of the response's tokens, where the provider gives them.
    """

    temperature: float = 0.2
    top_p: float = 1.0
    max_tokens: int | None = None
    logprobs: bool = False


def whole_sum(amounts: Iterable[float | None]) -> float | None:
    """Return a sum; None when one of its parts is unknown."""
    parts = list(amounts)
    known = [part for part in parts if part is not None]
    return math.fsum(known) if len(known) == len(parts) else None


@dataclass(slots=True)
class Spending:
    """What several calls have cost so far.

    Attributes:
        calls: How many there were, those from the cache included.
        known_usd: Dollars paid, as far as they are known.
        unknown_costs: Calls whose cost is unknown.
    """

    calls: int = 0
    known_usd: float = 0.0
    unknown_costs: int = 0

    @property
    def cost_usd(self) -> float | None:
        """Dollars paid; None when the cost of a call is unknown."""
        return None if self.unknown_costs else self.known_usd

    def add(self, call: CallRecord) -> None:
        """Add one call."""
        self.calls += 1
        if call.cost_usd is None:
            self.unknown_costs += 1
        else:
            self.known_usd += call.cost_usd


OnText = Callable[[str], None]
"""Called with each piece of a streamed response, as it arrives."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a model: what is sent, why, and for which question.

    Attributes:
        model: The pool's name of the model.
        messages: The conversation.
        role: Why the call is made.
        sampling: Parameters of this call; the model's own from the pool file win.
        sample: Which of several answers to the same messages (part of the cache key).
        on_text: Receives the response piece by piece; the whole at once where nothing streams.
        query: The question that the call serves; None when it is the last message.
        dataset: The data set of that question; None when it has none.
        index: Its name within the data set; None when it has none.
        wanted: What the question asks for besides an answer in words.
    """

    model: str
    messages: Sequence[Message]
    role: Role
    sampling: Sampling = field(default_factory=Sampling)
    sample: int = 0
    on_text: OnText | None = field(default=None, compare=False, repr=False)
    query: str | None = None
    dataset: str | None = None
    index: str | None = None
    wanted: Wanted = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call. Unknown is None, never 0.

    Attributes:
        prompt_tokens: Tokens of the prompt.
        completion_tokens: Tokens of the response, reasoning included.
        tokens_source: Who counted the tokens.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tokens_source: TokensSource | None = None


@dataclass(frozen=True, slots=True)
class CallRecord(Usage):
    """What one call took. Unknown is None, never 0.

    Attributes:
        model: The pool's name of the model.
        role: Why the call was made.
        cost_usd: Dollars paid, retries included; 0 when cached.
        list_cost_usd: Dollars it costs when nothing is cached.
        price_source: Where the price came from.
        seconds: Wall time, retries included.
        cached: Whether it came from the cache, or from a recording.
        attempts: How often it was tried; 0 when cached.
        error: Why there is no response, in one line; None when there is one.
    """

    model: str
    _: KW_ONLY
    role: Role = "expert"
    cost_usd: float | None = None
    list_cost_usd: float | None = None
    price_source: PriceSource | None = None
    seconds: float = 0.0
    cached: bool = False
    attempts: int = 0
    error: str | None = None

    @property
    def failed(self) -> bool:
        """Whether there is no response."""
        return self.error is not None


def record_fields(call: CallRecord) -> dict[str, Any]:
    """Return the fields of a record by name, to make another kind of record of the same call."""
    return {field.name: getattr(call, field.name) for field in fields(CallRecord)}


@dataclass(frozen=True, slots=True)
class Answer(CallRecord):
    """What a model answered to one request. A call that failed has an `error` and no text.

    Attributes:
        text: The response; empty when the call failed or the model returned nothing.
        perplexity: Of the response under its own model, at least 1; None where no log-probabilities came.
        vector: The response's unit vector (d,) where one was recorded; else None.
        finish_reason: Why the response ended, in the provider's word; None when it did not say.
        key_refused: Whether the model is not asked in this run, because its key is missing or was refused at once.
        tool_calls: The user's tools that the model asks to be called, with or without a text.
        unfit: Whether it failed because its response does not have the form that was asked for.
        cached_prompt_tokens: Tokens of the prompt that the provider had in its own cache, at a price of their own; 0
            where it reports none.
    """

    text: str
    _: KW_ONLY
    perplexity: float | None = None
    vector: NDArray[np.floating] | None = field(default=None, compare=False, repr=False)
    finish_reason: str | None = None
    key_refused: bool = False
    tool_calls: tuple[ToolCall, ...] = ()
    unfit: bool = False
    cached_prompt_tokens: int = 0

    @property
    def cut_off(self) -> CutOff | None:
        """What ended the response before its own end; None where it is whole."""
        return cut_off(self.finish_reason) if self.ok else None

    @property
    def ok(self) -> bool:
        """Whether there is a response to read, or a tool to be called."""
        return self.error is None and bool(self.text.strip() or self.tool_calls)


def whole_characters(text: str) -> str:
    """Return a text with U+FFFD for each half of a character (a lone surrogate).

    JSON can hold halves and models do emit them, but no file, terminal or request can.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Pool(Protocol):
    """Models that can be asked: live through LiteLLM, cached, or replayed from recorded answers.

    A method asks a pool and does not know which kind it is.
    """

    @property
    def models(self) -> Sequence[str]:
        """The names that can be asked."""
        ...

    @property
    def live(self) -> bool:
        """Whether models are called; in a replay every answer, and so its score, is recorded."""
        ...

    def can_answer(self, request: Request) -> bool:
        """Whether a request can be answered: in a live pool by every model of it, in a replay when it was recorded."""
        ...

    async def ask(self, request: Request) -> Answer:
        """Ask one model once.

        A provider's failure is an `Answer` with an `error`, so that one dead model cannot end a
        question that others can answer.

        Raises:
            BudgetError: The call does not fit what is left of the budget.
            InputError: The pool has no such model.
        """
        ...


# Fences around text from elsewhere in a prompt, which no such text can forge.


def fence_tag(question: str, responses: Sequence[str]) -> str:
    """Return a tag that is found in none of the texts, always the same for the same texts."""
    texts = [question, *responses]
    digest = hashlib.sha256("\x00".join(texts).encode("utf-8", "surrogatepass"))
    while True:
        tag = f"response-{digest.hexdigest()[:8]}"
        if not any(tag in text for text in texts):
            return tag
        digest.update(b"again")
