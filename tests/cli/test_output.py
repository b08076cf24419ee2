"""What reaches a terminal or a pipe: nothing that steers it, nothing cut, JSON that every reader accepts."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.cli.output import Column, Output, count, dollars, one_line, printable
from jisi_cli.plain_json import plain_json
from tests.cli.commands import ROOT, on_a_terminal

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u206f\ud800-\udfff]")
ODD = "\x1b\x9b\x9d\x90\x07\x08\r\n\t\x00\x7f[]()P^_X\\;?0123456789mHJKa \u202e\u2066é\ud83d\ude00"
HOSTILE = st.text(st.sampled_from(ODD) | st.characters(), max_size=60)


@given(HOSTILE)
def test_printable_text_steers_no_terminal(text: str) -> None:
    assert not STEERING.search(printable(text))


@given(HOSTILE, st.integers(1, 30))
def test_one_line_is_one_line_of_bounded_length(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert not STEERING.search(line)
    assert len(line) <= limit
    assert line.splitlines() in ([], [line])
    assert one_line(text).startswith(line.removesuffix("…"))


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cc", "Cs", "Cf"]), max_size=60))
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert printable(f"{text}\n\t{text}\r\n") == f"{text}\n\t{text}\n"


def test_what_a_sequence_carries_goes_with_it() -> None:
    assert printable("a\x1b[1;31mb\x1b]0;title\x07c\x1b]8;;u\x1b\\d\x1bP+q\x1b\\e\x9b2Jf\x1bcg") == "abcdefg"
    assert printable("smile \ud83d\ude00, half \ud83d") == "smile \U0001f600, half \N{REPLACEMENT CHARACTER}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.floats(width=32).map(np.float64) | HOSTILE,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(HOSTILE, inner),
    max_leaves=20,
)


def finite(value: Any) -> Any:
    """Return a value as JSON reads it back."""
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, dict):
        return {finite(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def written(write: Any, encoding: str = "utf-8") -> str:
    """Return what a function writes to a stdout that is no terminal."""
    buffer = io.BytesIO()
    before = sys.stdout
    sys.stdout = io.TextIOWrapper(buffer, encoding=encoding)
    try:
        write()
        sys.stdout.flush()
    finally:
        stdout, sys.stdout = sys.stdout, before
    stdout.detach()  # else it closes the buffer when it is collected
    return buffer.getvalue().decode(encoding)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@given(JSON, st.sampled_from(["utf-8", "ascii", "latin-1", "cp1252"]))
def test_json_is_one_line_that_every_reader_accepts_in_every_character_set(value: object, encoding: str) -> None:
    for write in (Output().json, Output().json_line):
        text = written(lambda write=write: write(value), encoding)
        assert text.endswith("\n")
        assert text.count("\n") == 1
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
        found = json.loads(text, parse_constant=refuse)
        if not isinstance(value, dict):
            assert found == finite(value)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_half_a_character_is_replaced_in_json_wherever_it_stands(encoding: str) -> None:
    value = {"half \ud83d": ["\ud83d", "\ud83d\ude00 \N{EURO SIGN}"]}
    assert json.loads(written(lambda: Output().json(value), encoding)) == {"half �": ["�", "😀 €"]}


def test_numbers_in_json_are_not_rounded() -> None:
    numbers = [0.1 + 0.2, 1 / 3, 1e-17, 12345678901234567890, float(np.float32(0.1))]
    assert json.loads(written(lambda: Output().json(numbers))) == numbers


def test_plain_json_has_no_nan() -> None:
    odd = {"a": [float("nan"), (float("inf"), -float("inf"))], 1: 0.5}
    assert plain_json(odd) == {"a": [None, [None, None]], "1": 0.5}


@given(st.lists(st.tuples(HOSTILE, HOSTILE, st.floats(0, 1e9)), max_size=5), st.integers(1, 400))
def test_a_piped_table_is_never_cut(rows: list[tuple[str, str, float]], width: int) -> None:
    os.environ["COLUMNS"] = "20"
    columns = [Column("name", shrink=True), Column("what", shrink=True), Column("much", right=True)]
    cells = [[name * width, what, f"{much:.3f}"] for name, what, much in rows]
    lines = written(lambda: Output().table(columns, cells)).splitlines()
    assert len(lines) == len(cells) + 1
    for line, row in zip(lines[1:], cells, strict=True):
        for cell in row:
            assert one_line(cell) in line
        assert line.endswith(one_line(row[-1]))
    del os.environ["COLUMNS"]


def test_the_columns_of_a_piped_table_line_up() -> None:
    columns = [Column("model"), Column("score", right=True)]
    text = written(lambda: Output().table(columns, [["a", "1.00"], ["longer", "10.00"]]))
    assert text == "model   score\na        1.00\nlonger  10.00\n"
    assert written(lambda: Output().table(columns, [])) == "model  score\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "unknown"),
        (0, "$0"),
        (0.0, "$0"),
        (1234.5, "$1,234.50"),
        (1.5, "$1.50"),
        (0.25, "$0.250"),
        (0.9999, "$1.00"),
        (0.009996, "$0.0100"),
        (0.00033, "$0.000330"),
        (0.00001234, "$0.0000123"),
    ],
)
def test_dollars_are_never_rounded_to_nothing_and_unknown_is_not_zero(value: float | None, shown: str) -> None:
    assert dollars(value) == shown


@given(st.floats(1e-12, 1e6))
def test_some_dollars_are_never_shown_as_none(value: float) -> None:
    assert float(dollars(value).removeprefix("$").replace(",", "")) == pytest.approx(value, rel=0.006)


def test_counts_agree_with_their_nouns() -> None:
    assert [count(number, "answer") for number in (0, 1, 2, 12345)] == [
        "0 answers",
        "1 answer",
        "2 answers",
        "12,345 answers",
    ]


TABLE = (
    "from jisi_cli.cli.output import *\n"
    "Output().warn('careful')\n"
    "Output().table([Column('name', shrink=True), Column('score', right=True)], [['n' * 100, '0.123456']])\n"
)


def test_a_table_on_a_narrow_terminal_shortens_text_and_no_number() -> None:
    shown = on_a_terminal("-c", TABLE)
    assert "0.123456" in shown
    assert "…" in shown
    assert "n" * 100 not in shown
    assert "\x1b[1;33mwarning:\x1b[0m careful" in shown


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_colours_a_terminal_gets_no_escape_codes(variables: dict[str, str]) -> None:
    shown = on_a_terminal("-c", TABLE, **variables)
    assert "0.123456" in shown
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", shown)
    assert "\x1b" not in shown


def test_quiet_drops_notes_and_keeps_warnings_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(quiet=True)
    out.note("a note")
    out.detail("a detail")
    out.warn("a warning")
    out.error("an error\nof two lines \x1b[31m")
    assert capsys.readouterr().err == "warning: a warning\nerror: an error of two lines\n"
    Output(verbose=True).detail("a detail")
    assert capsys.readouterr() == ("", "a detail\n")


def test_a_closed_stderr_does_not_fail_a_finished_command(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom jisi_cli.cli.output import Output\nsys.stderr.close()\nOutput().warn('x')\nprint('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=ROOT, check=True)
    assert done.stdout == b"done\n"


BILL = """
from jisi_cli.cli.output import Column, Output
columns = [Column(name, names=True) for name in ("model", "role")]
columns += [Column("a-long-heading", right=True), Column("another-heading", right=True)]
Output().table(columns, [["ada", "probe", "1", "2"], ["ada", "aggregator", "3", "4"]])
"""


def test_every_part_of_a_table_tells_its_rows_apart() -> None:
    shown = on_a_terminal("-c", BILL, NO_COLOR="1")
    rows = [line.split() for line in shown.splitlines() if line.strip().startswith("ada")]
    assert rows == [
        ["ada", "probe", "1"],
        ["ada", "aggregator", "3"],
        ["ada", "probe", "2"],
        ["ada", "aggregator", "4"],
    ]


NAMES = """
from jisi_cli.cli.output import Column, Output
Output().table([Column("method"), Column("what")], [["a-name-of-eighteen", "words " * 20]])
"""


def test_names_are_narrowed_last() -> None:
    assert "a-name-of-eighteen" in on_a_terminal("-c", NAMES)


HEADED = """
from jisi_cli.cli.output import Column, Output
from jisi_cli.cli.layout import Picture
titles = ["mmlu[law]", "x[/red]", "a\x1b]52;c;aGk=\x07b", "\x1b]8;;https://evil.example\x1b\\\\c", "\x9b1md", ":smile:"]
cells = ["[bold]", "[/]", "\x1b[2Je", "[link=https://evil.example]f", "\u202eg", ":cat:"]
Output().table([Column(title, names=True) for title in titles], [cells])
"""


@pytest.mark.parametrize("piped", [True, False])
def test_titles_and_cells_are_words_and_nothing_that_a_terminal_or_rich_obeys(piped: bool) -> None:
    if piped:
        command = [sys.executable, "-c", HEADED]
        shown = subprocess.run(command, capture_output=True, cwd=ROOT, check=True).stdout.decode()
    else:
        shown = on_a_terminal("-c", HEADED, NO_COLOR="1", COLUMNS="120")
    assert not STEERING.search(shown.replace("\r\n", "\n"))
    lines = [line.split() for line in shown.splitlines() if set(line) - set(" ─")]
    assert lines == [
        ["mmlu[law]", "x[/red]", "ab", "c", "d", ":smile:"],
        ["[bold]", "[/]", "e", "[link=https://evil.example]f", "g", ":cat:"],
    ]


def test_no_line_of_data_steers_a_terminal() -> None:
    assert (
        written(lambda: Output().data("embedder: \x1b]0;x\x07hub\x9b2J/\u202ename\ttab")) == "embedder: hub/name\ttab\n"
    )


BARS = """
from jisi_cli.cli.output import Output
from jisi_cli.cli.progress import training_bar
with training_bar(Output(), "model:x[/red]\x1b]52;c;aGk=\x07") as on_step:
    on_step(1, 2)
"""


def test_a_methods_name_beside_a_bar_is_no_markup() -> None:
    shown = on_a_terminal("-c", BARS, COLUMNS="100")
    assert "training model:x[/red] " in shown
    assert "\x1b]" not in shown


def test_a_note_that_quotes_millions_of_characters_is_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    Output().error("a status is " + "x" * 5_000_000)
    assert len(capsys.readouterr().err) < 10_100
