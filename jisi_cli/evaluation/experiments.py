"""The paper's experiments as lists of contestants: ablations, sweeps of settings, a growing pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

from jisi_cli.errors import InputError
from jisi_cli.evaluation.folds import take_models
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.registry import MethodContext


@dataclass(frozen=True, slots=True)
class Variation:
    """One entry of an experiment: a method under changed conditions.

    Attributes:
        label: What the report calls it.
        method: Name of the method.
        context: What it is made from.
    """

    label: str
    method: str
    context: MethodContext


def ablations(context: MethodContext) -> list[Variation]:
    """Return the mixed router and what is left of it without each of its parts.

    A weight that is taken away is shared out over the others in proportion.
    """
    settings = context.settings
    without = {
        "jisi-router": settings,
        "without responses (sigma=0)": _reweighted(settings, "sigma"),
        "without token counts (delta=0)": _reweighted(settings, "delta"),
        "without query similarity (epsilon=0)": _reweighted(settings, "epsilon"),
        "without the filter (beta=1)": replace(settings, beta=1.0),
    }
    changed = [
        Variation(label, "jisi-router", replace(context, settings=setting))
        for label, setting in without.items()
        if setting is not None
    ]
    return [*changed, Variation("without probes (jisi-query)", "jisi-query", context)]


def growing(context: MethodContext, order: Sequence[str], first: int, methods: Sequence[str]) -> list[Variation]:
    """Return each method over the first m models of an order, for m from `first` to all (the paper's Fig. 5).

    Raises:
        InputError: The order names a model twice or one that the bank lacks, or is too short.
    """
    known = context.bank.model_names
    for place, name in enumerate(order):
        if name not in known:
            raise InputError(f"--grow: the bank has no `{name}`; it has {', '.join(known)}")
        if name in order[:place]:
            raise InputError(f"--grow: `{name}` stands in the order twice")
    if len(order) < first:
        raise InputError(f"--grow: the order has {len(order)} models, --grow-from wants {first} to begin with")
    found = []
    for size in range(first, len(order) + 1):
        models = list(order[:size])
        places = [known.index(name) for name in models]
        dollars = None if context.dollars is None else context.dollars[:, places]
        smaller = replace(context, bank=take_models(context.bank, models), costs=context.costs[places], dollars=dollars)
        found += [Variation(f"{method}{_GROWN}{size}{_MODELS}", method, smaller) for method in methods]
    return found


_GROWN, _MODELS = " · ", " models"
_LONGEST_SIZE = 6


def grown(label: str) -> tuple[str, int] | None:
    """Return method and number of models of a label that `growing` made; None for any other label."""
    method, found, rest = label.rpartition(_GROWN)
    size = rest.removesuffix(_MODELS)
    # Labels come from result files, too, and a number of thousands of digits is none of ours.
    is_size = size.isdecimal() and len(size) <= _LONGEST_SIZE
    return (method, int(size)) if found and rest.endswith(_MODELS) and is_size else None


def swept(settings: Hyperparameters, values: Mapping[str, Sequence[Any]]) -> list[tuple[str, Hyperparameters]]:
    """Return every combination of the given values, labelled by what differs.

    Args:
        settings: Settings to start from.
        values: Values by hyper-parameter.
    """
    names = list(values)
    found = []
    for combination in product(*values.values()):
        changes = dict(zip(names, combination, strict=True))
        label = " ".join(f"{name}={value}" for name, value in changes.items())
        found.append((label, settings.with_changes(changes, "--sweep")))
    return found


def parse_sweep(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read `gamma=0.8,0.9` and its like.

    Raises:
        InputError: A text is not of that form, or names no hyper-parameter.
    """
    kinds = {field.name: type(getattr(Hyperparameters(), field.name)) for field in fields(Hyperparameters)}
    values: dict[str, list[Any]] = {}
    for text in texts:
        name, _, listed = text.partition("=")
        name = name.strip().replace("-", "_")
        if name not in kinds or not listed.strip():
            raise InputError(f"--sweep is written NAME=VALUE,VALUE with NAME one of {', '.join(kinds)}; not {text!r}")
        try:
            values[name] = [kinds[name](part.strip()) for part in listed.split(",")]
        except ValueError:
            raise InputError(f"--sweep {name}: the values must be {kinds[name].__name__}, not {listed!r}") from None
    return values


def _reweighted(settings: Hyperparameters, without: str) -> Hyperparameters | None:
    """Take one weight of the filter away; None when nothing would be left."""
    weights = {name: float(getattr(settings, name)) for name in ("epsilon", "sigma", "delta")}
    weights[without] = 0.0
    total = sum(weights.values())
    if total <= 0:
        return None
    return settings.with_changes({name: value / total for name, value in weights.items()}, "ablation")
