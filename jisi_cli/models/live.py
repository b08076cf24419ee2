"""The live pool: models called through LiteLLM, behind the disk cache, the budget and the ledger."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from jisi_cli.config import ModelEntry
from jisi_cli.errors import InputError, JisiError
from jisi_cli.messages import text_of
from jisi_cli.models.cache import AnswerCache, cache_key, conversation, effective_parameters
from jisi_cli.models.call import CUT_OFF, Asker, Call, CallEvent, Course, OnEvent, Outcome
from jisi_cli.models.completion import Completion, fitted
from jisi_cli.models.json_disk import JsonCache
from jisi_cli.models.ledger import Ledger, LedgerEntry
from jisi_cli.models.limits import Budget, Limits, RateLimiter, question_budget
from jisi_cli.models.pricing import cost_of
from jisi_cli.models.retry import RetryPolicy
from jisi_cli.models.single_flight import ProcessLock, SingleFlight
from jisi_cli.spans import call_span
from jisi_cli.types import Answer, OnText, Request, record_fields

if TYPE_CHECKING:
    import random

    from jisi_cli.models.outstanding import Mark
    from jisi_cli.models.provider import LocalServers
    from jisi_cli.models.retry import Caller
    from jisi_cli.models.worst_case import WorstCases

_OURS = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "n",
        "num_retries",
        "max_retries",
        "timeout",
        "api_base",
    }
    | {"base_url", "client", "drop_params", "metadata", "caching", "cache", "fallbacks"}
)
"""Arguments of LiteLLM that a pool entry's `params` may not set, because jisi's accounts depend on them."""
_BODY = frozenset({"model", "messages", "stream", "stream_options", "n"})
"""Those of them that `extra_body` would put into a request, too."""


class MakesCalls(Protocol):
    """Makes calls within the limits, the budget and the retry policy: `models.retry.Caller`, or what stands for it."""

    async def call(self, call: Call, course: Course) -> Outcome:
        """Call a model until it answers, fails for good, or has been tried often enough."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


MakeCaller = Callable[
    [Sequence[ModelEntry], float, RateLimiter, Budget | None, RetryPolicy, Callable[[str], None] | None], MakesCalls
]
"""Makes what makes calls, of: the models, seconds per attempt, limiter, budget, retry policy, and whom to warn."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the ledger says about where calls came from.

    Attributes:
        id: Which run of jisi it is.
        command: Its command.
        label: What the user called it; None where they did not.
    """

    id: str = ""
    command: str = ""
    label: str | None = None


class Kept(NamedTuple):
    """What was kept of a call.

    Attributes:
        answer: Its answer.
        is_kept: Whether nothing would be lost with this process: the answer is on the disk, or the call brought none.
    """

    answer: Answer
    is_kept: bool


class LivePool:
    """Models that are called; an implementation of `Pool`, for one event loop.

    A model whose first call is refused for its key is not called again, or not for long.

    Close it with `await pool.close()`, or use it as an asynchronous context manager.

    Args:
        entries: The models.
        rng: Source of the jitter between attempts.
        cache: Where answers are kept; None keeps none.
        ledger: Where calls are booked; None books none.
        budget: What the calls may cost; None for no limit.
        mark: Where it is written down what calls may cost that are out and not held to a budget; None for nowhere.
        limits: How many calls may be out at one time.
        timeout: Seconds one attempt may take.
        max_retries: Attempts after the first.
        local_models: Serves the entries whose LiteLLM name begins with `local:`.
        run: What the ledger says about where the calls came from.
        use_cache: False asks again what is cached; the new answers are still stored.
        store: False keeps questions and answers out of cache and ledger.
        on_event: Receives what a live view may show.
        warn: Told, once for each model, what does not agree in a provider's figures; None to ignore it.
        refused_for: Seconds for which a model whose key was refused is not called.
        elsewhere: Makes what makes the calls in other processes; None for this one.

    Raises:
        InputError: A pool entry sets a parameter that is not its to set, or one with which no budget can hold.
    """

    def __init__(
        self,
        entries: Sequence[ModelEntry],
        *,
        rng: random.Random,
        cache: JsonCache | None = None,
        ledger: Ledger | None = None,
        budget: Budget | None = None,
        mark: Mark | None = None,
        limits: Limits | None = None,
        timeout: float = 300.0,
        max_retries: int = 3,
        local_models: LocalServers | None = None,
        run: Run | None = None,
        use_cache: bool = True,
        store: bool = True,
        on_event: OnEvent | None = None,
        warn: Callable[[str], None] | None = None,
        refused_for: float = math.inf,
        elsewhere: MakeCaller | None = None,
    ) -> None:
        _check_parameters(entries)
        if budget is not None:
            from jisi_cli.models.parameters import check_costs

            check_costs(entries)
        self._entries = {entry.name: entry for entry in entries}
        self._cache = AnswerCache(cache, read=use_cache, write=store)
        self._ledger = ledger
        self._run = run or Run()
        self._store = store
        self._mark = mark if budget is None else None
        self._local_models = local_models
        turnstile = RateLimiter(limits or Limits(), entries)
        policy = RetryPolicy(max_retries=max_retries)
        if elsewhere is None:
            elsewhere = partial(_caller, rng, local_models)
        self._make_caller = partial(elsewhere, entries, timeout, turnstile, budget, policy, warn)
        self._single_flight: SingleFlight[Answer] = SingleFlight(own=(_CutShort, JisiError))
        # As long as a call of our own may take. Where nothing is read or kept, there is nothing to wait for.
        patience = (timeout + policy.retry_after_cap) * (max_retries + 1)
        self._process_lock = ProcessLock(self._cache.shared_folder, patience)
        self._on_event = on_event or (lambda event: None)
        self._refused_for = refused_for
        self._refused: dict[str, tuple[Answer, float]] = {}
        """For each model whose first call was refused for its key, that call, and when it was."""
        self._accepted: set[str] = set()
        """Models that have answered, so that their key is good."""

    @property
    def models(self) -> Sequence[str]:
        """The names that can be asked."""
        return tuple(self._entries)

    @property
    def live(self) -> bool:
        """Whether models are called."""
        return True

    def can_answer(self, request: Request) -> bool:
        """Whether a request can be answered: every model of the pool can be called."""
        return request.model in self._entries

    async def ask(self, request: Request) -> Answer:
        """Ask one model once; see `Pool.ask`."""
        call = self.call_of(request)
        with call_span(request.model, call.entry.litellm, request.role) as span:
            answer = await fitted(await self._asked(call, request.on_text), request.wanted.format)
            span.note(_of_interest(answer))
            if answer.failed:
                span.failed("refused_key" if answer.key_refused else "failed_call")
            return answer

    async def _asked(self, call: Call, on_text: OnText | None) -> Answer:
        request = call.request
        started = time.perf_counter()
        answer = await self._cached(call, started)
        if answer is not None:
            self._book(call, answer)
        elif (refused := self._refusal(request.model)) is not None:
            return replace(refused, role=request.role, cost_usd=0.0, seconds=0.0, attempts=0)
        else:
            try:
                answer, called = await self._single_flight.join(call.key, lambda: self._alone(call))
            except _CutShort as end:
                return end.answer
            finally:
                call.asker.has_gone = True
            if called and not answer.cached:
                return answer
            # Somebody else's call brought it: as from the cache, at no further cost.
            seconds = time.perf_counter() - started
            answer = replace(answer, cost_usd=0.0, seconds=seconds, cached=answer.ok, attempts=0)
            answer = replace(answer, model=request.model, role=request.role)
            self._book(call, answer)
        if on_text is not None and answer.text:
            on_text(answer.text)
        return answer

    async def close(self) -> None:
        """Close the connections and end the local models."""
        self._process_lock.close()
        if self._ledger is not None:
            # What waits beside the file gets into it; where there is more to book, it opens again.
            self._ledger.close()
        if "_caller" in self.__dict__:
            await self._caller.close()
        if self._local_models is not None:
            await self._local_models.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @cached_property
    def _caller(self) -> MakesCalls:
        return self._make_caller()

    def call_of(self, request: Request) -> Call:
        """Return the call that a request comes to.

        Raises:
            InputError: The pool has no such model.
        """
        entry = self._entries.get(request.model)
        if entry is None:
            known = ", ".join(self._entries) or "none"
            raise InputError(f"the pool has no model `{request.model}`; its models are: {known}")
        sent = conversation(entry, request.messages)
        parameters = effective_parameters(entry, request.sampling, request.wanted)
        key = cache_key(entry, sent, parameters, request.sample)
        return Call(entry, sent, parameters, request, key, Asker(self._on_event, request.on_text))

    async def _cached(self, call: Call, started: float) -> Answer | None:
        """Return a kept answer; None where there is none, or it has not the form that was asked for."""
        completion = self._cache.get(call.key)
        if completion is None:
            return None
        answer = _answer(call, completion)
        if (await fitted(answer, call.request.wanted.format)).unfit:
            return None
        return replace(answer, cost_usd=0.0, seconds=time.perf_counter() - started, cached=True)

    async def _alone(self, call: Call) -> Answer:
        """Make a call that no other process is making, or take what the other one brought."""
        started = time.perf_counter()
        waiting = CallEvent("waiting", call.entry.name, call.request.role)
        async with self._process_lock.hold(call.key, lambda: call.asker.tell(waiting)):
            return await self._cached(call, started) or await self._paid(call)

    async def kept(self, call: Call) -> Answer | None:
        """Return the answer that the cache has to a call, without booking it; None where the call would be made."""
        return await self._cached(call, time.perf_counter())

    def keep(self, call: Call, outcome: Outcome, *, is_booked: bool = False) -> Kept:
        """Book and keep what became of a call, here or in a batch.

        Args:
            call: The call.
            outcome: What became of it.
            is_booked: Whether an earlier run has booked it, so that it costs nothing more, but could not keep it.
        """
        # Nothing here waits, so that Ctrl-C finds an answer booked and kept, or neither. Booked first: what is killed
        # in between asks again and books that, too, where an answer kept but not booked would be in no bill for ever.
        answer = _from_outcome(call, outcome) if is_booked else self._book_outcome(call, outcome)
        is_kept = True
        if outcome.completion is not None and outcome.error is None:
            is_kept = self._cache.put(call.key, outcome.completion)
        return Kept(self._with_key_noted(call, answer, outcome), is_kept)

    async def _paid(self, call: Call) -> Answer:
        course = Course()
        if self._mark is not None and question_budget.get() is None:
            course.before_attempt = partial(self._note_what_is_out, self._mark, call, course)
        try:
            outcome = await self._caller.call(call, course)
        except BaseException:
            # A provider bills what has reached it, whoever still waits for it.
            if course.may_have_cost:
                self._book_outcome(call, course.cut_off())
            course.booked()
            raise
        answer = self.keep(call, outcome).answer
        course.booked()
        if outcome.is_cut_short:
            raise _CutShort(answer)
        return answer

    def _note_what_is_out(self, mark: Mark, call: Call, course: Course) -> None:
        """Write down, before a request goes out, what it may cost, as far as that is known without waiting."""
        usd = self._worst_cases.of(call.entry, call.messages, call.parameters)
        if usd:
            mark.add(usd)
            course.until_booked.append(partial(mark.release, usd))

    @cached_property
    def _worst_cases(self) -> WorstCases:
        from jisi_cli.models.worst_case import WorstCases

        return WorstCases()

    def _with_key_noted(self, call: Call, answer: Answer, outcome: Outcome) -> Answer:
        """Remember whether a model's key is good; one whose first call it spoils is not asked again."""
        model = answer.model
        if answer.ok:
            self._accepted.add(model)
        if not outcome.key_refused or model in self._accepted:
            return answer
        answer = replace(answer, key_refused=True)
        is_news = self._refusal(model) is None
        self._refused[model] = answer, time.monotonic()
        if is_news:
            call.asker.tell(CallEvent("refused", model, answer.role, reason=answer.error))
        return answer

    def _refusal(self, model: str) -> Answer | None:
        """Return the call that was refused for a model's key; None where there is none, or it is long ago."""
        answer, moment = self._refused.get(model, (None, 0.0))
        return answer if time.monotonic() - moment < self._refused_for else None

    def _book_outcome(self, call: Call, outcome: Outcome) -> Answer:
        """Book what became of a call, and return it."""
        answer = _from_outcome(call, outcome)
        self._book(call, answer, outcome.most_cost_usd)
        return answer

    def _book(self, call: Call, answer: Answer, most_cost_usd: float | None = None) -> None:
        if self._ledger is None:
            return
        # A provider's words may quote the question.
        error = answer.error if self._store or answer.error in (None, CUT_OFF) else "failed (words not stored)"
        self._ledger.append(
            LedgerEntry(
                **record_fields(answer) | {"error": error},
                run=self._run.id,
                time=datetime.now(UTC).isoformat(timespec="milliseconds"),
                command=self._run.command,
                label=self._run.label,
                litellm=call.entry.litellm,
                dataset=call.request.dataset,
                query_hash=query_hash(_query(call)) if self._store else None,
                most_cost_usd=most_cost_usd,
            )
        )


class _CutShort(Exception):
    """A call that failed because its question may spend no more, which is no answer to others that wait for it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def _caller(
    rng: random.Random,
    local_models: LocalServers | None,
    entries: Sequence[ModelEntry],
    timeout: float,
    limiter: RateLimiter,
    budget: Budget | None,
    policy: RetryPolicy,
    warn: Callable[[str], None] | None,
) -> Caller:
    """Return what makes calls, which takes long to import: where all answers are cached it is not needed."""
    from jisi_cli.models.provider import Provider
    from jisi_cli.models.retry import Caller

    return Caller(Provider(timeout, local_models), limiter, budget, policy, rng, warn)


def _query(call: Call) -> str:
    if call.request.query is not None:
        return call.request.query
    return text_of(call.messages[-1]) if call.messages else ""


def query_hash(query: str) -> str:
    """Return the hash under which the ledger knows a question: SHA-256 of its UTF-8, in hexadecimal."""
    return hashlib.sha256(query.encode("utf-8", "surrogatepass")).hexdigest()


def _answer(call: Call, completion: Completion) -> Answer:
    price = cost_of(call.entry, completion)
    return Answer(
        model=call.entry.name,
        text=completion.text,
        role=call.request.role,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        tokens_source=completion.tokens_source,
        list_cost_usd=price.usd,
        price_source=price.source,
        perplexity=completion.perplexity,
        finish_reason=completion.finish_reason,
        tool_calls=completion.tool_calls,
        cached_prompt_tokens=completion.cached_tokens,
    )


def _from_outcome(call: Call, outcome: Outcome) -> Answer:
    completion = outcome.completion
    none = Answer(call.entry.name, "", role=call.request.role)
    answer = none if completion is None else _answer(call, completion)
    # Blank text counts as none, and a failed call has none.
    if outcome.error is not None:
        answer = replace(answer, text="", tool_calls=())
    return replace(
        answer,
        error=outcome.error,
        cost_usd=outcome.cost_usd,
        seconds=outcome.seconds,
        attempts=outcome.attempts,
    )


def _of_interest(answer: Answer) -> dict[str, object]:
    """Return what a span says of a call."""
    return {
        "gen_ai.usage.input_tokens": answer.prompt_tokens,
        "gen_ai.usage.output_tokens": answer.completion_tokens,
        "gen_ai.response.finish_reasons": None if answer.finish_reason is None else [answer.finish_reason],
        "jisi.cached": answer.cached,
        "jisi.attempts": answer.attempts,
        "jisi.cost_usd": answer.cost_usd,
    }


def _check_parameters(entries: Sequence[ModelEntry]) -> None:
    for entry in entries:
        extra = entry.params.get("extra_body")
        taken = sorted(_OURS & set(entry.params)) + sorted(_BODY & set(extra if isinstance(extra, Mapping) else ()))
        if taken:
            raise InputError(f"model `{entry.name}`: `params` cannot set `{taken[0]}`; remove it from the pool file")
