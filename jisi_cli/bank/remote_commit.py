"""Committing a bank to an object store.

After a copy's lock is taken the newest `bank.json` is fetched. A build writes its parts into the copy, and keeps its
journal there, as in any bank. Committing uploads the parts that the store lacks, and replaces `bank.json` there if no
other writer has in the meantime; only then is it replaced in the copy. So a build that is killed goes on, and readers
anywhere see the bank before or the bank after.

Replaced parts are deleted from the store right after the commit, since other readers of `responses/*/*.parquet` know
nothing of `bank.json`. A jisi that was about to fetch one finds it gone, and starts again from the new `bank.json`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

from jisi_cli.bank.manifest import MANIFEST_NAME, MOST_BYTES, Manifest, PartFile, parse_manifest, part_path
from jisi_cli.bank.remote import Copy, each, manifest_or_none, opened_copy, record_version, refresh
from jisi_cli.bank.store import ChangedObjectError, MissingObjectError, Version
from jisi_cli.bank.transaction import is_part
from jisi_cli.errors import BankError, InputError


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Bring a copy up to date and keep it so while its lock is held: what is written then is based on that version.

    Raises:
        InputError: There is no bank yet, and other files are in its place.
        BankError: The store cannot be reached.
    """
    copy = opened_copy(folder)
    refresh(folder)
    if copy.version is None:
        stranger = next((name for name, _ in copy.store.names() if not is_part(name)), None)
        if stranger is not None:
            raise InputError(f"{folder} holds other files ({stranger}); name an empty or a new folder")
    copy.is_locked = True
    try:
        yield
    finally:
        copy.is_locked = False


def publish(folder: Path, manifest: Manifest, content: bytes, staged: Collection[PartFile]) -> None:
    """Commit a change of a copy to the store.

    Args:
        folder: The copy, which has the new parts and still the manifest that is replaced.
        manifest: The new one.
        content: The new one as it is written.
        staged: Parts that were written for it, though the bank may have named the same before: they are uploaded anew,
            in place of what may be damaged there.

    Raises:
        BankError: Another writer has changed the bank since the copy's lock was taken, or the store cannot be written.
    """
    copy, before = opened_copy(folder), manifest_or_none(folder)
    base = copy.version
    known = set() if before is None or base is None else set(before.parts())
    new = [part for part in dict.fromkeys(manifest.parts()) if part in staged or part not in known]
    uploaded, there = _upload(copy, new)
    try:
        version = copy.store.replace(MANIFEST_NAME, content, base)
    except (ChangedObjectError, MissingObjectError):
        version = _confirmed(copy, content, uploaded)
    copy.version = version
    # What another writer had uploaded he may have deleted when he was refused.
    _upload(copy, [part for part in there if copy.store.facts(part.path) is None])
    record_version(copy, version, content)
    if base is not None and known != set(manifest.parts()):
        # What cannot be deleted now is deleted by the next commit.
        with contextlib.suppress(BankError):
            _delete_replaced(copy, known, manifest, base)


def _upload(copy: Copy, parts: Collection[PartFile]) -> tuple[list[PartFile], list[PartFile]]:
    """Upload parts; return those that were uploaded, and those that were there already."""
    if parts and copy.tell is not None:
        size = sum(part_path(copy.folder, part).stat().st_size for part in parts) / 1e6
        copy.tell(f"note: uploading {size:,.1f} MB in {len(parts):,} files to {copy.store.address}")
    uploaded: list[PartFile] = []
    there: list[PartFile] = []

    def upload(part: PartFile) -> None:
        path = part_path(copy.folder, part)
        found = copy.store.facts(part.path)
        # One that is older belongs to an earlier version, and may be about to be deleted; a younger one was uploaded
        # by this build before it was killed.
        if found is None or found[0] != path.stat().st_size or (copy.version and found[1] <= copy.version.modified):
            copy.store.upload(part.path, path)
            uploaded.append(part)
        else:
            there.append(part)

    each(upload, list(parts))
    return uploaded, there


def _confirmed(copy: Copy, content: bytes, uploaded: Collection[PartFile]) -> Version:
    """Return the version of a commit that was refused because it had been made: its confirmation got lost on the way.

    What was uploaded for one that another writer prevented is deleted.

    Raises:
        BankError: It is another writer's.
    """
    with contextlib.suppress(MissingObjectError):
        found = copy.store.read(MANIFEST_NAME, None, MOST_BYTES)
        if found is not None and found[0] == content:
            return found[1]
        if found is not None:
            named = {part.path for part in parse_manifest(found[0], copy.folder).parts()}
            with contextlib.suppress(BankError):  # what matters is that another writer came in between
                copy.store.delete([part.path for part in uploaded if part.path not in named])
    remedy = (
        "extend it with --append, replace it with --force, or name another folder"
        if copy.version is None
        else "run the same command again"
    )
    raise BankError(f"{copy.folder} was changed by another writer meanwhile, so nothing was written to it; {remedy}")


def _delete_replaced(copy: Copy, before: Collection[PartFile], after: Manifest, base: Version) -> None:
    """Delete parts that the bank no longer names, and what killed builds left before the version that was replaced.

    What is younger than that may belong to a build that is under way elsewhere. What no build calls a part belongs to
    somebody else, whatever a `bank.json` says that others could write.
    """
    named = {part.path for part in after.parts()}
    replaced = {part.path for part in before if is_part(part.path)} - named
    left = {name for name, modified in copy.store.names() if is_part(name) and modified < base.modified} - named
    copy.store.delete(sorted(replaced | left))
