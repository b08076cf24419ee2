"""The facade: a bank, its embedder, a pool of models and a method, opened on first use, that answer as one.

The commands and the library are built on it, so that the same options mean the same everywhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, cast, get_args, overload

import numpy as np

from jisi_cli.answer_format import format_of
from jisi_cli.background import CLOSED
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.no_bank import NoBank
from jisi_cli.config import Config, Price, bank_in_force, find_bank, read_prices
from jisi_cli.conversation import Asked, Conversation, as_conversation
from jisi_cli.embed.protocol import Embedder, LazyEmbedder
from jisi_cli.errors import BankError, InputError, NoAnswerError
from jisi_cli.formats.record import Failed, failed_reading
from jisi_cli.hyperparameters import OWN_DEFAULTS, of_jisi, stated_options
from jisi_cli.messages import NOTHING, Wanted
from jisi_cli.methods.calls import Panel
from jisi_cli.methods.context import BankRows, MethodContext
from jisi_cli.methods.familiar import FamiliarCoarse
from jisi_cli.methods.protocol import (
    Aggregation,
    Listener,
    Method,
    Outcome,
    Query,
    Silent,
    StagedMethod,
    settings_json,
)
from jisi_cli.methods.registry import make_method, method_info
from jisi_cli.methods.router import Router
from jisi_cli.methods.tool_calling import Callers, answer_by_one
from jisi_cli.methods.training import Training
from jisi_cli.paths import cache_folder
from jisi_cli.spans import question_span
from jisi_cli.spending import (
    RunAccount,
    amount,
    endpoint_address,
    endpoint_entry,
    offer_the_offline_pool,
    require_models,
)
from jisi_cli.suggest import did_you_mean
from jisi_cli.tools import read_tools
from jisi_cli.types import Answer, whole_characters, whole_sum
from jisi_cli.user import EmbedderChoice, Log, User, read_config, require_consent

if TYPE_CHECKING:
    from jisi_cli.hyperparameters import Hyperparameters
    from jisi_cli.methods.decision import Decision, ExpectedUsage
    from jisi_cli.methods.rankings import Ranking
    from jisi_cli.models.call import CallEvent
    from jisi_cli.models.live import LivePool
    from jisi_cli.scoring import BankArrays

Calls = Literal["required", "preferred", "ignored"]
"""Whether models must be in the pool file: `required` where they are sure to be called; `preferred` where the pool
decides if it shares a model with the bank; `ignored` for replays."""

_MODES: dict[str, Aggregation | None] = {"auto": None, "route": "never", "aggregate": "always"}
_WITHOUT_BANK = "pool-order"
"""What the method is called where there is no bank."""
_NO_WORDS = "a picture without words cannot be compared with the bank's questions"
_BLOCK = 256
"""Questions that are routed at once."""
_REFUSED_FOR = 300.0
"""Seconds until a model is asked again whose key was refused: a server lives long, and some refusals pass."""


class Watcher(Listener, Protocol):
    """A listener that hears of the requests behind each call, too."""

    def called(self, event: CallEvent) -> None:
        """A request has gone out, waits, or goes out again."""
        ...


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
"""Who watches the question that a call belongs to; the pool is shared by many questions."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A question as far as it is decided without a call; without a vector, `failure` says why it has none.

    `by` are those who answer it: a part of the pool where not every model can.
    """

    by: Jisi
    asked: Conversation
    query: Query
    plan: object
    seconds: dict[str, float]
    failure: str | None = None


@dataclass(slots=True)
class _Shared:
    """What is opened once for all that `with_changes` makes of one pool, and for the part of it that can call tools."""

    models: tuple[str, ...]
    pool: LivePool | None = None
    callers: Callers = field(default_factory=Callers)


class Jisi:
    """A pool of models that answers as one.

    Use it as a context manager, or close it. It may be used from several threads and beside a running event loop: calls
    are made on a thread of its own. It prints nothing; what it has to say goes to `user`, by default Python's logging
    under the name `jisi_cli`.

    Example:
        >>> import jisi_cli as jisi
        >>> with jisi.open(config="sample_data/jisi.toml") as pool:
        ...     print(pool.ask("What is 17 * 23?").answer.text)

    Args:
        bank: The bank or its folder; else `JISI_BANK`, else `bank` in the pool file. Without any, the pool file's order
            stands in for a ranking, and `jisi` asks the first K models (see `methods.pool_order`).
        config: The pool file; else `JISI_CONFIG`, `./jisi.toml`, one in a folder above, the user's own.
        method: Who answers, and how; see `jisi eval --list-methods`. None where several are compared, by `evaluate`.
        mode: Of `jisi` and `jisi-cascade`: `auto` decides; `route` never aggregates, and `aggregate` always (`jisi`).
        models: Only these models; None for all.
        embedder: The bank's embedder, where only the bank names it.
        trust_embedder: Allow the embedder that the bank names, until its files change.
        failed: What failed and empty answers count: `wrong` or `unscored`; None as the bank says.
        temperature: Sampling temperature of every call; None for the method's own.
        max_tokens: Length of an answer at most.
        prices: List prices by model, or a file of them, where no dollars were recorded.
        seed: Seed of everything random.
        unlike: What becomes of a question that resembles nothing in the bank: `bank` ranks the models by the whole
            bank, `ignore` takes it like any other; None for `bank`, but `ignore` with `compat="openjisi"`. Methods
            without a support set, and comparisons by `evaluate`, take all questions alike.
        calls: Whether models must be in the pool file.
        max_cost: Dollars at most for everything that is asked through this object.
        max_cost_per_day: Dollars at most for everything that is asked in a day, by this and by other programs.
        timeout: Seconds per call.
        concurrency: Calls at one time.
        use_cache: Whether cached answers may be used.
        store: False keeps questions and answers out of the cache and the ledger.
        user: Told and asked in the course of a run.
        command: What the ledger calls the run.
        label: What you call the run, in the ledger and in `jisi cost --by label`.
        **settings: Hyperparameters of JiSi, as `k=5` or `switch="consensus"`, and settings of `jisi-cascade`, as
            `tau=0.9`; they win over the pool file's [routing], and that over the bank's.

    Raises:
        InputError: The configuration, the method or a setting cannot be used, or no bank was named.
        BankError: The bank cannot be opened.

    Attributes:
        stated: The settings that were given here.
    """

    def __init__(
        self,
        bank: Bank | Path | str | None = None,
        config: Path | str | None = None,
        *,
        method: str | None = "jisi",
        mode: str = "auto",
        models: Sequence[str] | str | None = None,
        embedder: str | None = None,
        trust_embedder: bool = False,
        failed: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        prices: Mapping[str, Price] | Path | str | None = None,
        seed: int = 42,
        unlike: str | None = None,
        calls: Calls = "preferred",
        max_cost: float | None = None,
        max_cost_per_day: float | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
        use_cache: bool = True,
        store: bool = True,
        user: User | None = None,
        command: str = "library",
        label: str | None = None,
        **settings: Any,  # noqa: ANN401 - each is checked by its name
    ) -> None:
        self.user: User = user or Log()
        self.method = method or "jisi"
        if method is not None:
            _check_method(method, mode, settings)
        _check_whole("max_tokens", max_tokens)
        _check_whole("concurrency", concurrency)
        _check_whole("seed", seed, least=0)
        if unlike not in (None, "bank", "ignore"):
            raise InputError(f"--unlike takes bank or ignore, not {unlike!r}")
        if calls not in get_args(Calls):
            raise InputError(f"calls must be one of {', '.join(get_args(Calls))}, not {calls!r}")
        self.config: Config = read_config(None if config is None else Path(config), self.user)
        if not isinstance(bank, Bank):
            asks = method is not None and calls != "ignored"
            bank = self._found_bank(None if bank is None else Path(bank), failed_reading(failed), may_lack=asks)
        self.bank = bank
        self._settle(settings)
        self._unlike = unlike
        self.models = self._models((models,) if isinstance(models, str) else models, calls)
        self.account = RunAccount(
            self.config,
            command,
            self.user,
            timeout=timeout,
            max_cost=max_cost,
            max_cost_per_day=max_cost_per_day,
            concurrency=concurrency,
            use_cache=use_cache,
            store=store,
            label=label,
        )
        if calls == "required":
            # Asked before anything is under way; the pool itself asks nobody twice.
            self.account.require_consent(self.models)
        self._choice = EmbedderChoice(embedder, trust_embedder)
        self._aggregation, self._max_tokens = _MODES[mode], max_tokens
        self._temperature = None if temperature is None else amount(temperature, "--temperature")
        self._prices = read_prices(Path(prices)) if isinstance(prices, Path | str) else dict(prices or {})
        self.seed = seed
        self._shared = _Shared(self.models)
        self._parts: dict[tuple[object, ...], Jisi] = {}
        self._made: Method[Any] | None = None
        self._opening = RLock()
        """Held while the method is made, or plans."""
        self._sharing = RLock()
        """Held while something is opened that all that `with_changes` makes share."""

    def _settle(self, settings: Mapping[str, Any]) -> None:
        """Decide what the method runs with: options win over the pool file, and that over the bank."""
        stated = ((self.config.routing, f"{self.config.path} [routing]"), (settings, "options"))
        self.hyperparameters: Hyperparameters = in_force(self.bank, self.method, *stated)
        own = [name for name in self.bank.own_settings if name in OWN_DEFAULTS]
        self._own = {name: in_force(self.bank, name, *stated) for name in own}
        self.stated = settings
        self._options = stated_options((self.bank.cascade_options(), "the bank"), *stated)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, end local models, and write what is still to be booked."""
        if self._shared.pool is not None and self.account.background.is_own_process:
            self.account.background.run(self._shared.pool.close())
            self._shared.pool = None
        self.account.close()

    def with_changes(
        self,
        method: str | None = None,
        mode: str = "auto",
        *,
        temperature: float | None = None,
        max_tokens: int | None = None,
        **settings: Any,  # noqa: ANN401 - each is checked by its name
    ) -> Jisi:
        """Return one that answers in another way, with the same bank, embedder, connections, budget and ledger.

        Close the one it came from, not this one. Nothing is opened a second time.

        Args:
            method: Who answers, and how; None for the same as here.
            mode: See `Jisi`.
            temperature: Sampling temperature of every call; None for the same as here.
            max_tokens: Length of an answer at most; None for the same as here.
            **settings: Settings that change; see `Jisi`.

        Raises:
            InputError: The method or a setting cannot be used.
        """
        chosen, has_bank = method or self.method, not isinstance(self.bank, NoBank)
        if has_bank or chosen.startswith("model:"):
            _check_method(chosen, mode, settings)
        elif chosen != self.method or mode not in _MODES:
            raise InputError(f"`{chosen}` with mode `{mode}` needs a bank, and none was named")
        _check_whole("max_tokens", max_tokens)
        with self._sharing:
            _ = self.arrays, self.prices, has_bank and self.query_embedder  # what both are to share
            found = copy(self)
        # Its method is made anew, which may take long, and nobody who asks in another way is to wait for it.
        found._parts, found._made, found._opening = {}, None, RLock()
        found.__dict__.pop("context", None)
        found.method, found._aggregation = chosen, _MODES[mode]
        found._settle({**self.stated, **settings})
        if temperature is not None:
            found._temperature = amount(temperature, "temperature")
        if max_tokens is not None:
            found._max_tokens = max_tokens
        return found

    def warm_up(self) -> None:
        """Open now what the first question would wait for: bank, embedder, method, and the library that calls models.

        Raises:
            InputError: The method, the embedder or the pool cannot be used.
            BankError: The bank cannot be read, or its embedder is not the one that is here.
        """
        self._require_pool()
        with self._sharing:
            _ = isinstance(self.bank, NoBank) or self._is_one_model or self.query_embedder
        _ = self.made
        from jisi_cli.models.litellm_client import load_litellm

        load_litellm()

    # Asking.

    def ask(
        self,
        text: Asked,
        system: str | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        schema: Mapping[str, Any] | None = None,
        max_cost: float | None = None,
        watcher: Watcher | None = None,
    ) -> Outcome:
        """Answer a question.

        Args:
            text: The question, or a conversation as messages in OpenAI's shape, whose last turn is the question. The
                models get all of it; who is asked is decided by the last turn alone, or with the user's turn before
                it where it has fewer than eight words.
            system: A system message for every model.
            tools: Functions, in OpenAI's shape, that the model may ask you to call (`outcome.answer.tool_calls`). One
                model answers then, the best that can call tools. Ask again with its message and the results behind the
                others, and the same model goes on.
            schema: A JSON schema that the answer must fit. Every model is asked for it; an answer that does not fit
                counts as none.
            max_cost: Dollars that the models may cost at most for this question, within what all may cost together.
            watcher: Told what happens meanwhile, on another thread.

        Returns:
            The answer (`outcome.answer.text`) and all that led to it.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
            InputError: The embedder, the method or the pool cannot be used.
            BankError: The bank's embedder is not the one that is here, or the user has no say in it.
        """
        prepared = self._prepare(text, system, _wanted(tools, schema))
        with self.answering():
            return self.account.background.run(self._answer(prepared, watcher, max_cost))

    async def aask(
        self,
        text: Asked,
        system: str | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        schema: Mapping[str, Any] | None = None,
        max_cost: float | None = None,
        watcher: Watcher | None = None,
    ) -> Outcome:
        """Answer a question without holding up the caller's event loop; see `ask`."""
        prepared = await asyncio.to_thread(self._prepare, text, system, _wanted(tools, schema))
        with self.answering():
            return await self.account.background.arun(self._answer(prepared, watcher, max_cost))

    def stream(
        self, text: Asked, system: str | None = None, *, ended: Callable[[Outcome], object] | None = None
    ) -> Generator[str, None, None]:
        """Yield the answer piece by piece, as it arrives; see `ask`.

        Where a model breaks off and another begins anew, an empty line stands between the two.

        Args:
            text: The question, or a conversation.
            system: A system message for every model.
            ended: Called with all that led to the answer, once it is whole.
        """
        pieces: SimpleQueue[str | None] = SimpleQueue()
        prepared = self._prepare(text, system)
        future = self.account.background.submit(self._streamed(prepared, pieces.put))
        future.add_done_callback(lambda _: pieces.put(None))
        try:
            while (piece := pieces.get()) is not None:
                yield piece
            with self.answering():
                outcome = future.result()
            if ended is not None:
                ended(outcome)
        finally:
            if not sys.is_finalizing():  # then what a cancelled call would be told by is gone
                future.cancel()

    async def astream(
        self, text: Asked, system: str | None = None, *, ended: Callable[[Outcome], object] | None = None
    ) -> AsyncIterator[str]:
        """Yield the answer piece by piece in the caller's event loop; see `stream`."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()

        def put(piece: str | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        prepared = await asyncio.to_thread(self._prepare, text, system)
        future = self.account.background.submit(self._streamed(prepared, put))
        future.add_done_callback(lambda _: put(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            with self.answering():
                outcome = future.result()
            if ended is not None:
                ended(outcome)
        finally:
            future.cancel()

    @property
    def settings(self) -> dict[str, Any] | None:
        """What the method runs with, as plain data; None where it has no settings.

        `failed` is in it where failed answers do not count as wrong.
        """
        return self.with_failed(settings_json(self.made))

    @property
    def asked(self) -> list[object]:
        """What decides the answers of the models in use, as it decides whether a cached answer is theirs."""
        entries = [entry for entry in self.config.models if entry.name in self.models]
        return [(entry.name, entry.litellm, entry.api_base, entry.system, dict(entry.params)) for entry in entries]

    @property
    def identity(self) -> tuple[object, ...]:
        """What decides an answer besides the question: method, settings, models, bank, sampling."""
        rows = hashlib.sha256(self.bank.train_rows.astype(np.int64).tobytes()).hexdigest()
        parts = [part.sha256 for part in self.bank.manifest.parts()]
        sampling = (self._temperature, self._max_tokens, self._aggregation, self._unlike, self.seed)
        return (self.method, self.settings, self.asked, parts, rows, sampling)

    def with_failed(self, settings: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return settings with what failed answers of the bank count, where that is not as always."""
        return settings if settings is None or self.bank.failed == "wrong" else {**settings, "failed": self.bank.failed}

    # Routing.

    @overload
    def route(self, text: str, *, probe: bool = False, listener: Listener | None = None) -> Decision: ...

    @overload
    def route(self, text: list[str], *, probe: bool = False, listener: Listener | None = None) -> list[Decision]: ...

    def route(
        self, text: str | list[str], *, probe: bool = False, listener: Listener | None = None
    ) -> Decision | list[Decision]:
        """Decide who would answer a question, or each of several.

        Args:
            text: The question or questions.
            probe: Call the candidates and complete the decision, without the aggregator; else no model is called.
            listener: Told of the candidates' calls, on another thread.

        Raises:
            InputError: A question is empty, the method does not decide by JiSi's stages, or the embedder or the pool
                cannot be used.
            NoAnswerError: The question cannot be embedded, or no candidate answered.
            BudgetError: The budget stopped every candidate.
        """
        if isinstance(text, str):
            return next(self.decisions([text], probe=probe, listener=listener))
        return list(self.decisions(text, probe=probe, listener=listener))

    def decisions(
        self, texts: Sequence[str], *, probe: bool = False, listener: Listener | None = None
    ) -> Iterator[Decision]:
        """Yield the decision on each of many questions, in their order; see `route`."""
        if not all(text.strip() for text in texts):
            raise InputError("a question is empty; ask in words")
        method = self.staged
        if probe:
            self._require_pool()
        for start in range(0, len(texts), _BLOCK):
            queries = self.queries(texts[start : start + _BLOCK])
            with self._opening:
                plans = list(method.plan(queries))
            for query, plan in zip(queries, plans, strict=True):
                if probe:
                    with self.answering():
                        found = self.account.background.run(self._probe(method, query, plan, listener or Silent()))
                    yield found
                else:
                    yield method.decision(plan)

    def explain(self, text: str, decision: Decision, *, neighbours: int = 0) -> dict[str, Any]:
        """Return a decision as plain data: scores, what a call of each model may be expected to use, and settings.

        Args:
            text: The question.
            decision: What was decided.
            neighbours: How many support queries to list, the nearest first, with who solved them.
        """
        data = decision.to_json(neighbours, self.describe if neighbours else None)
        for row in data["models"]:
            usage = self.expected_usage(row["model"], decision)
            row["expected_completion_tokens"], row["expected_cost_usd"] = usage.completion_tokens, usage.cost_usd
        calls = decision.calls
        probes = [{"model": call.model, "error": call.error, "tokens": call.completion_tokens} for call in calls]
        answers = [given.to_json() for given in decision.answers]
        return {"query": text, **data, "answers": answers, "probes": probes, "settings": self.settings}

    def expected_usage(self, model: str, decision: Decision) -> ExpectedUsage:
        """Estimate tokens and dollars of one call of a model from what it used on the support set."""
        from jisi_cli.methods.decision import expected_usage

        return expected_usage(self.bank, model, decision.coarse, self.prices.get(model))

    def describe(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """Say of some train rows what they are and which models solved them."""
        rows = self.bank.train_rows[np.array(places, dtype=np.intp)]
        order = np.argsort(rows)
        found = dict(zip(rows[order].tolist(), self.bank.some_questions(rows[order]), strict=True))
        return [
            {
                "dataset": found[row].dataset,
                "index": found[row].index,
                "query": found[row].query,
                "solved_by": self._solvers(place),
            }
            for row, place in zip(rows.tolist(), places, strict=True)
        ]

    # Opened on first use.

    @property
    def made(self) -> Method[Any]:
        """The method, made from the bank's train rows; some train first.

        Raises:
            InputError: It cannot be made from this bank.
        """
        if self._made is None:  # without the lock: the thread of calls, which comes here, too, must not wait
            with self._opening:
                if self._made is None:
                    self._made = self._make()
        return self._made

    def _make(self) -> Method[Any]:
        if self.method == _WITHOUT_BANK:
            from jisi_cli.methods.pool_order import PoolOrder

            return PoolOrder.of_context(self.context, self.stated)
        trains = method_info(self.method).trains
        with self.user.training(self.method) if trains else nullcontext() as on_step:
            context = replace(self.context, training=Training(on_step))
            if (self._unlike or ("bank" if self.hyperparameters.compat == "paper" else "ignore")) == "bank":
                context = replace(context, coarse=FamiliarCoarse(self.bank, self.arrays))
            made = make_method(self.method, context)
        if context.training.chosen is not None:
            # What was asked for is answered; what a file asks for is told whom it interests.
            tell = self.user.note if self.stated.get("mean_calls") else self.user.detail
            tell(f"{self.method}: {context.training.chosen}")
        return made

    @property
    def staged(self) -> StagedMethod:
        """The method, which can say what it decides before it answers.

        Raises:
            InputError: It cannot.
        """
        if not isinstance(self.made, StagedMethod):
            raise InputError(f"`{self.method}` does not decide by JiSi's stages; route with jisi, or ask")
        return self.made

    @cached_property
    def context(self) -> MethodContext:
        """What methods are made from: train data only."""
        return MethodContext(
            bank=self.arrays,
            rows=BankRows(self.bank, self.models, self.prices),
            embedder=LazyEmbedder(self.bank.manifest.embedder, lambda: self.embedder),
            hyperparameters=self.hyperparameters,
            aggregation=self._aggregation,
            seed=self.seed,
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            options=self._options,
            own=self._own,
        )

    @cached_property
    def arrays(self) -> BankArrays:
        """The bank's arrays for the models in use."""
        return self.bank.arrays(self.models)

    @cached_property
    def prices(self) -> dict[str, Price]:
        """List prices by model: those that were given, else the pool file's."""
        return {**{entry.name: entry.price for entry in self.config.models if entry.price is not None}, **self._prices}

    @cached_property
    def embedder(self) -> Embedder:
        """The bank's own embedder.

        Raises:
            BankError: The configuration names another one, only the bank names this one, or this machine has another
                revision of it.
            InputError: It is not installed, or cannot be fetched.
        """
        from jisi_cli.embed.registry import PinError, load_embedder

        spec = self._choice.allowed(self.bank.path, self.bank.manifest.embedder, self.config)
        entry = endpoint_entry(spec, self.config)
        try:
            if entry is None:
                return load_embedder(spec)
            require_consent(self.config, [entry], self.user)
            account = self.account.embedding_account(entry)
            # Vectors that are paid for are kept, those of responses too: a cached answer is to cost nothing.
            return self._cached(
                load_embedder(spec, api_base=entry.api_base, api_key_env=entry.api_key_env, account=account),
                endpoint_address(entry),
            )
        except PinError as error:
            raise BankError(
                f"{self.bank.path}: {error}; install that one, or build the bank again with --force"
            ) from error

    @cached_property
    def query_embedder(self) -> Embedder:
        """The same embedder behind a cache on disk, for questions, which come again."""
        from jisi_cli.embed.vector_cache import CachedEmbedder

        return self.embedder if isinstance(self.embedder, CachedEmbedder) else self._cached(self.embedder)

    def queries(self, texts: Sequence[str]) -> list[Query]:
        """Embed new questions, unless there is nothing to compare their vectors with: no bank, or one model by name."""
        if isinstance(self.bank, NoBank) or self._is_one_model:
            return [Query(text, np.zeros(0, np.float32)) for text in texts]
        with self._sharing:
            embedder = self.query_embedder
        vectors = embedder.embed(list(texts))
        return [Query(text, vector) for text, vector in zip(texts, vectors, strict=True)]

    @property
    def _is_one_model(self) -> bool:
        return self.method.startswith("model:")

    def _cached(self, embedder: Embedder, address: Mapping[str, str] | None = None) -> Embedder:
        from jisi_cli.embed.vector_cache import cache_vectors

        if not self.account.store:
            return embedder
        return cache_vectors(embedder, cache_folder() / "vectors", warn=self.user.warn, address=address)

    def _found_bank(self, named: Path | None, failed: Failed | None, *, may_lack: bool) -> Bank:
        """Return the bank in force; where there is none and it may be lacking, what stands in for it.

        Raises:
            InputError: There is none, and no pool that could answer without, or the method cannot.
            BankError: It cannot be opened.
        """
        path = find_bank(named, self.config)
        if path is not None or not may_lack:
            return Bank(bank_in_force(named, self.config), failed)
        require_models(self.config)
        if self.method != "jisi":
            raise InputError(
                f"--method {self.method} ranks by a bank, and none was named; leave it out to ask in the order of the "
                "pool file, or name one: --bank PATH, JISI_BANK, or bank in jisi.toml"
            )
        self.method = _WITHOUT_BANK
        self.user.note(
            f"note: without a bank, models are asked in the order of {self.config.path}; jisi bank build --starter "
            "--call -o my-bank makes one, which ranks them by what each is good at"
        )
        return NoBank([entry.name for entry in self.config.models])

    def _models(self, wanted: Sequence[str] | None, use: Calls) -> tuple[str, ...]:
        """Return the models that the bank knows and, where that matters, the pool can ask."""
        known = self.bank.models
        pool = [entry.name for entry in self.config.models]
        shared = [name for name in known if name in pool]
        if use == "ignored" or not pool or (use == "preferred" and not shared):
            pool, shared = [], list(known)
        if not shared:
            raise self._nothing_shared()
        for name in wanted or ():
            if name not in shared:
                where = "the bank" if name not in known else str(self.config.path)
                near = did_you_mean(name, shared)
                raise InputError(f"--models: {where} has no `{name}`{near}; to choose from are {', '.join(shared)}")
        if pool:
            for name in sorted(set(known) - set(pool)):
                self.user.detail(f"note: {name} is in the bank but not in the pool; it is left out")
            for name in sorted(set(pool) - set(known)):
                self.user.detail(f"note: {name} is in the pool but not in the bank; it is left out")
        return tuple(name for name in shared if not wanted or name in wanted)

    def _nothing_shared(self) -> InputError:
        pool = ", ".join(entry.name for entry in self.config.models)
        return InputError(
            f"{self.config.path} and {self.bank.path} have no model in common: the pool has {pool}, "
            f"the bank has {', '.join(self.bank.models)}"
        )

    def _require_pool(self) -> None:
        """Refuse calls that could not be made, before anything is under way."""
        require_models(self.config)
        if not {entry.name for entry in self.config.models} & set(self.models):
            raise self._nothing_shared()
        self.account.require_consent(self.models)

    def _solvers(self, place: int) -> list[str]:
        facts = zip(self.models, self.arrays.scores[place], self.arrays.present[place], strict=True)
        return [name for name, right, known in facts if known and right > 0.5]

    # How a question is answered: what needs no call on the caller's thread, calls on the account's.

    def _prepare(self, text: Asked, system: str | None, wanted: Wanted | None = None) -> _Prepared:
        self.account.background.require_own_process()
        self._require_pool()
        asked = as_conversation(text, system, wanted)
        by = self._able_to(asked)
        no_vector = np.zeros(0, np.float32)
        query = Query(asked.text, no_vector, asked.system, history=asked.history, turn=asked.turn, wanted=asked.wanted)
        method = by.made
        started = time.perf_counter()
        if not asked.routed_text and not isinstance(self.bank, NoBank) and not by._is_one_model:
            return _Prepared(by, asked, query, None, {}, _NO_WORDS)
        try:
            query = replace(query, vector=by.queries([asked.routed_text])[0].vector)
        except NoAnswerError as error:
            # An endpoint that gives no vectors for now; one that refuses is for the user to set right.
            return _Prepared(by, asked, query, None, {}, str(error))
        embedded = time.perf_counter()
        with by._opening:
            (plan,) = method.plan([query])
        seconds = {"embed": embedded - started, "support": time.perf_counter() - embedded}
        return _Prepared(by, asked, query, plan, seconds)

    def _able_to(self, asked: Conversation) -> Jisi:
        """Return those of the pool who can go on with a conversation, as a pool that answers in the same way.

        Where one model is to answer alone, it is the first by stage 1, unless the method asks one model anyway.

        Raises:
            InputError: No model that may be asked is known to be able to.
        """
        if not asked.needs:
            return self
        from jisi_cli.models.abilities import able, has, none_able

        only = self.method.removeprefix("model:") if self._is_one_model else None
        entries = [entry for entry in self.config.models if entry.name in ((only,) if only else self.models)]
        if only is not None:
            # Asked for by name, it may do what nothing is known of.
            if any(has(entry, ability) is False for entry in entries for ability in asked.needs):
                raise none_able(entries, asked.needs, self.config.path)
            return self
        names = set(able(entries, asked.needs))
        models = tuple(name for name in self.models if name in names)
        if not models:
            raise none_able(entries, asked.needs, self.config.path)
        return self._part(models, is_for_one=asked.is_for_one)

    def _part(self, models: tuple[str, ...], *, is_for_one: bool) -> Jisi:
        """Return a part of the pool, which is made once."""
        with self._opening:
            if (models, is_for_one) not in self._parts:
                self._parts[models, is_for_one] = self._made_part(models, is_for_one=is_for_one)
            return self._parts[models, is_for_one]

    def _made_part(self, models: tuple[str, ...], *, is_for_one: bool) -> Jisi:
        has_bank = not isinstance(self.bank, NoBank)
        if not is_for_one or (has_bank and isinstance(self.made, Router)):
            if models == self.models:
                return self
            found = self.with_changes()
            found._aggregation = self._aggregation
        else:
            found = self.with_changes("jisi-query") if has_bank else self.with_changes(None, "route")
        if models != self.models:
            found.models = models
            found.__dict__.pop("arrays", None)
        return found

    async def _answer(self, prepared: _Prepared, watcher: Watcher | None, max_cost: float | None = None) -> Outcome:
        _watcher.set(watcher)
        if max_cost is not None:
            self.account.limit_question(max_cost, self.models)
        with question_span(prepared.by.method, math.fsum(prepared.seconds.values())) as span:
            outcome = await self._answered(prepared, watcher or Silent(), self._live())
            span.note(
                {
                    "jisi.mode": outcome.mode,
                    "jisi.calls": len(outcome.calls),
                    "jisi.cost_usd": whole_sum(call.cost_usd for call in outcome.calls),
                    "jisi.confidence": outcome.confidence,
                }
            )
        self._shared.callers.note(outcome.answer)
        return replace(outcome, seconds=prepared.seconds | outcome.seconds)

    async def _answered(self, prepared: _Prepared, listener: Listener, pool: LivePool) -> Outcome:
        by, query = prepared.by, prepared.query
        if prepared.failure is not None:
            from jisi_cli.methods.router import answer_without_vector

            sampling = by.context.sampling()
            return await answer_without_vector(by.arrays, query, pool, listener, sampling, prepared.failure)
        if not prepared.asked.is_for_one:
            return await by.made.answer(query, prepared.plan, pool, listener)
        ranking = prepared.plan.models if isinstance(prepared.plan, Panel) else cast("Ranking", prepared.plan)
        caller = self._shared.callers.of(prepared.asked.called)
        return await answer_by_one(ranking, caller, query, pool, listener, by.context.sampling())

    async def _streamed(self, prepared: _Prepared, put: Callable[[str], None]) -> Outcome:
        pieces = Pieces(put)
        outcome = await self._answer(prepared, pieces)
        pieces.finish(outcome.answer)
        return outcome

    async def _probe(self, method: StagedMethod, query: Query, plan: Any, listener: Listener) -> Decision:  # noqa: ANN401
        decision, calls = await method.probe(query, plan, self._live(), listener)
        return replace(decision, calls=calls)

    def _live(self) -> LivePool:
        """Return the pool, opened once; only the account's thread comes here."""
        if self._shared.pool is None:
            self._shared.pool = self.account.pool(self._shared.models, self._called, refused_for=_REFUSED_FOR)
        return self._shared.pool

    def _called(self, event: CallEvent) -> None:
        watcher = _watcher.get()
        if watcher is not None:
            watcher.called(event)
        elif event.kind == "adapted":
            self.user.detail(f"{event.model}: {event.reason}")

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Say more of a pool that could not answer.

        Raises:
            InputError: It was closed meanwhile.
            NoAnswerError: No model could answer; where no model has a key, it names the pool that needs none.
            BudgetError: No model could answer, and a call cost more than its worst case.
        """
        try:
            yield
        except CancelledError:
            raise InputError(CLOSED) from None
        except NoAnswerError as error:
            self.account.check()
            raise offer_the_offline_pool(error, self.config, self.models) from error


class Pieces(Silent):
    """A watcher that passes on the final answer piece by piece.

    Args:
        put: Receives each piece, on another thread.

    Attributes:
        model: Who is writing; None before somebody is.
    """

    streams = True

    def __init__(self, put: Callable[[str], None]) -> None:
        self._put, self._text = put, ""
        self.model: str | None = None

    def called(self, event: CallEvent) -> None:
        """Begin anew when a request goes out again."""
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


def _wanted(tools: Sequence[Mapping[str, Any]] | None, schema: Mapping[str, Any] | None) -> Wanted | None:
    """Return what is asked for besides an answer in words; None where nothing is."""
    if tools is None and schema is None:
        return None
    wanted = NOTHING if tools is None else read_tools(tools)
    return wanted if schema is None else replace(wanted, format=format_of(schema))


def in_force(bank: Bank, method: str, *stated: tuple[Mapping[str, Any], str]) -> Hyperparameters:
    """Return the hyperparameters of a method: what is stated wins over the bank's choice, which wins over the defaults.

    Args:
        bank: The bank.
        method: The method's name.
        *stated: Settings by name, of which those of the cascade alone are left out, and who says so; a later source
            wins over an earlier one.

    Raises:
        InputError: What is stated is unknown or out of bounds.
        BankError: What the bank holds is.
    """
    fixed = method_info(method).fixed if method in bank.own_settings else {}
    layers = [
        ({name: value for name, value in of_jisi(settings).items() if name not in fixed}, where)
        for settings, where in stated
    ]
    everything = {name: value for layer, _ in layers for name, value in layer.items() if value is not None}
    found = bank.hyperparameters(method).giving_way_to(everything)
    for layer, where in layers:
        found = found.with_changes(layer, where)
    return found


def _check_method(method: str, mode: str, settings: Mapping[str, object]) -> None:
    """Refuse what cannot answer a question, and options that a method would not heed.

    Raises:
        InputError: Such a method or option was given.
    """
    if mode not in _MODES:
        raise InputError(f"--mode must be auto, route or aggregate, not {mode!r}{did_you_mean(mode, _MODES)}")
    info = method_info(method)
    if info.needs == "labels" or method.partition(":")[0].endswith("-oracle"):
        raise InputError(f"--method: `{method}` must be told what no question tells; it is for `jisi eval` alone")
    if mode != "auto" and not (method == "jisi" or (mode == "route" and info.delegates)):
        raise InputError(f"--mode and --aggregate are JiSi's; leave them out with --method {method}")
    info.check_options(settings)


def _check_whole(name: str, value: object, least: int = 1) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise InputError(f"{name} must be a whole number from {least}, not {value!r}")
