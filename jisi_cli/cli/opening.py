"""The options with which a command opens the pool, or an account for its calls: one place for all commands that do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from jisi_cli.cli.options import (
    BankOption,
    ConcurrencyOption,
    ConfigOption,
    EmbedderOption,
    EngineOption,
    FailedOption,
    JsonOption,
    LabelOption,
    MaxCostOption,
    MaxCostPerDayOption,
    ModelsOption,
    NoStoreOption,
    QuietOption,
    TimeoutOption,
    TrustEmbedderOption,
    UnlikeOption,
    VerboseOption,
    gathered,
    method_settings,
    option_parameter,
    split_names,
    stated,
)
from jisi_cli.cli.output import Output

if TYPE_CHECKING:
    from jisi_cli.config import Config
    from jisi_cli.jisi import Jisi
    from jisi_cli.spending import RunAccount

_EVERYWHERE: Mapping[str, tuple[Any, object]] = {
    "bank": (BankOption, None),
    "config": (ConfigOption, None),
    "models": (ModelsOption, None),
    "embedder": (EmbedderOption, None),
    "trust_embedder": (TrustEmbedderOption, False),
    "failed": (FailedOption, None),
    "timeout": (TimeoutOption, None),
    "max_cost": (MaxCostOption, None),
    "no_store": (NoStoreOption, False),
    "quiet": (QuietOption, False),
    "verbose": (VerboseOption, False),
}
"""What all these commands take: its annotation and what it is where it is not given."""

_WHERE_NAMED: Mapping[str, tuple[Any, object]] = {
    "method": (
        Annotated[
            str, typer.Option("--method", metavar="NAME", help="Who answers, and how; eval --list-methods names all.")
        ],
        "jisi",
    ),
    "mode": (
        Annotated[
            str, typer.Option("--mode", metavar="NAME", help="auto decides; route never aggregates, aggregate always.")
        ],
        "auto",
    ),
    "unlike": (UnlikeOption, None),
    "no_cache": (Annotated[bool, typer.Option("--no-cache", help="Ask again what is cached.")], False),
    "label": (LabelOption, None),
    "max_cost_per_day": (MaxCostPerDayOption, None),
    "temperature": (
        Annotated[float | None, typer.Option("--temperature", metavar="X", help="Sampling temperature [0.2].")],
        None,
    ),
    "max_tokens": (
        Annotated[int | None, typer.Option("--max-tokens", metavar="N", min=1, help="Longest answer, in tokens.")],
        None,
    ),
    "concurrency": (ConcurrencyOption, None),
}
"""What some of them take, likewise."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What the command line says of the pool.

    Attributes:
        out: The sink, which the options --quiet and --verbose are about.
        options: The others, settings of the method included, as `Jisi` takes them.
    """

    out: Output
    options: Mapping[str, Any]

    @property
    def store(self) -> bool:
        """Whether questions and answers may be kept."""
        return bool(self.options["store"])

    def open(self, command: str, **more: Any) -> Jisi:  # noqa: ANN401 - as `Jisi` takes them
        """Open the pool.

        Args:
            command: What the ledger calls the run.
            **more: What the command itself says; it wins over the options.

        Raises:
            InputError: See `Jisi`.
            BankError: See `Jisi`.
        """
        from jisi_cli.jisi import Jisi

        return Jisi(**{**self.options, "user": self.out, "command": command, **more})


def opens_pool(*names: str, **helps: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options with which it opens the pool; it receives them as `opening`, an `Opening`.

    Args:
        *names: Options that not all such commands take.
        **helps: Others of these, and how help explains them here.
    """
    shared = [option_parameter(name, *about) for name, about in _EVERYWHERE.items()]
    shared += [_named(name, helps.get(name)) for name in _WHERE_NAMED if name in {*names, *helps}]
    settings = method_settings()

    def gather(values: dict[str, Any]) -> Opening:
        routing = stated({setting.name: values.pop(setting.name) for setting in settings})
        out = Output(quiet=values.pop("quiet"), verbose=values.pop("verbose"))
        values["store"] = not values.pop("no_store")
        if "no_cache" in values:
            values["use_cache"] = not values.pop("no_cache")
        return Opening(out, {**values, "models": split_names(values["models"]), **routing})

    return lambda command: gathered(command, "opening", [*shared, *settings], gather)


def _named(name: str, text: str | None) -> inspect.Parameter:
    annotation, default = _WHERE_NAMED[name]
    if text is None:
        return option_parameter(name, annotation, default)
    kind, option = get_args(annotation)
    told = copy(option)
    told.help = text
    return option_parameter(name, Annotated[kind, told], default)


# Commands that may call models, but open no pool that answers.


_RUN: Mapping[str, tuple[Any, object]] = {
    "max_cost": (MaxCostOption, None),
    "label": (LabelOption, None),
    "concurrency": (ConcurrencyOption, None),
    "engine": (EngineOption, None),
    "timeout": (TimeoutOption, None),
    "no_store": (NoStoreOption, False),
    "as_json": (JsonOption, False),
    "quiet": (QuietOption, False),
    "verbose": (VerboseOption, False),
}
"""What all these commands take, as in `_EVERYWHERE`."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the command line says of a run that may call models: what it may spend, and how it is shown.

    Attributes:
        out: The sink, which the options --quiet and --verbose are about.
        as_json: Whether the result is printed as one JSON document.
        store: Whether questions and answers may be kept.
        engine: Where calls are made; None for the usual place.
        limits: The other options, as `RunAccount` takes them.
    """

    out: Output
    as_json: bool
    store: bool
    engine: str | None
    limits: Mapping[str, Any]

    @property
    def max_cost(self) -> float | None:
        """Dollars that it may cost at most."""
        limit: float | None = self.limits["max_cost"]
        return limit

    def account(self, config: Config, command: str) -> RunAccount:
        """Open the account of its calls.

        Args:
            config: The configuration in force.
            command: What the ledger calls the run.

        Raises:
            InputError: See `RunAccount` and `read_engine`.
        """
        from jisi_cli.cluster.engine import read_engine
        from jisi_cli.spending import RunAccount

        return RunAccount(config, command, self.out, store=self.store, engine=read_engine(self.engine), **self.limits)


def may_call(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a run that may call models; it receives them as `run`, a `Run`."""

    def gather(values: dict[str, Any]) -> Run:
        out = Output(quiet=values.pop("quiet"), verbose=values.pop("verbose"))
        store = not values.pop("no_store")
        return Run(out, values.pop("as_json"), store, values.pop("engine"), values)

    return gathered(command, "run", [option_parameter(name, *about) for name, about in _RUN.items()], gather)
