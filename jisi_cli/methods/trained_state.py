"""What a method learned, kept on disk under the hash of everything that it was learned from."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli import paths
from jisi_cli.methods.examples import Examples
from jisi_cli.methods.training import OnStep, Training

State = dict[str, NDArray[Any]]
"""Arrays by name: numbers only, so that a file of them can be read without trusting it."""

_SECONDS = "training_seconds"
"""Stands beside the arrays in a file: what learning them took."""


def learned(
    name: str,
    version: int,
    settings: object,
    seed: int,
    examples: Examples,
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
        examples: What is learned from.
        train: Learns; it is given whom to tell how far it is.
        extra: What is learned from besides the examples.
        training: Where what the training took is noted.
    """
    watched = training or Training()
    key = _content_hash((name, version, repr(settings), seed), examples, extra or {})
    path = paths.cache_folder() / "trained" / f"{name}-{key[:32]}.npz"
    found = _read(path)
    if found is not None:
        watched.note(_seconds(found.pop(_SECONDS, None)), from_cache=True)
        return found
    started = time.perf_counter()
    found = train(watched.step)
    took = time.perf_counter() - started
    watched.note(took, from_cache=False)
    # Without a place to keep it, the next run learns it again: slower, not wrong.
    with contextlib.suppress(OSError):
        _write(path, {**found, _SECONDS: np.array(took)})
    return found


def _seconds(kept: NDArray[Any] | None) -> float | None:
    """Return what a file says that learning took; None when it does not say."""
    if kept is None or kept.shape != () or kept.dtype != np.float64 or not 0 <= float(kept) < np.inf:
        return None
    return float(kept)


def _content_hash(identity: tuple[object, ...], examples: Examples, extra: Mapping[str, NDArray[np.float64]]) -> str:
    digest = hashlib.sha256(repr((*identity, examples.models, examples.datasets)).encode())
    arrays = (examples.vectors, examples.scores, examples.present, examples.tokens, *map(extra.get, sorted(extra)))
    for array in arrays:
        values = np.ascontiguousarray(array)
        digest.update(repr((values.shape, values.dtype.str)).encode())
        digest.update(values.data)
    return digest.hexdigest()


def _read(path: Path) -> State | None:
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


def _write(path: Path, state: State) -> None:
    """Write a file that is either whole or not there, whoever else writes it at the same time."""
    paths.own_folder(path.parent)
    handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **state)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
