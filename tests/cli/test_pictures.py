"""Pictures made of characters: what they show, where they are drawn, and where never."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.cli.layout import BLOCKS, bars, distribution, intervals
from jisi_cli.evaluation.results import BilledCall, Result, ResultFile
from tests.cli.commands import jisi
from tests.cli.commands import on_a_terminal as command_on_a_terminal

SHARES = st.lists(st.floats(0, 1e6), min_size=1, max_size=8)


def test_a_bar_is_as_long_as_its_share_of_the_largest():
    assert bars([8.0, 4.0, 1.0, 0.0, None], 4) == ["████", "██", "▌", "", ""]


def test_no_bar_is_drawn_where_nothing_is_known_or_all_is_zero():
    assert bars([None, 0.0], 10) == ["", ""]
    assert bars([], 10) == []


@given(SHARES, st.integers(8, 40))
def test_longer_bars_mean_larger_values(values: list[float], width: int):
    def eighths(bar: str) -> int:
        return sum(BLOCKS.index(cell) + 1 for cell in bar)

    lengths = [eighths(bar) for bar in bars(values, width)]
    assert max(lengths) <= 8 * width
    for first, one in zip(values, lengths, strict=True):
        for second, other in zip(values, lengths, strict=True):
            assert first < second or one >= other


def test_an_interval_shows_its_value_its_ends_and_zero():
    assert intervals([(-2.0, 0.0, 2.0), (1.0, 2.0, 2.0), (-2.0, -2.0, -1.0), None], 5) == ["──●──", "  ┊─●", "●─┊", ""]


def test_an_interval_that_contains_zero_crosses_its_mark():
    assert intervals([(-1.0, 1.0, 3.0)], 5) == ["─┼●──"]


@given(st.lists(st.tuples(*[st.floats(-1, 1)] * 3).map(sorted).map(tuple), min_size=1, max_size=6), st.integers(2, 40))
def test_intervals_never_outgrow_their_room(values: list[tuple[float, float, float]], width: int):
    assert all(len(line) <= width for line in intervals(values, width))


def test_a_distribution_has_a_character_per_step_and_a_blank_for_none():
    assert distribution([0, 1, 8, 4]) == " ▁█▄"
    assert distribution([]) == ""
    assert distribution([0, 0]) == "  "


SHOW = """
from jisi_cli.cli.output import Column, Output
from jisi_cli.evaluation.results import Result, ResultFile, BilledCall
from jisi_cli.cli.layout import Picture, bars
columns = [Column("model", shrink=True), Column("Avg", right=True)]
share = Picture("share", lambda width: bars([80, 40], width))
Output().table(columns, [["ada", "80.00"], ["bob", "40.00"]], picture=share)
"""


def on_a_terminal(columns: int, **environment: str) -> str:
    settings = {"COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8", **environment}
    return command_on_a_terminal("-c", SHOW, **settings)


@pytest.mark.parametrize("columns", [80, 60, 41])
def test_on_a_terminal_a_picture_takes_the_room_that_is_left(columns: int):
    lines = on_a_terminal(columns, NO_COLOR="1").splitlines()
    ada = next(line for line in lines if "ada" in line)
    bob = next(line for line in lines if "bob" in line)
    assert ada.count("█") == 2 * bob.count("█") or ada.count("█") == 2 * bob.count("█") + 1
    assert ada.count("█") >= 12
    assert all(len(line) <= columns for line in lines)


def test_where_there_is_no_room_beside_the_numbers_the_picture_stands_below_them():
    lines = [line for line in on_a_terminal(24, NO_COLOR="1").splitlines() if "ada" in line]
    assert len(lines) == 2
    assert "80.00" in lines[0] and "█" not in lines[0]
    assert "█" in lines[1]


def test_a_pipe_gets_no_picture():
    written = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True)
    assert written.stdout.split() == ["model", "Avg", "ada", "80.00", "bob", "40.00"]


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_terminal_without_blocks_gets_no_picture(environment: dict[str, str]):
    assert not set(on_a_terminal(80, **environment)) & set(BLOCKS)


@pytest.fixture
def bills(tmp_path: Path) -> Path:
    """Results of two methods, of which one cost three times the other."""
    path = tmp_path / "results.jsonl"
    with ResultFile(path) as file:
        for method, price in (("cheap", 0.25), ("dear", 0.75)):
            spent = BilledCall(
                "ada",
                prompt_tokens=10,
                completion_tokens=10,
                cost_usd=price,
                list_cost_usd=price,
                price_source="recorded",
                is_answer=True,
            )
            file.write(Result(method, "d", "1", method, "scored", 1.0, "ada", "route", 1, price, price, bill=(spent,)))
    return path


def test_a_bill_has_bars_on_a_terminal(bills: Path):
    lines = command_on_a_terminal("-m", "jisi_cli", "cost", bills, COLUMNS="140").splitlines()
    cheap, dear, total = (
        next(line.count("█") for line in lines if name in line) for name in ("cheap", "dear", "total")
    )
    assert 0 < cheap < dear / 2
    assert total == 0


def test_a_piped_bill_has_no_bars(bills: Path):
    assert not set(jisi("cost", bills).stdout) & set(BLOCKS)


def test_a_bill_of_one_group_has_nothing_to_compare(bills: Path):
    assert "█" not in command_on_a_terminal("-m", "jisi_cli", "cost", bills, "--by", "model", COLUMNS="140")


TWO_TABLES = """
from jisi_cli.cli.output import Column, Output
out = Output()
out.table([Column("a")], [["1"]])
out.separate()
out.table([Column("b")], [["2"]])
"""


def test_tables_below_each_other_are_no_further_apart_than_their_own_room():
    lines = [line.strip() for line in command_on_a_terminal("-c", TWO_TABLES, NO_COLOR="1").splitlines()]
    assert lines[lines.index("1") + 1 : lines.index("b")] == ["", ""]
    piped = subprocess.run([sys.executable, "-c", TWO_TABLES], capture_output=True, text=True, check=True).stdout
    assert piped == "a\n1\n\nb\n2\n"


def test_bars_of_shares_may_be_drawn_of_a_hundred_percent() -> None:
    assert bars([0.5, 0.25, None], 8) == ["████████", "████", ""]
    assert bars([0.5, 0.25, None], 8, full=1.0) == ["████", "██", ""]
