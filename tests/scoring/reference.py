"""The method once more, slowly: lists and loops written from its text, for tests to compare `scoring` with.

Every sum and dot product is `math.fsum` of float64 terms: correctly rounded, hence the same in any order.
A comparison with an implementation that sums in floating point should

- allow 1e-12 relative in values, and
- check decisions (sets, orders, choices) only where no value in `margins` is below 1e-9: nearer than that,
  rounding decides and two correct programs may differ.

A margin is |a - b| / max(1, |a|, |b|), relative for large values and absolute for small ones, because unit
vectors and scores in [0, 1] carry their rounding error on the scale of 1. Exact ties are left out: the tie
rules settle them. Token counts are compared as they are and have no margin. float32 inputs are widened
exactly, so an implementation that computes in float32 is further away than this.

The variants are read off the same result: `jisi-query` is `ranking[0]`, `jisi-router` is `aggregatees[0]`,
`jisi-static` is `aggregatees` of `decide(..., t=0)`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Answer = tuple[Any, float | None]


def decide(
    query_vectors: Any,
    response_vectors: Any,
    scores: Any,
    completion_tokens: Any,
    present: Any,
    model_names: Sequence[str],
    e: Any,
    ask: Callable[[int], Answer],
    *,
    k: int = 3,
    n_base: int = 50,
    gamma: float = 0.95,
    beta: float = 0.5,
    epsilon: float = 0.5,
    sigma: float = 0.3,
    delta: float = 0.2,
    t: float = 0.8,
    max_aggregate_tokens: float = 13000,
    compat: str = "paper",
    answerable: Sequence[bool] | None = None,
    prior: float = 0.0,
) -> dict[str, Any]:
    """Walk steps 1-13 for one query and return everything that was computed on the way.

    Args:
        query_vectors: E^Q, (N, d), unit rows.
        response_vectors: E^R, (N, M, d), unit rows; ignored where not present.
        scores: v, (N, M), in [0, 1]; ignored where not present.
        completion_tokens: c, (N, M); None or NaN where unknown; ignored where not present.
        present: (N, M), whether model j has an answer to query i.
        model_names: M names, the last word in every tie.
        e: the new query's vector, (d,).
        ask: model index -> (response vector (d,), tokens); the vector is None when the model gave no answer,
            the count when it is unknown.
        k: how many candidates are asked.
        n_base: how many nearest queries fix the threshold.
        gamma: the threshold's share of the n_base-th similarity.
        beta: the share of the support set that the filter keeps.
        epsilon: the weight of query similarity.
        sigma: the weight of response similarity.
        delta: the weight of cost similarity.
        t: the least ratio to the best fine score that an aggregatee needs.
        max_aggregate_tokens: above this, aggregatees are dropped.
        compat: "paper", or "openjisi" for the released code's choices.
        answerable: (M,), which models have a recorded non-empty answer; openjisi's step 11 only.
        prior: rows of similarity 1 that a model's mean over the bank counts for in steps 4 and 10; 0 is the paper.

    Returns:
        kth, threshold, support, s, g, ranking, candidates, aggregator, answered, s_res, s_cost, f, filtered,
        gf, ratios, aggregatees, kept, margins. s, s_res, s_cost and f are dicts by bank row of the support;
        ratios is a dict by model, empty when max(gf) <= 0; s_res and s_cost are sums over the candidates,
        means with openjisi. When no candidate answers, everything from s_res to kept is empty.
    """
    if compat not in ("paper", "openjisi"):
        raise ValueError(f"compat is 'paper' or 'openjisi', not {compat!r}")
    released = compat == "openjisi"
    query_vectors, response_vectors, scores = map(_plain, (query_vectors, response_vectors, scores))
    completion_tokens, present, e = map(_plain, (completion_tokens, present, e))
    margins: dict[str, float] = {}
    means = _mean_scores(scores, present, len(model_names))
    bank_means = means

    # Steps 1-3.
    all_s = [_dot(row, e) for row in query_vectors]
    kth, threshold, support = _support(all_s, n_base, gamma, released, margins)
    s = {i: all_s[i] for i in support}

    # Step 4, and the order of step 5. Where every g is 0, ties alone decide: mean score, then name.
    if prior > 0:
        g = _shrunk_scores(support, s, scores, present, bank_means, released, prior)
    else:
        g = _model_scores(support, s, scores, present, len(model_names), released, "g_weights", margins)
    # The released code looks at no mean: it sorts the names, then stably by score.
    if released:
        means = [0.0] * len(model_names)
    ranking = _ranked(range(len(model_names)), g, means, model_names)
    _note_order("ranking", ranking, g, means, margins)
    _note_order("argmax_g", ranking[:2], g, means, margins)

    # Step 5.
    aggregator = ranking[0]
    candidates = ranking[:k]
    result: dict[str, Any] = {
        "support": support,
        "kth": kth,
        "threshold": threshold,
        "s": s,
        "g": g,
        "ranking": ranking,
        "candidates": candidates,
        "aggregator": aggregator,
        "margins": margins,
    }

    # Stage 2: the candidates that fail to answer drop out, and K is from here on the number that answered.
    answers = {j: _answer(ask(j)) for j in candidates}
    answered = [j for j in candidates if answers[j][0] is not None]
    result["answered"] = answered
    if not answered:
        result.update(s_res={}, s_cost={}, f={}, filtered=[], gf=[], ratios={}, aggregatees=[], kept=[])
        return result

    # Steps 6-8.
    compared = answered
    if released:
        compared = answered[:3] if len(answered) >= 3 else answered[:1]
    s_res = _response_similarity(support, compared, answers, response_vectors, present, released)
    s_cost = _cost_similarity(support, compared, answers, completion_tokens, present, released)
    weight_of_s = epsilon if released else epsilon * len(answered)
    f = {i: math.fsum([weight_of_s * s[i], sigma * s_res[i], delta * s_cost[i]]) for i in support}

    # Step 9: the largest f; ties: the larger s, then bank order.
    by_f = sorted(support, key=lambda i: (-f[i], -s[i], i))
    n_kept = max(1, math.floor(beta * len(support)))
    filtered = by_f[:n_kept]
    _note_order("filter_order", filtered, f, s, margins)
    _note_order("filter_cut", by_f[n_kept - 1 : n_kept + 1], f, s, margins)

    # Step 10, for all M models.
    if prior > 0:
        # The paper's f is a sum of one similarity for each candidate, the released code's their mean.
        worth = prior if released else prior * len(answered)
        gf = _shrunk_scores(filtered, f, scores, present, bank_means, released, worth)
    else:
        gf = _model_scores(filtered, f, scores, present, len(model_names), released, "gf_weights", margins)

    # Step 11.
    eligible = list(range(len(model_names)))
    if released and answerable is not None:
        eligible = [j for j in eligible if answerable[j]]
    by_gf = _ranked(eligible, gf, means, model_names)
    aggregatees, ratios = _aggregatees(by_gf, gf, means, len(answered), t, answered[0], margins)

    # Step 12: call those that were not among the candidates; drop whoever has no answer.
    for j in aggregatees:
        if j not in answers:
            answers[j] = _answer(ask(j))
    kept = [j for j in aggregatees if answers[j][0] is not None]

    # Step 13.
    total = math.fsum(answers[j][1] or 0.0 for j in kept)
    if len(kept) > 2 and total > max_aggregate_tokens:
        kept = kept[:-1] if released else kept[:2]

    result.update(s_res=s_res, s_cost=s_cost, f=f, filtered=filtered, gf=gf)
    result.update(ratios=ratios, aggregatees=aggregatees, kept=kept)
    return result


def _support(
    all_s: list[float], n_base: int, gamma: float, released: bool, margins: dict[str, float]
) -> tuple[float, float, list[int]]:
    """Steps 2 and 3: kth, threshold and the support set in bank order."""
    kth = sorted(all_s, reverse=True)[min(n_base, len(all_s)) - 1]
    threshold = min(gamma * kth, kth)
    for similarity in all_s:
        _note("support", similarity, threshold, margins)
    if not released:
        return kth, threshold, [i for i in range(len(all_s)) if all_s[i] >= threshold]
    support = [i for i in range(len(all_s)) if all_s[i] > threshold]
    if not support:
        # The nearest one; index() finds the first in bank order.
        nearest = all_s.index(max(all_s))
        support = [nearest]
        for similarity in all_s:
            _note("nearest", similarity, all_s[nearest], margins)
    return kth, threshold, support


def _model_scores(
    rows: list[int],
    weights: dict[int, float],
    scores: list[list[float]],
    present: list[list[bool]],
    n_models: int,
    released: bool,
    margin: str,
    margins: dict[str, float],
) -> list[float]:
    """Steps 4 and 10: the weighted sum (openjisi: mean) of each model's scores over the rows."""
    total = math.fsum(weights[i] for i in rows)
    result = []
    for j in range(n_models):
        own = [i for i in rows if present[i][j]]
        solved = math.fsum(scores[i][j] * weights[i] for i in own)
        if len(own) == len(rows) and not released:
            # No gap: the paper's formula as it stands, whatever the sign of the sum.
            result.append(solved)
            continue
        own_total = math.fsum(weights[i] for i in own)
        if own:
            _note(margin, own_total, 0.0, margins)
        if not own or own_total <= 0:
            result.append(0.0)
        elif released:
            result.append(solved / own_total)
        else:
            result.append(solved * total / own_total)
    return result


def _shrunk_scores(
    rows: list[int],
    weights: dict[int, float],
    scores: list[list[float]],
    present: list[list[bool]],
    bank_means: list[float],
    released: bool,
    worth: float,
) -> list[float]:
    """Steps 4 and 10 with a prior: a mean over the rows and `worth` pretended answers of the model's own mean."""
    positive = {i: max(weights[i], 0.001) for i in rows}
    total = math.fsum(positive.values())
    result = []
    for j, mean in enumerate(bank_means):
        own = [i for i in rows if present[i][j]]
        solved = math.fsum([worth * mean, *(scores[i][j] * positive[i] for i in own)])
        reliability = solved / math.fsum([worth, *(positive[i] for i in own)])
        result.append(reliability if released else reliability * total)
    return result


def _response_similarity(
    support: list[int],
    compared: list[int],
    answers: dict[int, Answer],
    response_vectors: list[list[list[float]]],
    present: list[list[bool]],
    released: bool,
) -> dict[int, float]:
    """Step 6: s_res by bank row; an absent recorded response counts 0."""
    s_res = {}
    for i in support:
        terms = []
        for j in compared:
            terms.append(_dot(response_vectors[i][j], answers[j][0]) if present[i][j] else 0.0)
        s_res[i] = math.fsum(terms) / (len(compared) if released else 1)
    return s_res


def _cost_similarity(
    support: list[int],
    compared: list[int],
    answers: dict[int, Answer],
    completion_tokens: list[list[float | None]],
    present: list[list[bool]],
    released: bool,
) -> dict[int, float]:
    """Step 7: s_cost by bank row; an unknown count, recorded or new, gives 0."""
    terms: dict[int, list[float]] = {i: [] for i in support}
    for j in compared:
        c_j = answers[j][1]
        distances = {}
        for i in support:
            c_ij = _known(completion_tokens[i][j]) if present[i][j] else None
            if c_ij is not None and c_j is not None:
                distances[i] = abs(c_ij * c_ij - c_j * c_j)
        cm = max(distances.values(), default=0.0)
        if released:
            cm += 1e-8
        for i in support:
            if i not in distances:
                terms[i].append(0.0)
            elif cm == 0:
                terms[i].append(1.0)
            else:
                terms[i].append(1.0 - distances[i] / cm)
    return {i: math.fsum(terms[i]) / (len(compared) if released else 1) for i in support}


def _aggregatees(
    by_gf: list[int],
    gf: list[float],
    means: list[float],
    k: int,
    t: float,
    first_candidate: int,
    margins: dict[str, float],
) -> tuple[list[int], dict[int, float]]:
    """Step 11: the chosen models, best first, and every eligible model's ratio to the best."""
    best = max((gf[j] for j in by_gf), default=0.0)
    if by_gf:
        _note("max_gf", best, 0.0, margins)
    if best <= 0:
        return [first_candidate], {}
    ratios = {j: gf[j] / best for j in by_gf}
    _note_order("argmax_gf", by_gf[:2], gf, means, margins)
    _note_order("aggregatees", by_gf[: k + 1], gf, means, margins)
    for j in by_gf[:k]:
        _note("ratio", ratios[j], t, margins)
    return [j for j in by_gf[:k] if ratios[j] >= t], ratios


def _ranked(models: Iterable[int], value: list[float], means: list[float], names: Sequence[str]) -> list[int]:
    """Best first; ties everywhere: the higher mean over the bank (openjisi: all 0), then the name by code points."""
    return sorted(models, key=lambda j: (-value[j], -means[j], names[j]))


def _mean_scores(scores: list[list[float]], present: list[list[bool]], n_models: int) -> list[float]:
    """Each model's mean score over the rows it has in the whole bank, 0 when it has none."""
    means = []
    for j in range(n_models):
        own = [scores[i][j] for i in range(len(scores)) if present[i][j]]
        means.append(math.fsum(own) / len(own) if own else 0.0)
    return means


def _note(name: str, a: float, b: float, margins: dict[str, float]) -> None:
    """Keep the smallest gap seen under this name; an exact tie is no near miss."""
    if a != b:
        gap = abs(a - b) / max(1.0, abs(a), abs(b))
        margins[name] = min(gap, margins.get(name, math.inf))


def _note_order(name: str, order: list[int], first: Any, second: Any, margins: dict[str, float]) -> None:
    """Note the gaps between neighbours: in their first key or, where that ties exactly, in their second."""
    for left, right in itertools.pairwise(order):
        key = first if first[left] != first[right] else second
        _note(name, key[left], key[right], margins)


def _answer(answer: Answer) -> Answer:
    """A new answer as (list or None, float or None)."""
    vector, tokens = answer
    return (None if vector is None else _plain(vector)), _known(tokens)


def _known(count: float | None) -> float | None:
    """A token count as float64, or None where it is None or NaN."""
    return None if count is None or math.isnan(count) else float(count)


def _plain(array: Any) -> Any:
    """Nested lists, from NumPy arrays too."""
    return array.tolist() if hasattr(array, "tolist") else array


def _dot(a: list[float], b: list[float]) -> float:
    """The dot product, its sum rounded once."""
    return math.fsum(x * y for x, y in zip(a, b, strict=True))
