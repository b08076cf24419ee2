"""Where a build's vectors come from: an embedder behind a journal, a file, or a release, read a few rows at a time."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.vector_journal import VectorJournal
from jisi_cli.embed.protocol import Embedder, EmbedderSpec
from jisi_cli.errors import InputError
from jisi_cli.files import open_plain
from jisi_cli.formats.jisi_release import ReleaseVectors, release_vectors
from jisi_cli.formats.record import Question, Record, has_response
from jisi_cli.formats.torch_file import TensorFile

# Where a build's vectors come from: an embedder behind a journal, or vectors that were given.


OnProgress = Callable[[int, int], None]
"""Called with (characters embedded, characters in all): time goes with length, not with count."""

_CHUNK = 256
"""Texts per journal entry: what a kill can cost."""


_UNREADABLE = (
    *(OSError, KeyError, ValueError, TypeError, EOFError, MemoryError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What NumPy and zipfile raise on a damaged archive."""

_MOST_UNFOLDED = 256 * 2**20

UNIT_TOLERANCE = 5e-3
"""float16 keeps 11 bits, so a rounded unit vector may be off by about a thousandth."""


class VectorSource(Protocol):
    """Gives a vector to every question and every response of a build."""

    @property
    def spec(self) -> EmbedderSpec:
        """The embedder that queries must use."""
        ...

    @property
    def truncated(self) -> int:
        """How many texts were too long for the embedder and were cut."""
        ...

    def covers(self, record: Record) -> bool:
        """Whether a record may enter the bank: vectors that are given may not be there for all."""
        ...

    def prepare(self, texts: Sequence[str], folder: Path, on_progress: OnProgress | None = None) -> int:
        """Make sure that every text has its vector; return how many had to be embedded.

        Args:
            texts: Questions and responses, in any order, with repetitions; they need not fit into memory.
            folder: Where progress is kept, so that a killed build goes on.
            on_progress: Told how far it is.
        """
        ...

    def queries(self, questions: Sequence[Question]) -> NDArray[np.floating]:
        """Return unit rows (n, d)."""
        ...

    def responses(self, model: str, records: Sequence[Record]) -> NDArray[np.floating]:
        """Return rows (n, d): unit where there is a response, zero where there is none."""
        ...


class EmbeddedVectors:
    """Vectors from an embedder; every chunk is kept in a journal as soon as it exists.

    Args:
        embedder: Makes the vectors.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._journal: VectorJournal | None = None

    @property
    def spec(self) -> EmbedderSpec:
        """The embedder that queries must use."""
        return self._embedder.spec

    @property
    def truncated(self) -> int:
        """How many texts were too long for the embedder and were cut."""
        return self._embedder.truncated

    def covers(self, record: Record) -> bool:
        """Whether a record may enter the bank: each does, as each can be embedded."""
        return True

    def prepare(self, texts: Sequence[str], folder: Path, on_progress: OnProgress | None = None) -> int:
        """Embed the texts that the journal lacks; return how many that were.

        Texts of similar length go together, which is what makes a batch fast.
        """
        with VectorJournal(folder / _journal_name(self.spec), self._dimension) as journal:
            self._journal = journal
            lengths = array("q")
            missing = journal.missing(_measured(texts, lengths))
            sizes = np.array(lengths, dtype=np.int64)[missing]
            missing = missing[np.argsort(sizes, kind="stable")]
            total, done = int(sizes.sum()), 0
            for start in range(0, len(missing), _CHUNK):
                chunk = [texts[place] for place in missing[start : start + _CHUNK].tolist()]
                journal.append(chunk, self._embedder.embed(chunk))
                done += sum(map(len, chunk))
                if on_progress is not None:
                    on_progress(done, total)
        return len(missing)

    def queries(self, questions: Sequence[Question]) -> NDArray[np.floating]:
        """Return unit rows (n, d)."""
        return self._vectors([question.query for question in questions])

    def responses(self, model: str, records: Sequence[Record]) -> NDArray[np.floating]:
        """Return rows (n, d): unit where there is a response, zero where there is none."""
        vectors = np.zeros((len(records), self._dimension), dtype=np.float32)
        known = [place for place, record in enumerate(records) if has_response(record)]
        vectors[known] = self._vectors([records[place].response or "" for place in known])
        return vectors

    @property
    def _dimension(self) -> int:
        if self.spec.dimension is None:
            raise ValueError("an embedder's own spec names its dimension")
        return self.spec.dimension

    def _vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._journal is None:
            raise ValueError("prepare comes before reading vectors")
        return self._journal.vectors(texts)


class GivenVectors:
    """Vectors that came with the answers, so that nothing is embedded.

    Args:
        spec: The embedder that made them.
        query: Unit rows (n, d).
        response: Unit rows (n, M, d).
        rows: Row of each question by (dataset, index), or by (dataset, recorded order).
        models: Names along the second axis of `response`.
    """

    def __init__(
        self,
        spec: EmbedderSpec,
        query: NDArray[np.floating],
        response: NDArray[np.floating],
        rows: dict[tuple[str, str | int], int],
        models: Sequence[str],
    ) -> None:
        self._spec = replace(spec, dimension=query.shape[1])
        self._query, self._response = query, response
        self._rows, self._columns = rows, {name: place for place, name in enumerate(models)}

    @property
    def spec(self) -> EmbedderSpec:
        """The embedder that queries must use."""
        return self._spec

    @property
    def truncated(self) -> int:
        """Unknown for vectors that were given, so nothing is claimed."""
        return 0

    def covers(self, record: Record) -> bool:
        """Whether a record may enter the bank: each does, and one without a vector is an error."""
        return True

    def prepare(self, texts: Sequence[str], folder: Path, on_progress: OnProgress | None = None) -> int:
        """Embed nothing."""
        return 0

    def queries(self, questions: Sequence[Question]) -> NDArray[np.floating]:
        """Return unit rows (n, d)."""
        vectors = self._query[[self._row(q.dataset, q.index, q.order) for q in questions]]
        return _checked(vectors, "queries", lambda place: questions[place])

    def responses(self, model: str, records: Sequence[Record]) -> NDArray[np.floating]:
        """Return rows (n, d): unit where there is a response, zero where there is none."""
        if model not in self._columns:
            raise InputError(f"the given vectors have no model `{model}`; leave it out with --models or embed anew")
        rows = [self._row(record.dataset, record.index, record.order) for record in records]
        vectors = np.array(self._response[rows, self._columns[model]])
        known = np.array([has_response(record) for record in records], dtype=bool)
        vectors[~known] = 0
        given = np.flatnonzero(known)
        _checked(vectors[given], f"responses of {model}", lambda place: records[given[place]])
        return vectors

    def _row(self, dataset: str, index: str, order: int | None) -> int:
        row = self._rows.get((dataset, index))
        if row is None and order is not None:
            row = self._rows.get((dataset, order))
        if row is None:
            raise InputError(f"the given vectors have no question {dataset}/{index}")
        return row


def read_given_vectors(path: Path, spec: EmbedderSpec) -> GivenVectors:
    """Read vectors from an .npz file.

    It holds `query` (n, d), `response` (n, M, d), `dataset` (n,), `models` (M,), and `index` or
    `rank` (n,), the recorded index as text or as a number.

    Args:
        path: The file; pickled arrays in it are refused.
        spec: The embedder that made the vectors.

    Raises:
        InputError: The file is not of that shape, or its width is not the embedder's.
    """
    needed = ("query", "response", "dataset", "models")
    try:
        open_plain(path).close()
        _refuse_a_bomb(path)
        with np.load(path, allow_pickle=False) as file:
            place = "index" if "index" in file else "rank"
            query, response, dataset, models = (file[name] for name in needed)
            places = file[place]
    except _UNREADABLE as error:
        names = ", ".join(needed)
        raise InputError(f"{path}: cannot be read as vectors ({error}); it needs {names}, and index or rank") from error
    width = spec.dimension or query.shape[-1] if query.ndim == 2 else 0
    if {query.dtype.kind, response.dtype.kind} != {"f"} or dataset.ndim != 1 or models.ndim != 1 or places.ndim != 1:
        raise InputError(f"{path}: needs real `query` and `response`, and one row each of dataset, models and {place}")
    if query.ndim and not len(query) == len(dataset) == len(places):
        raise InputError(
            f"{path}: {len(query)} vectors, {len(dataset)} datasets, {len(places)} numbers; they must match"
        )
    if query.ndim != 2 or response.shape != (len(query), len(models), query.shape[1]) or query.shape[1] != width:
        raise InputError(f"{path}: vectors of shape {query.shape} and {response.shape} do not fit width {width}")
    labels = places.tolist() if place == "rank" else [str(label) for label in places.tolist()]
    keys = zip(dataset.tolist(), labels, strict=True)
    return GivenVectors(spec, query, response, {key: row for row, key in enumerate(keys)}, models.tolist())


def _refuse_a_bomb(path: Path) -> None:
    """Refuse an archive that would unfold to far more than numbers can be compressed by.

    Raises:
        ValueError: It would.
    """
    with zipfile.ZipFile(path) as archive:
        unfolded = sum(member.file_size for member in archive.infolist())
    if unfolded > _MOST_UNFOLDED and unfolded > 50 * path.stat().st_size:
        raise ValueError(f"it would unfold to {unfolded >> 20} MiB")


def _measured(texts: Iterable[str], lengths: array[int]) -> Iterator[str]:
    for text in texts:
        lengths.append(len(text))
        yield text


def _journal_name(spec: EmbedderSpec) -> str:
    """Return a file name that two embedders never share."""
    text = json.dumps(spec.to_json(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16] + ".vectors"


def _checked(
    vectors: NDArray[np.floating], what: str, about: Callable[[int], Question | Record]
) -> NDArray[np.floating]:
    parts = (vectors[start : start + _CHUNK].astype(np.float64) for start in range(0, len(vectors), _CHUNK))
    norms = np.concatenate([np.empty(0), *(np.linalg.norm(part, axis=-1) for part in parts)])
    wrong = np.flatnonzero(~(np.abs(norms - 1) < UNIT_TOLERANCE))
    if len(wrong):
        where = about(int(wrong[0]))
        raise InputError(
            f"the given vectors of {what} are not unit vectors ({where.dataset}/{where.index} has norm "
            f"{norms[wrong[0]]:g})"
        )
    return vectors


# A build's vectors from the files of a release, read a few rows at a time, so that nothing is embedded.


_AT_ONCE = 256
"""Rows in memory beside those that are wanted."""


class ReleasedVectors:
    """The vectors of a release; sides of its split whose questions have none are left out.

    Args:
        source: The release.
        spec: The embedder that made them, which the release does not say.

    Raises:
        InputError: A file is missing, is none of `torch.save`, or fits neither the questions nor the embedder.
    """

    def __init__(self, source: Path, spec: EmbedderSpec) -> None:
        found = release_vectors(source)
        self._sides = {side: _whole(vectors, source) for side, vectors in found.items() if vectors.query_vectors}
        if "train" not in self._sides:
            raise InputError(f"{source}: it has train_response_embed.tar without train_query_embed.tar; fetch that too")
        self._width = self._sides["train"][0].shape[-1]
        if spec.dimension not in (None, self._width):
            raise InputError(
                f"{source}: its vectors are {self._width} wide, and {spec.name} makes {spec.dimension}; name the "
                "embedder that made them, or move the .tar files away to embed the texts anew"
            )
        self._spec = replace(spec, dimension=self._width)

    @property
    def spec(self) -> EmbedderSpec:
        """The embedder that queries must use."""
        return self._spec

    @property
    def truncated(self) -> int:
        """Unknown for vectors that were given, so nothing is claimed."""
        return 0

    def covers(self, record: Record) -> bool:
        """Whether the release has vectors of the side that a record is on."""
        return record.split in self._sides

    def prepare(self, texts: Sequence[str], folder: Path, on_progress: OnProgress | None = None) -> int:
        """Embed nothing."""
        return 0

    def queries(self, questions: Sequence[Question]) -> NDArray[np.floating]:
        """Return unit rows (n, d)."""
        vectors = np.zeros((len(questions), self._width), dtype=np.float32)
        for queries, _, about in self._sides.values():
            here = [place for place, question in enumerate(questions) if question.key in about.rows]
            rows = np.array([about.rows[questions[place].key] for place in here], dtype=np.intp)
            self._fill(vectors, here, queries, rows, lambda place: questions[place])
        return vectors

    def responses(self, model: str, records: Sequence[Record]) -> NDArray[np.floating]:
        """Return rows (n, d): unit where there is a response, zero where there is none."""
        vectors = np.zeros((len(records), self._width), dtype=np.float32)
        for _, responses, about in self._sides.values():
            here = [place for place, record in enumerate(records) if _key(record) in about.rows]
            here = [place for place in here if has_response(records[place])]
            if here and model not in about.models:
                raise InputError(f"the release has no vectors of `{model}`; leave it out with --models")
            rows = np.array([about.rows[_key(records[place])] for place in here], dtype=np.intp)
            column = about.models.index(model) if here else 0
            self._fill(vectors, here, responses, rows * len(about.models) + column, lambda place: records[place])
        return vectors

    def _fill(
        self,
        vectors: NDArray[np.float32],
        places: Sequence[int],
        file: TensorFile,
        rows: NDArray[np.intp],
        about: Callable[[int], Question | Record],
    ) -> None:
        for start in range(0, len(places), _AT_ONCE):
            wanted = list(places[start : start + _AT_ONCE])
            found, wrong = _unit(file.rows(rows[start : start + _AT_ONCE]))
            if wrong is not None:
                where = about(wanted[wrong])
                raise InputError(f"{file.path}: the vector of {where.dataset}/{where.index} is zero, or no numbers")
            vectors[wanted] = found


def _whole(vectors: ReleaseVectors, source: Path) -> tuple[TensorFile, TensorFile, ReleaseVectors]:
    if vectors.query_vectors is None or vectors.response_vectors is None:
        raise InputError(f"{source}: it has vectors of questions without those of the responses; fetch these too")
    return vectors.query_vectors, vectors.response_vectors, vectors


def _unit(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], int | None]:
    """Return rows of length 1, those that are so but for rounding bit for bit; and the place of one that has none."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(bad):
        return vectors, int(bad[0])
    off = np.abs(norms - 1) >= UNIT_TOLERANCE
    vectors[off] = (vectors[off] / norms[off, None]).astype(np.float32)
    return vectors, None


def _key(record: Record) -> tuple[str, str]:
    return (record.dataset, record.index)
