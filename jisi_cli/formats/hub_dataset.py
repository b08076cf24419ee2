"""Questions and recorded answers of a data set on the Hugging Face hub: `hf:DATASET[/CONFIG[/SPLIT]]`.

Only its tables are fetched (Parquet, JSONL, CSV), and read like files of one's own: no code from there is run, and what
the hub says decides no path outside huggingface_hub's own cache.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from jisi_cli.embed.hub import hub_reason
from jisi_cli.errors import InputError, http_errors
from jisi_cli.files import open_plain
from jisi_cli.formats.issues import Location, Numbered, OnIssue
from jisi_cli.formats.table_blocks import read_rows

if TYPE_CHECKING:
    from io import BufferedReader

    from huggingface_hub import DatasetInfo

PREFIX = "hf:"
_SPELLING = "hf:DATASET[/CONFIG[/SPLIT]], as in hf:openai/gsm8k/main/test"
_CONVERTED = "refs/convert/parquet"
"""The branch on which the hub itself keeps every data set as `CONFIG/SPLIT/0000.parquet`."""
_PART = re.compile(r"\w[\w.-]{0,95}", re.ASCII)
_FILE = re.compile(r"(?:\w[\w.=-]*/){0,4}\w[\w.=-]*\.(?:parquet|jsonl|csv)", re.ASCII)
_PIECE = re.compile(r"[-_.]?\d{4,5}(?:-of-\d{4,5}\S*)?$")
_MOST_BYTES = 2 * 2**30
_PATIENCE = 10.0
"""Seconds to wait for the hub's first answer."""
_SHOWN = 12

_Splits = Mapping[str, Mapping[str, list[str]]]
"""The files of each split of each configuration."""


class HubTable(NamedTuple):
    """One split of a data set, on this disk.

    Attributes:
        dataset: Its name without the owner's.
        commit: The commit it was taken from.
        files: Its tables, in order.
    """

    dataset: str
    commit: str
    files: tuple[Path, ...]

    @property
    def sha256(self) -> str:
        """The hash of its files."""
        digest = hashlib.sha256()
        for file in self.files:
            with open_plain(file.resolve()) as stream:
                # A file that was opened for reading can do what typeshed's `BinaryIO` does not promise.
                digest.update(hashlib.file_digest(cast("BufferedReader", stream), "sha256").digest())
        return digest.hexdigest()


def is_hub_dataset(source: object) -> bool:
    """Whether a source is written `hf:…`."""
    return str(source).startswith(PREFIX)


def hub_rows(name: str, on_issue: OnIssue) -> tuple[str, Iterator[Numbered]]:
    """Return what a data set is called and its rows, numbered from 1 through all files.

    Args:
        name: `hf:DATASET[/CONFIG[/SPLIT]]`.
        on_issue: Told of every row that is skipped.

    Raises:
        InputError: It cannot be fetched, or it cannot be told which part of it is meant.
    """
    table = hub_table(name)

    def rows() -> Iterator[Numbered]:
        number = 0
        for file in table.files:
            for _, row in read_rows(file, on_issue):
                number += 1
                yield Location(name, number), row

    return table.dataset, rows()


def first_file(source: Path) -> Path:
    """Return the first table of a data set on the hub; any other source as it is.

    Raises:
        InputError: It cannot be fetched, or it cannot be told which part of it is meant.
    """
    return hub_table(str(source)).files[0] if is_hub_dataset(source) else source


def dataset_name(source: Path) -> str:
    """Return the data set of rows that name none: the name of their file, or of the data set on the hub.

    Raises:
        InputError: As `first_file` says.
    """
    return hub_table(str(source)).dataset if is_hub_dataset(source) else source.stem


@cache
def hub_table(name: str) -> HubTable:
    """Return one split of a data set; what this disk does not have is fetched.

    Args:
        name: `hf:DATASET[/CONFIG[/SPLIT]]`.

    Raises:
        InputError: It cannot be fetched, or it cannot be told which split is meant.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        info, rest, converted = _found(name)
        sizes = {sibling.rfilename: sibling.size for sibling in info.siblings or ()}
        files = _chosen(name, _splits(sizes, converted=converted), rest)
        _require_room(name, [sizes[file] for file in files])
        paths = [hf_hub_download(info.id, file, repo_type="dataset", revision=info.sha) for file in files]
    except Exception as error:
        # Which client raises, and so what, differs between its releases.
        if not isinstance(error, (HfHubHTTPError, OSError, *http_errors("HTTPError"))):
            raise
        raise InputError(
            f"{name}: cannot be fetched from the hub ({hub_reason(error)}); check the name and the "
            "network, or download its table and name that file"
        ) from error
    return HubTable(info.id.rpartition("/")[2], info.sha or "", tuple(map(Path, paths)))


def _require_room(name: str, sizes: Sequence[int | None]) -> None:
    """Refuse to fetch files that are too large together, or of which that is not known.

    Raises:
        InputError: They are.
    """
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        raise InputError(f"{name}: the hub does not say how large it is; download it and name the file")
    if sum(known) > _MOST_BYTES:
        raise InputError(f"{name}: more than {_MOST_BYTES >> 30} GiB; download a part of it and name the file")


def _found(name: str) -> tuple[DatasetInfo, list[str], bool]:
    """Return what the hub says of a data set, what is left of the name, and whether its files are the hub's own.

    Raises:
        InputError: There is none, or the name is written otherwise.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    parts = name.removeprefix(PREFIX).split("/")
    if not 1 <= len(parts) <= 4 or not all(_PART.fullmatch(part) and ".." not in part for part in parts):
        raise InputError(f"{name}: a data set of the hub is written {_SPELLING}")
    # Old data sets have no owner in their name, so that what follows may be a configuration.
    for length in (2, 1) if 1 < len(parts) < 4 else (min(len(parts), 2),):
        for revision in (_CONVERTED, None):
            try:
                repository = "/".join(parts[:length])
                info = HfApi().dataset_info(repository, revision=revision, files_metadata=True, timeout=_PATIENCE)
            except RevisionNotFoundError:
                continue
            except (RepositoryNotFoundError, HFValidationError):
                break
            return info, parts[length:], revision is not None
    raise InputError(f"{name}: the hub has no such data set, or it is private; it is written {_SPELLING}")


def _splits(files: Iterable[str], *, converted: bool) -> _Splits:
    """Return the tables among the files of a data set by configuration and split, as their paths tell."""
    found: dict[str, dict[str, list[str]]] = {}
    for file in sorted(name for name in files if _FILE.fullmatch(name) and ".." not in name):
        *folders, last = file.split("/")
        if converted and len(folders) == 2:
            config, split = folders
        else:
            config = folders[-1] if folders and folders[-1] != "data" else "default"
            split = _PIECE.sub("", last.rpartition(".")[0]) or config
        found.setdefault(config, {}).setdefault(split, []).append(file)
    return found


def _chosen(name: str, splits: _Splits, rest: list[str]) -> list[str]:
    """Return the files that are meant.

    Raises:
        InputError: There are none, or it cannot be told which.
    """
    if not splits:
        raise InputError(f"{name}: no Parquet, JSONL or CSV file in it; jisi runs no code of a data set")
    config = _one(name, "configuration", list(splits), rest[:1])
    return splits[config][_one(f"{name}" if rest else f"{name}/{config}", "split", list(splits[config]), rest[1:])]


def _one(name: str, what: str, known: list[str], named: list[str]) -> str:
    if named and named[0] in known:
        return named[0]
    usual = known if len(known) == 1 else [found for found in known if found == "default"]
    if not named and usual:
        return usual[0]
    names = ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
    wrong = f"no {what} `{named[0]}`" if named else f"several {what}s; name one behind a `/`"
    raise InputError(f"{name}: {wrong}; it has {names}")
