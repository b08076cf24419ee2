"""What a terminal shows while a pool is asked."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from jisi_cli.cli.progress import _bar
from jisi_cli.collect.collect import Collected
from jisi_cli.formats.record import Record
from jisi_cli.types import Answer
from tests.cli.commands import on_a_terminal, pool_file, write_lines
from tests.loopback import Fault, Loopback


def collected(total: int, *costs: float | None, cached: int = 0) -> Collected:
    """So many answers, the first ones from the cache."""
    found = Collected(total)
    record = Record("d", "1", "q?", "ada")
    for _ in range(cached):
        found.add(record, Answer("ada", "4", cost_usd=0.0, cached=True))
    for cost in costs:
        found.add(record, Answer("ada", "4", cost_usd=cost))
    return found


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (collected(10, 0.5, 1.5), 10.0),
        (collected(10, 0.5, 1.5, cached=4), 6.0),
        (collected(10, cached=4), None),
        (collected(4, cached=4), 0.0),
        (collected(10, 0.5, None), None),
    ],
    ids=["paid", "some cached", "only cached so far", "all cached", "unknown price"],
)
def test_what_is_left_is_expected_to_cost_what_was_called(found: Collected, expected: float | None) -> None:
    assert found.expected_usd == expected


def shown_while_collecting(loopback: Loopback, folder: Path, columns: int) -> str:
    """Return what a terminal shows of sixty questions, without colours and movements."""
    questions = write_lines(
        folder / "questions.jsonl", [{"query": f"What is {n}?", "gt": "0", "grader": "numeric"} for n in range(60)]
    )
    pool = pool_file(folder / "jisi.toml", loopback, ["ada"], "concurrency = 2\n")
    build = ("bank", "build", questions, "--call", "-o", folder / "bank", "--embedder", "hashing:64")
    shown = on_a_terminal("-m", "jisi_cli", *build, "--config", pool, COLUMNS=str(columns))
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


RATE = r"\d+/60 +[\d.]+/(s|min) +\d:\d\d:\d\d left"
MONEY = r"\$[\d.e-]+ of about \$[\d.e-]+"


def test_a_collection_shows_rate_time_left_dollars_and_why_answers_failed(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("ada", delay=0.05, every=3, every_fault=Fault("status", status=400, message="I will not"))
    shown = shown_while_collecting(loopback, tmp_path, columns=100)
    assert re.search(rf"asking \S+ +{RATE}, {MONEY}", shown), shown
    assert re.search(r"  \d+ failed: HTTP 400: I will not", shown), shown
    assert "20 answers failed: HTTP 400: I will not" in shown


def test_a_narrow_terminal_loses_the_bar_and_no_number(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("ada", delay=0.05)
    shown = shown_while_collecting(loopback, tmp_path, columns=40)
    assert re.search(rf"asking +{RATE}", shown), shown
    assert re.search(rf"\n  {MONEY}", shown), shown
    assert "…" not in shown


def test_a_bar_clears_the_rows_into_which_a_narrower_terminal_has_broken_it() -> None:
    from rich.console import Console
    from rich.progress import BarColumn

    file = io.StringIO()
    console = Console(file=file, width=60, height=20, force_terminal=True, legacy_windows=False, color_system=None)
    shown = _bar(console, BarColumn(bar_width=35), below=lambda: ["two failed: " + "x" * 30])
    shown.add_task("asking", total=3)
    shown.get_renderable()
    assert file.getvalue() == ""
    console.width = 20
    shown.get_renderable()
    # The bar's 35 columns are two rows now, the line of 42 below it three.
    assert file.getvalue() == "\r" + 3 * "\x1b[2K\x1b[1A"
    console.width = 60
    shown.get_renderable()
    assert file.getvalue() == "\r" + 3 * "\x1b[2K\x1b[1A"
