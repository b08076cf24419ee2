"""The best model of each train question: what routers learn that choose among models as a classifier does."""

from __future__ import annotations

import numpy as np

from jisi_cli.methods.examples import Examples
from jisi_cli.scoring import Floats, Rows

UNSEEN = -1e6
"""Below what any classifier says of a model that was the best of a question."""


def best_models(examples: Examples) -> tuple[Rows, Rows]:
    """Return the rows that have an answer (n,), and the place of the best model of each (n,).

    Of equally good ones the better on train at large is the best, then the first by name.
    """
    rows = np.flatnonzero(examples.present.max(axis=1, initial=False))
    order = sorted(range(len(examples.models)), key=lambda model: (-examples.means[model], model))
    scores = np.where(examples.present[rows], examples.scores[rows], -1.0)[:, order]
    return rows, np.array(order, dtype=np.intp)[np.argmax(scores, axis=1)]


def among_all(examples: Examples, classes: Rows, values: Floats) -> Floats:
    """Return values of some models (n, C) as values of all (n, M); those that were never best come last."""
    found = np.full((len(values), len(examples.models)), UNSEEN)
    found[:, classes] = values
    return found
