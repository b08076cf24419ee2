"""Fences around text from elsewhere in a prompt, which no such text can forge."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def fence_tag(question: str, responses: Sequence[str]) -> str:
    """Return a tag that is found in none of the texts, always the same for the same texts."""
    texts = [question, *responses]
    digest = hashlib.sha256("\x00".join(texts).encode("utf-8", "surrogatepass"))
    while True:
        tag = f"response-{digest.hexdigest()[:8]}"
        if not any(tag in text for text in texts):
            return tag
        digest.update(b"again")
