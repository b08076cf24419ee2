"""What is in a bank, and whether it is healthy: plain data, computed from the files alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import forbidden, part_path
from jisi_cli.bank.resolution import Resolution, resolution
from jisi_cli.bank.score_sources import score_sources
from jisi_cli.bank.tables import file_sha256
from jisi_cli.errors import BankError
from jisi_cli.formats.record import STATUSES, Failed, ScoreSource
from jisi_cli.hyperparameters import Hyperparameters

_SUPPORT_SAMPLE = 512
"""Questions from which the distribution of support-set sizes is drawn."""
_SCAN_NUMBERS = 1 << 25
_HISTOGRAM_STEPS = 32
_ALMOST_ALL = 0.9


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One model's row of the overview.

    Attributes:
        model: Its name.
        accuracy: Mean score by dataset; None where nothing was scored.
        average: Mean over datasets with equal weight.
        average_at_least: The same with every unread answer taken for wrong.
        answers: Scored answers.
        counted_wrong: Failed and empty answers to graded questions that count 0 in the means.
        unread: Answers with words that have no score; the means leave them out.
        missing: Questions without any answer.
        failed: Questions where the provider gave none.
        empty: Answers without text.
        unscored: Answers without a score.
        cut_off: Answers that were cut off before their end: too long, or filtered.
        completion_tokens: Mean per answer; None when unknown.
        cost_usd: Dollars recorded; None when unknown.
    """

    model: str
    accuracy: dict[str, float | None]
    average: float | None
    average_at_least: float | None
    answers: int
    counted_wrong: int
    unread: int
    missing: int
    failed: int
    empty: int
    unscored: int
    cut_off: int
    completion_tokens: float | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class SupportSizes:
    """How many neighbours a question of this bank's kind meets, each left out of its own neighbourhood.

    Attributes:
        sampled: Questions it was measured on.
        train: Train rows that could be neighbours.
        quantiles: Size at 0, 25, 50, 75 and 100 %.
        histogram: Questions in each of equally wide steps from the smallest size to the largest.
        whole_bank: Share of questions whose support set is more than nine tenths of the bank.
    """

    sampled: int
    train: int
    quantiles: tuple[int, ...]
    histogram: tuple[int, ...]
    whole_bank: float


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything `jisi bank inspect` tells.

    Attributes:
        bank: Path of the bank.
        failed_answers: What failed and empty answers to graded questions are taken for: `wrong` or `unscored`.
        embedder: Its embedder, as recorded.
        split: How test rows were set aside, as recorded.
        hyperparameters: The settings the support sizes were measured with.
        datasets: Number of train and test questions by dataset.
        models: One summary per model, the best average first.
        best_per_dataset: The model with the best mean score, by dataset; None where nothing was scored.
        oracle: Mean of the best score of each question, by dataset, and `average`.
        duplicates: Questions whose text, case and spacing aside, occurred before.
        leaks: Test questions whose text is also a train question.
        support: Distribution of support-set sizes.
        resolution: How many questions tell models apart; None where no two models differ.
        score_source: Share of the scored answers that graders, agreement, labels and feedback scored; None where
            nothing was.
        labels: Questions that people have labelled, for want of an answer key.
        feedback: Questions that came by feedback.
        warnings: What a user should know before relying on the bank, as sentences.
    """

    bank: str
    failed_answers: Failed
    embedder: dict[str, Any]
    split: dict[str, Any] | None
    hyperparameters: dict[str, Any]
    datasets: dict[str, dict[str, int]]
    models: tuple[ModelSummary, ...]
    best_per_dataset: dict[str, str | None]
    oracle: dict[str, float | None]
    duplicates: int
    leaks: int
    support: SupportSizes
    resolution: Resolution | None
    score_source: dict[ScoreSource, float] | None
    labels: int
    feedback: int
    warnings: tuple[str, ...]

    @property
    def best_single(self) -> str:
        """The model with the best average."""
        return self.models[0].model

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {**asdict(self), "best_single": self.best_single}


def inspect_bank(bank: Bank, settings: Hyperparameters) -> Inspection:
    """Look into a bank.

    Args:
        bank: An opened bank.
        settings: Hyperparameters for the support-set sizes.

    Raises:
        BankError: A file is missing or has changed since it was written.
    """
    _check_files(bank)
    groups = _rows_by_dataset(bank)
    summaries = sorted(
        (_summary(bank, model, groups) for model in bank.models),
        key=lambda summary: (-(summary.average or 0.0), summary.model),
    )
    duplicates, leaks = _repeated(bank)
    support, scoring = _support_sizes(bank, settings), score_sources(bank)
    return Inspection(
        bank=str(bank.path),
        failed_answers=bank.failed,
        embedder=bank.manifest.embedder.to_json(),
        split=asdict(bank.manifest.split) if bank.manifest.split else None,
        hyperparameters=settings.to_json(),
        datasets=_dataset_sizes(bank, groups),
        models=tuple(summaries),
        best_per_dataset={name: _best(summaries, name) for name in groups},
        oracle=_oracle(bank, groups),
        duplicates=duplicates,
        leaks=leaks,
        support=support,
        resolution=resolution(bank),
        score_source=scoring.shares,
        labels=scoring.labels,
        feedback=scoring.feedback,
        warnings=(*_warnings(bank, settings, support, summaries, duplicates, leaks), *scoring.warnings),
    )


def _check_files(bank: Bank) -> None:
    manifest = bank.manifest
    for part in (*manifest.queries, *(part for parts in manifest.responses.values() for part in parts)):
        path = part_path(bank.path, part)
        try:
            unchanged = file_sha256(path) == part.sha256
        except PermissionError as error:
            raise forbidden(path) from error
        except OSError as error:
            raise BankError(f"{path} cannot be read ({error.strerror}); build the bank again with --force") from error
        if not unchanged:
            raise BankError(f"{path} has changed since it was written; build the bank again with --force")


def _rows_by_dataset(bank: Bank) -> dict[str, NDArray[np.intp]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, (dataset, _) in enumerate(bank.keys):
        rows[dataset].append(row)
    return {name: np.array(found, dtype=np.intp) for name, found in sorted(rows.items())}


def _dataset_sizes(bank: Bank, groups: dict[str, NDArray[np.intp]]) -> dict[str, dict[str, int]]:
    sizes = {}
    for name, rows in groups.items():
        held_out = int(np.isin(rows, bank.test_rows, assume_unique=True).sum())
        sizes[name] = {"train": len(rows) - held_out, "test": held_out}
    return sizes


def _summary(bank: Bank, model: str, groups: dict[str, NDArray[np.intp]]) -> ModelSummary:
    columns, verdicts = bank.answers(model), bank.verdicts(model)
    unread = (columns.status_codes == STATUSES.index("unscored")) & ~bank.wordless(model)
    accuracy = _means(verdicts, groups)
    rated = {name: rows for name, rows in groups.items() if accuracy[name] is not None}
    at_least = _means(np.where(unread, 0.0, verdicts), rated)
    answered = np.isin(columns.status_codes, [STATUSES.index("ok"), STATUSES.index("unscored")])
    empty = int((answered & bank.blank_responses(model)).sum())
    costs = columns.cost_usd[~np.isnan(columns.cost_usd)]
    status = dict(zip(STATUSES, np.bincount(columns.status_codes, minlength=len(STATUSES)).tolist(), strict=True))
    return ModelSummary(
        model=model,
        accuracy=accuracy,
        average=_over_datasets(accuracy),
        average_at_least=_over_datasets(at_least),
        answers=int(columns.present.sum()),
        counted_wrong=int(bank.counted_wrong(model).sum()),
        unread=int(unread.sum()),
        missing=status["missing"],
        failed=status["failed"],
        empty=int(empty),
        unscored=status["unscored"],
        cut_off=sum(found is not None for found in bank.cut_off_responses(model)),
        completion_tokens=_mean(columns.completion_tokens[~np.isnan(columns.completion_tokens)]),
        cost_usd=math.fsum(costs.tolist()) if len(costs) else None,
    )


def _best(summaries: Sequence[ModelSummary], dataset: str) -> str | None:
    scored = [summary for summary in summaries if summary.accuracy[dataset] is not None]
    # The order of the summaries settles ties in favour of the better average.
    best = max(scored, key=lambda summary: summary.accuracy[dataset] or 0.0, default=None)
    return None if best is None else best.model


def _oracle(bank: Bank, groups: dict[str, NDArray[np.intp]]) -> dict[str, float | None]:
    best = np.fmax.reduce([bank.verdicts(model) for model in bank.models])
    by_dataset = _means(best, groups)
    return {**by_dataset, "average": _over_datasets(by_dataset)}


def _means(values: NDArray[np.float64], groups: dict[str, NDArray[np.intp]]) -> dict[str, float | None]:
    """Mean of the known values (R,) of each dataset; None where none is known."""
    return {name: _mean(values[rows][~np.isnan(values[rows])]) for name, rows in groups.items()}


def _over_datasets(means: dict[str, float | None]) -> float | None:
    known = [value for value in means.values() if value is not None]
    return math.fsum(known) / len(known) if known else None


def _repeated(bank: Bank) -> tuple[int, int]:
    """Return how many questions repeat another's text, and how many test questions are also train questions."""
    # Hashes, because the texts of a large bank need not fit into memory.
    texts = np.fromiter((hash(" ".join(text.casefold().split())) for text in bank.all_texts()), np.int64, bank.rows)
    leaks = np.isin(texts[bank.test_rows], texts[bank.train_rows])
    return len(texts) - len(np.unique(texts)), int(leaks.sum())


def _support_sizes(bank: Bank, settings: Hyperparameters) -> SupportSizes:
    train = bank.train_rows
    if not len(train):
        return SupportSizes(0, 0, (0,) * 5, (), 0.0)
    sample = train[np.linspace(0, len(train) - 1, min(_SUPPORT_SAMPLE, len(train)), dtype=np.intp)]
    others = max(1, len(train) - 1)
    sizes = []
    for row, similarity in _similarities(bank, sample):
        left = np.delete(similarity, np.searchsorted(train, row)) if len(train) > 1 else similarity
        base = min(settings.n_base, len(left))
        kth = float(np.partition(left, len(left) - base)[len(left) - base])
        sizes.append(int((left >= min(settings.gamma * kth, kth)).sum()))
    quantiles = np.quantile(sizes, [0, 0.25, 0.5, 0.75, 1], method="nearest")
    whole = sum(size > _ALMOST_ALL * others for size in sizes) / len(sizes)
    steps, _ = np.histogram(sizes, bins=_HISTOGRAM_STEPS)
    return SupportSizes(len(sizes), len(train), tuple(map(int, quantiles)), tuple(map(int, steps)), whole)


def _similarities(bank: Bank, sample: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.floating]]]:
    """Yield each row of a sample with its similarities to all train rows (N,), so many at a time as memory allows."""
    vectors = bank.train_vectors
    step = max(1, _SCAN_NUMBERS // len(vectors))
    for start in range(0, len(sample), step):
        rows = sample[start : start + step]
        yield from zip(rows.tolist(), bank.vectors_of(rows) @ vectors.T, strict=True)


def _warnings(
    bank: Bank,
    settings: Hyperparameters,
    support: SupportSizes,
    summaries: Sequence[ModelSummary],
    duplicates: int,
    leaks: int,
) -> Iterator[str]:
    if not support.train:
        yield "it has no train rows, so nothing can be decided from it; build it with another --split"
    elif support.train <= settings.n_base:
        yield f"n_base={settings.n_base} is the whole bank of {support.train} train rows: every question sees all of it"
    elif support.whole_bank > 0.5:
        yield (
            f"at gamma={settings.gamma:g} the support set is nearly the whole bank for {support.whole_bank:.0%} of "
            "questions: this embedder's similarities lie close together; raise gamma"
        )
    if leaks:
        yield f"{leaks} test questions are also train questions: scores on the test rows are too good"
    if duplicates:
        yield f"{duplicates} questions repeat another's text"
    for what in ("missing", "failed", "empty", "unscored", "cut_off"):
        lacking = {summary.model: getattr(summary, what) for summary in summaries if getattr(summary, what)}
        if lacking:
            worst = max(lacking, key=lambda model: lacking[model])
            is_even = len(lacking) == len(summaries) > 1 and len(set(lacking.values())) == 1
            most = f"{lacking[worst]} of each model" if is_even else f"most of them ({lacking[worst]}) of {worst}"
            number, state = sum(lacking.values()), what.replace("_", " ")
            are, is_one = ("", "") if what == "failed" else ("are ", "is ")
            yield f"{number} answers {are}{state}, {most}" if number > 1 else f"1 answer {is_one}{state}, of {worst}"
    if bank.manifest.embedder.name.startswith("hashing"):
        yield "the hashing embedder sees words, not meaning: good for trying and tests, not for decisions that matter"


def _mean(values: NDArray[np.float64]) -> float | None:
    return math.fsum(values.tolist()) / len(values) if len(values) else None
