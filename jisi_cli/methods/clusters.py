"""Clusters of train questions, and how well each model does in each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.methods.training import TrainingData
from jisi_cli.scoring import Floats, Rows


def find_centres(vectors: NDArray[Any], count: int, seed: int, restarts: int = 1) -> Floats:
    """Return the centres (C, d) that k-means (k-means++, Euclidean) finds.

    Args:
        vectors: Points (N, d), N >= 1.
        count: Clusters; fewer are found when there are fewer different points.
        seed: Seed of the first centres.
        restarts: Runs from new starting points; the tightest clusters are kept.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    points = vectors.astype(np.float64)
    different = len(np.unique(points, axis=0))
    # Threads add up partial sums in the order in which they end; one thread gives the same bits every time.
    with threadpool_limits(limits=1):
        clusters = min(count, different)
        found = KMeans(n_clusters=clusters, init="k-means++", n_init=restarts, random_state=seed).fit(points)
    return np.asarray(found.cluster_centers_, dtype=np.float64)


def nearest_centre(vectors: NDArray[Any], centres: Floats) -> Rows:
    """Return the cluster of each point (N,): that of the nearest centre (Euclidean)."""
    products = vectors.astype(np.float64) @ centres.T
    return np.asarray(np.argmin((centres**2).sum(axis=1) - 2 * products, axis=1), dtype=np.intp)


def weigh_nearest(
    vectors: Floats, centres: Floats, count: int, sharpness: float, *, unit: bool = True
) -> tuple[Rows, Floats]:
    """Return the nearest clusters (n, k) by cosine distance, nearest first, and their weights (n, k).

    Args:
        vectors: Unit query vectors (n, d).
        centres: Centres (C, d).
        count: Clusters that have a say; k is this or C.
        sharpness: beta of the weights softmax(-beta distance).
        unit: Whether centres have unit length first; without, the centre of a loose cluster is further from all.
    """
    lengths = np.linalg.norm(centres, axis=1, keepdims=True)
    compared = centres / np.where(lengths > 0, lengths, 1.0) if unit else centres
    # Rounded, so that equally near centres are taken in the same order in every block.
    distances = np.round(1.0 - vectors @ compared.T, 12)
    order = np.argsort(distances, axis=1, kind="stable")[:, :count]
    chosen = np.take_along_axis(distances, order, axis=1)
    # From the nearest one on: the share of each is the same, and they are not all 0 however sharp.
    weights = np.exp(-sharpness * (chosen - chosen[:, :1]))
    return order, weights / weights.sum(axis=1, keepdims=True)


def mean_scores(data: TrainingData, labels: Rows, count: int, rows: Rows | None = None) -> Floats:
    """Return the mean score of each model in each cluster (C, M), its mean over all rows where it has none there.

    Args:
        data: Train rows.
        labels: Cluster of each of them (N,).
        count: Number of clusters C.
        rows: Rows to use; all by default.
    """
    used = np.arange(len(labels)) if rows is None else rows
    scores, present = data.scores[used], data.present[used].astype(np.float64)
    members = np.zeros((count, len(used)))
    members[labels[used], np.arange(len(used))] = 1.0
    answered = members @ present
    means = np.divide(members @ scores, answered, out=np.zeros_like(answered), where=answered > 0)
    everywhere = np.divide(scores.sum(axis=0), present.sum(axis=0), out=np.zeros(scores.shape[1]), where=present.any(0))
    return np.where(answered > 0, means, everywhere)
