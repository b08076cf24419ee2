"""What the user has allowed by name: pool files in other people's folders, and embedders that only a bank names.

A file in the user's own configuration folder, readable by its owner alone. What is remembered is a hash of the content,
so that a file or a model that changes afterwards has to be allowed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Literal

from jisi_cli.errors import InputError
from jisi_cli.paths import config_folder, own_folder

Kind = Literal["pool_files", "embedders"]


def file_identity(path: Path, content: bytes) -> str:
    """Return the hash of a file's place and content: the same words in another folder are another file."""
    return hashlib.sha256(f"{path.resolve()}\0".encode("utf-8", "surrogateescape") + content).hexdigest()


def is_trusted(kind: Kind, identity: str) -> bool:
    """Whether the user has allowed something.

    Args:
        kind: What it is.
        identity: Hash of its content (for pool files: `file_identity`).
    """
    return identity in _read().get(kind, {})


def trust(kind: Kind, identity: str, label: str) -> None:
    """Remember that the user allows something.

    Args:
        kind: What it is.
        identity: Hash of its content.
        label: What a person calls it: a path or a name.

    Raises:
        InputError: It cannot be remembered.
    """
    known = _read()
    known.setdefault(kind, {})[identity] = label
    _write(known)


def distrust(kind: Kind, label: str) -> int:
    """Forget everything that was allowed under a label; return how many entries there were.

    Raises:
        InputError: The record cannot be written.
    """
    known = _read()
    entries = known.get(kind, {})
    kept = {identity: name for identity, name in entries.items() if name != label}
    if len(kept) != len(entries):
        known[kind] = kept
        _write(known)
    return len(entries) - len(kept)


def trusted(kind: Kind) -> dict[str, str]:
    """Return what was allowed: identity to label."""
    return dict(_read().get(kind, {}))


def _path() -> Path:
    return config_folder() / "trusted.json"


def _read() -> dict[str, dict[str, str]]:
    """Return the record; a missing or damaged one allows nothing."""
    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        kind: {key: label for key, label in entries.items() if isinstance(label, str)}
        for kind, entries in found.items()
        if isinstance(entries, dict)
    }


def _write(known: dict[str, dict[str, str]]) -> None:
    """Replace the record as a whole, so that a reader sees the old one or the new one."""
    path = _path()
    try:
        own_folder(path.parent)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".trusted-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(known, file, indent=1, ensure_ascii=True)
            Path(temporary).replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
