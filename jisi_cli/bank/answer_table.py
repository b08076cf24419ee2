"""What one model answered to the questions of a bank: numbers, texts and vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.columns import coded, column_vectors, number_column, row_numbers
from jisi_cli.bank.manifest import PartFile, VectorDtype
from jisi_cli.bank.tables import read_part, read_pieces, read_rows, response_schema
from jisi_cli.bank.vector_map import map_vectors
from jisi_cli.errors import BankError
from jisi_cli.formats.record import SCORE_SOURCES, STATUSES, ScoreSource
from jisi_cli.scoring.exact_sums import Rows
from jisi_cli.types import MOST_DOLLARS, MOST_TOKENS, CutOff, cut_off

if TYPE_CHECKING:
    import pyarrow as pa


_LIMITS = {"score": 1, "prompt_tokens": MOST_TOKENS, "completion_tokens": MOST_TOKENS, "cost_usd": MOST_DOLLARS}
"""Columns of numbers, and how large they may be."""


@dataclass(frozen=True, slots=True)
class AnswerColumns:
    """One model's answers to all R questions of a bank.

    Attributes:
        status_codes: Place of the status in `STATUSES` (R,).
        source_codes: Place in `SCORE_SOURCES` of what gave the score, `grader` where nothing is recorded (R,).
        scores: In [0, 1], NaN where unknown (R,).
        prompt_tokens: NaN where unknown (R,).
        completion_tokens: NaN where unknown (R,).
        cost_usd: NaN where unknown (R,).
    """

    status_codes: NDArray[np.int8]
    source_codes: NDArray[np.int8]
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

    def scored_by(self, source: ScoreSource) -> NDArray[np.bool_]:
        """Where there is a score that comes from there (R,)."""
        found: NDArray[np.bool_] = ~np.isnan(self.scores) & (self.source_codes == SCORE_SOURCES.index(source))
        return found


class AnswerTable:
    """One model's answers, in parts of which a later one's row replaces an earlier one's; read when asked for.

    Args:
        bank: The bank's folder.
        model: The model.
        parts: Its parts.
        shape: (R, d).
        dtype: Precision of the vectors on disk.
    """

    def __init__(
        self, bank: Path, model: str, parts: Sequence[PartFile], shape: tuple[int, int], dtype: VectorDtype
    ) -> None:
        self._bank, self._model, self._parts, self._dtype = bank, model, parts, dtype
        self._rows, self._dimension = shape

    def columns(self) -> AnswerColumns:
        """Return statuses and numbers."""
        names = ["status", "score", "prompt_tokens", "completion_tokens", "cost_usd"]
        status = np.full(self._rows, STATUSES.index("missing"), dtype=np.int8)
        sources = np.full(self._rows, SCORE_SOURCES.index("grader"), dtype=np.int8)
        numbers = [np.full(self._rows, np.nan) for _ in names[1:]]
        for part in self._parts:
            columns, codes = ["row", *names, "score_source"], ["status", "score_source"]
            table = read_part(self._bank, part, columns, self._schema, codes)
            rows = self._checked_rows(part, table)
            status[rows] = self._places(table.column("status"), STATUSES)
            sources[rows] = self._places(table.column("score_source"), SCORE_SOURCES)
            for values, name in zip(numbers, names[1:], strict=True):
                values[rows] = number_column(table.column(name))
        for values, (name, limit) in zip(numbers, _LIMITS.items(), strict=True):
            least, most = np.fmin.reduce(values, initial=0), np.fmax.reduce(values, initial=0)
            if least < 0 or most > limit:
                odd = least if least < 0 else most
                raise BankError(
                    f"{self._bank}: a {name} of {self._model} is {odd:g}, not from 0 to {limit:,}; "
                    "build it again with --force"
                )
        for values in (status, sources, *numbers):
            values.setflags(write=False)
        return AnswerColumns(status, sources, *numbers)

    def responses(self) -> list[str | None]:
        """Return the texts; None where there is none."""
        texts: list[str | None] = [None] * self._rows
        for part in self._parts:
            table = read_part(self._bank, part, ["row", "response"], self._schema)
            rows = self._checked_rows(part, table).tolist()
            for row, text in zip(rows, table.column("response").to_pylist(), strict=True):
                texts[row] = text
        return texts

    def cut_off(self) -> list[CutOff | None]:
        """Return what cut a response off before its end; None where it is whole, or there is none."""
        found: list[CutOff | None] = [None] * self._rows
        for part in self._parts:
            table = read_part(self._bank, part, ["row", "finish_reason"], self._schema)
            rows = self._checked_rows(part, table).tolist()
            for row, reason in zip(rows, table.column("finish_reason").to_pylist(), strict=True):
                found[row] = cut_off(reason)
        return found

    def blank(self) -> NDArray[np.bool_]:
        """Return where the response has no words, or where there is none (R,); the texts are read in pieces."""
        blank = np.ones(self._rows, dtype=bool)
        for part in self._parts:
            for table in read_pieces(self._bank, part, ["row", "response"], self._schema):
                texts = table.column("response").to_pylist()
                blank[self._checked_rows(part, table)] = [not (text or "").strip() for text in texts]
        return blank

    def blank_among(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which of some rows, ascending, have a response without words or none (n,); little else is read."""
        blank = np.ones(len(rows), dtype=bool)
        for part in self._parts if len(rows) else ():
            held = self._checked_rows(part, read_part(self._bank, part, ["row"], self._schema))
            wanted = np.flatnonzero(np.isin(held, rows))
            texts = read_rows(self._bank, part, wanted, ["response"], self._schema).column("response").to_pylist()
            blank[np.searchsorted(rows, held[wanted])] = [not (text or "").strip() for text in texts]
        return blank

    def vectors(self) -> NDArray[np.floating]:
        """Return E^R (R, d), zero where there is no response; mapped from disk where that is worth it."""

        def pieces() -> Iterator[tuple[Rows, NDArray[np.floating]]]:
            for part in self._parts:
                for table in read_pieces(self._bank, part, ["row", "vector"], self._schema):
                    rows = self._checked_rows(part, table)
                    yield rows, column_vectors(table.column("vector"), self._bank / part.path)

        what = "responses-" + hashlib.sha256(self._model.encode()).hexdigest()[:16]
        shape = (self._rows, self._dimension)
        return map_vectors(self._bank, what, self._parts, shape, self._dtype, pieces).vectors

    @property
    def _schema(self) -> pa.Schema:
        return response_schema(self._dimension, self._dtype)

    def _checked_rows(self, part: PartFile, table: pa.Table) -> Rows:
        rows: Rows = row_numbers(table.column("row"))
        if len(rows) and (rows.min() < 0 or rows.max() >= self._rows):
            where = self._bank / part.path
            raise BankError(f"{where} names questions that the bank lacks; build it again with --force")
        if len(rows) and np.bincount(rows).max() > 1:
            where = self._bank / part.path
            raise BankError(f"{where} answers a question twice; build the bank again with --force")
        return rows

    def _places(self, column: pa.ChunkedArray, known: Sequence[str]) -> NDArray[np.int8]:
        """Return where the texts of a column are among those that are known; the first where there is none."""
        import pyarrow as pa

        if not pa.types.is_dictionary(column.type):  # a part from before there was such a column
            return np.zeros(len(column), dtype=np.int8)
        names, codes = coded(column)
        odd = next((name for name in names if name not in known), None)
        if odd is not None:
            raise BankError(
                f"{self._bank}: an answer of {self._model} is {odd!r}; upgrade jisi, or build it with --force"
            )
        return np.array([*map(known.index, names), 0], dtype=np.int8)[codes]
