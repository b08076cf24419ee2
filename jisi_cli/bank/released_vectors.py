"""A build's vectors from the files of a release, read a few rows at a time, so that nothing is embedded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.importers.jisi_release import ReleaseVectors, release_vectors
from jisi_cli.bank.importers.torch_file import TensorFile
from jisi_cli.bank.records import Question, Record, has_response
from jisi_cli.bank.vectors import UNIT_TOLERANCE, OnProgress
from jisi_cli.embedders.protocol import EmbedderSpec
from jisi_cli.errors import InputError

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
