"""What JiSi decided for one question, with its evidence, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.scoring import Coarse, Fine

Describe = Callable[[Sequence[int]], Sequence[Mapping[str, Any]]]
"""Says something of each of some bank rows."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The stages of one decision, with models by name.

    Attributes:
        models: Names of the M models, as the scores are ordered.
        coarse: Stage 1.
        fine: Stages 2 and 3; None when they were not reached.
        answered: Candidates that answered, best first.
        aggregatees: Models whose responses counted in the end (steps 12 and 13), best first.
        scores_are_means: Whether scores are weighted means, as the released code has them, and not sums.
    """

    models: tuple[str, ...]
    coarse: Coarse
    fine: Fine | None = None
    answered: tuple[str, ...] = ()
    aggregatees: tuple[str, ...] = ()
    scores_are_means: bool = False

    @property
    def candidates(self) -> tuple[str, ...]:
        """The models asked first, best first."""
        return tuple(self.models[model] for model in self.coarse.candidates)

    @property
    def aggregator(self) -> str:
        """The model that aggregates."""
        return self.models[self.coarse.aggregator]

    def promises(self) -> tuple[list[float], list[float] | None]:
        """Return what each stage's scores promise of each model (M,): the weighted share of the support set it solved.

        A score over the sum of its weights; of the second stage None where it was not reached. In [0, 1].
        """
        first = self._promised(self.coarse.scores, self.coarse.similarities)
        if self.fine is None:
            return first, None
        return first, self._promised(self.fine.scores, self.fine.mixed[self.fine.kept])

    def margin(self) -> float | None:
        """Return how far the second best model's score lies below the best, as a share of it.

        The last stage that was reached counts; None with one model, or where nobody solved anything.
        """
        scores = self.coarse.scores if self.fine is None else self.fine.scores
        if len(scores) < 2 or float(scores.max()) <= 0:
            return None
        second, best = (float(score) for score in np.partition(scores, -2)[-2:])
        return 1.0 - max(0.0, second) / best

    def nearest(self, count: int) -> list[tuple[int, float, bool | None]]:
        """Return bank row, similarity and whether the filter kept it, of the nearest support queries, nearest first."""
        kept = set(self.fine.kept.tolist()) if self.fine is not None else None
        found = self.coarse.similarities
        # Rows are in bank order, so a stable sort breaks ties as the filter does.
        order = np.argsort(-found, kind="stable")[:count].tolist()
        rows = self.coarse.rows
        return [(int(rows[at]), float(found[at]), None if kept is None else at in kept) for at in order]

    def _promised(self, scores: NDArray[np.float64], weights: NDArray[np.float64]) -> list[float]:
        total = 1.0 if self.scores_are_means else float(weights.sum())
        shares = scores / total if total > 0 else np.zeros_like(scores)
        return [float(share) for share in np.clip(shares, 0.0, 1.0)]

    def to_json(self, neighbours: int = 0, describe: Describe | None = None) -> dict[str, Any]:
        """Return everything as plain data.

        Args:
            neighbours: How many support queries to list, the nearest first.
            describe: What to say of some bank rows, beyond their numbers.
        """
        data: dict[str, Any] = {
            "support_size": len(self.coarse.rows),
            "threshold": self.coarse.threshold,
            "kth_similarity": self.coarse.kth,
            "models": self._scores(),
            "candidates": list(self.candidates),
            "answered": list(self.answered),
            "aggregator": self.aggregator,
            "aggregatees": [],
        }
        if self.fine is not None:
            chosen = zip(self.fine.aggregatees, self.fine.ratios, strict=True)
            data["aggregatees"] = [
                {"model": self.models[model], "ratio": ratio, "used": self.models[model] in self.aggregatees}
                for model, ratio in chosen
            ]
            data["filtered_size"] = len(self.fine.kept)
        if neighbours:
            data["neighbours"] = self._neighbours(neighbours, describe)
        return data

    def _scores(self) -> list[dict[str, Any]]:
        fine = self.fine
        return [
            {
                "model": self.models[model],
                "rank": rank,
                "coarse_score": float(self.coarse.scores[model]),
                "fine_score": float(fine.scores[model]) if fine is not None else None,
            }
            for rank, model in enumerate(self.coarse.ranking, start=1)
        ]

    def _neighbours(self, count: int, describe: Describe | None) -> list[dict[str, Any]]:
        similarities = self.coarse.similarities.tolist()
        nearest = np.argsort(-self.coarse.similarities, kind="stable")[:count].tolist()
        kept = set(self.fine.kept.tolist()) if self.fine is not None else set()
        rows = [int(self.coarse.rows[place]) for place in nearest]
        said = describe(rows) if describe is not None else [{}] * len(rows)
        found = []
        for place, row, more in zip(nearest, rows, said, strict=True):
            mixed = float(self.fine.mixed[place]) if self.fine is not None else None
            known = {"row": row, "similarity": similarities[place], "mixed": mixed, "kept": place in kept}
            found.append({**known, **more})
        return found
