"""How methods travel: what lies in a bank's files goes by its name, what only one process can have is made anew.

A worker opens the same bank, so that its vectors are a read-only map there, too; what training made travels as it is.
Only this run's driver makes what workers unpickle.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.resplit import ResplitBank
from jisi_cli.copies import as_named, is_copy
from jisi_cli.embed.protocol import ENDPOINT, Embedder, EmbedderSpec, LazyEmbedder
from jisi_cli.embed.registry import is_packaged, load_embedder, names_a_folder
from jisi_cli.embed.unit_embedder import UnitEmbedder
from jisi_cli.embed.vector_cache import CachedEmbedder
from jisi_cli.errors import BankError, InputError, JisiError
from jisi_cli.formats.record import Failed


def packed(what: object) -> bytes:
    """Return something as bytes for `unpacked`, on this or another machine."""
    from ray import cloudpickle

    class Packer(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, found: Any) -> Any:  # noqa: ANN401 - as pickle has it
            reduced = _reduced(found)
            return super().reducer_override(found) if reduced is None else reduced

    file = io.BytesIO()
    Packer(file, protocol=5).dump(what)
    return file.getvalue()


def unpacked(data: bytes) -> Any:  # noqa: ANN401 - whatever was packed
    """Return what was packed by this run's driver.

    Raises:
        BankError: This machine does not see the same bank.
    """
    from ray import cloudpickle

    return cloudpickle.loads(data)


def _reduced(found: object) -> tuple[Callable[..., object], tuple[object, ...]] | None:
    """Return how something is made anew, and of what; None where it travels as it is."""
    if type(found) is Bank:
        # A bank in an object store is fetched by each node from there.
        where = as_named(str(found.path)) if is_copy(found.path) else found.path.resolve()
        return _bank, (where, found.failed, _parts(found))
    if type(found) is ResplitBank:
        return ResplitBank, (found.whole, found.fraction, found.seed)
    if isinstance(found, LazyEmbedder | UnitEmbedder | CachedEmbedder):
        return _embedder, (portable(found),)
    if type(found) is np.ndarray and found.nbytes >= _LEAST_BYTES:
        return _mapped_array(found)
    return None


def _parts(bank: Bank) -> list[str]:
    manifest = bank.manifest
    return [part.sha256 for parts in (manifest.queries, *manifest.responses.values()) for part in parts]


_last: list[Bank] = []
"""The bank that was opened last in this process: what it has read serves other splits of it."""


def _bank(path: Path | str, failed: Failed, parts: list[str]) -> Bank:
    try:
        bank = Bank(path, failed)
    except JisiError as error:
        raise BankError(f"{error} (on a node of the Ray cluster: every node must see the bank at this path)") from None
    if _parts(bank) != parts:
        raise BankError(f"{path} is another bank on a node of the Ray cluster; put the bank on storage that all share")
    if _last and (_last[0].path, _last[0].manifest, _last[0].failed) == (bank.path, bank.manifest, failed):
        return _last[0]
    _last[:] = [bank]
    return bank


def portable(embedder: Embedder) -> EmbedderSpec:
    """Return what names an embedder on every node.

    Raises:
        JisiError: The user has not allowed it, which is found out now.
    """
    spec = embedder.spec
    if isinstance(embedder, LazyEmbedder) and not is_packaged(spec.name):
        spec = embedder.loaded.spec
    return replace(spec, name=str(Path(spec.name).expanduser().resolve())) if names_a_folder(spec.name) else spec


def _embedder(spec: EmbedderSpec) -> LazyEmbedder:
    return LazyEmbedder(spec, partial(_load, spec))


def _load(spec: EmbedderSpec) -> Embedder:
    if spec.name.startswith(ENDPOINT):
        raise InputError(
            f"{spec.name}: an endpoint is paid for by the process that holds the budget; leave --engine out here"
        )
    return load_embedder(spec)


_LEAST_BYTES = 1 << 16


def _mapped_array(found: np.ndarray[Any, Any]) -> tuple[Callable[..., object], tuple[object, ...]] | None:
    """Return how to map the same part of a file; None where an array lies in no file that is mapped read-only."""
    base: Any = found
    while isinstance(base, np.ndarray) and not (isinstance(base, np.memmap) and base.filename):
        base = base.base
    if not isinstance(base, np.memmap) or base.mode != "r" or not found.flags.c_contiguous:
        return None
    if is_copy(Path(str(base.filename)).parent.parent):
        return None  # which only this node has
    begin = found.__array_interface__["data"][0] - base.__array_interface__["data"][0] + base.offset
    return _map_part, (str(base.filename), found.dtype.str, begin, found.shape)


def _map_part(path: str, dtype: str, offset: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    try:
        mapped = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
    except (OSError, ValueError) as error:
        raise BankError(
            f"{path} cannot be read on a node of the Ray cluster ({error}); every node must see the bank at this path"
        ) from None
    return np.asarray(mapped)
