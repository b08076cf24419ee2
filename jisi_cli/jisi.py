"""The facade: a bank, its embedder, a pool of models and a method, opened on first use, that answer as one.

The commands and the library are built on it, so that the same options mean the same everywhere.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self, get_args, overload

from jisi_cli.answering import answer, answer_in_pieces, decisions, explain, prepare, saying_more, wanted
from jisi_cli.bank.bank import Bank
from jisi_cli.cluster.engine import read_engine
from jisi_cli.config import Price, read_prices
from jisi_cli.configured_method import MODES, WITHOUT_BANK, ConfiguredMethod, check_method, check_whole
from jisi_cli.conversation import Asked, as_conversation
from jisi_cli.errors import InputError
from jisi_cli.formats.record import failed_reading
from jisi_cli.methods.protocol import Listener, Method, Outcome, Watcher
from jisi_cli.opened import Calls, Opened, bank_or_stand_in, models_in_use
from jisi_cli.spending import RunAccount, amount
from jisi_cli.user import EmbedderChoice, Log, User, read_config

if TYPE_CHECKING:
    from jisi_cli.methods.decision import Decision


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
        bank: The bank, its folder or address (`s3://…`); else `JISI_BANK`, else `bank` in the pool file. Without any,
            the pool file's order stands in for a ranking, and `jisi` asks the first K models (see
            `methods.pool_order`).
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
        engine: For `evaluate`: `ray` or `ray:ADDRESS` to share the work with a Ray cluster.
        **settings: Hyperparameters of JiSi, as `k=5` or `switch="consensus"`, and settings of `jisi-cascade`, as
            `tau=0.9`; they win over the pool file's [routing], and that over the bank's.

    Raises:
        InputError: The configuration, the method or a setting cannot be used, or no bank was named.
        BankError: The bank cannot be opened.

    Attributes:
        opened: What it opens on first use, and shares with what `with_changes` makes of it.
        configured: The method with its settings, made on first use.
        bank: The bank, or what stands in for it.
        config: The pool file.
        models: The models in use.
        account: What calls are paid from.
        user: Told and asked in the course of a run.
        method: The method's name.
        seed: Seed of everything random.
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
        engine: str | None = None,
        **settings: Any,  # noqa: ANN401 - each is checked by its name
    ) -> None:
        if method is not None:
            check_method(method, mode, settings)
        check_whole("max_tokens", max_tokens)
        check_whole("concurrency", concurrency)
        check_whole("seed", seed, least=0)
        if unlike not in (None, "bank", "ignore"):
            raise InputError(f"--unlike takes bank or ignore, not {unlike!r}")
        if calls not in get_args(Calls):
            raise InputError(f"calls must be one of {', '.join(get_args(Calls))}, not {calls!r}")
        user = user or Log()
        pool_file = read_config(None if config is None else Path(config), user)
        if not isinstance(bank, Bank):
            asks = None if calls == "ignored" else method
            folder = None if bank is None else Path(bank)
            bank = bank_or_stand_in(folder, pool_file, failed_reading(failed), user, asks)
        account = RunAccount(
            pool_file,
            command,
            user,
            timeout=timeout,
            max_cost=max_cost,
            max_cost_per_day=max_cost_per_day,
            concurrency=concurrency,
            use_cache=use_cache,
            store=store,
            label=label,
            engine=read_engine(engine),
        )
        named = (models,) if isinstance(models, str) else models
        opened = Opened(
            bank,
            models_in_use(bank, pool_file, named, calls, user),
            account,
            EmbedderChoice(embedder, trust_embedder),
            read_prices(Path(prices)) if isinstance(prices, Path | str) else dict(prices or {}),
        )
        self._begin(
            ConfiguredMethod(
                opened,
                method=(method or "jisi") if opened.has_bank else WITHOUT_BANK,
                aggregation=MODES[mode],
                models=opened.models,
                stated=settings,
                temperature=None if temperature is None else amount(temperature, "--temperature"),
                max_tokens=max_tokens,
                unlike=unlike,
                seed=seed,
            )
        )
        if calls == "required":
            # Asked before anything is under way; the pool itself asks no one twice.
            account.require_consent(self.models)

    def _begin(self, configured: ConfiguredMethod) -> None:
        opened = configured.opened
        self.opened, self.configured = opened, configured
        self.bank, self.config, self.models = opened.bank, opened.config, opened.models
        self.account, self.user = opened.account, opened.user
        self.method, self.seed = configured.method, configured.seed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, end local models, and write what is still to be booked."""
        self.opened.close()

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
        changed = type(self).__new__(type(self))
        changed._begin(self.configured.with_changes(method, mode, temperature, max_tokens, settings))
        return changed

    def warm_up(self) -> None:
        """Open now what the first question would wait for: bank, embedder, method, and the library that calls models.

        Raises:
            InputError: The method, the embedder or the pool cannot be used.
            BankError: The bank cannot be read, or its embedder is not the one that is here.
        """
        self.opened.require_pool()
        if self.configured.compares:
            _ = self.opened.query_embedder
        self.make_method()
        from jisi_cli.models.litellm_client import load_litellm

        load_litellm()

    def make_method(self) -> Method[Any]:
        """Make the method now, if it is not made yet, and return it; some train first, and say how far they are.

        Raises:
            InputError: It cannot be made from this bank.
        """
        return self.configured.made

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
                model answers then, the best that can call tools. Ask again with its message and the results after the
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
        prepared = prepare(self.configured, text, system, wanted(tools, schema))
        with saying_more(self.opened):
            return self.account.background.run(answer(prepared, watcher, max_cost))

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
        prepared = await asyncio.to_thread(prepare, self.configured, text, system, wanted(tools, schema))
        with saying_more(self.opened):
            return await self.account.background.arun(answer(prepared, watcher, max_cost))

    def stream(
        self,
        text: Asked,
        system: str | None = None,
        *,
        max_cost: float | None = None,
        ended: Callable[[Outcome], object] | None = None,
    ) -> Generator[str, None, None]:
        """Yield the answer piece by piece, as it arrives; see `ask`.

        If a model breaks off and another starts over, an empty line separates the two.

        Args:
            text: The question, or a conversation.
            system: A system message for every model.
            max_cost: Dollars that the models may cost at most for this question.
            ended: Called with all that led to the answer, once it is whole.
        """
        pieces: SimpleQueue[str | None] = SimpleQueue()
        prepared = prepare(self.configured, text, system)
        future = self.account.background.submit(answer_in_pieces(prepared, pieces.put, max_cost))
        future.add_done_callback(lambda _: pieces.put(None))
        try:
            while (piece := pieces.get()) is not None:
                yield piece
            with saying_more(self.opened):
                outcome = future.result()
            if ended is not None:
                ended(outcome)
        finally:
            if not sys.is_finalizing():  # then what a cancelled call would be told by is gone
                future.cancel()

    async def astream(
        self,
        text: Asked,
        system: str | None = None,
        *,
        max_cost: float | None = None,
        ended: Callable[[Outcome], object] | None = None,
    ) -> AsyncIterator[str]:
        """Yield the answer piece by piece in the caller's event loop; see `stream`."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()

        def put(piece: str | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        prepared = await asyncio.to_thread(prepare, self.configured, text, system)
        future = self.account.background.submit(answer_in_pieces(prepared, put, max_cost))
        future.add_done_callback(lambda _: put(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            with saying_more(self.opened):
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
        return self.configured.settings

    def remember(self, asked: Asked, outcome: Outcome, *, is_last: bool = True) -> str | None:
        """Remember an answer, so that `jisi feedback` can say what it was worth and a bank can learn from it.

        Example:
            >>> outcome = pool.ask("What is 17 * 23?")
            >>> print(f"jisi feedback {pool.remember('What is 17 * 23?', outcome)} good")

        Args:
            asked: What was asked.
            outcome: How it was answered.
            is_last: Whether it is what `jisi feedback last` means, until the next one.

        Returns:
            Its name; None where nothing is stored, or it cannot be kept, which is told once.
        """
        return self.opened.remember(as_conversation(asked).routed_text, outcome, is_last=is_last)

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
        return decisions(self.configured, texts, probe=probe, listener=listener)

    def explain(self, text: str, decision: Decision, *, neighbours: int = 0) -> dict[str, Any]:
        """Return a decision as plain data: scores, what a call of each model may be expected to use, and settings.

        Args:
            text: The question.
            decision: What was decided.
            neighbours: How many support queries to list, the nearest first, with who solved them.
        """
        return explain(self.configured, text, decision, neighbours)
