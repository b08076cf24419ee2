"""Where files live on this machine; read at call time, so that the environment can move them."""

from __future__ import annotations

import os
from pathlib import Path

from jisi_cli.errors import InputError


def expanded(path: str, what: str) -> Path:
    """Return a path with `~` and `~name` written out.

    Args:
        path: As somebody wrote it.
        what: Where it was written, for the error.

    Raises:
        InputError: There is no such home.
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
    """Return the folder of the ledger (`JISI_DATA_HOME` moves it)."""
    return _folder("JISI_DATA_HOME", "data")


def own_file(path: Path) -> None:
    """Make a file that its owner alone can read, in a folder that is the owner's alone if it is new.

    A file or a folder that is there already is left as it is.

    Raises:
        OSError: It cannot be made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
