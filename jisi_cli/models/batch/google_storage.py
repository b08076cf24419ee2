"""A folder in Google Cloud Storage through which batches go, by its JSON API.

The folder of a batch has a name of ours, so that nothing else is read or deleted, whatever a provider says of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from jisi_cli.models.batch.gemini_service import listed, object_in, pieces_of
from jisi_cli.models.batch.service import batch_name, lines_of
from jisi_cli.models.failure import ProviderFailure

if TYPE_CHECKING:
    import httpx

    from jisi_cli.addresses import Address
    from jisi_cli.models.batch.request_file import RequestFile

_GOOGLE = "https://storage.googleapis.com"
_REQUESTS = "requests.jsonl"
_FOLDER = re.compile(r"gs://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,254})/(?P<folder>[^?#]{1,512}/jisi-[0-9a-f]{32})")


def storage_address() -> str:
    """Return where buckets are: at Google, or where the environment has Google's own clients look for them."""
    named = os.environ.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
    return (named if "://" in named else f"http://{named}") if named else _GOOGLE


class Folder(NamedTuple):
    """The folder of one batch in a bucket."""

    bucket: str
    path: str

    @classmethod
    def of(cls, store: Address, tag: str) -> Folder:
        """Return the folder of a batch of ours, by its tag."""
        return cls(store.authority, f"{store.prefix}/{batch_name(tag)}")

    @classmethod
    def at(cls, address: object) -> Folder:
        """Return the folder that an address names, or one of its files.

        Raises:
            ProviderFailure: It is no folder of a batch of ours.
        """
        found = _FOLDER.match(address) if isinstance(address, str) else None
        if found is None:
            raise ProviderFailure(f"{address!r:.200} is no folder of a batch of ours", billable=True)
        return cls(found["bucket"], found["folder"])

    @property
    def address(self) -> str:
        """Where it is, as Google's services write it."""
        return f"gs://{self.bucket}/{self.path}"

    @property
    def requests(self) -> str:
        """Where its file of requests is."""
        return f"{self.address}/{_REQUESTS}"


class Storage:
    """Google Cloud Storage, as far as batches need it; what fails is raised as the client raises it.

    Args:
        http: A client that follows no redirect.
        address: Where buckets are.
    """

    def __init__(self, http: httpx.AsyncClient, address: str) -> None:
        self._http, self._address = http, address

    async def put(self, folder: Folder, file: RequestFile, headers: Mapping[str, str]) -> None:
        """Write a file of requests into its folder, over what is there of an earlier attempt."""
        params = {"uploadType": "media", "name": f"{folder.path}/{_REQUESTS}"}
        kind = {"content-type": "application/jsonl", "content-length": str(file.size)}
        url = f"{self._address}/upload/storage/v1/b/{folder.bucket}/o"
        taken = await self._http.post(url, params=params, headers={**headers, **kind}, content=pieces_of(file))
        taken.raise_for_status()

    async def names(self, folder: Folder, headers: Mapping[str, str]) -> list[str]:
        """Return the names of what a folder holds."""
        url = f"{self._address}/storage/v1/b/{folder.bucket}/o"

        async def page(which: Mapping[str, str]) -> Mapping[str, Any]:
            more = {"pageToken": which["pageToken"]} if "pageToken" in which else {}
            answer = await self._http.get(url, params={"prefix": f"{folder.path}/", **more}, headers=headers)
            answer.raise_for_status()
            return object_in(answer)

        found = [str(entry.get("name")) async for entry in listed(page, "items")]
        return [name for name in found if name.startswith(f"{folder.path}/")]

    async def lines(self, folder: Folder, name: str, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
        """Yield the lines of a file."""
        url, params = self._url(folder, name), {"alt": "media"}
        async with self._http.stream("GET", url, params=params, headers=headers) as response:
            if response.status_code != 200:
                await response.aread()
            response.raise_for_status()
            async for line in lines_of(response.aiter_bytes()):
                yield line

    async def delete(self, folder: Folder, name: str, headers: Mapping[str, str]) -> None:
        """Delete a file."""
        (await self._http.delete(self._url(folder, name), headers=headers)).raise_for_status()

    def _url(self, folder: Folder, name: str) -> str:
        return f"{self._address}/storage/v1/b/{folder.bucket}/o/{quote(name, safe='')}"


def are_results(name: str) -> bool:
    """Whether a file of a batch's folder holds results."""
    return name.endswith(".jsonl") and not name.endswith(f"/{_REQUESTS}")
