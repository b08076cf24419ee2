"""Banks in object stores, read from a local copy; `remote_commit` writes them.

A bank's copy is a folder like any other bank, in the cache, that every command reads and writes. Parts are named by
their contents, so each is fetched once: `bank.json` is asked for if it has changed, then the parts that the copy lacks,
each checked by its hash. A bank that has not changed costs one small request.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePath

from jisi_cli.addresses import Address, read_address
from jisi_cli.bank.lock import COPY_NAME, RECORD_NAME
from jisi_cli.bank.manifest import (
    MANIFEST_NAME,
    MOST_BYTES,
    Manifest,
    PartFile,
    part_path,
    read_manifest,
    replace_manifest,
)
from jisi_cli.bank.store import MissingObjectError, Store, Version, place
from jisi_cli.bank.tables import file_sha256
from jisi_cli.bank.transaction import put_aside, remove_replaced
from jisi_cli.bank.vector_map import remove_maps
from jisi_cli.copies import remember_copy
from jisi_cli.errors import BankError
from jisi_cli.files import read_plain
from jisi_cli.paths import cache_folder, own_folder

BANKS = "banks"
"""Folder of the cache with the copies."""
_MOST_RECORD = 1 << 16
_ATTEMPTS = 5
_AT_ONCE = 4
"""Parts that are fetched at one time."""
_ABANDONED_SECONDS = 24 * 3600
_MARGIN_BYTES, _MARGIN = 64 << 20, 1.1
"""What is to be free beside the files of a bank, and times their size: maps of its vectors come, too."""


Tell = Callable[[str], None]


@dataclass(slots=True)
class Copy:
    """A bank's local copy, as this process has it open.

    Attributes:
        folder: The copy.
        store: The bank.
        version: Which `bank.json` of the store the copy has, or had when its lock was taken; None for none.
        is_locked: Whether this process writes it, so that no other version may come in between.
        tell: Told what is moved, which may take minutes.
    """

    folder: Path
    store: Store
    version: Version | None = None
    is_locked: bool = False
    tell: Tell | None = None


_open: dict[Path, Copy] = {}


def opened_copy(folder: Path) -> Copy:
    """Return a copy that `local_bank` has opened."""
    return _open[folder]


def local_bank(bank: PurePath | str, tell: Tell | None = None) -> Path:
    """Return the folder of a bank: itself, or the copy of one in an object store, whose `bank.json` is the newest.

    Args:
        bank: A path or an address, as the user gave it.
        tell: Told what is moved from now on.

    Raises:
        InputError: It is an address that cannot be used.
        BankError: The store cannot be reached.
    """
    address = read_address(bank)
    if address is None:
        return Path(bank)
    folder = _folder(address)
    if folder not in _open:
        _make_private(folder)
        remember_copy(folder, str(address))
        _open[folder] = Copy(folder, Store(address))
    _open[folder].tell = tell or _open[folder].tell
    try:
        refresh(folder)
    finally:
        # Where nothing was fetched, nothing is left; a build makes the folder again.
        for empty in (folder, folder.parent):
            with contextlib.suppress(OSError):
                empty.rmdir()
    return folder


def _folder(address: Address) -> Path:
    """Return where the copy of a bank is: another one at each endpoint, since a bucket's name says nothing there."""
    digest = hashlib.sha256(f"{address}\0{place(address)}".encode()).hexdigest()[:16]
    name = "".join(letter if letter.isalnum() else "-" for letter in address.prefix.rpartition("/")[2][-40:])
    return cache_folder() / BANKS / f"{name}-{digest}" / COPY_NAME


def _make_private(folder: Path) -> None:
    try:
        own_folder(folder.parent.parent)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BankError(f"{folder}: the copy of a bank cannot be kept there ({error.strerror}); allow it") from error


def refresh(folder: Path) -> None:
    """Fetch a bank's newest `bank.json` into its copy; the parts that it names are fetched by `complete`.

    Raises:
        BankError: The store cannot be reached.
    """
    copy = opened_copy(folder)
    if copy.is_locked:
        return
    known = _recorded(copy)
    try:
        found = copy.store.read(MANIFEST_NAME, known, MOST_BYTES)
    except MissingObjectError:
        copy.version = None
        if (folder / MANIFEST_NAME).exists():  # the bank was there once
            (folder / MANIFEST_NAME).unlink(missing_ok=True)
            remove_replaced(folder)
            remove_maps(folder)
        return
    if found is None:
        copy.version = known
        return
    content, copy.version = found
    before = manifest_or_none(folder)
    remove_replaced(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # a build that failed removes its empty folder
    replace_manifest(folder, content)
    after = manifest_or_none(folder)  # of a broken one whoever opens the bank will hear
    put_aside(folder, set(before.parts() if before else ()) - set(after.parts() if after else ()))
    record_version(copy, copy.version, content)


def complete(folder: Path) -> Manifest:
    """Fetch the parts that a bank's copy lacks; return the manifest that names them.

    Raises:
        BankError: There is no bank, a part is missing or damaged in the store, or the store cannot be reached.
    """
    copy = opened_copy(folder)
    for _ in range(_ATTEMPTS):
        manifest, version = read_manifest(folder), copy.version
        lacking = [part for part in dict.fromkeys(manifest.parts()) if not part_path(folder, part).is_file()]
        if lacking:
            _delete_abandoned(folder)
        try:
            sizes = _sizes(copy, lacking)
            if lacking and copy.tell is not None:
                size = sum(sizes.values()) / 1e6
                copy.tell(f"note: fetching {size:,.1f} MB in {len(lacking):,} files of {copy.store.address}")
            each(partial(_fetch, copy, sizes), lacking)
            return manifest
        except _UnusablePartError:
            refresh(folder)
            if copy.version == version:
                raise
    raise BankError(f"{folder} is changed all the time by other writers; try again")


def _sizes(copy: Copy, parts: Sequence[PartFile]) -> dict[PartFile, int]:
    """Return how many bytes parts have in the store, before the first of them is fetched.

    Raises:
        BankError: There is no room for all of them, one is missing, or the store cannot be reached.
    """
    sizes: dict[PartFile, int] = {}

    def measure(part: PartFile) -> None:
        _place(copy, part)
        found = copy.store.facts(part.path)
        if found is None:
            raise _missing(copy, part)
        sizes[part] = found[0]

    each(measure, parts)
    total, folder = sum(sizes.values()), cache_folder() / BANKS
    free = shutil.disk_usage(copy.folder).free
    if sizes and total * _MARGIN + _MARGIN_BYTES > free:
        raise BankError(
            f"{copy.folder}: {total / 1e6:,.1f} MB are to be fetched, and where copies of banks are kept ({folder}) "
            f"{free / 1e6:,.1f} MB are free; make room, or let JISI_CACHE_HOME name a folder on a larger disk"
        )
    return sizes


def _delete_abandoned(folder: Path) -> None:
    """Delete what processes that were killed had fetched in part."""
    for draft in (*folder.glob(".part.*.part"), *folder.glob("responses/model=*/.part.*.part")):
        with contextlib.suppress(FileNotFoundError):  # another process has renamed or removed it
            if time.time() - draft.stat().st_mtime > _ABANDONED_SECONDS:
                draft.unlink()


class _UnusablePartError(BankError):
    """A part is missing or damaged, perhaps only because the bank has been changed."""


def _place(copy: Copy, part: PartFile) -> Path:
    """Return where a part is to be, in a folder that is there."""
    target = copy.folder / part.path
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BankError(f"{target} cannot be a file of the bank: {target.parent} is a file, too") from None
    return target


def _missing(copy: Copy, part: PartFile) -> _UnusablePartError:
    what = f"{copy.folder / part.path} is missing in the store"
    return _UnusablePartError(f"{what}; build the bank again with --force")


def _fetch(copy: Copy, sizes: Mapping[PartFile, int], part: PartFile) -> None:
    """Fetch a part, of which the size is known, and which appears in the copy whole or not at all."""
    target = _place(copy, part)
    # Named as a build's drafts are, so that what a killed process leaves is deleted as theirs is.
    draft = target.parent / f".part.{os.getpid()}{threading.get_native_id()}.part"
    digest = hashlib.sha256()
    try:
        with draft.open("wb") as file:
            for piece in copy.store.download(part.path, sizes[part]):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != part.sha256:
            raise _UnusablePartError(
                f"{target} is damaged in the store: it does not hold what {MANIFEST_NAME} says; build the bank again "
                "with --force, or put the file back"
            )
        draft.replace(target)
    except MissingObjectError:
        raise _missing(copy, part) from None
    except OSError as error:
        raise BankError(
            f"{target} cannot be kept in {cache_folder() / BANKS} ({error.strerror}); make room or allow it, and run "
            "the command again"
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def each(work: Callable[[PartFile], None], parts: Sequence[PartFile]) -> None:
    """Do something with some parts, several at a time; the first error ends it."""
    if len(parts) < 2:
        for part in parts:
            work(part)
        return
    workers = ThreadPoolExecutor(_AT_ONCE)
    try:
        for done in as_completed([workers.submit(work, part) for part in parts]):
            done.result()
    finally:
        workers.shutdown(wait=True, cancel_futures=True)


def manifest_or_none(folder: Path) -> Manifest | None:
    """Return the manifest of a copy; None where there is none, or a broken one, which is replaced."""
    with contextlib.suppress(BankError):
        return read_manifest(folder)
    return None


def _recorded(copy: Copy) -> Version | None:
    """Return which version of the store's `bank.json` the copy has; None where that is not certain."""
    try:
        data = json.loads(read_plain(copy.folder.parent / RECORD_NAME, _MOST_RECORD))
        digest = file_sha256(copy.folder / MANIFEST_NAME)
        if data["address"] != str(copy.store.address) or data["sha256"] != digest:
            return None
        return Version(data["e_tag"], data["number"], float(data["modified"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def record_version(copy: Copy, version: Version, content: bytes) -> None:
    """Keep which version the copy has; without it the next command fetches `bank.json` once more."""
    data = {
        "address": str(copy.store.address),
        "sha256": hashlib.sha256(content).hexdigest(),
        **asdict(version),
    }
    path = copy.folder.parent / RECORD_NAME
    draft = path.with_name(f".{RECORD_NAME}.{os.getpid()}")
    with contextlib.suppress(OSError):
        try:
            draft.write_text(json.dumps(data), encoding="utf-8")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
