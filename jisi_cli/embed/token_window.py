"""Which tokens of a text a local model reads: the head or the tail, behind the prompt, between special tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jisi_cli.embed.protocol import EmbedderSpec, Reading
from jisi_cli.errors import InputError

Tokenize = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Turns texts into token ids, without special tokens and without a limit."""


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """What a model wants before and after its input, such as [CLS] and [SEP]."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    @classmethod
    def around(cls, token_ids: Sequence[int], is_special: Sequence[int]) -> SpecialTokens:
        """Read them off a tokenised word.

        Args:
            token_ids: The word with special tokens.
            is_special: 1 for each special token, 0 for each other.
        """
        ordinary = [place for place, special in enumerate(is_special) if not special]
        if not ordinary:
            raise InputError("the model's tokenizer reads nothing of a plain word; its folder is damaged")
        return cls(tuple(token_ids[: ordinary[0]]), tuple(token_ids[ordinary[-1] + 1 :]))


class TokenWindow:
    """Reads texts for a model that takes token ids.

    Args:
        tokenize: The model's own tokenizer.
        special: Its special tokens.
        longest: Tokens the model takes at most, special tokens included; None for no limit.
        spec: Its `max_tokens`, `truncation` and `prompt` apply.

    Raises:
        InputError: The prompt leaves no room for a text.
    """

    def __init__(self, tokenize: Tokenize, special: SpecialTokens, longest: int | None, spec: EmbedderSpec) -> None:
        self._tokenize = tokenize
        self._special = special
        self._prompt = spec.prompt or ""
        self._prompt_ids = list(tokenize([self._prompt])[0]) if self._prompt else []
        self._keeps_tail = spec.truncation == "tail"
        limits = [] if spec.max_tokens is None else [spec.max_tokens]
        if longest is not None:
            limits.append(longest - len(special.before) - len(special.after) - len(self._prompt_ids))
        self._room = min(limits, default=None)
        if self._room is not None and self._room < 1:
            raise InputError(
                f"the prompt of {len(self._prompt_ids)} tokens leaves no room for a text: {spec.name} reads "
                f"{longest} tokens at most; shorten the prompt"
            )

    @property
    def prompt_length(self) -> int:
        """Tokens before the text: special tokens and the prompt."""
        return len(self._special.before) + len(self._prompt_ids)

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return the tokens read of each text: truncated, then with the prompt before it."""
        tokenized = self._tokenize(texts)
        # A text that is not cut is tokenised together with its prompt, because a tokenizer may join what
        # stands side by side; that is also what sentence-transformers does.
        prompted = self._tokenize([self._prompt + text for text in texts]) if self._prompt else tokenized
        return [self._reading(alone, joined) for alone, joined in zip(tokenized, prompted, strict=True)]

    def _reading(self, alone: Sequence[int], joined: Sequence[int]) -> Reading:
        truncated = self._room is not None and len(alone) > self._room
        if truncated:
            kept = alone[-self._room :] if self._keeps_tail and self._room else alone[: self._room]
            joined = [*self._prompt_ids, *kept]
        token_ids = [*self._special.before, *joined, *self._special.after]
        return Reading(length=len(token_ids), truncated=truncated, token_ids=token_ids)
