"""Embedding on a cluster: each worker loads the embedder, one to a processor core or to a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jisi_cli.cluster.crew import Crew
from jisi_cli.cluster.session import Session
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder, names_a_folder

_Vectors = tuple[NDArray[np.float32], int]
"""Unit rows (n, d), and how many of the texts were cut."""


class ClusterEmbedding:
    """Embeds chunks of texts on a cluster; see `EmbedChunks`.

    Args:
        session: The cluster.
        spec: The embedder; a revision that it pins is every worker's.
        device: torch's name of where to embed; with `cuda`, a worker has a GPU of its own.
        batch_size: Texts embedded at once; None for a choice by length.

    Attributes:
        truncated: How many texts were too long and were cut.
    """

    def __init__(self, session: Session, spec: EmbedderSpec, device: str | None, batch_size: int | None) -> None:
        self._session, self._device, self._batch_size = session, device, batch_size
        # Workers have other current folders.
        here = names_a_folder(spec.name)
        self._spec = replace(spec, name=str(Path(spec.name).expanduser().resolve())) if here else spec
        self.truncated = 0

    def embed(self, chunks: Iterable[Sequence[str]]) -> Iterator[NDArray[np.float32]]:
        """Yield unit rows (n, d) for each chunk, in their order."""
        on_gpu = (self._device or "").startswith("cuda")
        size, gpus = (self._session.gpus, 1.0) if on_gpu else (self._session.cpus, 0.0)
        # A worker sees one GPU, the first of all that it sees, whatever its number on the node is.
        device = "cuda" if on_gpu else self._device
        crew: Crew[Sequence[str], _Vectors] = Crew(
            self._session, size, _embedding, self._spec, device, self._batch_size, gpus=gpus
        )
        with crew:
            for vectors, truncated in crew.in_order(chunks):
                self.truncated += truncated
                yield vectors


def _embedding(spec: EmbedderSpec, device: str | None, batch_size: int | None) -> Callable[[Sequence[str]], _Vectors]:
    """Return what embeds in a worker."""
    embedder = load_embedder(spec, device=device, batch_size=batch_size)

    def embed(texts: Sequence[str]) -> _Vectors:
        before = embedder.truncated
        return embedder.embed(texts), embedder.truncated - before

    return embed
