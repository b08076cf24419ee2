"""An opened bank: questions, what each model answered, and the arrays that the equations need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.lazy_vectors import LazyVectors
from jisi_cli.bank.manifest import Manifest, read_manifest
from jisi_cli.bank.records import Question
from jisi_cli.bank.tables import column_vectors, query_schema, read_part, response_schema
from jisi_cli.errors import BankError, InputError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class AnswerColumns:
    """One model's answers to all R questions of a bank.

    Attributes:
        status: `ok`, `unscored`, `failed` or `missing` (R,).
        scores: In [0, 1], NaN where unknown (R,).
        prompt_tokens: NaN where unknown (R,).
        completion_tokens: NaN where unknown (R,).
        cost_usd: NaN where unknown (R,).
    """

    status: NDArray[np.str_]
    scores: NDArray[np.float64]
    prompt_tokens: NDArray[np.float64]
    completion_tokens: NDArray[np.float64]
    cost_usd: NDArray[np.float64]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Where there is a response with a score (R,)."""
        found: NDArray[np.bool_] = (self.status == "ok") & ~np.isnan(self.scores)
        return found


class Bank:
    """A bank on disk. Nothing but the manifest is read before it is asked for.

    Args:
        path: The bank's folder.

    Raises:
        BankError: There is no bank, or it cannot be read by this version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: Manifest = read_manifest(path)
        if not self.manifest.queries or not self.manifest.responses:
            raise BankError(f"{path} holds no answers; build it again with --force")
        self.dimension: int = self.manifest.embedder.dimension or 0
        self._vectors: dict[str, NDArray[np.floating]] = {}
        self._answers: dict[str, AnswerColumns] = {}

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the M models, in code-point order."""
        return self.manifest.models

    @property
    def rows(self) -> int:
        """Number R of questions, train and test, as the table of questions has them."""
        return len(self._is_test)

    def hyperparameters(self) -> Hyperparameters:
        """Return the settings chosen for this bank, the paper's where nothing was chosen.

        Raises:
            BankError: They are none that this version knows.
        """
        try:
            return Hyperparameters().with_changes(self.manifest.hyperparameters, f"{self.path / 'bank.json'}")
        except InputError as error:
            raise BankError(f"{error}; upgrade jisi, or build the bank again with --force") from error

    @cached_property
    def questions(self) -> list[Question]:
        """All R questions, in bank order."""
        columns = ["dataset", "index", "order", "split", "query", "reference", "grader"]
        table = self._query_columns(columns).to_pydict()
        rows = zip(*(table[name] for name in columns), strict=True)
        return [
            Question(dataset, index, query, reference, grader, order, split)
            for dataset, index, order, split, query, reference, grader in rows
        ]

    @cached_property
    def train_rows(self) -> Rows:
        """Rows that decisions are drawn from: all that are not marked as test."""
        return np.flatnonzero(~self._is_test)

    @cached_property
    def test_rows(self) -> Rows:
        """Rows set aside for evaluation."""
        return np.flatnonzero(self._is_test)

    @cached_property
    def query_vectors(self) -> NDArray[np.float32]:
        """E^Q of all rows, train and test (R, d)."""
        column = self._query_columns(["vector"]).column("vector")
        return column_vectors(column, self.dimension).astype(np.float32, copy=False)

    def answers(self, model: str) -> AnswerColumns:
        """Return one model's answers to all questions; read once and kept."""
        if model not in self._answers:
            self._answers[model] = self._read_answers(model)
        return self._answers[model]

    def _read_answers(self, model: str) -> AnswerColumns:
        names = ["status", "score", "prompt_tokens", "completion_tokens", "cost_usd"]
        status = np.full(self.rows, "missing", dtype="U8")
        numbers = [np.full(self.rows, np.nan) for _ in names[1:]]
        for rows, table in self._response_parts(model, names):
            status[rows] = np.array(table.column("status").to_pylist(), dtype="U8")
            for values, name in zip(numbers, names[1:], strict=True):
                # Arrow turns nulls into NaN only once integers are floats.
                values[rows] = table.column(name).cast("float64", safe=False).to_numpy()
        for values in (status, *numbers):
            values.setflags(write=False)
        return AnswerColumns(status, *numbers)

    def responses(self, model: str) -> list[str | None]:
        """Return one model's responses to all questions; None where there is none."""
        texts: list[str | None] = [None] * self.rows
        for rows, table in self._response_parts(model, ["response"]):
            for row, text in zip(rows.tolist(), table.column("response").to_pylist(), strict=True):
                texts[row] = text
        return texts

    def response_vectors(self, model: str) -> NDArray[np.floating]:
        """Return E^R of one model (R, d) in the precision of the disk, zero where there is no response.

        Read once and kept: a replay needs train and test rows of the same models.
        """
        if model in self._vectors:
            return self._vectors[model]
        vectors = np.zeros((self.rows, self.dimension), dtype=self.manifest.vector_dtype)
        for rows, table in self._response_parts(model, ["vector"]):
            vectors[rows] = column_vectors(table.column("vector"), self.dimension)
        vectors.setflags(write=False)
        self._vectors[model] = vectors
        return vectors

    def arrays(self, models: Sequence[str] | None = None, rows: Rows | None = None) -> BankArrays:
        """Return what the equations need.

        Args:
            models: Which models take part; all by default.
            rows: Which questions are the bank; the train rows by default.

        Raises:
            BankError: No row or no model is left.
        """
        names = tuple(models) if models is not None else self.models
        chosen = self.train_rows if rows is None else rows
        if not len(chosen) or not names:
            raise BankError(f"{self.path} has no train rows for these models; build it with other --split or --models")
        columns = [self.answers(name) for name in names]
        present = np.stack([column.present[chosen] for column in columns], axis=1)
        scores = np.stack([column.scores[chosen] for column in columns], axis=1)
        return BankArrays(
            query_vectors=self.query_vectors[chosen],
            response_vectors=LazyVectors(len(names), lambda place: self.response_vectors(names[place])[chosen]),
            scores=np.where(present, scores, 0.0),
            completion_tokens=np.stack([column.completion_tokens[chosen] for column in columns], axis=1),
            present=present,
            model_names=names,
        )

    @cached_property
    def _is_test(self) -> NDArray[np.bool_]:
        marks = self._query_columns(["split"]).column("split").to_pylist()
        return np.array([mark == "test" for mark in marks], dtype=bool)

    def _query_columns(self, names: list[str]) -> pa.Table:
        import pyarrow as pa

        schema = query_schema(self.dimension, self.manifest.vector_dtype)
        return pa.concat_tables(read_part(self.path, part, names, schema) for part in self.manifest.queries)

    def _response_parts(self, model: str, names: list[str]) -> list[tuple[Rows, pa.Table]]:
        if model not in self.manifest.responses:
            raise BankError(f"{self.path} has no model `{model}`; it has {', '.join(self.models)}")
        schema = response_schema(self.dimension, self.manifest.vector_dtype)
        parts = []
        for part in self.manifest.responses[model]:
            table = read_part(self.path, part, ["row", *names], schema)
            rows = table.column("row").to_numpy()
            if len(rows) and (rows.min() < 0 or rows.max() >= self.rows):
                where = self.path / part.path
                raise BankError(f"{where} names questions that the bank lacks; build it again with --force")
            parts.append((rows, table))
        return parts
