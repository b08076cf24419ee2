"""The cascade's arithmetic a second time: plain Python, one question at a time, written from the formulas alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

Answers = Sequence[str | None]


def reliability(similarities: Sequence[float], scores: Sequence[float | None], prior: float, mean: float) -> float:
    """How likely a model is right: its weighted mean on the support set, drawn towards its mean over the bank."""
    weights = [max(similarity, 0.001) for similarity in similarities]
    known = [(weight, score) for weight, score in zip(weights, scores, strict=True) if score is not None]
    total = math.fsum(weight for weight, _ in known) + prior
    if total == 0:
        return min(max(mean, 0.02), 0.98)
    value = (math.fsum(weight * score for weight, score in known) + prior * mean) / total
    return min(max(value, 0.02), 0.98)


def support(query: Sequence[float], others: Sequence[Sequence[float]], n_base: int, gamma: float) -> dict[int, float]:
    """The nearest rows and those almost as near, with their similarities."""
    similarities = [math.fsum(a * b for a, b in zip(query, row, strict=True)) for row in others]
    kth = sorted(similarities, reverse=True)[min(n_base, len(others)) - 1]
    threshold = min(gamma * kth, kth)
    return {row: similarity for row, similarity in enumerate(similarities) if similarity >= threshold}


def utilities(weights: Sequence[float], odds: Sequence[float], answers: Answers) -> dict[tuple[int, ...], float]:
    """w . x of each group, by its members; of `()`, that none is right, too."""
    groups: list[list[int]] = []
    for place, answer in enumerate(answers):
        equal = next((group for group in groups if answer is not None and answers[group[0]] == answer), None)
        if equal is None:
            groups.append([place])
        else:
            equal.append(place)
    found = {}
    for group in groups:
        inside, outside = [odds[place] for place in group], [odds[p] for p in range(len(odds)) if p not in group]
        x = (sum(inside), len(group) - 1, max(inside), -sum(outside), -1.0 if len(group) == 1 else 0.0, 0.0, 0.0)
        found[tuple(group)] = sum(w * value for w, value in zip(weights, x, strict=True))
    return {**found, (): weights[5] + weights[6] * (len(groups) - 1)}


def probabilities(weights: Sequence[float], odds: Sequence[float], answers: Answers) -> dict[tuple[int, ...], float]:
    """The softmax of the utilities."""
    powers = {group: math.exp(utility) for group, utility in utilities(weights, odds, answers).items()}
    return {group: power / sum(powers.values()) for group, power in powers.items()}


def loss(
    weights: Sequence[float], rows: Sequence[tuple[Sequence[float], Answers, Sequence[float]]], mean: Sequence[float]
) -> float:
    """Minus the log-likelihood of what came true, and half the squared distance to the prior's mean."""
    total = 0.5 * sum((w - m) ** 2 for w, m in zip(weights, mean, strict=True))
    for odds, answers, scores in rows:
        chances = probabilities(weights, odds, answers)
        right = [group for group in chances if group and sum(scores[p] for p in group) / len(group) >= 0.5]
        total -= math.log(sum(chances[group] for group in right or [()]))
    return total


def answers_asked(sure: Sequence[Sequence[float]], threshold: float) -> float:
    """Mean number of answers when each question stops at the first that is sure enough, or at its last."""
    asked = []
    for row in sure:
        reached = [number for number, value in enumerate(row, start=1) if value >= threshold]
        asked.append(reached[0] if reached else len(row))
    return sum(asked) / len(asked)
