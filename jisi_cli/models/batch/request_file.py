"""The requests of one batch while they are being written: on the disk without a name, so that nothing stays."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jisi_cli.models.batch.service import Service
    from jisi_cli.models.call import Call


class RequestFile:
    """Requests, a line each.

    Args:
        service: Where they go: it says how a request is written, and how many fit.

    Attributes:
        file: The lines.
        size: Their bytes.
        calls: What they ask.
        worst: The most that each can cost, in dollars by cache key; None where unknown.
    """

    def __init__(self, service: Service) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self.size = 0
        self.calls: list[Call] = []
        self.worst: dict[str, float | None] = {}
        self._service = service
        self._hash = hashlib.sha256()

    @property
    def content(self) -> str:
        """SHA-256 of what was written, in hexadecimal."""
        return self._hash.hexdigest()

    def add(self, call: Call, body: Mapping[str, Any], worst_usd: float | None) -> bool:
        """Add a request; return whether there was room for it."""
        row = self._service.row(call.key, body)
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        is_full = len(self.worst) >= self._service.most_requests or self.size + len(line) > self._service.most_bytes
        if self.worst and is_full:
            return False
        self.file.write(line)
        self._hash.update(line)
        self.size += len(line)
        self.worst[call.key] = worst_usd
        self.calls.append(call)
        return True

    def close(self) -> None:
        """Remove it."""
        self.file.close()
