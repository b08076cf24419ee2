"""An opened bank: its questions, the arrays that the equations need, and what every answer counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.addresses import is_address
from jisi_cli.bank.answer_table import AnswerColumns, AnswerTable
from jisi_cli.bank.columns import coded, column_vectors
from jisi_cli.bank.manifest import Manifest, read_manifest
from jisi_cli.bank.tables import query_schema, read_part, read_pieces, read_rows
from jisi_cli.bank.vector_map import LazyVectors, RowsOf, VectorMap, map_vectors
from jisi_cli.copies import is_copy
from jisi_cli.errors import BankError, InputError, did_you_mean
from jisi_cli.formats.record import STATUSES, Failed, Key, Question
from jisi_cli.hyperparameters import CASCADE, OWN_DEFAULTS, OWN_SETTINGS, Hyperparameters, stated_options
from jisi_cli.scoring import BankArrays
from jisi_cli.scoring.exact_sums import Rows, RowVectors
from jisi_cli.types import CutOff

if TYPE_CHECKING:
    import pyarrow as pa


_QUESTION = ["dataset", "index", "order", "split", "query", "reference", "grader"]
Truth = NDArray[np.bool_]


def graded_questions(scored: Truth, waiting: Truth, referenced: Truth, datasets: NDArray[np.intp]) -> Truth:
    """Return which questions are graded (R,): those to which a failed or empty answer is wrong, as in a benchmark.

    Two kinds of answers never count: a model that was never asked has none, and one that no grader could read is
    neither right nor wrong. A question is graded where some answer to it has a score. So is one with a reference,
    unless no answer of its whole dataset has a score while some are still unscored: such a dataset has not been graded
    yet.

    Args:
        scored: Where some answer has a score (R,).
        waiting: Where some answer has words and no score (R,).
        referenced: Where the right answer is known (R,).
        datasets: Number of each question's dataset (R,).
    """
    count = int(datasets.max(initial=-1)) + 1
    begun = np.bincount(datasets, weights=scored, minlength=count) > 0
    pending = np.bincount(datasets, weights=waiting, minlength=count) > 0
    found: Truth = scored | (referenced & (begun | ~pending)[datasets])
    return found


class Bank:
    """A bank on disk. Nothing but the manifest is read before it is asked for; one in an object store is fetched first.

    Args:
        path: The bank's folder, or its address.
        failed: How a failed or empty answer to a graded question counts; None for what the bank itself says.

    Attributes:
        failed: How it counts.

    Raises:
        BankError: There is no bank, or it cannot be read by this version.
    """

    def __init__(self, path: Path | str, failed: Failed | None = None) -> None:
        self.path, self.manifest = _opened(path)
        self.failed: Failed = failed or self.manifest.failed
        if not self.manifest.queries or not self.manifest.responses:
            raise BankError(f"{self.path} holds no answers; build it again with --force")
        self.dimension: int = self.manifest.embedder.dimension or 0
        self._vectors: dict[str, NDArray[np.floating]] = {}
        self._answers: dict[str, AnswerColumns] = {}
        self._wordless: dict[str, NDArray[np.bool_]] = {}

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the M models, in code-point order."""
        return self.manifest.models

    @property
    def rows(self) -> int:
        """Number R of questions, train and test, as the table of questions has them."""
        return len(self._is_test)

    def hyperparameters(self, method: str = "jisi") -> Hyperparameters:
        """Return the hyperparameters that a method of JiSi has on this bank, its defaults where nothing was chosen.

        Args:
            method: Its name. What was chosen for it alone holds whole; without such a choice it shares what was chosen
                for the paper's stages.

        Raises:
            BankError: This version does not know them.
        """
        own = method in self.own_settings and method != CASCADE  # whose open questions take the paper's stages
        defaults = OWN_DEFAULTS[method] if own else Hyperparameters()
        where = f"{self.path / 'bank.json'}{f': {method}' if own else ''}"
        try:
            return defaults.with_changes(self.chosen(method) if own else self.shared_settings, where)
        except InputError as error:
            raise BankError(f"{error}; upgrade jisi, or build the bank again with --force") from error

    def chosen(self, method: str = "jisi") -> dict[str, Any]:
        """Return what was chosen for a method, as it stands in the bank; empty means its defaults."""
        return self.own_settings.get(method, {} if method == CASCADE else self.shared_settings)

    @property
    def shared_settings(self) -> dict[str, Any]:
        """What was chosen for the paper's stages."""
        return {name: value for name, value in self.manifest.hyperparameters.items() if name not in OWN_SETTINGS}

    @property
    def own_settings(self) -> dict[str, dict[str, Any]]:
        """What was chosen for single methods, by method.

        Raises:
            BankError: It is no table of settings.
        """
        found = {name: value for name, value in self.manifest.hyperparameters.items() if name in OWN_SETTINGS}
        for name, value in found.items():
            if not isinstance(value, dict):
                raise BankError(
                    f"{self.path / 'bank.json'}: {name} holds no settings; upgrade jisi, or build the bank again with "
                    "--force"
                )
        return found

    def cascade_options(self) -> dict[str, Any]:
        """Return the settings chosen for `jisi-cascade` on this bank, where they differ from its defaults.

        Raises:
            BankError: This version does not know them.
        """
        where = f"{self.path / 'bank.json'}: {CASCADE}"
        chosen = self.own_settings.get(CASCADE, {})
        try:
            found = stated_options((chosen, where))
        except InputError as error:
            raise BankError(f"{error}; upgrade jisi, or build the bank again with --force") from error
        if found != chosen:
            raise BankError(f"{where} holds other settings; upgrade jisi, or build the bank again with --force")
        return found

    @cached_property
    def questions(self) -> list[Question]:
        """All R questions, in bank order."""
        questions = _questions(self._query_columns(_QUESTION))
        self._refuse_repetition([question.key for question in questions])
        return questions

    @cached_property
    def keys(self) -> list[Key]:
        """What identifies each of the R questions, in bank order."""
        table = self._query_columns(["dataset", "index"])
        keys = list(zip(table.column("dataset").to_pylist(), table.column("index").to_pylist(), strict=True))
        self._refuse_repetition(keys)
        return keys

    def _refuse_repetition(self, keys: Sequence[Key]) -> None:
        """Refuse a bank that holds a question twice, in which every mean would be another.

        Raises:
            BankError: It does.
        """
        if len(set(keys)) < len(keys):
            dataset, index = next(key for key, times in Counter(keys).items() if times > 1)
            raise BankError(
                f"{self.path} holds question {index!r} of {dataset!r} more than once; build it again with --force"
            )

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
        positions = np.empty(len(rows), dtype=np.intp)
        positions[order] = np.arange(len(rows))
        return [found[position] for position in positions.tolist()]

    def all_texts(self) -> Iterator[str]:
        """Yield the texts of all questions, in bank order, without keeping them."""
        for part in self.manifest.queries:
            for table in read_pieces(self.path, part, ["query"], self._schema):
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
        """Position of each row when the train rows come first (R,)."""
        positions = np.empty(self.rows, dtype=np.intp)
        positions[np.concatenate([self.train_rows, self.test_rows])] = np.arange(self.rows)
        return positions

    @cached_property
    def _query_map(self) -> VectorMap:
        """E^Q (R, d), train rows first, so that the rows that decisions are drawn from are adjacent."""

        def pieces() -> Iterator[tuple[Rows, NDArray[np.floating]]]:
            start = 0
            for part in self.manifest.queries:
                for table in read_pieces(self.path, part, ["vector"], self._schema):
                    positions = self._train_first[start : start + table.num_rows]
                    start += table.num_rows
                    vectors = column_vectors(table.column("vector"), self.path / part.path)
                    values = vectors.astype(np.float32, copy=False)
                    for here in (positions < len(self.train_rows), positions >= len(self.train_rows)):
                        yield positions[here], values if here.all() else values[here]

        shape = (self.rows, self.dimension)
        return map_vectors(self.path, "queries", self.manifest.queries, shape, "float32", pieces)

    def answers(self, model: str) -> AnswerColumns:
        """Return one model's answers to all questions; read once and kept."""
        if model not in self._answers:
            self._answers[model] = self._answer_table(model).columns()
        return self._answers[model]

    def wordless(self, model: str) -> NDArray[np.bool_]:
        """Return where a model was asked and gave no words to grade: it failed, or came back empty (R,).

        An answer with a score of its own is not among them, whatever its response.
        """
        if model not in self._wordless:
            codes = self.answers(model).status_codes
            found = codes == STATUSES.index("failed")
            unscored = np.flatnonzero(codes == STATUSES.index("unscored"))
            found[unscored] = self._answer_table(model).blank_among(unscored)
            self._wordless[model] = found
        return self._wordless[model]

    def counted_wrong(self, model: str) -> NDArray[np.bool_]:
        """Return where a model's failed or empty answer counts 0 (R,): nowhere where such answers are left out."""
        if self.failed == "unscored" or not self.wordless(model).any():
            return np.zeros(self.rows, dtype=bool)
        return self.wordless(model) & self._graded

    def verdicts(self, model: str) -> NDArray[np.float64]:
        """Return what each of a model's answers counts in a mean: from 0 to 1, NaN where it does not count (R,)."""
        columns = self.answers(model)
        return np.where(self.counted_wrong(model), 0.0, np.where(columns.present, columns.scores, np.nan))

    def responses(self, model: str) -> list[str | None]:
        """Return one model's responses to all questions; None where there is none."""
        return self._answer_table(model).responses()

    def blank_responses(self, model: str) -> NDArray[np.bool_]:
        """Return where a model's response has no words, or where there is none (R,); the texts are read in pieces."""
        return self._answer_table(model).blank()

    def cut_off_responses(self, model: str) -> list[CutOff | None]:
        """Return what cut each response of a model off before its end; None where it is whole, or there is none."""
        return self._answer_table(model).cut_off()

    def response_vectors(self, model: str) -> NDArray[np.floating]:
        """Return E^R of one model (R, d) in the precision of the disk, zero where there is no response.

        Mapped from disk where that is worth it, so that only rows that are used are read; opened once and kept.
        """
        if model not in self._vectors:
            self._vectors[model] = self._answer_table(model).vectors()
        return self._vectors[model]

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

        def load(index: int) -> RowVectors:
            found = self.response_vectors(names[index])
            return found if whole else RowsOf(found, chosen)

        scores = np.stack([self.verdicts(name)[chosen] for name in names], axis=1)
        present = ~np.isnan(scores)
        return BankArrays(
            query_vectors=vectors,
            response_vectors=LazyVectors(len(names), load),
            scores=np.where(present, scores, 0.0),
            completion_tokens=np.stack([self._tokens(name)[chosen] for name in names], axis=1),
            present=present,
            model_names=names,
            norm_bound=self._query_map.longest,
        )

    def _tokens(self, model: str) -> NDArray[np.float64]:
        """Completion tokens (R,), NaN where no words came of them, which no new answer is to be compared with."""
        return np.where(self.counted_wrong(model), np.nan, self.answers(model).completion_tokens)

    @cached_property
    def _graded(self) -> NDArray[np.bool_]:
        """Which questions are graded (R,), by the answers of all the bank's models."""
        scored, waiting = np.zeros(self.rows, dtype=bool), np.zeros(self.rows, dtype=bool)
        for model in self.models:
            columns = self.answers(model)
            scored |= columns.present
            waiting |= (columns.status_codes == STATUSES.index("unscored")) & ~self.wordless(model)
        table = self._query_columns(["dataset", "reference"], ["dataset"])
        _, datasets = coded(table.column("dataset"))
        references = table.column("reference").to_pylist()
        referenced = np.fromiter((bool(text and text.strip()) for text in references), bool, self.rows)
        return graded_questions(scored, waiting, referenced, datasets.astype(np.intp))

    @cached_property
    def _is_test(self) -> NDArray[np.bool_]:
        names, codes = coded(self._query_columns(["split"], ["split"]).column("split"))
        found: NDArray[np.bool_] = codes == (names.index("test") if "test" in names else len(names))
        return found

    @property
    def _schema(self) -> pa.Schema:
        return query_schema(self.dimension, self.manifest.vector_dtype)

    def _query_columns(self, names: list[str], codes: Sequence[str] = ()) -> pa.Table:
        import pyarrow as pa

        return pa.concat_tables(
            read_part(self.path, part, names, self._schema, codes) for part in self.manifest.queries
        )

    def _query_rows(self, rows: Rows, names: list[str]) -> pa.Table:
        import pyarrow as pa

        ends = np.cumsum([part.rows for part in self.manifest.queries])
        parts = np.searchsorted(ends, rows, side="right")
        return pa.concat_tables(
            read_rows(self.path, part, rows[parts == number] - (ends[number] - part.rows), names, self._schema)
            for number, part in enumerate(self.manifest.queries)
        )

    def _answer_table(self, model: str) -> AnswerTable:
        if model not in self.manifest.responses:
            raise BankError(
                f"{self.path} has no model `{model}`{did_you_mean(model, self.models)}; it has {', '.join(self.models)}"
            )
        parts, dtype = self.manifest.responses[model], self.manifest.vector_dtype
        return AnswerTable(self.path, model, parts, (self.rows, self.dimension), dtype)


def local_folder(bank: Path | str, tell: Callable[[str], None] | None = None) -> Path:
    """Return the folder of a bank that a user named; of one in an object store its local copy, with no parts yet.

    Args:
        bank: Its path or address.
        tell: Told what is moved from or to a store, from now on.

    Raises:
        InputError: It is an address that cannot be used.
        BankError: The store cannot be reached.
    """
    if not is_address(bank):
        return Path(bank)
    from jisi_cli.bank.remote import local_bank

    return local_bank(bank, tell)


def _opened(bank: Path | str) -> tuple[Path, Manifest]:
    """Return a bank's folder and what it is made of, after what is lacking was fetched."""
    path = local_folder(bank)
    if not is_copy(path):
        return path, read_manifest(path)
    from jisi_cli.bank.remote import complete

    return path, complete(path)


def _questions(table: pa.Table) -> list[Question]:
    columns = table.to_pydict()
    rows = zip(*(columns[name] for name in _QUESTION), strict=True)
    return [
        Question(dataset, index, query, reference, grader, order, split)
        for dataset, index, order, split, query, reference, grader in rows
    ]
