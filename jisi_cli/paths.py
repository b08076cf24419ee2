"""Where files live on this machine; read at call time, so that the environment can move them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from jisi_cli.errors import InputError


def expanded(path: str, what: str) -> Path:
    """Return a path with `~` and `~name` written out.

    Args:
        path: As the user wrote it.
        what: Where it was written, for the error.

    Raises:
        InputError: There is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{what}: no home is known for `{path}`; write the folder out") from error


def _folder(variable: str, kind: str) -> Path:
    override = os.environ.get(variable)
    if override:
        return expanded(override, variable)
    import platformdirs

    return Path(getattr(platformdirs, f"user_{kind}_path")("jisi", appauthor=False))


def config_folder() -> Path:
    """Return the folder of the user's own `jisi.toml` (`JISI_CONFIG_HOME` moves it)."""
    return _folder("JISI_CONFIG_HOME", "config")


def cache_folder() -> Path:
    """Return the folder of cached answers and vectors (`JISI_CACHE_HOME` moves it)."""
    return _folder("JISI_CACHE_HOME", "cache")


def data_folder() -> Path:
    """Return the folder of the ledger, conversations and feedback (`JISI_DATA_HOME` moves it)."""
    return _folder("JISI_DATA_HOME", "data")


def sample_folder() -> Path:
    """Return the folder of the sample: a bank, its pool file, its questions and answers.

    A wheel has it inside the package; a clone, and so an editable installation, beside it.

    Raises:
        InputError: It is in neither place.
    """
    package = Path(__file__).resolve().parent
    folder = next((place for place in (package / _SAMPLE, package.parent / _SAMPLE) if place.is_dir()), None)
    if folder is None:
        raise InputError(f"{package / _SAMPLE} is missing; install jisi again")
    return folder


_SAMPLE = "sample_data"
_KEPT = frozenset(
    {
        "answers",
        "banks",
        "vectors",
        "trained",
        "weights",
        "ledger",
        "batches",
        "prices.json",
        "requests.json",
        "history",
        "jisi.toml",
        "trusted.json",
        ".DS_Store",
    },
)
"""Names of what jisi keeps in its folders; a folder with anything else in it may be shared on purpose."""
DATABASE_ENDINGS = ("", "-wal", "-shm", "-journal")
"""What SQLite adds to the name of a database for the files beside it; first the database itself."""


def own_folder(folder: Path) -> None:
    """Make a folder that its owner alone can enter; one of jisi's own that is there already becomes such a folder.

    Args:
        folder: As a rule the folder of the cache, the data or the configuration, or one directly below.

    Raises:
        OSError: It cannot be made, or it is a link below jisi's own folder.
    """
    roots = (cache_folder(), data_folder(), config_folder())
    if folder in roots:
        _make_private(folder)
    elif folder.parent in roots:
        _make_private(folder.parent)
        if folder.is_symlink():
            raise link_error(folder)
        _make_private(folder, belongs_to_jisi=folder.name in _KEPT)
    else:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def own_file(path: Path) -> None:
    """Make a file that its owner alone can read, in a folder that is the owner's alone.

    Args:
        path: A database, or another file, in one of jisi's folders.

    Raises:
        OSError: It cannot be created, is not a regular file, or it, its folder or one of SQLite's files beside it is a
                link.
    """
    own_folder(path.parent)
    refuse_links(path)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path)) from None


def refuse_links(path: Path) -> None:
    """Refuse a database of jisi's whose file, neighbours or folder lie somewhere else.

    Raises:
        OSError: One of them is a link, which jisi never made.
    """
    beside = (path.with_name(f"{path.name}{ending}") for ending in DATABASE_ENDINGS)
    link = next((place for place in (path.parent, *beside) if place.is_symlink()), None)
    if link is not None and link not in (cache_folder(), data_folder(), config_folder()):
        raise link_error(link)


def link_error(path: Path) -> OSError:
    """Return what to raise for a link in jisi's own folders."""
    return OSError(errno.ELOOP, "it is a link to somewhere else, which jisi never made; delete it yourself", str(path))


def _make_private(folder: Path, *, belongs_to_jisi: bool = False) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.stat()
        is_open_to_others = os.name == "posix" and found.st_uid == os.geteuid() and found.st_mode & 0o077
        if is_open_to_others and (belongs_to_jisi or _holds_only_ours(folder)):
            folder.chmod(0o700)


def _holds_only_ours(folder: Path) -> bool:
    return not folder.is_symlink() and all(entry.name in _KEPT for entry in folder.iterdir())
