"""The released code's reading of the method once more, in NumPy: `--compat openjisi` must decide the same.

Written from the table of known differences alone, for banks without gaps. It shares nothing with `scoring`, nor with
`reference`, and is fast enough to go through every question of a real test set. It sums in floating point, so
that values agree up to rounding, and so do decisions wherever no two values are nearer than that; equal scores of
models that solved the same questions are equal here, too, because the same numbers are added up in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Released:
    """What was decided, with models by name.

    `ranking` and `candidates` are of stage 1; `router` is who answers alone; `closest` is the smallest difference
    between two values that decided something, exact ties left out.
    """

    support: tuple[int, ...]
    ranking: tuple[str, ...]
    candidates: tuple[str, ...]
    aggregator: str
    aggregatees: tuple[str, ...]
    router: str
    closest: float


def decide_released(
    queries: Any,
    responses: Any,
    scores: Any,
    tokens: Any,
    names: tuple[str, ...],
    e: Any,
    new_responses: Any,
    new_tokens: Any,
    answerable: Any,
    *,
    k: int = 3,
    n_base: int = 50,
    gamma: float = 0.95,
    beta: float = 0.5,
    t: float = 0.8,
) -> Released:
    """Decide as the released code does; arrays (N, d), (N, M, d), (N, M), (N, M), (d,), (M, d), (M,), (M,)."""
    by_name = sorted(range(len(names)), key=names.__getitem__)
    similarities = queries @ e
    kth = np.sort(similarities)[::-1][min(n_base, len(queries)) - 1]
    threshold = min(gamma * kth, kth)
    support = np.flatnonzero(similarities > threshold)
    if not len(support):
        support = np.array([np.argmax(similarities)])
    s = similarities[support]

    # A stable sort of the sorted names: equals stay in the order of their names.
    coarse = _means(scores[support], s)
    ranking = sorted(by_name, key=lambda j: -coarse[j])
    candidates = ranking[:k]

    answered = [j for j in candidates if answerable[j]]
    compared = answered[:3] if len(answered) >= 3 else answered[:1]
    by_response = np.mean([responses[support, j] @ new_responses[j] for j in compared], axis=0)
    distances = [np.abs(tokens[support, j] ** 2 - new_tokens[j] ** 2) for j in compared]
    by_cost = np.mean([1 - distance / (distance.max() + 1e-8) for distance in distances], axis=0)
    f = 0.5 * s + 0.3 * by_response + 0.2 * by_cost
    order = np.lexsort((np.arange(len(f)), -s, -f))
    kept = order[: max(1, int(beta * len(support)))]

    fine = _means(scores[support[kept]], f[kept])
    eligible = [j for j in sorted(by_name, key=lambda j: -fine[j]) if answerable[j]]
    best = fine[eligible[0]]
    chosen = [j for j in eligible[: len(answered)] if fine[j] / best >= t] if best > 0 else answered[:1]
    return Released(
        support=tuple(support.tolist()),
        ranking=tuple(names[j] for j in ranking),
        candidates=tuple(names[j] for j in candidates),
        aggregator=names[ranking[0]],
        aggregatees=tuple(names[j] for j in chosen),
        router=names[chosen[0]],
        closest=min(map(_closest, ([*similarities, threshold], coarse, f, fine, [*(fine / max(best, 1e-300)), t]))),
    )


def _means(scores: Any, weights: Any) -> Any:
    # Not a matrix product, which may add up two equal columns differently.
    return (scores * weights[:, np.newaxis]).sum(axis=0) / weights.sum()


def _closest(values: Any) -> float:
    gaps = np.diff(np.unique(np.asarray(values, dtype=float)))
    return float(gaps.min(initial=np.inf))
