"""Responses on disk, in the shape in which they are stored and believed again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from jisi_cli.llm.json_disk import JsonCache
from jisi_cli.llm.provider import Completion


class AnswerCache:
    """Completions by cache key; only responses that can be read are ever put in.

    Args:
        disk: Where they lie; None keeps nothing.
        read: Whether stored responses are given out again.
        write: Whether new ones are stored.
    """

    def __init__(self, disk: JsonCache | None, *, read: bool, write: bool) -> None:
        self._reads = disk if read else None
        self._writes = disk if write else None

    @property
    def shared_folder(self) -> Path | None:
        """Where processes find each other's responses; None unless they are both read and written."""
        return self._reads.folder if self._reads is not None and self._writes is not None else None

    def get(self, key: str) -> Completion | None:
        """Return what is stored under a key; None when there is nothing, or nothing usable."""
        return None if self._reads is None else _completion(self._reads.get(key))

    def put(self, key: str, completion: Completion) -> None:
        """Store a response; an empty one is not kept, so that it is asked again."""
        if self._writes is not None and completion.text.strip():
            self._writes.set(key, asdict(completion))


def _completion(stored: Any) -> Completion | None:  # noqa: ANN401 - whatever lies on disk
    if not isinstance(stored, dict) or not isinstance(stored.get("text"), str):
        return None
    if any(type(stored.get(name)) is not int for name in ("prompt_tokens", "completion_tokens")):
        return None
    if not isinstance(stored.get("perplexity"), float | None):
        return None
    try:
        return Completion(**stored)
    except TypeError:
        # Written by another version, with other fields.
        return None
