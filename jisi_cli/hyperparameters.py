"""The method's hyper-parameters: names, defaults, bounds. No NumPy, so that `--help` stays light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from jisi_cli.errors import InputError

Compat = Literal["paper", "openjisi"]
"""Which reading of the method: the paper's equations, or the authors' released code."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Settings of JiSi; the defaults are the paper's (§4.1).

    Attributes:
        k: Candidates that are asked, and aggregatees at most.
        n_base: Neighbours that the support set holds at least.
        gamma: Share of the n_base-th similarity that still admits a query to the support set.
        beta: Share of the support set that survives the mixed filter.
        epsilon: Weight of query similarity in the filter.
        sigma: Weight of response similarity.
        delta: Weight of the similarity in completion tokens; the three weights sum to 1.
        t: Share of the best fine score that still makes a model an aggregatee.
        max_aggregate_tokens: Responses together longer than this are cut down to two.
        compat: `paper`, or `openjisi` for the choices of the authors' released code.
    """

    k: int = 3
    n_base: int = 50
    gamma: float = 0.95
    beta: float = 0.5
    epsilon: float = 0.5
    sigma: float = 0.3
    delta: float = 0.2
    t: float = 0.8
    max_aggregate_tokens: int = 13_000
    compat: Compat = "paper"

    def __post_init__(self) -> None:
        for name in ("k", "n_base", "max_aggregate_tokens"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number from 1, not {value!r}")
        for name in ("gamma", "beta", "epsilon", "sigma", "delta", "t"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InputError(f"{name} must be a number from 0 to 1, not {value!r}")
        total = self.epsilon + self.sigma + self.delta
        if abs(total - 1) > 1e-9:
            raise InputError(f"epsilon + sigma + delta must be 1, not {total:g}; set all three")
        if self.compat not in get_args(Compat):
            raise InputError(f"compat must be one of {', '.join(get_args(Compat))}, not {self.compat!r}")

    def with_changes(self, changes: Mapping[str, Any], where: str) -> Hyperparameters:
        """Return a copy with some settings replaced; None leaves a setting as it is.

        Args:
            changes: New values by name.
            where: Who says so, for the error message.

        Raises:
            InputError: A name is unknown or a value out of bounds.
        """
        known = {field.name for field in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise InputError(
                f"{where}: unknown hyper-parameter `{unknown[0]}`; known: {', '.join(sorted(known))}"
            )
        try:
            return replace(self, **{name: value for name, value in changes.items() if value is not None})
        except InputError as error:
            raise InputError(f"{where}: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return asdict(self)
