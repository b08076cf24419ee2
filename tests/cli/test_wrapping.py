"""Notes, warnings and errors on a terminal break between words at any width; piped ones are lines."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.cli.layout import width, wrapped
from tests.cli.commands import ROOT, on_a_terminal

WORDS = "the model `gpt-4o-mini-2024-07-18` costs $0.000123 a call; 模型 gave 3 of 5, see /a/long/path/to/it.jsonl"
SAY = f"from jisi_cli.cli.output import Output; out = Output(); out.{{kind}}({WORDS!r})"


@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1), min_size=1), st.integers(20, 90))
def test_lines_are_the_line_again_and_no_wider_than_they_must_be(words: list[str], columns: int) -> None:
    line = " ".join(words)
    lines = wrapped(line, columns).split("\n")
    assert " ".join(lines) == line
    for one in lines:
        assert width(one) <= columns or " " not in one
    for before, after in pairwise(lines):
        assert width(f"{before} {after.split(' ')[0]}") > columns  # no line breaks earlier than it must


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    assert width("模型") == 4
    assert width("e\u0301") == 1
    assert wrapped("模型 模型", 8) == "模型\n模型"
    assert wrapped("模型 模型", 9) == "模型 模型"


@pytest.mark.parametrize("kind", ["note", "warn", "error"])
@pytest.mark.parametrize("columns", [24, 40, 60, 79, 200])
def test_a_terminal_breaks_between_words_alone(kind: str, columns: int) -> None:
    shown = on_a_terminal("-c", SAY.format(kind=kind), COLUMNS=str(columns))
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "\n").rstrip("\n")
    head = {"note": "", "warn": "warning: ", "error": "error: "}[kind]
    assert text.replace("\n", " ") == head + WORDS
    assert all(width(line) <= columns or " " not in line for line in text.split("\n"))
    assert ("\n" in text) == (width(head + WORDS) > columns)


@pytest.mark.parametrize("columns", [24, 60, 200])
def test_a_sentence_of_data_breaks_between_words_as_a_note_does_and_a_line_of_data_nowhere(columns: int) -> None:
    shown = on_a_terminal("-c", SAY.format(kind="sentence"), COLUMNS=str(columns)).replace("\r\n", "\n")
    assert shown == wrapped(WORDS, columns) + "\n"
    assert on_a_terminal("-c", SAY.format(kind="data"), COLUMNS=str(columns)).replace("\r\n", "\n") == WORDS + "\n"


def test_the_head_of_a_warning_keeps_its_colour_where_the_line_breaks() -> None:
    shown = on_a_terminal("-c", SAY.format(kind="warn"), COLUMNS="40")
    assert shown.startswith("\x1b[1;33mwarning:\x1b[0m the model")
    assert shown.count("\x1b[") == 2


def test_what_is_piped_stays_one_line() -> None:
    command = [sys.executable, "-c", SAY.format(kind="warn")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == f"warning: {WORDS}\n"


def test_where_nothing_tells_a_width_lines_are_whole() -> None:
    assert wrapped("a b " * 50, None) == "a b " * 50
