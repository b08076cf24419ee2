"""What a pool opens on first use, and all ways of asking it share: bank, embedder, prices, connections, account."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.no_bank import NoBank
from jisi_cli.callees import endpoint_address, endpoint_entry, require_models
from jisi_cli.config import Config, Price, find_bank
from jisi_cli.embed.protocol import Embedder
from jisi_cli.errors import BankError, InputError, did_you_mean
from jisi_cli.formats.record import Failed
from jisi_cli.methods.protocol import watcher_in_force
from jisi_cli.methods.tool_calling import Callers
from jisi_cli.paths import cache_folder
from jisi_cli.spending import RunAccount
from jisi_cli.user import EmbedderChoice, User, bank_folder, require_consent

if TYPE_CHECKING:
    from jisi_cli.history.answers import Answers
    from jisi_cli.methods.protocol import Outcome
    from jisi_cli.models.call import CallEvent
    from jisi_cli.models.live import LivePool
    from jisi_cli.scoring import BankArrays

T = TypeVar("T")

Calls = Literal["required", "preferred", "ignored"]
"""Whether models must be in the pool file: `required` where they are sure to be called; `preferred` where the pool
decides if it shares a model with the bank; `ignored` for replays."""

_REFUSED_FOR = 300.0
"""Seconds until a model is asked again whose key was refused: a server lives long, and some refusals pass."""


class opened_once(Generic[T]):
    """A property that one thread opens, while others that want it of the same object wait.

    Once it is open, no one waits. (`cached_property` of Python 3.11 lets all objects of a class wait for one another.)

    Args:
        open_it: Opens it for an object, whose `opening` is held meanwhile.
    """

    def __init__(self, open_it: Callable[[Any], T]) -> None:
        self._open_it, self._name = open_it, open_it.__name__
        self.__doc__ = open_it.__doc__

    def __get__(self, owner: Any, kind: type | None = None) -> T:  # noqa: ANN401 - any object with such a lock
        """Return what is open, or open it."""
        with owner.opening:
            if self._name not in owner.__dict__:
                owner.__dict__[self._name] = self._open_it(owner)
            found: T = owner.__dict__[self._name]
            return found


class Opened:
    """What is opened once for all ways of asking one pool.

    Args:
        bank: The bank, or what stands in for it.
        models: The models in use.
        account: What calls are paid from.
        embedder: What the user says about the bank's embedder.
        prices: List prices by model that win over the pool file's.

    Attributes:
        callers: Which model made a call of a tool.
        opening: Held while something is opened.
    """

    def __init__(
        self,
        bank: Bank,
        models: tuple[str, ...],
        account: RunAccount,
        embedder: EmbedderChoice,
        prices: Mapping[str, Price],
    ) -> None:
        self.bank, self.models, self.account = bank, models, account
        self.callers = Callers()
        self.opening = RLock()
        self._choice, self._prices = embedder, prices
        self._arrays: dict[tuple[str, ...], BankArrays] = {}
        self._pool: LivePool | None = None
        self._is_forgetting = False

    @property
    def config(self) -> Config:
        """The pool file."""
        return self.account.config

    @property
    def user(self) -> User:
        """Who is told and asked."""
        return self.account.user

    @property
    def has_bank(self) -> bool:
        """Whether there is a bank to rank by."""
        return not isinstance(self.bank, NoBank)

    def arrays(self, models: tuple[str, ...]) -> BankArrays:
        """Return the bank's arrays for the models in use, or for some of them.

        Raises:
            BankError: The bank has no train rows.
        """
        with self.opening:
            if models not in self._arrays:
                self._arrays[models] = self.bank.arrays(models)
            return self._arrays[models]

    @cached_property
    def prices(self) -> dict[str, Price]:
        """List prices by model: those that were given, else the pool file's."""
        return {**{entry.name: entry.price for entry in self.config.models if entry.price is not None}, **self._prices}

    @opened_once
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

    @opened_once
    def query_embedder(self) -> Embedder:
        """The same embedder behind a cache on disk, for questions, which come again."""
        from jisi_cli.embed.vector_cache import CachedEmbedder

        return self.embedder if isinstance(self.embedder, CachedEmbedder) else self._cached(self.embedder)

    @property
    def answer_embedder(self) -> Embedder:
        """The same for answers, which come again where several methods ask the same models.

        Counting words takes less time than a look at the disk.
        """
        return self.embedder if self.bank.manifest.embedder.name.startswith("hashing") else self.query_embedder

    def _cached(self, embedder: Embedder, address: Mapping[str, str] | None = None) -> Embedder:
        from jisi_cli.embed.vector_cache import cache_vectors

        if not self.account.store:
            return embedder
        return cache_vectors(embedder, cache_folder() / "vectors", warn=self.user.warn, address=address)

    def require_pool(self) -> None:
        """Refuse calls that could not be made, before anything is under way.

        Raises:
            InputError: The pool file names no model in use, or the user never allowed it.
        """
        require_models(self.config)
        if not {entry.name for entry in self.config.models} & set(self.models):
            raise _nothing_shared(self.bank, self.config)
        self.account.require_consent(self.models)

    def pool(self) -> LivePool:
        """Return the models behind cache and ledger; only the account's thread comes here."""
        if self._pool is None:
            self._pool = self.account.pool(self.models, self._called, refused_for=_REFUSED_FOR)
        return self._pool

    def _called(self, event: CallEvent) -> None:
        watcher = watcher_in_force.get()
        if watcher is not None:
            watcher.called(event)
        elif event.kind == "adapted":
            self.user.detail(f"{event.model}: {event.reason}")

    def remember(self, words: str, outcome: Outcome, *, is_last: bool) -> str | None:
        """Remember an answer; see `Jisi.remember`.

        Args:
            words: The words that the question was routed by.
            outcome: How it was answered.
            is_last: Whether `last` may mean it.
        """
        if not (self.account.store and words.strip() and outcome.answer.text.strip()):
            return None
        name = secrets.token_hex(6)
        try:
            self._answers.add(name, words, outcome, self.account.run.id if is_last else None)
        except InputError as error:
            if not self._is_forgetting:
                self.user.warn(f"answers are not remembered, so nothing can be said of them: {error}")
            self._is_forgetting = True
            return None
        return name

    @opened_once
    def _answers(self) -> Answers:
        from jisi_cli.history.answers import Answers

        return Answers()

    def close(self) -> None:
        """Close the connections, end local models, and write what is still to be booked."""
        if "_answers" in self.__dict__:
            self._answers.close()
        if self._pool is not None and self.account.background.is_own_process:
            self.account.background.run(self._pool.close())
            self._pool = None
        self.account.close()


def bank_or_stand_in(named: Path | None, config: Config, failed: Failed | None, user: User, method: str | None) -> Bank:
    """Return the bank in force; where there is none, what stands in for it where a method can do without.

    Args:
        named: The bank's folder, if it was named.
        config: The pool file.
        failed: What failed answers count.
        user: Told that there is none.
        method: Who is to answer; None where models are not called, or several methods are compared.

    Raises:
        InputError: There is none, and no pool that could answer without, or the method cannot.
        BankError: It cannot be opened.
    """
    path = find_bank(named, config)
    if path is not None or method is None:
        return Bank(bank_folder(named, config, user), failed)
    require_models(config)
    if method != "jisi":
        raise InputError(
            f"--method {method} ranks by a bank, and none was named; leave it out to ask in the order of the "
            "pool file, or name one: --bank PATH, JISI_BANK, or bank in jisi.toml"
        )
    user.note(
        f"note: without a bank, models are asked in the order of {config.path}; jisi bank build --starter "
        "--call -o my-bank makes one, which ranks them by what each is good at"
    )
    return NoBank([entry.name for entry in config.models])


def models_in_use(
    bank: Bank, config: Config, wanted: Sequence[str] | None, calls: Calls, user: User
) -> tuple[str, ...]:
    """Return the models that the bank knows and, where that matters, the pool can ask.

    Raises:
        InputError: There are none, or one that is wanted is not among them.
    """
    known = bank.models
    pool = [entry.name for entry in config.models]
    shared = [name for name in known if name in pool]
    if calls == "ignored" or not pool or (calls == "preferred" and not shared):
        pool, shared = [], list(known)
    if not shared:
        raise _nothing_shared(bank, config)
    for name in wanted or ():
        if name not in shared:
            where = "the bank" if name not in known else str(config.path)
            near = did_you_mean(name, shared)
            raise InputError(f"--models: {where} has no `{name}`{near}; choose from {', '.join(shared)}")
    if pool:
        for name in sorted(set(known) - set(pool)):
            user.detail(f"note: {name} is in the bank but not in the pool; it is left out")
        for name in sorted(set(pool) - set(known)):
            user.detail(f"note: {name} is in the pool but not in the bank; it is left out")
    return tuple(name for name in shared if not wanted or name in wanted)


def _nothing_shared(bank: Bank, config: Config) -> InputError:
    pool = ", ".join(entry.name for entry in config.models)
    return InputError(
        f"{config.path} and {bank.path} have no model in common: the pool has {pool}, "
        f"the bank has {', '.join(bank.models)}"
    )
