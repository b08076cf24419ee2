"""What `jisi report` makes of a result file whose lines came in another order, or more than once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.main import get_command

from jisi_cli.cli.app import build_app
from jisi_cli.cli.report import shown_arguments
from jisi_cli.evaluation.results import Result, ResultFile, read_results
from tests.cli.commands import jisi, says_one_error


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    path = tmp_path_factory.mktemp("results") / "results.jsonl"
    run = jisi("eval", "sample_data/bank", "--method", "best-single,jisi-query", "--limit", "3", "--out", path)
    assert run.exit_code == 0, run
    return list(read_results(path))


def page_of(path: Path, lines: list[Result]) -> str:
    with ResultFile(path) as file:
        for line in lines:
            file.write(line)
    run = jisi("report", path, "-o", path.with_suffix(".html"))
    assert run.exit_code == 0, run
    # The file's own name and hash stand in its page.
    return path.with_suffix(".html").read_text(encoding="utf-8").partition("<dt>")[0]


def test_live_results_stand_in_the_order_in_which_they_ended(results: list[Result], tmp_path: Path) -> None:
    first = [line for line in results if line.method == "best-single"]
    second = [line for line in results if line.method != "best-single"]
    plain, mixed = (
        page_of(tmp_path / "plain.jsonl", results),
        page_of(tmp_path / "mixed.jsonl", [*first, *second[::-1]]),
    )
    assert plain == mixed


def test_of_a_question_that_was_asked_again_the_last_line_counts(results: list[Result], tmp_path: Path) -> None:
    failed = replace(results[0], status="failed", score=0.0, model=None, mode=None)
    assert page_of(tmp_path / "again.jsonl", [failed, *results]) == page_of(tmp_path / "once.jsonl", results)


def test_results_under_several_settings_are_no_comparison(results: list[Result], tmp_path: Path) -> None:
    path = tmp_path / "two.jsonl"
    with ResultFile(path) as file:
        for line in [*results, *(replace(line, key=line.key[::-1]) for line in results)]:
            file.write(line)
    run = jisi("report", path, "-o", tmp_path / "page.html")
    assert "under several settings" in says_one_error(run, 2)


@pytest.mark.parametrize(
    "typed",
    [
        ("--grader-command", "./check --token hunter2"),
        ("--command", "./check --token hunter2"),
        ("--grader-command=./check --token=hunter2",),
        ("--command=env TOKEN=hunter2 ./check",),
        ("--grader", "command:./check --token hunter2"),
        ("--grader", "sums=command:./check --token=hunter2"),
        ("--grader=command:./check hunter2",),
        ("--grader=sums=command:./check hunter2",),
        ("--grader", " command:env TOKEN=hunter2 ./check"),
        ("--grader-command", "--token=hunter2"),
        ("--grader-command", "-hunter2"),
    ],
)
def test_the_command_line_of_a_page_shows_no_program_that_grades(typed: tuple[str, ...]) -> None:
    shown = shown_arguments(["eval", "bank", "--live", *typed, "--out", "r.jsonl"])
    assert "hunter2" not in " ".join(shown) and "check" not in " ".join(shown)
    assert shown[:3] == ["eval", "bank", "--live"] and shown[-2:] == ["--out", "r.jsonl"]
    assert shown[3].startswith(typed[0].partition("=")[0])


def test_every_other_option_that_takes_text_is_known_to_hold_no_secret() -> None:
    """An option of a command that draws a page has to be looked at before its value is shown to others."""
    hidden = {"--grader-command", "--grader"}
    shown = {"--method", "--versus", "--format", "--models", "--datasets", "--sweep", "--fail-under", "--judge"}
    shown |= {"--compat", "--switch", "--probe-schedule", "--embedder", "--failed"}
    shown |= {"--unlike", "--label", "--output-format", "--map", "--engine"}
    found = set()
    for name in ("eval", "report", "route"):
        for parameter in get_command(build_app()).commands[name].params:
            if type(parameter.type).__name__ == "StringParamType":
                found |= {text for text in parameter.opts[:1] if text.startswith("--")}
    assert found == hidden | shown
