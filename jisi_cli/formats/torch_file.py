"""Files of `torch.save` that hold one tensor, read a few rows at a time: a release's are larger than memory may be."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jisi_cli.errors import InputError
from jisi_cli.formats import fields

if TYPE_CHECKING:
    import torch

_DTYPES = {"torch.float16": "<f2", "torch.bfloat16": "<u2", "torch.float32": "<f4", "torch.float64": "<f8"}
"""How numbers lie in the file; NumPy has no bfloat16, the upper half of a float32."""
_MOST_DESCRIPTION = 2**20
_LOCAL_HEADER = 30
"""Bytes of a ZIP member's header before its name."""


class TensorFile:
    """One tensor in a file, of which the description alone is read at first, without running anything.

    Args:
        path: The file.

    Raises:
        InputError: It is no such file, or its tensor does not lie there in one piece.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            member = _data_member(path)
            tensor = _description(path)
            self.shape: tuple[int, ...] = tuple(tensor.shape)
            self._dtype = np.dtype(_DTYPES[str(tensor.dtype)])
            size = math.prod(self.shape) * self._dtype.itemsize
            start = int(tensor.storage_offset()) * self._dtype.itemsize
            if not tensor.is_contiguous() or start + size > member.file_size:
                raise ValueError("its numbers do not lie in one piece; save it with .contiguous()")
            self._start = start + _data_start(path, member)
        except KeyError:
            raise _unreadable(path, f"it holds {tensor.dtype}, not real numbers") from None
        except (*_REFUSALS, UnpicklingError) as error:
            raise _unreadable(path, str(error).partition("\n")[0] or type(error).__name__) from error
        self._is_brain_float = str(tensor.dtype) == "torch.bfloat16"

    def rows(self, places: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return some rows, all axes but the last taken as one (k, d).

        Raises:
            InputError: The file has become shorter.
        """
        width = self.shape[-1]
        found = np.empty((len(places), width), dtype=self._dtype)
        size = width * self._dtype.itemsize
        try:
            with self.path.open("rb") as file:
                for row in np.argsort(places, kind="stable").tolist():
                    file.seek(self._start + int(places[row]) * size)
                    found[row] = np.frombuffer(file.read(size), dtype=self._dtype, count=width)
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, "it has changed while it was read") from error
        if self._is_brain_float:
            return (found.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):
            return found.astype(np.float32, copy=False)


_REFUSALS = (RuntimeError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile, NotImplementedError)
"""What torch and zipfile raise on other files."""


def _description(path: Path) -> torch.Tensor:
    """Return the tensor with its numbers left in the file, as only its shape and its place are asked for.

    Raises:
        Exception: See `_REFUSALS`; `UnpicklingError` where the file would run code.
    """
    import torch

    found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(found, torch.Tensor):
        raise TypeError(f"it holds a {type(found).__name__}, not a tensor")
    if found.layout != torch.strided or not found.ndim:
        raise TypeError("it holds a tensor without rows")
    return found


def _data_member(path: Path) -> zipfile.ZipInfo:
    """Return the one member that holds numbers, after a look at what torch is about to unpickle.

    Raises:
        ValueError: The archive is not as `torch.save` writes one tensor.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        described = [member for member in members if member.filename.endswith("/data.pkl")]
        if packed or len(described) != 1 or described[0].file_size > _MOST_DESCRIPTION:
            raise ValueError("it is not as torch.save writes a tensor")
        order = [archive.read(member) for member in members if member.filename.endswith("/byteorder")]
    folder = described[0].filename.removesuffix("data.pkl")
    data = [member for member in members if member.filename.startswith(f"{folder}data/")]
    if len(data) != 1:
        raise ValueError(f"it holds {len(data)} tensors instead of one")
    if order not in ([], [b"little"]):
        raise ValueError("its numbers lie in the order of another processor")
    return data[0]


def _data_start(path: Path, member: zipfile.ZipInfo) -> int:
    """Return where a member's bytes begin: after its own header, whose padding the archive's index does not tell."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER:
        raise ValueError("it is cut off")
    name, extra = np.frombuffer(header, dtype="<u2", count=2, offset=26).tolist()
    return int(member.header_offset + _LOCAL_HEADER + name + extra)


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: cannot be read as a tensor of torch.save: {fields.shown(reason)}")
