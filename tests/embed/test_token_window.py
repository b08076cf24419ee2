"""Which tokens are read of a text that is too long."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.embed.protocol import EmbedderSpec, Truncation
from jisi_cli.embed.token_window import SpecialTokens, TokenWindow
from jisi_cli.errors import InputError

SPECIAL = SpecialTokens(before=(101,), after=(102,))


def one_token_per_character(texts: Sequence[str]) -> list[list[int]]:
    return [[ord(character) for character in text] for text in texts]


def window(longest: int | None, **spec: object) -> TokenWindow:
    return TokenWindow(one_token_per_character, SPECIAL, longest, EmbedderSpec("x", **spec))  # type: ignore[arg-type]


@given(
    st.text(min_size=1, max_size=20),
    st.text(max_size=4),
    st.none() | st.integers(1, 12),
    st.none() | st.integers(8, 16),
    st.sampled_from(["head", "tail"]),
)
def test_prompt_and_as_much_of_the_wanted_end_as_fits_are_read(
    text: str, prompt: str, max_tokens: int | None, longest: int | None, truncation: Truncation
) -> None:
    (read,) = window(longest, max_tokens=max_tokens, truncation=truncation, prompt=prompt or None).read([text])
    room = min(max_tokens or 10**9, (longest or 10**9) - 2 - len(prompt))
    kept = text[:room] if truncation == "head" else text[max(0, len(text) - room) :]
    assert list(read.token_ids) == [101, *one_token_per_character([prompt + kept])[0], 102]
    assert read.truncated == (len(text) > room)
    assert read.length == len(read.token_ids)
    assert longest is None or read.length <= longest


def test_a_prompt_that_fills_the_model_is_an_error() -> None:
    with pytest.raises(InputError, match="prompt of 8 tokens"):
        window(10, prompt="too long")


def test_the_prompt_is_joined_to_a_text_that_is_not_cut_as_the_tokenizer_joins_them() -> None:
    def joins(texts: Sequence[str]) -> list[list[int]]:
        return [[len(word) for word in text.split()] for text in texts]

    glued = TokenWindow(joins, SPECIAL, None, EmbedderSpec("x", prompt="ab", max_tokens=2))
    short, long = glued.read(["cd e", "cd e f"])
    assert list(short.token_ids) == [101, 4, 1, 102]
    assert list(long.token_ids) == [101, 2, 2, 1, 102]


def test_special_tokens_are_what_stands_around_a_word() -> None:
    assert SpecialTokens.around([1, 2, 50, 51, 3], [1, 1, 0, 0, 1]) == SpecialTokens((1, 2), (3,))
    assert SpecialTokens.around([50], [0]) == SpecialTokens((), ())


def test_a_tokenizer_that_reads_nothing_is_an_error() -> None:
    with pytest.raises(InputError, match="damaged"):
        SpecialTokens.around([1, 2], [1, 1])
