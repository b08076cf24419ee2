"""A method with the settings that it runs with, made from the bank on first use: one way of asking a pool."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from jisi_cli.bank.bank import Bank
from jisi_cli.embed.protocol import LazyEmbedder
from jisi_cli.errors import InputError, did_you_mean
from jisi_cli.hyperparameters import OWN_DEFAULTS, of_jisi, stated_options
from jisi_cli.methods.context import BankRows, MethodContext
from jisi_cli.methods.familiar import FamiliarCoarse
from jisi_cli.methods.protocol import Aggregation, Method, Query, StagedMethod, settings_json
from jisi_cli.methods.registry import make_method, method_info
from jisi_cli.methods.router import Router
from jisi_cli.methods.shared_stages import SharedFine
from jisi_cli.methods.training import Training
from jisi_cli.opened import Opened, opened_once
from jisi_cli.spending import amount

if TYPE_CHECKING:
    from jisi_cli.config import Config
    from jisi_cli.hyperparameters import Hyperparameters
    from jisi_cli.scoring import BankArrays

WITHOUT_BANK = "pool-order"
"""What the method is called where there is no bank."""

MODES: dict[str, Aggregation | None] = {"auto": None, "route": "never", "aggregate": "always"}


@dataclass(eq=False)
class ConfiguredMethod:
    """A method as it was asked for. What was opened is shared; all that depends on its settings is its own.

    Attributes:
        opened: What all ways of asking the pool share.
        method: Its name.
        aggregation: Whether JiSi aggregates responses; None leaves it to the method.
        models: The models that may answer: those in use, or some of them.
        stated: The settings that were given, which win over the pool file's, and those over the bank's.
        temperature: Sampling temperature of every call; None for the method's own.
        max_tokens: Length of an answer at most.
        unlike: What becomes of a question that resembles nothing in the bank; see `Jisi`.
        seed: Seed of everything random.
        hyperparameters: What it runs with.
        opening: Held while the method is made, or plans.

    Raises:
        InputError: A setting is unknown or out of bounds.
        BankError: What the bank holds is.
    """

    opened: Opened
    method: str
    aggregation: Aggregation | None
    models: tuple[str, ...]
    stated: Mapping[str, Any]
    temperature: float | None
    max_tokens: int | None
    unlike: str | None
    seed: int
    hyperparameters: Hyperparameters = field(init=False)
    opening: RLock = field(init=False, default_factory=RLock)

    def __post_init__(self) -> None:
        config = self.opened.config
        stated = ((config.routing, routing_of(config)), (self.stated, "options"))
        found = settings_in_force(self.opened.bank, self.method, *stated)
        self.hyperparameters, self._own, self._options = found
        self._parts: dict[tuple[object, ...], ConfiguredMethod] = {}

    def with_changes(
        self,
        method: str | None,
        mode: str,
        temperature: float | None,
        max_tokens: int | None,
        stated: Mapping[str, Any],
    ) -> ConfiguredMethod:
        """Return it with other settings; see `Jisi.with_changes`.

        Raises:
            InputError: The method or a setting cannot be used.
        """
        chosen = method or self.method
        if self.opened.has_bank or chosen.startswith("model:"):
            check_method(chosen, mode, stated)
        elif chosen != self.method or mode not in MODES:
            raise InputError(f"`{chosen}` with mode `{mode}` needs a bank, and none was named")
        check_whole("max_tokens", max_tokens)
        return replace(
            self,
            method=chosen,
            aggregation=MODES[mode],
            stated={**self.stated, **stated},
            temperature=self.temperature if temperature is None else amount(temperature, "temperature"),
            max_tokens=self.max_tokens if max_tokens is None else max_tokens,
        )

    def part(self, models: tuple[str, ...], *, is_for_one: bool) -> ConfiguredMethod:
        """Return the same for some of the models, which is made once.

        Args:
            models: Those that can answer a question.
            is_for_one: Whether one of them is to answer alone: it is the first by stage 1, unless the method asks one
                model anyway.
        """
        with self.opening:
            if (models, is_for_one) not in self._parts:
                self._parts[models, is_for_one] = self._made_part(models, is_for_one=is_for_one)
            return self._parts[models, is_for_one]

    def _made_part(self, models: tuple[str, ...], *, is_for_one: bool) -> ConfiguredMethod:
        if is_for_one and not self.opened.has_bank:
            return replace(self, aggregation=MODES["route"], models=models)
        if is_for_one and not isinstance(self.made, Router):
            return replace(self, method="jisi-query", aggregation=None, models=models)
        return self if models == self.models else replace(self, models=models)

    # Made on first use.

    @opened_once
    def made(self) -> Method[Any]:
        """The method, made from the bank's train rows; some train first.

        Raises:
            InputError: It cannot be made from this bank.
        """
        if self.method == WITHOUT_BANK:
            from jisi_cli.methods.pool_order import PoolOrder

            return PoolOrder.of_context(self.context, self.stated)
        user = self.opened.user
        with user.training(self.method) if method_info(self.method).trains else nullcontext() as on_step:
            # A question that is asked has no other method to share its last stages with.
            context = replace(self.context, training=Training(on_step), fine=SharedFine(room=0))
            if (self.unlike or ("bank" if self.hyperparameters.compat == "paper" else "ignore")) == "bank":
                context = replace(context, coarse=FamiliarCoarse(self.opened.bank, self.arrays))
            made = make_method(self.method, context)
        if context.training.chosen is not None:
            # What was asked for is answered; what a file asks for is told whom it interests.
            tell = user.note if self.stated.get("mean_calls") else user.detail
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

    @opened_once
    def context(self) -> MethodContext:
        """What methods are made from: train data only."""
        opened = self.opened
        return MethodContext(
            bank=self.arrays,
            rows=BankRows(opened.bank, self.models, opened.prices),
            embedder=LazyEmbedder(opened.bank.manifest.embedder, lambda: opened.answer_embedder),
            hyperparameters=self.hyperparameters,
            aggregation=self.aggregation,
            seed=self.seed,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            options=self._options,
            own=self._own,
        )

    @property
    def arrays(self) -> BankArrays:
        """The bank's arrays for the models that may answer."""
        return self.opened.arrays(self.models)

    @property
    def is_one_model(self) -> bool:
        """Whether the method is one model by name."""
        return self.method.startswith("model:")

    @property
    def compares(self) -> bool:
        """Whether a question's vector is compared with others: there is a bank, and not just one model by name."""
        return self.opened.has_bank and not self.is_one_model

    def queries(self, texts: Sequence[str]) -> list[Query]:
        """Embed new questions, unless there is nothing to compare their vectors with."""
        if not self.compares:
            return [Query(text, np.zeros(0, np.float32)) for text in texts]
        vectors = self.opened.query_embedder.embed(list(texts))
        return [Query(text, vector) for text, vector in zip(texts, vectors, strict=True)]

    # What it says of itself.

    @property
    def settings(self) -> dict[str, Any] | None:
        """What the method runs with, as plain data; None where it has no settings."""
        return with_failed(self.opened.bank, settings_json(self.made))

    @property
    def asked(self) -> list[object]:
        """What decides the answers of the models, as it decides whether a cached answer is theirs."""
        entries = [entry for entry in self.opened.config.models if entry.name in self.models]
        return [(entry.name, entry.litellm, entry.api_base, entry.system, dict(entry.params)) for entry in entries]

    @property
    def identity(self) -> tuple[object, ...]:
        """What decides an answer besides the question: method, settings, models, bank, sampling."""
        bank = self.opened.bank
        rows = hashlib.sha256(bank.train_rows.astype(np.int64).tobytes()).hexdigest()
        parts = [part.sha256 for part in bank.manifest.parts()]
        sampling = (self.temperature, self.max_tokens, self.aggregation, self.unlike, self.seed)
        return (self.method, self.settings, self.asked, parts, rows, sampling)


def with_failed(bank: Bank, settings: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return settings with what failed answers of a bank count, where that is not as always."""
    return settings if settings is None or bank.failed == "wrong" else {**settings, "failed": bank.failed}


def routing_of(config: Config) -> str:
    """Return what errors call the settings of a pool file."""
    return f"{config.path} [routing]"


def settings_in_force(
    bank: Bank, method: str, *stated: tuple[Mapping[str, Any], str]
) -> tuple[Hyperparameters, dict[str, Hyperparameters], dict[str, Any]]:
    """Return all settings of a method: its own hyperparameters, those of others that it may go by, the cascade's.

    Args:
        bank: The bank.
        method: The method's name.
        *stated: Settings by name, and who says so; a later source wins over an earlier one.

    Raises:
        InputError: What is stated is unknown or out of bounds.
        BankError: What the bank holds is.
    """
    hyperparameters = in_force(bank, method, *stated)
    own = {name: in_force(bank, name, *stated) for name in bank.own_settings if name in OWN_DEFAULTS}
    return hyperparameters, own, stated_options((bank.cascade_options(), "the bank"), *stated)


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


def check_method(method: str, mode: str, settings: Mapping[str, object]) -> None:
    """Refuse what cannot answer a question, and options that a method would ignore.

    Raises:
        InputError: Such a method or option was given.
    """
    if mode not in MODES:
        raise InputError(f"--mode must be auto, route or aggregate, not {mode!r}{did_you_mean(mode, MODES)}")
    info = method_info(method)
    if info.needs == "labels" or method.partition(":")[0].endswith("-oracle"):
        raise InputError(f"--method: `{method}` must be told what no question tells; it is for `jisi eval` alone")
    if mode != "auto" and not (method == "jisi" or (mode == "route" and info.delegates)):
        raise InputError(f"--mode and --aggregate are JiSi's; leave them out with --method {method}")
    info.check_options(settings)


def check_whole(name: str, value: object, least: int = 1) -> None:
    """Refuse what is no whole number, or too small a one.

    Raises:
        InputError: It is so.
    """
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise InputError(f"{name} must be a whole number from {least}, not {value!r}")
