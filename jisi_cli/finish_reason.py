"""Why a response ended, in the words of many providers: whether it is whole."""

from __future__ import annotations

from typing import Literal

CutOff = Literal["length", "content_filter"]
"""What ended a response before its own end: the longest answer that was allowed, or a filter."""

_LENGTH = frozenset(
    {
        *("length", "max_tokens", "max_output_tokens", "max_completion_tokens", "max_length", "model_length"),
        *("token_limit", "truncated", "continuation", "context_length_exceeded", "model_context_window_exceeded"),
        *("incomplete", "compaction", "pause_turn"),
    }
)
_FILTERED = frozenset(
    {
        *("content_filter", "content_filtered", "content_policy", "filtered", "safety", "refusal", "recitation"),
        *("blocklist", "prohibited_content", "spii", "language", "image_safety", "sensitive", "error_toxic"),
        *("guardrail_intervened", "guardrails", "moderation"),
    }
)


def cut_off(finish_reason: str | None) -> CutOff | None:
    """Return what cut a response off; None where it is whole, or nothing says otherwise.

    Args:
        finish_reason: Why it ended, in the provider's word; None when it did not say.
    """
    word = (finish_reason or "").strip().lower()
    if word in _LENGTH:
        return "length"
    return "content_filter" if word in _FILTERED else None


def cut_off_words(found: CutOff) -> str:
    """Return how a response was cut off, in words."""
    return "at its longest length (`max_tokens`)" if found == "length" else "by the provider's content filter"
