"""The file of requests of one batch, while it is being written: on the disk without a name, so that nothing stays."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from typing import Any

from jisi_cli.models.batch.service import ENDPOINT, MOST_BYTES, MOST_REQUESTS


class RequestFile:
    """Requests, a line each."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self.worst: dict[str, float | None] = {}
        self._hash = hashlib.sha256()
        self._bytes = 0

    @property
    def content(self) -> str:
        """SHA-256 of what was written, in hexadecimal."""
        return self._hash.hexdigest()

    def add(self, key: str, body: Mapping[str, Any], worst_usd: float | None) -> bool:
        """Add a request; return whether there was room for it."""
        row = {"custom_id": key, "method": "POST", "url": ENDPOINT, "body": body}
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        if self.worst and (len(self.worst) >= MOST_REQUESTS or self._bytes + len(line) > MOST_BYTES):
            return False
        self.file.write(line)
        self._hash.update(line)
        self._bytes += len(line)
        self.worst[key] = worst_usd
        return True

    def close(self) -> None:
        """Remove it."""
        self.file.close()
