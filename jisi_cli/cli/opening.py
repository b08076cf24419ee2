"""The options with which a command opens the pool, and the opening: one place for all commands that do."""

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
    FailedOption,
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
    from jisi_cli.jisi import Jisi

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
