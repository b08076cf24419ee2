"""What one release of LiteLLM has told, in a small file of the cache folder that is read without it.

A file that is damaged, too large, or of another release of LiteLLM counts as none, and is written again.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jisi_cli.files import read_plain
from jisi_cli.paths import cache_folder, own_folder

_MOST_BYTES = 2**20


def kept_path(name: str) -> Path:
    """Return the path of a file of this kind."""
    return cache_folder() / name


def read_kept(path: Path) -> dict[str, Any]:
    """Return what is kept, by name, unchecked; empty where there is nothing that can be used."""
    try:
        found = json.loads(read_plain(path, _MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict) or found.get("litellm") != litellm_version():
        return {}
    kept = found.get("kept")
    return kept if isinstance(kept, dict) else {}


def write_kept(path: Path, kept: Mapping[str, Any]) -> None:
    """Replace a file as a whole, so that another process reads the old one or the new one.

    Where it cannot be written nothing is kept, and the next run asks LiteLLM again.
    """
    with contextlib.suppress(OSError):
        own_folder(path.parent)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"litellm": litellm_version(), "kept": kept}, file, indent=1)
            Path(draft).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(draft).unlink()
            raise


@cache
def litellm_version() -> str:
    """Return the version of the LiteLLM that would be imported.

    It is in the name of a folder beside it; Python's own reader of versions takes longer to import than all else here.
    """
    found = find_spec("litellm")
    place = Path(found.origin).parent.parent if found is not None and found.origin else Path()
    names = [path.name for path in place.glob("litellm-*.dist-info")]
    if len(names) == 1:
        return names[0].removeprefix("litellm-").removesuffix(".dist-info")
    from importlib.metadata import version

    return version("litellm")
