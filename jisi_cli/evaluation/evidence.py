"""What a decision rested on, in the few numbers that a result file can afford to keep for every question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jisi_cli.methods.decision import Decision

NEIGHBOURS = 5
"""Support queries that are kept, the nearest ones."""
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Evidence:
    """Scores and neighbours of one decision, rounded to four decimals.

    Attributes:
        models: Names of the M models, as the promises are ordered.
        coarse: What stage 1 promises of each model (M): the weighted share of the support set it solved, in [0, 1].
        fine: The same of stage 2; None when it was not reached.
        margin: How far the second best score lies below the best, as a share of it; None where there is none.
        neighbours: Dataset, index and similarity of the nearest support queries, and whether the filter kept them
            (None when there was no filter), nearest first.
    """

    models: tuple[str, ...]
    coarse: tuple[float, ...]
    fine: tuple[float, ...] | None
    margin: float | None
    neighbours: tuple[tuple[str, str, float, bool | None], ...]

    def promised(self, model: str | None) -> float | None:
        """Return what the last stage that was reached promised of a model; None for one that is not in the bank."""
        if model not in self.models:
            return None
        return (self.coarse if self.fine is None else self.fine)[self.models.index(model)]


def evidence_of(decision: Decision, train: Sequence[tuple[str, str]]) -> Evidence:
    """Return what to keep of a decision.

    Args:
        decision: The decision.
        train: Dataset and index of each bank row that decisions are drawn from; empty where they are not known.
    """
    coarse, fine = decision.promises()
    margin = decision.margin()
    nearest = decision.nearest(NEIGHBOURS) if train else []
    return Evidence(
        models=decision.models,
        coarse=_rounded(coarse),
        fine=None if fine is None else _rounded(fine),
        margin=None if margin is None else round(margin, _DIGITS),
        neighbours=tuple((*train[row], round(similarity, _DIGITS), kept) for row, similarity, kept in nearest),
    )


def parse_evidence(data: Mapping[str, Any]) -> Evidence:
    """Read evidence back from JSON.

    Raises:
        TypeError: A part is of another kind.
        ValueError: Parts do not belong together.
        KeyError: A part is missing.
    """
    models = tuple(_checked(name, str) for name in _checked(data["models"], list))
    coarse = _numbers(data["coarse"])
    fine = None if data["fine"] is None else _numbers(data["fine"])
    if len(coarse) != len(models) or (fine is not None and len(fine) != len(models)):
        raise ValueError("scores and models differ in number")
    margin = None if data["margin"] is None else _number(data["margin"])
    return Evidence(models, coarse, fine, margin, tuple(map(_neighbour, _checked(data["neighbours"], list))))


def _neighbour(data: object) -> tuple[str, str, float, bool | None]:
    dataset, index, similarity, kept = _checked(data, list)
    if not (kept is None or isinstance(kept, bool)):
        raise TypeError("kept is neither true, false nor null")
    return _checked(dataset, str), _checked(index, str), _number(similarity), kept


def _numbers(data: object) -> tuple[float, ...]:
    return tuple(map(_number, _checked(data, list)))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("not a finite number")
    return float(value)


def _checked(value: Any, kind: type) -> Any:  # noqa: ANN401 - any JSON value
    if not isinstance(value, kind):
        raise TypeError(f"not a {kind.__name__}")
    return value


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, _DIGITS) for value in values)
