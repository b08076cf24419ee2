"""How several answers are laid out: beside each other where each has room, else one below the other."""

from __future__ import annotations

import re

import pytest

from jisi_cli.cli.exchange import _rows
from jisi_cli.methods.answers import GivenAnswer
from jisi_cli.types import Answer
from tests.cli.commands import on_a_terminal

SHOW = """
from jisi_cli.cli.exchange import show_answers
from jisi_cli.cli.output import Output
from jisi_cli.methods.answers import GivenAnswer
from jisi_cli.types import Answer
said = [("ada", "**Nine**, I think.", True), ("bob", "Ten \x1b[2Jand\x07 more.", False)]
answers = [GivenAnswer(Answer(name, text=text), 0.5, None, agrees) for name, text, agrees in said]
answers.append(GivenAnswer(Answer("cyd", text="", error="HTTP 500: gone"), None, None, None))
show_answers(Output(), answers, stderr=True)
"""


@pytest.mark.parametrize(
    ("number", "width", "rows"),
    [(3, 120, [3]), (3, 114, [3]), (3, 100, [2, 1]), (4, 120, [2, 2]), (3, 60, [1, 1, 1]), (1, 20, [1]), (0, 80, [])],
)
def test_as_many_stand_beside_each_other_as_can_be_read(number: int, width: int, rows: list[int]) -> None:
    answers = [GivenAnswer(Answer(str(place), text="9"), None, None, None) for place in range(number)]
    assert [len(row) for row in _rows(answers, width)] == rows


@pytest.mark.parametrize("width", [60, 120])
def test_on_a_terminal_each_has_its_heading_and_nothing_steers_it(width: int) -> None:
    shown = on_a_terminal("-c", SHOW, COLUMNS=str(width), NO_COLOR="1")
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", shown)
    lines = [line.rstrip() for line in shown.splitlines()]
    assert max(map(len, lines)) <= width
    heading = next(line for line in lines if "ada" in line)
    assert ("bob" in heading) == (width == 120)
    for words in ("agrees · promised 50 %", "says otherwise · promised 50 %", "did not answer", "HTTP 500: gone"):
        assert any(words in line for line in lines)
    assert any("Nine, I think." in line for line in lines)
    assert any("Ten and more." in line for line in lines)
