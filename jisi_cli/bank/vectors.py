"""Where a build's vectors come from: an embedder behind a journal, or vectors that came with the answers."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.vector_journal import VectorJournal
from jisi_cli.embed.protocol import Embedder, EmbedderSpec
from jisi_cli.errors import InputError
from jisi_cli.files import open_plain
from jisi_cli.formats.jisi_release import ReleaseVectors, release_vectors
from jisi_cli.formats.record import Key, Split

OnProgress = Callable[[int, int], None]
"""Called with (characters embedded, characters in all): time goes with length, not with count."""

UNIT_TOLERANCE = 5e-3
"""float16 keeps 11 bits, so a rounded unit vector may be off by about a thousandth."""

_CHUNK = 256
"""Texts embedded per journal entry, which is what a kill can cost; rows of a file in memory at once."""
_PIECE = 1 << 20
"""Bytes of an archive that are read at a time."""
_MAX_UNFOLDED = 256 * 2**20
_UNREADABLE = (
    *(OSError, KeyError, ValueError, TypeError, EOFError, MemoryError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What NumPy and zipfile raise on a damaged archive."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Questions, or one model's answers to them, that vectors are wanted of (n).

    Attributes:
        keys: What identifies each question.
        orders: Its recorded position, where there is one.
        has_text: Whether there is text to embed (n,).
        texts: Reads the texts of those where there is.
    """

    keys: Sequence[Key]
    orders: Sequence[int | None]
    has_text: NDArray[np.bool_]
    texts: Callable[[], list[str]]


class VectorSource(Protocol):
    """Gives a vector to every question and every response of a build."""

    @property
    def spec(self) -> EmbedderSpec:
        """The embedder that queries must use."""
        ...

    @property
    def truncated(self) -> int:
        """How many texts were too long for the embedder and were cut; 0 where that is unknown."""
        ...

    def covers(self, split: Split | None) -> bool:
        """Whether answers on a side of the split may enter the bank: not all may have come with vectors."""
        ...

    def prepare(self, texts: Sequence[str], folder: Path, on_progress: OnProgress | None = None) -> int:
        """Make sure that every text has its vector; return how many had to be embedded.

        Args:
            texts: Questions and responses, in any order, with repetitions; they need not fit into memory.
            folder: Where progress is kept, so that a killed build continues where it stopped.
            on_progress: Told how far it is.
        """
        ...

    def queries(self, wanted: Wanted) -> NDArray[np.floating]:
        """Return unit rows (n, d)."""
        ...

    def responses(self, model: str, wanted: Wanted) -> NDArray[np.floating]:
        """Return rows (n, d): unit where there is a response, zero where there is none."""
        ...


class EmbedChunks(Protocol):
    """Embeds chunks of texts, in other processes for one."""

    @property
    def truncated(self) -> int:
        """How many texts were too long and were cut."""
        ...

    def embed(self, chunks: Iterable[Sequence[str]]) -> Iterator[NDArray[np.float32]]:
        """Yield unit rows (n, d) for each chunk, in their order."""
        ...


class EmbeddedVectors:
    """Vectors from an embedder; every chunk is kept in a journal as soon as it exists.

    Args:
        embedder: Makes the vectors.
        elsewhere: Makes the same vectors in other processes; None for this one.
    """

    def __init__(self, embedder: Embedder, elsewhere: EmbedChunks | None = None) -> None:
        self.embedder, self._elsewhere = embedder, elsewhere
        self._journal: VectorJournal | None = None

    @property
    def spec(self) -> EmbedderSpec:
        """The embedder that queries must use."""
        return self.embedder.spec

    @property
    def truncated(self) -> int:
        """How many texts were too long for the embedder and were cut."""
        return self.embedder.truncated + (0 if self._elsewhere is None else self._elsewhere.truncated)

    def covers(self, split: Split | None) -> bool:
        """Whether answers on a side of the split may enter the bank: any text can be embedded."""
        return True

    def prepare(self, texts: Sequence[str], folder: Path, on_progress: OnProgress | None = None) -> int:
        """Embed the texts that the journal lacks; return how many there were.

        Texts of similar length are embedded together, which makes a batch fast.
        """
        with VectorJournal(folder / _journal_name(self.spec), self._dimension) as journal:
            self._journal = journal
            lengths = array("q")
            missing = journal.missing(_measured(texts, lengths))
            sizes = np.array(lengths, dtype=np.int64)[missing]
            missing = missing[np.argsort(sizes, kind="stable")]
            total, done = int(sizes.sum()), 0
            starts = range(0, len(missing), _CHUNK)
            chunks = ([texts[position] for position in missing[start : start + _CHUNK].tolist()] for start in starts)
            for chunk, vectors in self._embedded(chunks):
                journal.append(chunk, vectors)
                done += sum(map(len, chunk))
                if on_progress is not None:
                    on_progress(done, total)
        return len(missing)

    def queries(self, wanted: Wanted) -> NDArray[np.floating]:
        """Return unit rows (n, d)."""
        return self._vectors(wanted.texts())

    def responses(self, model: str, wanted: Wanted) -> NDArray[np.floating]:
        """Return rows (n, d): unit where there is a response, zero where there is none."""
        vectors = np.zeros((len(wanted.keys), self._dimension), dtype=np.float32)
        vectors[wanted.has_text] = self._vectors(wanted.texts())
        return vectors

    def _embedded(self, chunks: Iterable[list[str]]) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Yield each chunk with its vectors."""
        if self._elsewhere is None:
            yield from ((chunk, self.embedder.embed(chunk)) for chunk in chunks)
            return
        waiting: deque[list[str]] = deque()

        def given() -> Iterator[list[str]]:
            for chunk in chunks:
                waiting.append(chunk)
                yield chunk

        for vectors in self._elsewhere.embed(given()):
            yield waiting.popleft(), vectors

    @property
    def _dimension(self) -> int:
        if self.spec.dimension is None:
            raise ValueError("an embedder's own spec names its dimension")
        return self.spec.dimension

    def _vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._journal is None:
            raise ValueError("prepare comes before reading vectors")
        return self._journal.vectors(texts)


Keys = Mapping[tuple[str, str | int], int]
"""Row of each question, by (dataset, index) or by (dataset, recorded order)."""

ReadRows = Callable[[NDArray[np.intp]], NDArray[np.floating]]
"""Returns some vectors (k, d), by their rows (k,)."""


@dataclass(frozen=True, slots=True)
class VectorTable:
    """Vectors of some questions and of M models' responses to them.

    Attributes:
        rows: Row of each question.
        models: Names of the M models.
        queries: Reads vectors of questions.
        responses: Reads vectors of responses: that of model m to the question in row r is in row r * M + m.
        where: What holds them, for messages.
    """

    rows: Keys
    models: Sequence[str]
    queries: ReadRows
    responses: ReadRows
    where: str = "the given vectors"

    def rows_of(self, keys: Sequence[Key], orders: Sequence[int | None]) -> NDArray[np.intp]:
        """Return the row of each question (n,); -1 where there is none."""
        found = list(map(self.rows.get, keys))
        if None in found:
            by_order = [None if order is None else (key[0], order) for key, order in zip(keys, orders, strict=True)]
            pairs = zip(found, by_order, strict=True)
            found = [self.rows.get(other, -1) if row is None and other else row for row, other in pairs]
        return np.array([-1 if row is None else row for row in found], dtype=np.intp)


class PrecomputedVectors:
    """Vectors that came with the answers, so that nothing is embedded.

    Args:
        spec: The embedder that made them, with its dimension d.
        tables: Where they are; no question is in two of them.
        dtype: Their precision.
        splits: The sides of the split that have vectors; None for no such limit.
        rescale: Scale rows to length 1 instead of refusing those of another length.
    """

    truncated = 0

    def __init__(
        self,
        spec: EmbedderSpec,
        tables: Sequence[VectorTable],
        dtype: np.dtype[np.floating],
        *,
        splits: frozenset[Split | None] | None = None,
        rescale: bool = False,
    ) -> None:
        self.spec = spec
        self._tables, self._dtype = tables, dtype
        self._splits, self._rescale = splits, rescale

    def covers(self, split: Split | None) -> bool:
        """Whether there are vectors of a side of the split."""
        return self._splits is None or split in self._splits

    def prepare(self, texts: Sequence[str], folder: Path, on_progress: OnProgress | None = None) -> int:
        """Embed nothing."""
        return 0

    def queries(self, wanted: Wanted) -> NDArray[np.floating]:
        """Return unit rows (n, d)."""
        vectors = self._zeros(len(wanted.keys))
        for table, positions, rows in self._located(wanted):
            self._fill(vectors, positions, table.queries, rows, wanted.keys, f"{table.where} of the questions")
        return vectors

    def responses(self, model: str, wanted: Wanted) -> NDArray[np.floating]:
        """Return rows (n, d): unit where there is a response, zero where there is none."""
        vectors = self._zeros(len(wanted.keys))
        for table, positions, rows in self._located(wanted):
            has_text = wanted.has_text[positions]
            if not has_text.any():
                continue
            if model not in table.models:
                raise InputError(f"{table.where} have no model `{model}`; leave it out with --models or embed anew")
            rows = rows[has_text] * len(table.models) + table.models.index(model)
            what = f"{table.where} of the responses of {model}"
            self._fill(vectors, positions[has_text], table.responses, rows, wanted.keys, what)
        return vectors

    def _zeros(self, count: int) -> NDArray[np.floating]:
        return np.zeros((count, self.spec.dimension or 0), dtype=self._dtype)

    def _located(self, wanted: Wanted) -> list[tuple[VectorTable, NDArray[np.intp], NDArray[np.intp]]]:
        """Return each table with the positions of what is wanted of it, and the rows where it is."""
        left, found = np.arange(len(wanted.keys)), []
        keys, orders = wanted.keys, wanted.orders
        for table in self._tables:
            if len(left) < len(keys):
                places = left.tolist()
                keys, orders = [wanted.keys[place] for place in places], [wanted.orders[place] for place in places]
            rows = table.rows_of(keys, orders)
            is_here = rows >= 0
            found.append((table, left[is_here], rows[is_here]))
            left = left[~is_here]
        if len(left):
            dataset, index = wanted.keys[int(left[0])]
            raise InputError(f"{self._tables[0].where} have no question {dataset}/{index}")
        return found

    def _fill(
        self,
        vectors: NDArray[np.floating],
        positions: NDArray[np.intp],
        read: ReadRows,
        rows: NDArray[np.intp],
        keys: Sequence[Key],
        what: str,
    ) -> None:
        """Write rows of length 1 to their positions; those that have it but for rounding stay bit for bit."""
        for start in range(0, len(rows), _CHUNK):
            found, to = read(rows[start : start + _CHUNK]), positions[start : start + _CHUNK]
            if not _are_surely_unit(found):
                norms = np.linalg.norm(found.astype(np.float64), axis=1)
                off = ~(np.abs(norms - 1) < UNIT_TOLERANCE)
                unusable = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)) if self._rescale else off)
                if len(unusable):
                    (dataset, index), norm = keys[int(to[unusable[0]])], norms[unusable[0]]
                    raise InputError(f"{what} are not unit vectors ({dataset}/{index} has norm {norm:g})")
                found[off] = (found[off] / norms[off, None]).astype(found.dtype)
            are_neighbours = to[-1] - to[0] == len(to) - 1
            vectors[slice(to[0], to[-1] + 1) if are_neighbours else to] = found


def _are_surely_unit(rows: NDArray[np.floating]) -> bool:
    """Whether rows (n, d) have length 1 within half of the tolerance, whatever is lost of the sums in float32."""
    if rows.dtype.itemsize < np.dtype(np.float32).itemsize:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("nd,nd->n", rows, rows)
    return bool((np.abs(squares - 1) < UNIT_TOLERANCE).all())


def given_vectors(
    spec: EmbedderSpec,
    query: NDArray[np.floating],
    response: NDArray[np.floating],
    rows: Keys,
    models: Sequence[str],
) -> PrecomputedVectors:
    """Return vectors that are in memory as a source for a build.

    Args:
        spec: The embedder that made them.
        query: Unit rows (n, d).
        response: Unit rows (n, M, d).
        rows: Row of each question in them.
        models: The M names along the second axis of `response`.
    """
    flat = response.reshape(-1, query.shape[1])
    table = VectorTable(rows, list(models), lambda wanted: query[wanted], lambda wanted: flat[wanted])
    return PrecomputedVectors(replace(spec, dimension=query.shape[1]), [table], np.result_type(query, response))


def read_given_vectors(path: Path, spec: EmbedderSpec) -> PrecomputedVectors:
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
            key = "index" if "index" in file else "rank"
            dataset, models, labels = (file[name] for name in ("dataset", "models", key))
            query, response = (_numbers_in(file, name) for name in ("query", "response"))
    except _UNREADABLE as error:
        names = ", ".join(needed)
        raise InputError(f"{path}: cannot be read as vectors ({error}); it needs {names}, and index or rank") from error
    width = spec.dimension or query.shape[-1] if query.ndim == 2 else 0
    if {query.dtype.kind, response.dtype.kind} != {"f"} or dataset.ndim != 1 or models.ndim != 1 or labels.ndim != 1:
        raise InputError(f"{path}: needs real `query` and `response`, and one row each of dataset, models and {key}")
    if query.ndim and not len(query) == len(dataset) == len(labels):
        raise InputError(
            f"{path}: {len(query)} vectors, {len(dataset)} datasets, {len(labels)} numbers; they must match"
        )
    if query.ndim != 2 or response.shape != (len(query), len(models), query.shape[1]) or query.shape[1] != width:
        raise InputError(f"{path}: vectors of shape {query.shape} and {response.shape} do not fit width {width}")
    identities: list[str | int] = labels.tolist() if key == "rank" else [str(label) for label in labels.tolist()]
    rows: Keys = {of: row for row, of in enumerate(zip(dataset.tolist(), identities, strict=True))}
    return given_vectors(spec, query, response, rows, models.tolist())


def _numbers_in(file: np.lib.npyio.NpzFile, name: str) -> NDArray[Any]:
    """Return an array of an archive; one of numbers is read to where it stays, so that memory holds it once.

    Raises:
        ValueError: It is damaged.
    """
    if file.zip is None:  # it was closed
        return file[name]
    with file.zip.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read_header:
            return file[name]
        shape, is_fortran, dtype = read_header[version](member)
        if dtype.kind != "f":
            return file[name]
        values = np.empty(math.prod(shape), dtype=dtype)
        held = values.view(np.uint8)
        for start in range(0, len(held), _PIECE):
            wanted = held[start : start + _PIECE]
            piece = member.read(len(wanted))
            if len(piece) < len(wanted):
                raise ValueError(f"{name} is cut short")
            wanted[:] = np.frombuffer(piece, dtype=np.uint8)
        while member.read(_PIECE):  # so that the checksum, which comes last, is looked at
            pass
    return values.reshape(shape, order="F" if is_fortran else "C")


def read_released_vectors(source: Path, spec: EmbedderSpec) -> PrecomputedVectors:
    """Open the vectors of a release; sides of its split whose questions have none are left out.

    Args:
        source: The release.
        spec: The embedder that made them, which the release does not say.

    Raises:
        InputError: A file is missing, was not written by `torch.save`, or fits neither the questions nor the embedder.
    """
    found = {side: _released_table(of, source) for side, of in release_vectors(source).items() if of.query_vectors}
    if "train" not in found:
        raise InputError(f"{source}: it has train_response_embed.tar without train_query_embed.tar; fetch that too")
    width = found["train"][1]
    if spec.dimension not in (None, width):
        raise InputError(
            f"{source}: its vectors are {width} wide, and {spec.name} makes {spec.dimension}; name the "
            "embedder that made them, or move the .tar files away to embed the texts anew"
        )
    tables = [table for table, _ in found.values()]
    float32 = np.dtype(np.float32)
    return PrecomputedVectors(replace(spec, dimension=width), tables, float32, splits=frozenset(found), rescale=True)


def _released_table(found: ReleaseVectors, source: Path) -> tuple[VectorTable, int]:
    """Return one side of a release, and the width of its vectors."""
    queries, responses = found.query_vectors, found.response_vectors
    if queries is None or responses is None:
        raise InputError(f"{source}: it has vectors of questions without those of the responses; fetch these too")
    rows: Keys = {key: row for key, row in found.rows.items()}
    table = VectorTable(rows, found.models, queries.rows, responses.rows, f"{source}: its vectors")
    return table, queries.shape[-1]


def _refuse_a_bomb(path: Path) -> None:
    """Refuse an archive that would unfold to far more than numbers can be compressed by.

    Raises:
        ValueError: It would.
    """
    with zipfile.ZipFile(path) as archive:
        unfolded = sum(member.file_size for member in archive.infolist())
    if unfolded > _MAX_UNFOLDED and unfolded > 50 * path.stat().st_size:
        raise ValueError(f"it would unfold to {unfolded >> 20} MiB")


def _measured(texts: Iterable[str], lengths: array[int]) -> Iterator[str]:
    for text in texts:
        lengths.append(len(text))
        yield text


def _journal_name(spec: EmbedderSpec) -> str:
    """Return a file name that two embedders never share."""
    text = json.dumps(spec.to_json(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16] + ".vectors"
