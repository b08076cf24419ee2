"""What the calls of one run share: how they are made, the money they may cost, and the ledger that books them."""

from __future__ import annotations

import math
import secrets
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from jisi_cli.background import Background
from jisi_cli.callees import offer_the_offline_pool, require_models
from jisi_cli.config import Config, ModelEntry
from jisi_cli.errors import BudgetError, InputError, NoAnswerError
from jisi_cli.paths import cache_folder
from jisi_cli.user import User, require_consent

if TYPE_CHECKING:
    from datetime import datetime

    from jisi_cli.cluster.embedding import ClusterEmbedding
    from jisi_cli.cluster.engine import RayEngine
    from jisi_cli.cluster.session import Session
    from jisi_cli.cluster.workers import ClusterWorkers
    from jisi_cli.embed.account import EmbeddingAccount
    from jisi_cli.embed.protocol import EmbedderSpec
    from jisi_cli.models.batch.batches import Batches, OnProgress
    from jisi_cli.models.call import CallEvent, OnEvent
    from jisi_cli.models.ledger import Ledger
    from jisi_cli.models.limits import Budget
    from jisi_cli.models.live import LivePool, MakesCalls, Run
    from jisi_cli.models.outstanding import Mark

_CONCURRENCY = 16
_TIMEOUT = 300.0
_RETRIES = 3
_LONGEST_LABEL = 100
_MOST = {"timeout": 1_000_000.0, "concurrency": 10_000.0, "max_retries": 1_000.0}
"""What clocks and memory can hold of a limit that is no dollars."""
_LARGEST = sys.float_info.max
"""A whole number in a pool file may be larger than any that can be computed with."""


class RunAccount:
    """How one run calls models, and what it spends: models and the embedder draw on the same budget and ledger.

    Args:
        config: The configuration; its [budget] says what is None here.
        command: What the ledger calls the run.
        user: Told what goes wrong, and asked about a pool file that lies in the current folder.
        timeout: Seconds per attempt.
        max_cost: Dollars for the whole run.
        max_cost_per_day: Dollars for all runs of a day.
        concurrency: Calls out at one time.
        use_cache: Whether cached answers may be used.
        store: False keeps questions and answers out of cache and ledger.
        label: What the user calls the run, for the ledger.
        engine: A cluster that takes part in the work; None for this process alone.

    Attributes:
        background: The thread that calls are made on.
        resubmits: Whether to submit again by batch what was submitted with a key that is not set now.

    Raises:
        InputError: The limit makes no sense.
    """

    def __init__(
        self,
        config: Config,
        command: str,
        user: User,
        *,
        timeout: float | None = None,
        max_cost: float | None = None,
        max_cost_per_day: float | None = None,
        concurrency: int | None = None,
        use_cache: bool = True,
        store: bool = True,
        label: str | None = None,
        engine: RayEngine | None = None,
    ) -> None:
        self.engine = engine
        self.config, self.command, self.user = config, command, user
        self.label = None if label is None else _checked_label(label)
        self.use_cache, self.store = use_cache, store
        self.max_cost = limit(max_cost, config, "max_cost")
        self._per_day = None if max_cost_per_day is None else amount(max_cost_per_day, "--max-cost-per-day")
        self._timeout, self._concurrency = timeout, concurrency
        self._batches: set[tuple[str, str]] = set()
        """Which requests of which batches this run's own budget counts."""
        self.background, self.resubmits = Background(), False

    def close(self) -> None:
        """End the thread that calls are made on, and leave the cluster."""
        self.background.close()
        if "mark" in self.__dict__:
            self.mark.close()
        if "cluster" in self.__dict__ and self.cluster is not None:
            self.cluster.close()

    @cached_property
    def cluster(self) -> Session | None:
        """The cluster that takes part in the work, joined now; None for this process alone.

        Raises:
            InputError: Ray is not installed.
            JisiError: It cannot be joined.
        """
        if self.engine is None:
            return None
        from jisi_cli.cluster.session import Session

        return Session(self.engine, self.user.warn)

    def workers(self) -> AbstractContextManager[ClusterWorkers | None]:
        """Return workers of the cluster, which are there as long as the context is open; None for this process alone.

        Enter it on the main thread, where Ray wants to be joined.
        """
        if self.cluster is None:
            return nullcontext()
        from jisi_cli.cluster.workers import ClusterWorkers

        return ClusterWorkers(self.cluster)

    @cached_property
    def run(self) -> Run:
        """What the ledger says about where calls come from."""
        from jisi_cli.models.live import Run

        return Run(id=secrets.token_hex(8), command=self.command, label=self.label)

    @cached_property
    def ledger(self) -> Ledger:
        """Where calls are booked."""
        from jisi_cli.models.ledger import Ledger, ledger_path

        return Ledger(ledger_path(), warn=self.user.warn)

    @cached_property
    def budget(self) -> Budget | None:
        """What the calls may cost together: what the run may, or what is left of a day or a month; None for no limit.

        What is left is found out anew when the day turns, since a server or a long batch goes on.

        Raises:
            InputError: A limit makes no sense, or what was spent cannot be read, or not be written.
        """
        from jisi_cli.models.allowance import RunLimit

        own = math.inf if self.max_cost is None else self.max_cost
        limit = RunLimit(self.config, self.ledger, self.run.id, own, self._per_day, self._promised)
        if self.max_cost is None and not limit.changes:
            return None
        from jisi_cli.models.limits import Budget
        from jisi_cli.models.outstanding import outstanding

        first = limit.now(0.0, outstanding() if limit.changes else ())
        limit.require_ledger()
        todays = limit.now if limit.changes else None
        budget = Budget(first.usd, first.setting, first.about, todays, mark=self.mark)
        if limit.changes:
            self.ledger.on_failure = lambda why: budget.stop_booking(limit.broken(why))
        return budget

    @cached_property
    def mark(self) -> Mark:
        """Where it is written down what calls of this run that are out may cost."""
        from jisi_cli.models.outstanding import Mark

        return Mark(self.run)

    def _promised(self, start: datetime) -> float:
        from jisi_cli.models.batch.journal import BatchJournal, journal_folder

        journal = BatchJournal(journal_folder())
        try:
            return journal.promised_usd(start, self._batches)
        finally:
            journal.close()

    def embedding(self, spec: EmbedderSpec, device: str | None, batch_size: int | None) -> ClusterEmbedding | None:
        """Return what embeds on the cluster; None for this process alone.

        Args:
            spec: An embedder that is no endpoint: what is paid for is paid by this process.
            device: torch's name of where to embed; None leaves that open.
            batch_size: Texts embedded at once; None for a choice by length.
        """
        if self.cluster is None:
            return None
        from jisi_cli.cluster.embedding import ClusterEmbedding

        return ClusterEmbedding(self.cluster, spec, device, batch_size)

    def limit_question(self, max_cost: float, names: Sequence[str]) -> None:
        """Limit what the question that is being answered may cost, within what the run may.

        Args:
            max_cost: Dollars.
            names: Models of the pool file that may be called for it.

        Raises:
            InputError: It is no number from 0, or a model has a parameter with which no limit can hold.
        """
        from jisi_cli.models.limits import Budget, question_budget
        from jisi_cli.models.parameters import check_costs

        check_costs([entry for entry in self.config.models if entry.name in names])
        own = Budget(
            amount(max_cost, "max_cost"), "max_cost", above=self.budget, mark=self.mark if self.budget is None else None
        )
        question_budget.set(own)

    @property
    def concurrency(self) -> int:
        """How many calls may be out at one time."""
        return max(1, int(self._limit(self._concurrency, "concurrency", _CONCURRENCY)))

    @property
    def overrun(self) -> str | None:
        """Why no call may start any more; None where they may, and where none was to."""
        # A run that had nothing to call has no budget yet, and needs no ledger for one.
        budget: Budget | None = self.__dict__.get("budget")
        return None if budget is None else budget.overrun

    def check(self) -> None:
        """End a run in which no call may start any more, once everything that came in is kept and shown.

        Raises:
            BudgetError: A call cost more than its worst case, or calls that a limit counts cannot be booked.
        """
        if self.overrun is not None:
            raise BudgetError(self.overrun)

    def require_consent(self, names: Sequence[str]) -> None:
        """Ask about a pool file that lies in the current folder, before some of its models are called.

        Raises:
            InputError: The user never allowed it.
        """
        require_consent(self.config, [entry for entry in self.config.models if entry.name in names], self.user)

    def missing_keys(self, names: Sequence[str]) -> dict[str, str]:
        """Return which models have no key, with the variable to set, and say so in a line for each.

        Args:
            names: Models of the pool file.
        """
        from jisi_cli.models.facts import missing_key

        entries = (entry for entry in self.config.models if entry.name in names)
        missing = {entry.name: variable for entry in entries if (variable := missing_key(entry)) is not None}
        for name, variable in missing.items():
            self.user.warn(f"{name} has no key, so it is not asked; set {variable} in the environment")
        return missing

    def with_keys(self, names: Sequence[str]) -> list[str]:
        """Return the models whose key is not known to be missing; see `missing_keys`.

        Args:
            names: Models of the pool file.

        Raises:
            NoAnswerError: No model has a key.
        """
        missing = self.missing_keys(names)
        if names and len(missing) == len(names):
            error = NoAnswerError(f"no model has a key: set {' or '.join(dict.fromkeys(missing.values()))}")
            raise offer_the_offline_pool(error, self.config, names)
        return [name for name in names if name not in missing]

    def pool(
        self, models: Sequence[str], on_event: OnEvent | None = None, *, refused_for: float = math.inf
    ) -> LivePool:
        """Return the live pool of some models, behind cache and ledger.

        Args:
            models: Which models of the pool file.
            on_event: Receives what a live view may show.
            refused_for: Seconds for which a model whose key was refused is not called.

        Raises:
            InputError: The configuration names no models, a limit makes no sense, or the user never allowed the file.
        """
        import random

        from jisi_cli.models.json_disk import open_cache
        from jisi_cli.models.limits import Limits, PerMinute
        from jisi_cli.models.live import LivePool
        from jisi_cli.models.local import LocalModels

        require_models(self.config)
        timeout = self._limit(self._timeout, "timeout", _TIMEOUT)
        retries = self._limit(None, "max_retries", _RETRIES)
        self.require_consent(models)
        entries = [entry for entry in self.config.models if entry.name in models]
        if self.engine is not None:
            from jisi_cli.cluster.calls import require_no_keys

            require_no_keys(entries)
        per_minute = {entry.name: PerMinute(entry.requests_per_minute, entry.tokens_per_minute) for entry in entries}
        return LivePool(
            entries,
            rng=random.Random(),
            cache=open_cache(cache_folder() / "answers", warn=self.user.warn),
            ledger=self.ledger,
            budget=self.budget,
            mark=self.mark,
            limits=Limits(concurrency=self.concurrency, per_minute=per_minute),
            timeout=timeout,
            max_retries=int(retries),
            local_models=LocalModels(),
            run=self.run,
            use_cache=self.use_cache,
            store=self.store,
            on_event=on_event or partial(_tell, self.user),
            warn=self.user.warn,
            refused_for=refused_for,
            elsewhere=None if self.engine is None else self._calls_elsewhere,
        )

    def _calls_elsewhere(self, *rest: Any) -> MakesCalls:  # noqa: ANN401 - as `MakeCaller` takes them
        """Return what makes calls on the cluster, which is joined when the first one is to be made."""
        from jisi_cli.cluster.calls import ClusterCaller

        assert self.cluster is not None
        return ClusterCaller(self.cluster, self.concurrency, *rest)

    def batches(self, pool: LivePool, on_progress: OnProgress | None) -> Batches:
        """Return what asks by batch.

        Args:
            pool: The live pool of the models that are asked.
            on_progress: Told how far it is.

        Raises:
            InputError: Answers are not to be kept, or a limit makes no sense.
        """
        from jisi_cli.models.batch.batches import Batches
        from jisi_cli.models.batch.journal import BatchJournal, journal_folder
        from jisi_cli.models.batch.rows import Rows
        from jisi_cli.models.provider import Provider
        from jisi_cli.models.retry import RetryPolicy

        if not (self.store and self.use_cache):
            raise InputError("--batch brings answers into the cache; leave --no-store and --no-cache out, or --batch")
        timeout = self._limit(self._timeout, "timeout", _TIMEOUT)
        return Batches(
            pool,
            Rows(Provider(timeout)),
            BatchJournal(journal_folder()),
            held=self._batches,
            budget=self.budget,
            policy=RetryPolicy(max_retries=int(self._limit(None, "max_retries", _RETRIES))),
            timeout=timeout,
            tell=self.user.note,
            warn=self.user.warn,
            on_progress=on_progress,
            resubmits=self.resubmits,
        )

    def embedding_account(self, entry: ModelEntry) -> EmbeddingAccount:
        """Return what pays for the requests of an embedder that is an endpoint."""
        from jisi_cli.embed.account import EmbeddingAccount

        return EmbeddingAccount(entry, self.run, self.ledger, self.budget, self.mark)

    def _limit(self, given: float | None, key: str, default: float) -> float:
        found = limit(given, self.config, key)
        return default if found is None else found


def _tell(user: User, event: CallEvent) -> None:
    if event.kind == "adapted":
        user.detail(f"{event.model}: {event.reason}")
    if event.kind == "refused":
        user.warn(f"{event.model} is not asked again in this run: {event.reason}")


def _checked_label(label: str) -> str:
    """Return a label that fits a column of a table.

    Raises:
        InputError: It is empty, long, or more than a line of text.
    """
    name = label.strip()
    if not name or len(name) > _LONGEST_LABEL or not name.isprintable():
        raise InputError(f"--label is a line of up to {_LONGEST_LABEL} characters, not {label[:_LONGEST_LABEL]!r}")
    return name


def limit(given: float | None, config: Config, key: str) -> float | None:
    """Return a limit that the user gave, else of the configuration's [budget]; None where neither names one.

    Raises:
        InputError: It is not a number from 0, or larger than anything can hold, or leaves no time for an answer.
    """
    if given is not None:
        found, what = given, f"--{key.replace('_', '-')}"
    elif key in config.budget:
        found, what = config.budget[key], f"{config.path}: [budget] {key}"
    else:
        return None
    most = _MOST.get(key, _LARGEST)
    if amount(found, what) > most:
        raise InputError(f"{what} must be at most {most:,.0f}, not {found!r}")
    if key == "timeout" and not found:
        raise InputError("no call can be answered within a timeout of 0 seconds; allow more")
    return float(found)


def check_limits(config: Config) -> None:
    """Refuse a configuration whose [budget] no run could go by; no ledger is read for it.

    Raises:
        InputError: A limit makes no sense, or the user's own file cannot be read.
    """
    from jisi_cli.models.allowance import period_limits

    for key in ("max_cost", *_MOST):
        limit(None, config, key)
    period_limits(config)


def amount(value: object, what: str) -> float:
    """Return a setting that is a number from 0.

    Raises:
        InputError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        raise InputError(f"{what} must be a number from 0, not {value!r}")
    return float(value)
