"""Vectors of questions and answers on disk, so that asking again needs no model."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.protocol import Embedder, EmbedderSpec, OnProgress
from jisi_cli.models.json_disk import JsonCache, Warn, open_cache

if TYPE_CHECKING:
    from concurrent.futures import Future

_UNIT_TOLERANCE = 1e-5


class CachedEmbedder:
    """An `Embedder` that looks on the disk first; meant for questions and answers, which are few and come again.

    A hit uses the embedder's spec alone and neither loads nor calls the model. It costs no tokens and does
    not count as truncated. Of equal texts that several threads ask for at once, one is embedded.

    Args:
        embedder: Makes the vectors that are missing.
        cache: Keeps them as base64 of little-endian float32.
        address: What says where an endpoint is, beyond its name; vectors of one address are not another's.
    """

    def __init__(self, embedder: Embedder, cache: JsonCache, address: Mapping[str, str] | None = None) -> None:
        self._embedder = embedder
        self._cache = cache
        self._address = dict(address or {})
        self._making: dict[str, Future[NDArray[np.float32] | None]] = {}
        self._claiming = threading.Lock()

    @property
    def spec(self) -> EmbedderSpec:
        """The embedder's."""
        return self._embedder.spec

    @property
    def truncated(self) -> int:
        """How many texts the embedder has cut."""
        return self._embedder.truncated

    def embed(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> NDArray[np.float32]:
        """Return unit row vectors (n, d), in the order of `texts`; what is new is kept.

        Raises:
            InputError: As the embedder does.
        """
        spec = self.spec
        keys = [_key(spec, text, self._address) for text in texts]
        rows = [_decode(self._cache.get(key), spec.dimension) for key in keys]
        missing = [place for place, row in enumerate(rows) if row is None]
        known = len(texts) - len(missing)
        if on_progress is not None and known:
            on_progress(known, len(texts))

        def progress(done: int, _: int) -> None:
            if on_progress is not None:
                on_progress(known + done, len(texts))

        if missing:
            made = self._made([(keys[place], texts[place]) for place in missing], progress)
            for place in missing:
                rows[place] = made[keys[place]]
        found = [row for row in rows if row is not None]
        return np.stack(found) if found else np.empty((0, spec.dimension or 0), dtype=np.float32)

    def _made(self, wanted: Sequence[tuple[str, str]], on_progress: OnProgress) -> dict[str, NDArray[np.float32]]:
        """Return the vectors of texts by key: made now, or by another thread that is making them already."""
        from concurrent.futures import Future

        texts = dict(wanted)
        with self._claiming:
            others = {key: self._making[key] for key in texts if key in self._making}
            ours = {key: Future[NDArray[np.float32] | None]() for key in texts if key not in others}
            self._making |= ours
        made: dict[str, NDArray[np.float32]] = {}
        try:
            mine = [(key, text) for key, text in wanted if key in ours]
            if mine:
                fresh = self._embedder.embed([text for _, text in mine], on_progress)
                made = {key: row for (key, _), row in zip(mine, fresh, strict=True)}
            for key, row in made.items():
                self._cache.set(key, base64.b64encode(row.astype("<f4").tobytes()).decode())
        finally:
            with self._claiming:
                for key in ours:
                    del self._making[key]
            for key, future in ours.items():
                future.set_result(made.get(key))
        for key, future in others.items():
            theirs = future.result()
            # Where that failed, this thread is to fail of itself.
            made[key] = self._embedder.embed([texts[key]])[0] if theirs is None else theirs
        return made


def cache_vectors(
    embedder: Embedder, folder: Path, *, warn: Warn, address: Mapping[str, str] | None = None
) -> CachedEmbedder:
    """Put a cache before an embedder.

    Args:
        embedder: Makes the vectors that are missing.
        folder: Where the cache lies.
        warn: Receives one note when the folder cannot be used; every vector is made anew then.
        address: What says where an endpoint is, beyond its name; None for an embedder on this machine.
    """
    return CachedEmbedder(embedder, open_cache(folder, warn=warn), address)


def _key(spec: EmbedderSpec, text: str, address: Mapping[str, str]) -> str:
    """Return a key that no other embedder, at no other address, and no other text has."""
    # Without an address of its own, so that such an embedder's vectors keep the keys that they always had.
    described = {**spec.to_json(), "address": address} if address else spec.to_json()
    named = json.dumps(described, sort_keys=True).encode()
    # Lone surrogates, which JSON input can hold, are no valid UTF-8 but must not end a question.
    read = text.encode("utf-8", "surrogatepass")
    return f"{hashlib.sha256(named).hexdigest()}:{hashlib.sha256(read).hexdigest()}"


def _decode(stored: object, dimension: int | None) -> NDArray[np.float32] | None:
    """Return a stored vector; None for one that is missing or damaged."""
    if not isinstance(stored, str):
        return None
    try:
        row = np.frombuffer(base64.b64decode(stored, validate=True), dtype="<f4").astype(np.float32)
    except (binascii.Error, ValueError):
        return None
    is_whole = row.shape == (dimension or len(row),)
    return row if is_whole and abs(float(np.linalg.norm(row)) - 1) < _UNIT_TOLERANCE else None
