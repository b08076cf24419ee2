"""Turns of several lines that cannot be asked: they are refused as a whole, once."""

from __future__ import annotations

import pytest

from jisi_cli.cli import chat
from jisi_cli.cli.chat import Turns
from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError


@pytest.mark.parametrize(
    "block",
    [
        ['"""one', "\udcff two", 'three"""'],
        ['"""\udcff one', "two", 'three"""'],
        ['"""one', "two", 'three \udcff"""'],
        ['"""one', "two" * 10, "three" * 10, 'four"""'],
    ],
    ids=["bytes that are no text", "in its first line", "in its last line", "too long"],
)
def test_a_block_that_cannot_be_asked_is_refused_once_and_none_of_its_lines_is_a_turn(
    block: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "_MOST", 40)
    lines = iter([*block, "What is 3 plus 6?"])
    found = Turns(Output())
    found.is_person, found._read = True, lambda prompt: next(lines, None)
    with pytest.raises(InputError, match=r"nothing of it was asked|shorten it"):
        found.next()
    assert found.next() == "What is 3 plus 6?"
    assert found.next() is None
