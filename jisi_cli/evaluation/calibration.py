"""Choosing a method's settings for a bank and its embedder by nested cross-validation on train rows.

The paper's settings belong to the paper's embedder. What is chosen is chosen on inner folds and judged on an outer one:
for every outer fold, settings are compared by how they decide the other rows, each by a bank that holds neither its own
fold nor the outer one; the choice then decides the outer fold, by a bank without it. So the gain that is reported owes
nothing to rows that helped to choose. The settings that are recommended at last are chosen in the same way on all rows.

Among settings that are as good as the best as far as the questions can tell, that is within one standard error (Breiman
et al., 1984), the one with the fewest calls is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jisi_cli.evaluation.batch_methods import METHODS
from jisi_cli.evaluation.cascade_calibration import cascade_grid, run_cascades
from jisi_cli.evaluation.held_out import OnProgress, Train, for_each_block, judged_rows
from jisi_cli.evaluation.statistics import Difference, paired_difference
from jisi_cli.evaluation.validation import FOLDS, average_of
from jisi_cli.hyperparameters import CASCADE, OWN_DEFAULTS, CascadeSettings, Hyperparameters
from jisi_cli.scoring import Floats, Rows


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How questions came out that had no part in the choice.

    Attributes:
        average: Their average.
        calls: Calls per question.
    """

    average: float
    calls: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration found.

    Attributes:
        method: The method whose average was raised.
        chosen: The settings that are recommended.
        default: The method's defaults, which they are compared with.
        average: The cross-validated average of the chosen settings; optimistic, because they were chosen by it.
        calls: Their calls per question.
        default_average: The cross-validated average of the defaults.
        default_calls: Their calls per question.
        held_out: What choosing brought on rows that the choice never saw; each fold has a choice of its own.
        held_out_default: What the defaults bring on the same rows.
        gain: The difference of these two, with its interval.
        tried: Number of settings.
        agreement: Share of outer folds whose own choice was the chosen one.
    """

    method: str
    chosen: Hyperparameters | CascadeSettings
    default: Hyperparameters | CascadeSettings
    average: float
    calls: float
    default_average: float
    default_calls: float
    held_out: HeldOut
    held_out_default: HeldOut
    gain: Difference
    tried: int
    agreement: float

    @property
    def real(self) -> bool:
        """Whether the 95 % interval of the gain lies above zero."""
        return self.gain.low > 0

    def changes(self) -> dict[str, Any]:
        """Return the chosen settings that differ from the defaults."""
        defaults = asdict(self.default)
        return {name: value for name, value in asdict(self.chosen).items() if value != defaults[name]}

    def supported(self) -> dict[str, Any]:
        """Return the settings that the questions support, where they differ from the defaults: none without a gain."""
        return self.changes() if self.real else {}


class Runs(Protocol):
    """How S settings decided n train rows, each by banks without its own fold."""

    def without(self, fold: int | None) -> tuple[Floats, NDArray[Any]]:
        """Return scores (S, n), NaN where unknown, and calls (S, n), of which one fold had no part.

        Args:
            fold: No bank holds it, and what is fitted is fitted on the other rows; None leaves out nothing more.
        """
        ...


def calibrate(method: str, train: Train, *, seed: int, on_progress: OnProgress | None = None) -> Calibration:
    """Choose settings for a method on a bank's train rows.

    Args:
        method: `jisi-router`, or one with settings of its own.
        train: The rows.
        seed: Of the bootstrap, and of the rows that are judged where there are very many.
        on_progress: Told of (blocks of questions done, blocks in all).
    """
    judged = judged_rows(len(train.folds), seed)
    settings: Sequence[Hyperparameters | CascadeSettings]
    runs: Runs
    if method == CASCADE:
        cascades = settings = cascade_grid()
        runs = run_cascades(cascades, train, judged, on_progress)
    else:
        stages = settings = grid(method)
        runs = run_stages(method, stages, train, judged, on_progress)
    return nested_choice(method, settings, runs, train.folds[judged], [train.datasets[row] for row in judged], seed)


def nested_choice(
    method: str,
    settings: Sequence[Hyperparameters | CascadeSettings],
    runs: Runs,
    folds: Rows,
    datasets: Sequence[str],
    seed: int,
) -> Calibration:
    """Choose a setting by all rows, and measure on each fold what choosing by the others brings.

    Args:
        method: The method's name.
        settings: S settings, the defaults first.
        runs: How they decided n rows.
        folds: Own fold of each row (n,).
        datasets: Dataset of each row (n,).
        seed: Seed of the bootstrap.
    """
    labels = np.array(datasets)
    scores, calls = runs.without(None)
    best = choose(scores, calls.mean(axis=1), datasets)
    held_out, held_out_calls = np.full((2, len(folds)), np.nan), np.zeros((2, len(folds)))
    choices = []
    for fold in sorted(set(folds.tolist())):
        outer = folds == fold
        inner_scores, inner_calls = runs.without(fold)
        choices.append(choose(inner_scores[:, ~outer], inner_calls[:, ~outer].mean(axis=1), labels[~outer].tolist()))
        both = [choices[-1], 0]
        held_out[:, outer], held_out_calls[:, outer] = inner_scores[both][:, outer], inner_calls[both][:, outer]
    chosen, default = (
        HeldOut(average_of(found, datasets), float(taken.mean()))
        for found, taken in zip(held_out, held_out_calls, strict=True)
    )
    return Calibration(
        method=method,
        chosen=settings[best],
        default=settings[0],
        average=average_of(scores[best], datasets),
        calls=float(calls[best].mean()),
        default_average=average_of(scores[0], datasets),
        default_calls=float(calls[0].mean()),
        held_out=chosen,
        held_out_default=default,
        gain=paired_difference(held_out[0], held_out[1], datasets, "defaults", np.random.default_rng(seed)),
        tried=len(settings),
        agreement=choices.count(best) / len(choices),
    )


def choose(scores: Floats, calls: Floats, datasets: Sequence[str]) -> int:
    """Choose the setting with the fewest calls of those within one standard error of the best average.

    Of equally many calls, to one decimal, the best average wins, then the earlier setting: the paper's win ties.

    Args:
        scores: Scores (S, n), NaN where unknown.
        calls: Mean calls per question (S,).
        datasets: Dataset of each question (n,).
    """
    averages = np.array([average_of(row, datasets) for row in scores])
    best = int(np.argmax(averages))
    if not math.isfinite(averages[best]):
        return 0
    within = averages[best] - averages <= _standard_errors(scores[best] - scores, datasets)
    order = np.lexsort((np.arange(len(averages)), -averages, np.round(calls, 1)))
    return int(next(place for place in order.tolist() if within[place]))


def _standard_errors(differences: Floats, datasets: Sequence[str]) -> Floats:
    """Return the standard error of each average of paired differences (S,); see `average_of`."""
    labels = np.array(datasets)
    variances, counted = np.zeros(len(differences)), np.zeros(len(differences))
    for name in sorted(set(datasets)):
        values = differences[:, labels == name]
        known = ~np.isnan(values)
        count = known.sum(axis=1)
        mean = np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1)
        squares = np.where(known, (values - mean[:, np.newaxis]) ** 2, 0.0).sum(axis=1)
        variances += squares / np.maximum(count * (count - 1), 1)
        counted += count > 0
    found: Floats = np.sqrt(variances) / np.maximum(counted, 1)
    return found


# Settings of JiSi's stages and of votes that a calibration tries, and how each of them decides.

_N_BASE = (25, 50, 100, 200)
_GAMMA = (0.5, 0.7, 0.85, 0.95)
_PRIOR = (0.0, 10.0)
_WEIGHTS = ((0.5, 0.3, 0.2), (1.0, 0.0, 0.0), (0.4, 0.6, 0.0))
"""(epsilon, sigma, delta): the paper's, the query alone, and responses without token counts."""
_ROUNDS = ((3, ""), (3, "2,1"), (5, ""), (5, "3,2"), (5, "2,3"))
"""(k, probe_schedule). Rounds end where all agree, so that once two differ, the others may as well be asked at once."""
_U = (0.5, 0.7, 0.999)


def grid(method: str) -> list[Hyperparameters]:
    """Return the settings that are tried for a method, its defaults first."""
    defaults = OWN_DEFAULTS.get(method, Hyperparameters())
    # What takes a filter or several answers takes longer to try; 25 neighbours are tried where one model answers.
    sizes = _N_BASE if method == "jisi-query" else _N_BASE[1:]
    found = [defaults]
    for prior, n_base, gamma in product(_PRIOR, sizes, _GAMMA):
        found += _near(method, replace(defaults, prior=prior, n_base=n_base, gamma=gamma))
    return list(dict.fromkeys(found))


def _near(method: str, support: Hyperparameters) -> list[Hyperparameters]:
    """Return the settings with one support set; those that share a filter follow one another."""
    if method == "jisi-query":
        return [support]
    if method == "jisi-router":
        return [replace(support, epsilon=e, sigma=s, delta=d) for e, s, d in _WEIGHTS]
    # What share ends a vote at once decides what is left to the aggregator, and so matters to consensus alone.
    shares = _U if method == "jisi-consensus" else (support.u,)
    return [replace(support, k=k, probe_schedule=rounds, u=u) for (k, rounds), u in product(_ROUNDS, shares)]


@dataclass(frozen=True)
class StageRuns:
    """How S settings decided n rows by banks without the row's own fold, and without one of F folds besides.

    Attributes:
        scores: (S, F, n), NaN where unknown.
        calls: (S, F, n).
        own: Own fold of each row (n,).
    """

    scores: Floats
    calls: NDArray[np.uint8]
    own: Rows

    def without(self, fold: int | None) -> tuple[Floats, NDArray[np.uint8]]:
        """Return scores and calls (S, n) by banks that lack each row's own fold, and one more where it is named."""
        left_out = self.own if fold is None else np.full(len(self.own), fold)
        rows = np.arange(len(self.own))
        return self.scores[:, left_out, rows], self.calls[:, left_out, rows]


def run_stages(
    method: str, settings: Sequence[Hyperparameters], train: Train, judged: Rows, on_progress: OnProgress | None
) -> StageRuns:
    """Decide rows under every setting, by every bank that lacks their fold.

    Args:
        method: One of `METHODS`.
        settings: S settings.
        train: The train rows.
        judged: Which of them are decided (n,).
        on_progress: Told of (blocks of questions done, blocks in all).
    """
    shape = (len(settings), FOLDS, len(judged))
    runs = StageRuns(np.full(shape, np.nan), np.zeros(shape, dtype=np.uint8), train.folds[judged])
    decide = METHODS[method]

    def run(places: Rows) -> None:
        for other, block in train.blocks(judged[places], settings):
            for place, setting in enumerate(settings):
                found = decide(block, setting)
                runs.scores[place, other, places] = train.score(judged[places], found.models)
                runs.calls[place, other, places] = np.minimum(found.calls, np.iinfo(np.uint8).max)

    for_each_block(run, train, judged, on_progress)
    return runs
