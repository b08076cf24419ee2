"""An object store (S3 and what speaks like it, Google's, Azure's) as far as a bank needs one.

It is reached through `obstore`, which, unlike pyarrow's and most of fsspec's file systems, can write on a condition:
a bank is committed by an `If-None-Match` or `If-Match` on `bank.json`. Credentials are those of the store's own tools:
obstore reads environments, files and machines' identities itself, and boto3 what only it knows, such as profiles.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from jisi_cli.addresses import Address
from jisi_cli.errors import BankError, InputError, missing_extra

_CODE = re.compile(r"<Code>(\w{1,80})</Code>|\"code\": *\"(\w{1,80})\"", re.IGNORECASE)
_NO_BUCKET = re.compile(r"NoSuchBucket|specified (bucket|container) does not exist|ContainerNotFound", re.IGNORECASE)
_NO_IDENTITY = re.compile(r"169\.254\.169\.254|metadata\.google|Account must be|get_credentials", re.IGNORECASE)
"""Where a machine in a cloud is asked who it is, which is asked last, and what is said without an account or keys."""
_BAD_IDENTITY = re.compile(
    r"invalid access key|service account|credential|\bSAS\b|\bpem\b|(?:encryption|signing) key|token request",
    re.IGNORECASE,
)
"""What obstore says of credentials that it has found and cannot use."""
_NO_CONDITIONS = re.compile(r"status code: 501\b|NotImplemented")
_REFUSED = re.compile(r"status code: 40[13]\b")
_REGION = re.compile(r"redirect|region '|IllegalLocationConstraint|IncorrectEndpoint", re.IGNORECASE)
_NO_HTTP = re.compile(r"builder error")
"""What obstore says of an address without encryption that only Google's file of credentials has named."""
_NO_NETWORK = re.compile(r"error sending request|HTTP error|\btimed? ?out\b|\bdns\b", re.IGNORECASE)
"""What says so; of each error that was tried again obstore tells its `retry_timeout`, too."""
_PATH = re.compile(r"""(https?://[^\s/"'<>]+)/[^\s"'<>]*""")
"""An address, which holds the user's own names: a bank may be called `credential`, or lie in a folder `sas`."""
_STATUS = re.compile(r"status code: [45]\d\d\b")
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": ("GOOGLE_BASE_URL",),
    "abfs": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_ACCOUNTS = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_USE_EMULATOR")
_PLACES = {
    "s3": "AWS_ENDPOINT_URL",
    "gs": "GOOGLE_BASE_URL",
    "abfs": "the account's name, AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_ENDPOINT",
}
_IDENTITIES = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or for a public bank AWS_SKIP_SIGNATURE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`",
    "abfs": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, or AZURE_USE_AZURE_CLI=true",
}
_PIECE = 8 << 20
_AT_ONCE = 4
"""Pieces of an upload on their way at one time."""


class MissingObjectError(BankError):
    """There is no such object."""


class ChangedObjectError(BankError):
    """The object is no longer the version that it was expected to be, or is there already."""


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of an object it is.

    Attributes:
        e_tag: As the store calls its contents.
        number: As stores with versions, such as Google's, call it.
        modified: When it was written, in seconds, by the store's clock.
    """

    e_tag: str | None
    number: str | None = None
    modified: float = 0.0


class Store:
    """The folder of an object store that holds, or is to hold, a bank.

    Args:
        address: Where it is. Nothing is asked of the store before it is needed.
    """

    def __init__(self, address: Address) -> None:
        self.address = address

    def read(self, name: str, known: Version | None, most: int) -> tuple[bytes, Version] | None:
        """Return a small object and its version; None where it is still the known version.

        Raises:
            MissingObjectError: It is not there.
            BankError: It is larger than `most` bytes, or the store cannot be reached.
        """
        obstore = self._package()
        from obstore.exceptions import NotModifiedError

        options: Any = {} if known is None or known.e_tag is None else {"if_none_match": known.e_tag}
        with self._told(name):
            try:
                found = obstore.get(self._store, self._key(name), options=options)
            except NotModifiedError:
                return None
            if found.meta["size"] > most:
                raise BankError(f"{self.address}/{name} holds more than {most >> 20} MiB; is it the right file?")
            return bytes(found.bytes()), _version(found.meta)

    def download(self, name: str, size: int) -> Iterator[bytes]:
        """Yield an object in pieces.

        Args:
            name: The object.
            size: How many bytes it has.

        Raises:
            MissingObjectError: It is not there.
            BankError: It goes on beyond its size, or the store cannot be reached.
        """
        obstore = self._package()

        left = size
        with self._told(name):
            for piece in obstore.get(self._store, self._key(name)).stream(min_chunk_size=_PIECE):
                left -= len(piece)
                if left < 0:
                    raise BankError(f"{self.address}/{name} is longer than the {size:,} bytes that the store said")
                yield bytes(piece)

    def facts(self, name: str) -> tuple[int, float] | None:
        """Return an object's size in bytes and when it was written, in seconds; None where it is not there."""
        obstore = self._package()

        with contextlib.suppress(MissingObjectError), self._told(name):
            found = obstore.head(self._store, self._key(name))
            return found["size"], _version(found).modified
        return None

    def upload(self, name: str, file: Path) -> None:
        """Write an object, which appears complete or not at all.

        Raises:
            BankError: The store cannot be reached, or refuses.
        """
        obstore = self._package()

        with self._told(name):
            obstore.put(self._store, self._key(name), file, chunk_size=_PIECE, max_concurrency=_AT_ONCE)

    def replace(self, name: str, content: bytes, before: Version | None) -> Version:
        """Write an object if it is still of a version; return the version that it has now.

        A store that cannot write on a condition is asked for the version just before.

        Args:
            name: The object.
            content: What it becomes.
            before: The version that it must have; None if it must not be there.

        Raises:
            ChangedObjectError: It has another version.
            BankError: The store cannot be reached, or refuses.
        """
        obstore = self._package()
        from obstore.exceptions import BaseError, NotSupportedError

        mode: Any = "create"
        if before is not None:
            mode = {"e_tag": before.e_tag, "version": before.number}
            mode = {name: value for name, value in mode.items() if value is not None}
        with self._told(name):
            try:
                put = obstore.put(self._store, self._key(name), content, mode=mode, use_multipart=False)
            except BaseError as error:
                if not (isinstance(error, NotSupportedError) or _NO_CONDITIONS.search(_words(error))):
                    raise
                self._require(name, before)
                put = obstore.put(self._store, self._key(name), content, use_multipart=False)
            found = obstore.head(self._store, self._key(name))
            modified = _version(found).modified if found["e_tag"] == put["e_tag"] else 0.0
            return Version(put["e_tag"], put["version"], modified)

    def _require(self, name: str, version: Version | None) -> None:
        """Refuse where an object is of another version than is expected.

        Raises:
            ChangedObjectError: It is.
        """
        obstore = self._package()

        e_tag = None
        with contextlib.suppress(MissingObjectError), self._told(name):
            e_tag = obstore.head(self._store, self._key(name))["e_tag"]
        if e_tag != (None if version is None else version.e_tag):
            raise ChangedObjectError(f"{self.address}/{name} is another than before")

    def names(self) -> Iterator[tuple[str, float]]:
        """Yield the objects of the folder, and when each was written, in seconds."""
        obstore = self._package()

        start = len(self.address.prefix) + 1
        with self._told(""):
            for found in obstore.list(self._store, self.address.prefix, chunk_size=1000):
                yield from ((meta["path"][start:], _version(meta).modified) for meta in found)

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; one that is not there is no error."""
        obstore = self._package()

        if not names:
            return
        with contextlib.suppress(MissingObjectError), self._told(""):
            obstore.delete(self._store, [self._key(name) for name in names])

    def _key(self, name: str) -> str:
        return f"{self.address.prefix}/{name}"

    def _package(self) -> ModuleType:
        try:
            import obstore
        except ImportError:
            raise missing_extra(f"{self.address}: a bank in an object store", "s3") from None
        return obstore

    @cached_property
    def _store(self) -> Any:  # noqa: ANN401 - one of obstore's classes, which share no base
        self._package()
        from obstore.store import from_url

        options: dict[str, Any] = {
            "client_options": {
                "connect_timeout": timedelta(seconds=10),
                "read_timeout": timedelta(minutes=2),
                "timeout": timedelta(hours=2),  # of one request, whatever it moves
            },
            "retry_config": {"max_retries": 4, "retry_timeout": timedelta(minutes=3)},
        }
        found = endpoint(self.address.scheme)
        if found is not None:
            _require_url(*found)
            options["client_options"]["allow_http"] = found[1].lower().startswith("http://")
        if self.address.scheme == "s3":
            options |= self._s3_options(None if found is None else found[1])
        with self._told(""):
            return from_url(f"{self.address.scheme}://{self.address.authority}", **options)

    def _s3_options(self, url: str | None) -> dict[str, Any]:
        """Return what boto3 would find and obstore does not; the variables of an environment obstore reads itself."""
        found: dict[str, Any] = {} if url is None else {"endpoint": url}
        has_keys = os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY")
        if (has_keys and not os.environ.get("AWS_PROFILE")) or os.environ.get("AWS_SKIP_SIGNATURE"):
            return found
        with contextlib.suppress(ImportError):
            from boto3 import Session
            from botocore.exceptions import BotoCoreError
            from obstore.auth.boto3 import Boto3CredentialProvider

            try:
                found["credential_provider"] = Boto3CredentialProvider(Session())
            except (BotoCoreError, ValueError):
                raise self._without_identity() from None
        return found

    def _without_identity(self) -> BankError:
        return BankError(f"{self.address}: no credentials were found; set {_IDENTITIES[self.address.scheme]}")

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Say in one line what went wrong. A store's own words may hold signatures, so only its codes are repeated."""
        try:
            yield
        except (BankError, InputError):
            raise
        except Exception as error:
            if not isinstance(error, _errors()):
                raise
            raise self._problem(error, name) from None

    def _problem(self, error: Exception, name: str) -> BankError:
        from obstore import exceptions

        text = _words(error)
        if isinstance(error, FileNotFoundError):
            if _NO_BUCKET.search(text):
                return BankError(f"{self.address}: there is no {self._bucket}; make it, or check the name")
            return MissingObjectError(f"{self.address}/{name} is not there")
        if isinstance(error, exceptions.AlreadyExistsError | exceptions.PreconditionError):
            return ChangedObjectError(f"{self.address}/{name} is another than before")
        if _NO_IDENTITY.search(text):
            return self._without_identity()
        if not _STATUS.search(text) and _BAD_IDENTITY.search(text):
            return BankError(
                f"{self.address}: the credentials that were found cannot be used; check "
                + _IDENTITIES[self.address.scheme]
            )
        code = next((found[1] or found[2] for found in _CODE.finditer(text)), None)
        refused = isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError)
        return BankError(f"{self.address}: {self._cause(text, refused=refused).format(f' ({code})' if code else '')}")

    def _cause(self, text: str, *, refused: bool) -> str:
        """Return what is wrong and the remedy, with `{}` where the store's code belongs."""
        if refused or _REFUSED.search(text):
            return (
                "access was refused{}; check that the credentials are right and may read, list and write in the "
                + self._bucket
            )
        if _REGION.search(text):
            return f"the {self._bucket} is in another region{{}}; set AWS_REGION to it"
        if _NO_HTTP.search(text):
            return f"the store's address begins with http://{{}}; name it by {_ENDPOINTS[self.address.scheme][0]}"
        if _NO_NETWORK.search(text):
            where = _PLACES[self.address.scheme]
            return f"the store cannot be reached{{}}; check the network and {where}, and try again"
        return "the store failed{}; try again later"

    @property
    def _bucket(self) -> str:
        what = "container" if self.address.scheme == "abfs" else "bucket"
        return f"{what} {self.address.authority}"


def endpoint(scheme: str) -> tuple[str, str] | None:
    """Return the variable that says where a store is asked instead of at its cloud, and the URL; None for the cloud."""
    if scheme == "s3" and os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return next(((name, os.environ[name]) for name in _ENDPOINTS[scheme] if os.environ.get(name)), None)


def place(address: Address) -> str:
    """Return what the environment adds to an address: a bucket's name alone does not say whose it is everywhere."""
    found = endpoint(address.scheme)
    if found is not None:
        return found[1]
    if address.scheme != "abfs" or "@" in address.authority:
        return ""
    return next((value for name in _ACCOUNTS if (value := os.environ.get(name))), "")


def _require_url(variable: str, text: str) -> None:
    """Refuse what is no URL of a store: obstore would end the process over it.

    Raises:
        InputError: It is none.
    """
    try:
        url = urlsplit(text)
        is_url = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        is_url = False
    if not (is_url and re.fullmatch(r"[!-~]+", text)):
        raise InputError(f"{variable} is no URL of a store; write http://HOST:PORT or https://HOST")


def _words(error: Exception) -> str:
    """Return what obstore says, without its settings and paths, whose names would be taken for causes."""
    return _PATH.sub(r"\1", str(error).partition("\n\nDebug source")[0])


def _errors() -> tuple[type[Exception], ...]:
    from obstore.exceptions import BaseError

    # obstore's "not found" is Python's; a file of this machine that is missing is none of these calls' business.
    return (BaseError, FileNotFoundError, ValueError)


def _version(meta: Any) -> Version:  # noqa: ANN401 - obstore's, a plain dictionary
    return Version(meta["e_tag"], meta["version"], meta["last_modified"].timestamp())
