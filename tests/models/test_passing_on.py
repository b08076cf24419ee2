"""Pieces of a response that are read a second time, from its beginning, are not passed on twice."""

from __future__ import annotations

import pytest

from jisi_cli.models.reasoning import AnswerSink, AnswerStream


@pytest.mark.parametrize("second", [["It is 4, ", "as everybody knows."], list("It is 4, as everybody knows."), ["It"]])
def test_what_was_passed_on_is_not_passed_on_again(second: list[str]) -> None:
    shown: list[str] = []
    answer = AnswerStream()
    take = AnswerSink(shown.append, answer)
    for piece in ("It ", "is 4"):
        take(piece)
    take.begin_again()
    for piece in second:
        take(piece)
    shown.append(answer.finish())
    assert "".join(shown) == max("".join(second), "It is 4", key=len)


def test_thinking_is_not_passed_on_in_either_reading() -> None:
    shown: list[str] = []
    take = AnswerSink(shown.append, AnswerStream())
    take("<think>two ")
    take.begin_again()
    for piece in ("<think>two and", " two</think>", "4 it is, and no more than that"):
        take(piece)
    assert "".join(shown) == "4 it is, and no more than that"
