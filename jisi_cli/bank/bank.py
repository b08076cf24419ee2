"""An opened bank: questions, what each model answered, and the arrays that the equations need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.columns import coded, column_vectors, number_column, row_numbers
from jisi_cli.bank.lazy_vectors import LazyVectors, RowsOf
from jisi_cli.bank.manifest import Manifest, PartFile, read_manifest
from jisi_cli.bank.records import STATUSES, Key, Question, Status
from jisi_cli.bank.tables import query_schema, read_part, read_pieces, read_rows, response_schema
from jisi_cli.bank.vector_map import VectorMap, map_vectors
from jisi_cli.errors import BankError, InputError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, RowVectors

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.intp]

_QUESTION = ["dataset", "index", "order", "split", "query", "reference", "grader"]


@dataclass(frozen=True, slots=True)
class AnswerColumns:
    """One model's answers to all R questions of a bank.

    Attributes:
        status_codes: Place of the status in `STATUSES` (R,).
        scores: In [0, 1], NaN where unknown (R,).
        prompt_tokens: NaN where unknown (R,).
        completion_tokens: NaN where unknown (R,).
        cost_usd: NaN where unknown (R,).
    """

    status_codes: NDArray[np.int8]
    scores: NDArray[np.float64]
    prompt_tokens: NDArray[np.float64]
    completion_tokens: NDArray[np.float64]
    cost_usd: NDArray[np.float64]

    @property
    def status(self) -> NDArray[np.str_]:
        """`ok`, `unscored`, `failed` or `missing` (R,)."""
        return np.array(STATUSES)[self.status_codes]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Where there is a response with a score (R,)."""
        found: NDArray[np.bool_] = (self.status_codes == STATUSES.index("ok")) & ~np.isnan(self.scores)
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
        return _questions(self._query_columns(_QUESTION))

    @cached_property
    def keys(self) -> list[Key]:
        """What identifies each of the R questions, in bank order."""
        table = self._query_columns(["dataset", "index"])
        return list(zip(table.column("dataset").to_pylist(), table.column("index").to_pylist(), strict=True))

    def some_questions(self, rows: Rows) -> list[Question]:
        """Return some questions without reading much more than these.

        Args:
            rows: Their rows, ascending.
        """
        return _questions(self._query_rows(rows, _QUESTION))

    def texts(self, rows: Rows) -> list[str]:
        """Return the texts of some questions.

        Args:
            rows: Their rows, in any order.
        """
        order = np.argsort(rows, kind="stable")
        found = self._query_rows(rows[order], ["query"]).column("query").to_pylist()
        places = np.empty(len(rows), dtype=np.intp)
        places[order] = np.arange(len(rows))
        return [found[place] for place in places.tolist()]

    def all_texts(self) -> Iterator[str]:
        """Yield the texts of all questions, in bank order, without keeping them."""
        schema = query_schema(self.dimension, self.manifest.vector_dtype)
        for part in self.manifest.queries:
            for table in read_pieces(self.path, part, ["query"], schema):
                yield from table.column("query").to_pylist()

    @cached_property
    def train_rows(self) -> Rows:
        """Rows that decisions are drawn from: all that are not marked as test."""
        return np.flatnonzero(~self._is_test)

    @cached_property
    def test_rows(self) -> Rows:
        """Rows set aside for evaluation."""
        return np.flatnonzero(self._is_test)

    @property
    def train_vectors(self) -> NDArray[np.float32]:
        """E^Q of the train rows (N, d), in bank order, mapped from disk where that is worth it."""
        return self._query_map.vectors[: len(self.train_rows)]

    @cached_property
    def query_vectors(self) -> NDArray[np.float32]:
        """E^Q of all rows, train and test (R, d), in bank order."""
        return self.vectors_of(np.arange(self.rows))

    def vectors_of(self, rows: Rows) -> NDArray[np.float32]:
        """Return E^Q of some rows (n, d)."""
        if not len(self.test_rows) and np.array_equal(rows, np.arange(self.rows)):
            return self._query_map.vectors
        found: NDArray[np.float32] = self._query_map.vectors[self._train_first[rows]]
        return found

    @cached_property
    def _train_first(self) -> Rows:
        """Where each row lies when the train rows come first (R,)."""
        places = np.empty(self.rows, dtype=np.intp)
        places[np.concatenate([self.train_rows, self.test_rows])] = np.arange(self.rows)
        return places

    @cached_property
    def _query_map(self) -> VectorMap:
        """E^Q (R, d), train rows first: what every decision is drawn from lies together."""

        def pieces() -> Iterator[tuple[Rows, NDArray[np.floating]]]:
            schema, start = query_schema(self.dimension, self.manifest.vector_dtype), 0
            for part in self.manifest.queries:
                for table in read_pieces(self.path, part, ["vector"], schema):
                    places = self._train_first[start : start + table.num_rows]
                    start += table.num_rows
                    values = column_vectors(table.column("vector"), self.dimension).astype(np.float32, copy=False)
                    for here in (places < len(self.train_rows), places >= len(self.train_rows)):
                        yield places[here], values if here.all() else values[here]

        shape = (self.rows, self.dimension)
        return map_vectors(self.path, "queries", self.manifest.queries, shape, "float32", pieces)

    def answers(self, model: str) -> AnswerColumns:
        """Return one model's answers to all questions; read once and kept."""
        if model not in self._answers:
            self._answers[model] = self._read_answers(model)
        return self._answers[model]

    def _read_answers(self, model: str) -> AnswerColumns:
        names = ["status", "score", "prompt_tokens", "completion_tokens", "cost_usd"]
        status = np.full(self.rows, STATUSES.index("missing"), dtype=np.int8)
        numbers = [np.full(self.rows, np.nan) for _ in names[1:]]
        for rows, table in self._response_parts(model, names):
            status[rows] = self._status_codes(model, table.column("status"))
            for values, name in zip(numbers, names[1:], strict=True):
                values[rows] = number_column(table.column(name))
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

    def blank_responses(self, model: str) -> NDArray[np.bool_]:
        """Return where a model's response has no words, or where there is none (R,); the texts are read in pieces."""
        blank = np.ones(self.rows, dtype=bool)
        schema = response_schema(self.dimension, self.manifest.vector_dtype)
        for part in self._parts_of(model):
            for table in read_pieces(self.path, part, ["row", "response"], schema):
                texts = table.column("response").to_pylist()
                blank[self._checked_rows(part, table)] = [not (text or "").strip() for text in texts]
        return blank

    def response_vectors(self, model: str) -> NDArray[np.floating]:
        """Return E^R of one model (R, d) in the precision of the disk, zero where there is no response.

        Mapped from disk where that is worth it, so that only rows that are used are read; opened once and kept.
        """
        if model in self._vectors:
            return self._vectors[model]

        def pieces() -> Iterator[tuple[Rows, NDArray[np.floating]]]:
            schema = response_schema(self.dimension, self.manifest.vector_dtype)
            for part in self._parts_of(model):
                for table in read_pieces(self.path, part, ["row", "vector"], schema):
                    rows = self._checked_rows(part, table)
                    yield rows, column_vectors(table.column("vector"), self.dimension)

        what = "responses-" + hashlib.sha256(model.encode()).hexdigest()[:16]
        shape = (self.rows, self.dimension)
        found = map_vectors(self.path, what, self._parts_of(model), shape, self.manifest.vector_dtype, pieces)
        self._vectors[model] = found.vectors
        return found.vectors

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
        vectors = self.train_vectors if rows is None else self.vectors_of(chosen)
        whole = len(chosen) == self.rows and bool((chosen == np.arange(self.rows)).all())

        def load(place: int) -> RowVectors:
            found = self.response_vectors(names[place])
            return found if whole else RowsOf(found, chosen)

        columns = [self.answers(name) for name in names]
        present = np.stack([column.present[chosen] for column in columns], axis=1)
        scores = np.stack([column.scores[chosen] for column in columns], axis=1)
        return BankArrays(
            query_vectors=vectors,
            response_vectors=LazyVectors(len(names), load),
            scores=np.where(present, scores, 0.0),
            completion_tokens=np.stack([column.completion_tokens[chosen] for column in columns], axis=1),
            present=present,
            model_names=names,
            norm_bound=self._query_map.longest,
        )

    @cached_property
    def _is_test(self) -> NDArray[np.bool_]:
        names, codes = coded(self._query_columns(["split"], ["split"]).column("split"))
        found: NDArray[np.bool_] = codes == (names.index("test") if "test" in names else len(names))
        return found

    def _query_columns(self, names: list[str], codes: Sequence[str] = ()) -> pa.Table:
        import pyarrow as pa

        schema = query_schema(self.dimension, self.manifest.vector_dtype)
        return pa.concat_tables(read_part(self.path, part, names, schema, codes) for part in self.manifest.queries)

    def _query_rows(self, rows: Rows, names: list[str]) -> pa.Table:
        import pyarrow as pa

        schema = query_schema(self.dimension, self.manifest.vector_dtype)
        ends = np.cumsum([part.rows for part in self.manifest.queries])
        parts = np.searchsorted(ends, rows, side="right")
        return pa.concat_tables(
            read_rows(self.path, part, rows[parts == place] - (ends[place] - part.rows), names, schema)
            for place, part in enumerate(self.manifest.queries)
        )

    def _response_parts(self, model: str, names: list[str]) -> Iterator[tuple[Rows, pa.Table]]:
        schema = response_schema(self.dimension, self.manifest.vector_dtype)
        for part in self._parts_of(model):
            table = read_part(self.path, part, ["row", *names], schema, ["status"] if "status" in names else ())
            yield self._checked_rows(part, table), table

    def _parts_of(self, model: str) -> tuple[PartFile, ...]:
        if model not in self.manifest.responses:
            raise BankError(f"{self.path} has no model `{model}`; it has {', '.join(self.models)}")
        return self.manifest.responses[model]

    def _checked_rows(self, part: PartFile, table: pa.Table) -> Rows:
        rows: Rows = row_numbers(table.column("row"))
        if len(rows) and (rows.min() < 0 or rows.max() >= self.rows):
            where = self.path / part.path
            raise BankError(f"{where} names questions that the bank lacks; build it again with --force")
        return rows

    def _status_codes(self, model: str, column: pa.ChunkedArray) -> NDArray[np.int8]:
        names, codes = coded(column)
        odd = next((name for name in names if name not in STATUSES), None)
        if odd is not None:
            raise BankError(f"{self.path}: an answer of {model} is {odd!r}; upgrade jisi, or build it with --force")
        known: NDArray[np.int8] = np.array([STATUSES.index(cast(Status, name)) for name in names], dtype=np.int8)[codes]
        return known


def _questions(table: pa.Table) -> list[Question]:
    columns = table.to_pydict()
    rows = zip(*(columns[name] for name in _QUESTION), strict=True)
    return [
        Question(dataset, index, query, reference, grader, order, split)
        for dataset, index, order, split, query, reference, grader in rows
    ]
