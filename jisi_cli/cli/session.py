"""What `route` and `ask` work with: configuration, bank, embedder, the models in common, the pool."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from jisi_cli.bank.bank import Bank
from jisi_cli.cli.embedder_choice import EmbedderChoice
from jisi_cli.cli.options import bank_path, failed_reading, read_config
from jisi_cli.cli.output import Output
from jisi_cli.cli.pool import PoolOptions, offer_the_offline_pool, open_pool
from jisi_cli.cli.pool_consent import require_consent
from jisi_cli.cli.progress import run_calls
from jisi_cli.cli.purse import Purse, endpoint_address, endpoint_entry, open_purse
from jisi_cli.config import Config, ModelEntry, Price
from jisi_cli.embed.protocol import Embedder, LazyEmbedder
from jisi_cli.embed.registry import PinError, load_embedder
from jisi_cli.embed.vector_cache import CachedEmbedder, cache_vectors
from jisi_cli.errors import BankError, InputError, NoAnswerError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.context import BankRows, MethodContext
from jisi_cli.methods.protocol import Method, Query, settings_json
from jisi_cli.paths import cache_folder
from jisi_cli.scoring import BankArrays

if TYPE_CHECKING:
    from jisi_cli.models.live import LivePool
    from jisi_cli.models.retry import OnEvent


T = TypeVar("T")

PoolUse = Literal["required", "preferred", "ignored"]


class Session:
    """Everything a decision needs, opened when it is first used.

    Args:
        bank: The `--bank` flag.
        config: The `--config` flag.
        models: The `--models` flag.
        routing: Hyper-parameters given on the command line.
        out: Where warnings go.
        calls: How models and an embedder that is an endpoint are called. Without `store` the vectors of questions
            stay out of the cache on disk, too.
        pool: Whether the models must be in the pool file: `required` for calls; `preferred` where the pool
            decides if it shares a model with the bank; `ignored` for replays.
        embedder: What the command line says about the bank's embedder.
        failed: The `--failed` flag: what a failed or empty answer of the bank counts.

    Raises:
        InputError: The configuration cannot be used, or no bank was named.
        BankError: The bank cannot be opened.
    """

    def __init__(
        self,
        bank: Path | None,
        config: Path | None,
        models: Sequence[str] | None,
        routing: Mapping[str, Any],
        out: Output,
        calls: PoolOptions,
        pool: PoolUse = "required",
        embedder: EmbedderChoice | None = None,
        failed: str | None = None,
    ) -> None:
        self.out = out
        self._choice = embedder or EmbedderChoice()
        self.calls = calls
        self.config: Config = read_config(config, out)
        self.bank = Bank(bank_path(bank, self.config), failed_reading(failed))
        configured = self.bank.hyperparameters().with_changes(self.config.routing, f"{self.config.path} [routing]")
        self.settings: Hyperparameters = configured.with_changes(routing, "command line")
        self.models = self._models(models, pool)
        if pool == "required":
            # Asked before anything is under way; the pool itself asks nobody twice.
            require_consent(self.config, [entry for entry in self.config.models if entry.name in self.models], out)

    @cached_property
    def arrays(self) -> BankArrays:
        """The bank's arrays for the models in use."""
        return self.bank.arrays(self.models)

    @cached_property
    def purse(self) -> Purse:
        """What this run may spend, and where it is booked.

        Raises:
            InputError: The limit makes no sense.
        """
        return open_purse(self.config, self.calls.command, self.calls.max_cost, self.out)

    @cached_property
    def embedder(self) -> Embedder:
        """The bank's own embedder.

        Raises:
            BankError: The configuration names another one, nothing but the bank names this one, or this machine
                has another revision of it.
            InputError: It is not installed, or cannot be fetched.
        """
        spec = self._choice.allowed(self.bank.path, self.bank.manifest.embedder, self.config)
        try:
            entry = endpoint_entry(spec, self.config)
            if entry is None:
                return load_embedder(spec)
            require_consent(self.config, [entry], self.out)
            account = self.purse.embedding_account(entry)
            # Whoever pays for vectors wants those of responses kept, too: a cached answer is to cost nothing.
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
        return self.embedder if isinstance(self.embedder, CachedEmbedder) else self._cached(self.embedder)

    def settings_json(self, method: Method[Any] | None = None) -> dict[str, Any] | None:
        """Return what decisions rest on as plain data; `failed` is in it where it is not as always.

        Args:
            method: Whose settings; without, the hyperparameters that were configured.
        """
        found = self.settings.to_json() if method is None else settings_json(method)
        failed = {} if self.bank.failed == "wrong" else {"failed": self.bank.failed}
        return None if found is None else {**found, **failed}

    def prices(self) -> dict[str, Price]:
        """Return the list prices of the pool file by model."""
        return {entry.name: entry.price for entry in self.config.models if entry.price is not None}

    def context(self, prices: Mapping[str, Price] | None = None, seed: int = 42) -> MethodContext:
        """Return what methods are made from: train data only.

        Args:
            prices: List prices by model; the pool file's by default.
            seed: Seed of everything random.
        """
        return MethodContext(
            bank=self.arrays,
            rows=BankRows(self.bank, self.models, self.prices() if prices is None else prices),
            embedder=LazyEmbedder(self.bank.manifest.embedder, lambda: self.embedder),
            hyperparameters=self.settings,
            seed=seed,
        )

    def queries(self, texts: Sequence[str], system: str | None = None) -> list[Query]:
        """Embed new questions."""
        vectors = self.query_embedder.embed(list(texts))
        return [Query(text, vector, system) for text, vector in zip(texts, vectors, strict=True)]

    def entry(self, model: str) -> ModelEntry | None:
        """Return the pool's entry of a model, where there is one."""
        return next((entry for entry in self.config.models if entry.name == model), None)

    def pool(self, on_event: OnEvent | None = None) -> LivePool:
        """Return the live pool of the models in use, behind cache and ledger."""
        return open_pool(self.config, self.models, self.calls, self.out, on_event, purse=self.purse)

    def run(self, calls: Coroutine[Any, Any, T]) -> T:
        """Carry out what calls models.

        Raises:
            NoAnswerError: No model could answer; where no model has a key, it names the pool that needs none.
            BudgetError: No model could answer, and a call cost more than its worst case.
        """
        try:
            return run_calls(calls)
        except NoAnswerError as error:
            self.purse.check()
            raise offer_the_offline_pool(error, self.config, self.models) from error

    def _cached(self, embedder: Embedder, address: Mapping[str, str] | None = None) -> Embedder:
        if not self.calls.store:
            return embedder
        return cache_vectors(embedder, cache_folder() / "vectors", warn=self.out.warn, address=address)

    def _models(self, wanted: Sequence[str] | None, use: PoolUse) -> tuple[str, ...]:
        """Models that the bank knows and, where that matters, the pool can ask."""
        known = self.bank.models
        pool = [entry.name for entry in self.config.models]
        shared = [name for name in known if name in pool]
        if use == "ignored" or not pool or (use == "preferred" and not shared):
            pool, shared = [], list(known)
        if not shared:
            raise InputError(
                f"{self.config.path} and {self.bank.path} have no model in common: the pool has {', '.join(pool)}, "
                f"the bank has {', '.join(known)}"
            )
        for name in wanted or ():
            if name not in shared:
                where = "the bank" if name not in known else str(self.config.path)
                raise InputError(f"--models: {where} has no `{name}`; to choose from are {', '.join(shared)}")
        if pool:
            self._mention("is in the bank but not in the pool; it is left out", sorted(set(known) - set(pool)))
            self._mention("is in the pool but not in the bank; it is left out", sorted(set(pool) - set(known)))
        return tuple(name for name in shared if not wanted or name in wanted)

    def _mention(self, what: str, names: Sequence[str]) -> None:
        for name in names:
            self.out.detail(f"note: {name} {what}")
