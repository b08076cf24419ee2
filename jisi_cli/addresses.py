"""Addresses of banks in object stores, as a user writes them.

An address comes from the command line, the environment or the user's own pool file, never from what a bank, a result or
a request holds. It names a place and nothing else: keys and signatures inside it are refused, and not repeated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from jisi_cli.errors import InputError

_ADDRESS = re.compile(
    r"(s3a?|gc?s|abfss?|az|azure|adl|wasbs?|https?|file|hf|hdfs|s?ftp)"
    r":(?:[/\\]+|$)([^/\\]*)[/\\]*(.*)",
    re.IGNORECASE | re.DOTALL,
)
"""A path, too: `Path` makes `s3:/bucket/bank` of `s3://bucket/bank`, and `s3:` of `s3://`."""
_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "abfs": "abfs", "abfss": "abfs", "az": "abfs"}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_CONTAINER = re.compile(r"[A-Za-z0-9$][A-Za-z0-9-]{1,62}(@[a-z0-9]{3,24}\.(dfs|blob)\.[a-z0-9.-]{5,100})?")
_LONGEST_PREFIX = 512
_HOW = "write s3://BUCKET/BANK, gs://BUCKET/BANK or abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/BANK"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a bank is in an object store.

    Attributes:
        scheme: `s3`, `gs` or `abfs`.
        authority: The bucket; in Azure the container, with its account where that is named.
        prefix: The bank's folder inside it, without slashes around it.
    """

    scheme: str
    authority: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}/{self.prefix}"


def is_address(bank: PurePath | str) -> bool:
    """Whether a bank is named by an address, of whatever kind, rather than by a path."""
    return _ADDRESS.match(str(bank)) is not None


def read_address(bank: PurePath | str) -> Address | None:
    """Return where a bank is in an object store; None for a path.

    Args:
        bank: As the user named it.

    Raises:
        InputError: It is an address of another kind, or holds more than a place.
    """
    found = _ADDRESS.fullmatch(str(bank))
    if found is None:
        return None
    scheme, authority, prefix = _SCHEMES.get(found[1].lower()), found[2], found[3].replace("\\", "/").strip("/")
    if scheme is None:
        raise InputError(f"a bank cannot be at {found[1].lower()}://; {_HOW}, or the path of a folder")
    what = "container" if scheme == "abfs" else "bucket"
    if not (_CONTAINER if scheme == "abfs" else _BUCKET).fullmatch(authority) or set("?#") & set(prefix):
        if set(":@?#") & set(authority + prefix):
            raise InputError(
                "the bank's address holds a key, a signature or another secret, which would be seen in logs and lists "
                f"of processes; {_HOW}, and give credentials as the store's own tools take them (AWS_ACCESS_KEY_ID, a "
                "profile, GOOGLE_APPLICATION_CREDENTIALS, ...)"
            )
        if authority:
            raise InputError(
                f"the bank's address names a {what} that there cannot be, {authority!r:.70}: such names have 3 to 63 "
                "letters, digits, hyphens and (of buckets) dots, and begin with a letter or a digit"
            )
        raise InputError(f"the bank's address names no {what}; {_HOW}")
    parts = prefix.split("/")
    if not prefix or len(prefix) > _LONGEST_PREFIX or not prefix.isprintable() or {"", ".", ".."} & set(parts):
        raise InputError(f"the bank's address names no folder in the bucket; {_HOW}")
    return Address(scheme, authority, prefix)
