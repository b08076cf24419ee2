"""Brings a model of the Hugging Face hub onto this disk, once."""

from __future__ import annotations

import re
from pathlib import Path

from jisi_cli.embed.model_folder import read_json, weights_of
from jisi_cli.errors import InputError, http_errors

_ID = re.compile(r"\w([\w.-]*\w)?/\w([\w.-]*\w)?", re.ASCII)
_LONGEST_ID = 96
_REVISION = re.compile(r"\w[\w./-]*", re.ASCII)
_OTHER_FORMATS = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot", "*.tflite", "*.mlmodel", "*.gguf"]
_PATIENCE = 10.0
"""Seconds to wait for the hub's first answer."""


def is_hub_id(name: str) -> bool:
    """Whether a name is written `organisation/model`."""
    return _ID.fullmatch(name) is not None and ".." not in name and "--" not in name and len(name) <= _LONGEST_ID


def snapshot_here(name: str, revision: str | None) -> Path | None:
    """Return the folder of a hub model that this disk has, whole; the hub is not asked.

    Args:
        name: `organisation/model`.
        revision: A commit, branch or tag; None for the one on this disk.
    """
    from huggingface_hub import snapshot_download

    if revision is not None and (".." in revision or not _REVISION.fullmatch(revision)):
        return None
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (OSError, ValueError):
        # Not on this disk, says huggingface_hub in more than one way.
        return None
    return folder if _is_whole(folder) else None


def hub_folder(name: str, revision: str | None) -> tuple[Path, str]:
    """Return the folder of a hub model and its commit; it is fetched only if this disk does not have it.

    Args:
        name: `organisation/model`.
        revision: A commit, branch or tag; None for the one on this disk, else the newest.

    Raises:
        InputError: The hub cannot be reached, or has no such model or revision.
    """
    if revision is not None and (".." in revision or not _REVISION.fullmatch(revision)):
        raise InputError(f"the embedder {name} has no revision {revision[:60]!r}; it is a commit, a branch or a tag")
    folder = snapshot_here(name, revision)
    return _fetch(name, revision) if folder is None else (folder, folder.name)


def _is_whole(folder: Path) -> bool:
    """Whether the weights are there, in one piece or in all of their pieces, so that no download was broken off."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return bool(weights_of(folder))
    try:
        return all((folder / str(piece)).is_file() for piece in read_json(index)["weight_map"].values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False  # damaged, and fetched again


def _fetch(name: str, revision: str | None) -> tuple[Path, str]:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    what = name if revision is None else f"{name} at {revision}"
    try:
        found = HfApi().model_info(name, revision=revision, timeout=_PATIENCE)
        files = [sibling.rfilename for sibling in found.siblings or ()]
        twice = ["*.bin", "*.pt", "*.pth"] if any(file.endswith(".safetensors") for file in files) else []
        # By the name that was asked for, because only then huggingface_hub notes which commit it stands for.
        folder = Path(snapshot_download(name, revision=revision, ignore_patterns=[*_OTHER_FORMATS, *twice]))
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise InputError(f"the hub has no model {what}, or it is private; check the name with --embedder") from error
    except Exception as error:
        # Which client raises, and so what, differs between its releases.
        if not isinstance(error, (HfHubHTTPError, OSError, *http_errors("HTTPError"))):
            raise
        raise InputError(
            f"cannot fetch the embedder {what} from the hub ({hub_reason(error)}); name a local folder of it, or minilm"
        ) from error
    return folder, folder.name


def hub_reason(error: Exception) -> str:
    """Return why the hub gave nothing, in a word or two."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    status = getattr(getattr(error, "response", None), "status_code", None)
    return "no connection" if status is None else f"HTTP {status}"
