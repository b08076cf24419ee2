"""What a trained method learns from: a bank's train rows in their own order; its progress, and its state on disk."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli import paths
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.rankings import Ranking
from jisi_cli.scoring import BankArrays, Floats, Rows

# How the training of a method is watched: how far it is, how long it took, whether it was needed at all.


OnStep = Callable[[int, int], None]
"""Called with (steps done, steps in all) as a training goes on."""


@dataclass(slots=True)
class Training:
    """What became known about the training of one method while it was made.

    Attributes:
        on_step: Told how far it is; None for no report.
        seconds: What training took, by wall clock, in this run or in the earlier one whose result was kept; None
            where nothing was trained, or it is not known.
        from_cache: Whether an earlier run had learned it already.
        trained: Whether the method learned anything at all.
        chosen: Which of its settings the method chose on train rows, and by how much; None where it chose nothing.
    """

    on_step: OnStep | None = None
    seconds: float | None = None
    from_cache: bool = False
    trained: bool = False
    chosen: str | None = None

    def step(self, done: int, total: int) -> None:
        """Tell how far the training is."""
        if self.on_step is not None:
            self.on_step(done, total)

    def note(self, seconds: float | None, *, from_cache: bool) -> None:
        """Keep what a training took."""
        self.seconds, self.from_cache, self.trained = seconds, from_cache, True


# A bank's train rows in an order that is their own, and rankings made from predicted scores.


_DECIMALS = 9
"""Predictions that agree up to here are ties: a matrix product rounds differently in another block."""


@dataclass(frozen=True)
class TrainingData:
    """What a router learns from: N rows ordered by their content, M models ordered by name.

    Two banks that hold the same rows in other orders give the same data, so that nothing that is
    drawn by place (a minibatch, a first weight) depends on how a bank was put together.

    Attributes:
        vectors: Query vectors (N, d).
        scores: Scores (N, M); 0 where there is no answer.
        present: Whether there is one (N, M).
        tokens: Completion tokens (N, M); NaN where unknown.
        datasets: Dataset of each row (N,).
        models: Names (M,).
        columns: Each model's place in the bank (M,).
        rows: Each row's place in the bank (N,).
    """

    vectors: NDArray[np.float32]
    scores: Floats
    present: NDArray[np.bool_]
    tokens: Floats
    datasets: tuple[str, ...]
    models: Ranking
    columns: Rows
    rows: Rows

    @cached_property
    def means(self) -> Floats:
        """Mean score of each model over the rows it answered (M,); 0 for one that answered none."""
        columns = (self.scores[self.present[:, model], model].tolist() for model in range(len(self.models)))
        return np.array([math.fsum(column) / len(column) if column else 0.0 for column in columns])

    def rankings(self, predicted: Floats) -> Iterator[Ranking]:
        """Yield the models by predicted score, best first, for each query.

        Ties go to the higher train mean, then to the name. A model without a train answer comes last: nothing
        is known about it, whatever a trained function says.

        Args:
            predicted: What a model is expected to score (n, M).
        """
        unseen: list[bool] = np.logical_not(self.present.max(axis=0, initial=False)).tolist()
        means: list[float] = (-self.means).tolist()
        for row in (-np.round(predicted, _DECIMALS)).tolist():
            yield tuple(name for *_, name in sorted(zip(unseen, row, means, self.models, strict=True)))


def training_data(bank: BankArrays, datasets: Sequence[str]) -> TrainingData:
    """Return the train rows of a bank in the order of their content.

    Args:
        bank: The bank's arrays.
        datasets: Dataset of each row (N,).
    """
    columns = np.array(sorted(range(len(bank.model_names)), key=bank.model_names.__getitem__), dtype=np.intp)
    vectors = bank.query_vectors.astype(np.float32)
    present = bank.present[:, columns]
    scores = np.where(present, bank.scores[:, columns], 0.0)
    tokens = np.where(present, bank.completion_tokens[:, columns], np.nan)

    def content(row: int) -> bytes:
        parts = (array[row].tobytes() for array in (vectors, scores, present, tokens))
        return hashlib.blake2b(b"".join((*parts, datasets[row].encode())), digest_size=16).digest()

    order = sorted(range(len(vectors)), key=content)
    return TrainingData(
        vectors=vectors[order],
        scores=scores[order],
        present=present[order],
        tokens=tokens[order],
        datasets=tuple(datasets[row] for row in order),
        models=tuple(bank.model_names[column] for column in columns.tolist()),
        columns=columns,
        rows=np.array(order, dtype=np.intp),
    )


def stacked(queries: Sequence[Query]) -> Floats:
    """Return the vectors of some queries (n, d)."""
    return np.stack([query.vector for query in queries]).astype(np.float64)


# What a method learned, kept on disk under the hash of everything that it was learned from.


State = dict[str, NDArray[Any]]
"""Arrays by name: numbers only, so that a file of them can be read without trusting it."""

_SECONDS = "training_seconds"
"""Stands beside the arrays in a file: what learning them took."""


def learned(
    name: str,
    version: int,
    settings: object,
    seed: int,
    data: TrainingData,
    train: Callable[[OnStep], State],
    extra: Mapping[str, NDArray[np.float64]] | None = None,
    training: Training | None = None,
) -> State:
    """Return what was learned before from the same data under the same settings, or learn it now.

    Args:
        name: Of the method; part of the file's name.
        version: Raised whenever the training changes what it would find.
        settings: Whatever decides the training; its `repr` holds every setting.
        seed: Seed of the training.
        data: What is learned from.
        train: Learns; it is given whom to tell how far it is.
        extra: What is learned from besides the data.
        training: Where what the training took is noted.
    """
    watched = training or Training()
    key = _content_hash((name, version, repr(settings), seed), data, extra or {})
    path = state_path(name, key)
    found = read_state(path)
    if found is not None:
        watched.note(_seconds(found.pop(_SECONDS, None)), from_cache=True)
        return found
    started = time.perf_counter()
    found = train(watched.step)
    took = time.perf_counter() - started
    watched.note(took, from_cache=False)
    write_state(path, {**found, _SECONDS: np.array(took)})
    return found


def _seconds(kept: NDArray[Any] | None) -> float | None:
    """Return what a file says that learning took; None when it does not say."""
    if kept is None or kept.shape != () or kept.dtype != np.float64 or not 0 <= float(kept) < np.inf:
        return None
    return float(kept)


def _content_hash(identity: tuple[object, ...], data: TrainingData, extra: Mapping[str, NDArray[np.float64]]) -> str:
    digest = hashlib.sha256(repr((*identity, data.models, data.datasets)).encode())
    arrays = (data.vectors, data.scores, data.present, data.tokens, *map(extra.get, sorted(extra)))
    for array in arrays:
        values = np.ascontiguousarray(array)
        digest.update(repr((values.shape, values.dtype.str)).encode())
        digest.update(values.data)
    return digest.hexdigest()


def state_path(name: str, key: str) -> Path:
    """Return where arrays are kept under the hash of everything that they were made from."""
    return paths.cache_folder() / "trained" / f"{name}-{key[:32]}.npz"


def read_state(path: Path) -> State | None:
    """Return the arrays of a file; None when there is none, or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (
        OSError,
        ValueError,
        TypeError,
        EOFError,
        KeyError,
        MemoryError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ):
        return None


def write_state(path: Path, state: State) -> None:
    """Keep arrays in a file that is either whole or not there, even if others write it at the same time.

    Without a place to keep them, the next run makes them again: slower, not wrong.
    """
    with contextlib.suppress(OSError):
        _write(path, state)


def _write(path: Path, state: State) -> None:
    paths.own_folder(path.parent)
    handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **state)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


# The best model of each train question: what routers learn that choose among models as a classifier does.


UNSEEN = -1e6
"""Below what any classifier says of a model that was the best of a question."""


def best_models(data: TrainingData) -> tuple[Rows, Rows]:
    """Return the rows that have an answer (n,), and the place of the best model of each (n,).

    Of equally good ones the better on train at large is the best, then the first by name.
    """
    rows = np.flatnonzero(data.present.max(axis=1, initial=False))
    order = sorted(range(len(data.models)), key=lambda model: (-data.means[model], model))
    scores = np.where(data.present[rows], data.scores[rows], -1.0)[:, order]
    return rows, np.array(order, dtype=np.intp)[np.argmax(scores, axis=1)]


def among_all(data: TrainingData, classes: Rows, values: Floats) -> Floats:
    """Return values of some models (n, C) as values of all (n, M); those that were never best come last."""
    found = np.full((len(values), len(data.models)), UNSEEN)
    found[:, classes] = values
    return found
