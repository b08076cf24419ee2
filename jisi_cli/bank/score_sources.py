"""Where the scores of a bank come from: graders, the agreement of its models, or what people say of answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.formats.record import SCORE_SOURCES, ScoreSource
from jisi_cli.scoring.agreement import ENOUGH_LABELS
from jisi_cli.scoring.exact_sums import Rows


def rows_without_key(bank: Bank) -> Rows:
    """Return the rows on which neither a grader nor feedback has scored an answer."""
    graded = np.zeros(bank.rows, dtype=bool)
    for model in bank.models:
        answers = bank.answers(model)
        graded |= answers.scored_by("grader") | answers.scored_by("feedback")
    return np.flatnonzero(~graded)


USUAL_LABELS = 30
"""Questions that a user is asked to label, where there are so many."""


def labels_needed(bank: Path, questions: int) -> str:
    """Return what a user must know of a bank whose scores rest on agreement, with few labels or none.

    Args:
        bank: The bank.
        questions: How many have no answer key.
    """
    wanted = min(USUAL_LABELS, questions)
    return (
        "agreement alone cannot see a model that is right alone, so choices get worse where one model is far better "
        f"than the others; say which answers are right on {wanted} questions: jisi bank label {bank} --n {wanted}"
    )


def keyless_problem(bank: Bank) -> str | None:
    """Return why the scores of a bank's train rows are no key to judge methods by; None where they are one.

    Where models' agreement is the key, methods that vote are right by definition.
    """
    columns = [bank.answers(model) for model in bank.models]
    if not any((~np.isnan(part.scores[bank.train_rows])).any() for part in columns):
        return f"no train question of {bank.path} has a score to judge methods by; grade it: jisi bank grade"
    if any(part.scored_by("agreement")[bank.train_rows].any() for part in columns):
        return (
            f"{bank.path} is scored by what its models agree on, so methods that vote would be right by definition; "
            "this takes a bank whose questions a grader has scored"
        )
    return None


@dataclass(frozen=True, slots=True)
class Scoring:
    """How much of a bank's scores each source gave.

    Attributes:
        shares: Share of the scored answers, by source; None where no answer is scored.
        labels: Questions that people have labelled and no grader has scored.
        feedback: Questions with an answer that somebody said the worth of.
        warnings: What a user should know about it, as sentences.
    """

    shares: dict[ScoreSource, float] | None
    labels: int
    feedback: int
    warnings: tuple[str, ...]


def score_sources(bank: Bank) -> Scoring:
    """Count where the scores of a bank come from."""
    counts = {
        source: sum(int(bank.answers(m).scored_by(source).sum()) for m in bank.models) for source in SCORE_SOURCES
    }
    scored = sum(counts.values())
    said = {label.key for label in bank.manifest.labels if not label.skipped}
    labelled = np.array([key in said for key in bank.keys], dtype=bool)
    keyless = np.zeros(bank.rows, dtype=bool)
    keyless[rows_without_key(bank)] = True
    shares = {source: number / scored for source, number in counts.items()} if scored else None
    warnings = tuple(_warnings(bank, counts, labelled & keyless))
    rated = np.logical_or.reduce([bank.answers(model).scored_by("feedback") for model in bank.models])
    return Scoring(shares, int((labelled & keyless).sum()), int(rated.sum()), warnings)


def _warnings(bank: Bank, counts: dict[ScoreSource, int], labelled: NDArray[np.bool_]) -> Iterator[str]:
    if not any(counts.values()):
        yield (
            "no answer has a score, so nothing can be decided from it; without an answer key, "
            f"`jisi bank grade {bank.path} --grader agreement` scores by what the models agree on"
        )
    by_agreement, by_label = np.zeros((2, bank.rows), dtype=bool)
    for model in bank.models:
        by_agreement |= bank.answers(model).scored_by("agreement")
        by_label |= bank.answers(model).scored_by("label")
    if (labelled & by_agreement).any() or (by_label & ~labelled).any():
        yield f"its scores do not heed all labels yet; run `jisi bank label {bank.path}` once more"
    if counts["agreement"] and labelled[bank.train_rows].sum() < ENOUGH_LABELS:
        yield labels_needed(bank.path, len(rows_without_key(bank)))
