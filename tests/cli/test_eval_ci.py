"""`jisi eval` for CI: JUnit, Markdown, thresholds that mean what they say, and progress where nobody watches."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from jisi_cli.cli import progress
from jisi_cli.cli.eval_ci import to_junit, to_markdown
from jisi_cli.cli.output import Output
from jisi_cli.evaluation.comparison import build_report
from jisi_cli.evaluation.results import Result
from tests.cli.commands import MODELS, jisi, says_one_error
from tests.loopback import Fault, Loopback


@pytest.fixture
def answers(small_bank: Path) -> Path:
    return small_bank.parent / "answers.jsonl"


def evaluate(small_bank: Path, answers: Path, *words: str):
    return jisi("eval", answers, "--bank", small_bank, "--method", "best-single,model:dee", *words)


def test_junit_has_a_suite_for_each_method_and_fails_where_fail_under_does(small_bank: Path, answers: Path) -> None:
    run = evaluate(small_bank, answers, "--output-format", "junit", "--fail-under", "100:model:dee")
    assert run.exit_code == 6
    root = ElementTree.fromstring(run.stdout)
    suites = {suite.get("name"): suite for suite in root.iter("testsuite")}
    assert set(suites) == {"best-single", "model:dee", "oracle"} - ({"oracle"} - set(suites))
    assert [suites[name].get("failures") for name in ("best-single", "model:dee")] == ["0", "1"]
    cases = {case.get("name"): case for case in suites["model:dee"].iter("testcase")}
    assert set(cases) == {"sums", "capitals", "Avg"}
    failure = cases["Avg"].find("failure")
    assert failure is not None and failure.get("message", "").endswith("is below 100 %")


def test_markdown_begins_with_the_headline_and_has_a_row_for_each_method(small_bank: Path, answers: Path) -> None:
    run = evaluate(small_bank, answers, "--output-format", "markdown")
    lines = run.stdout.splitlines()
    assert run.exit_code == 0
    assert lines[0].startswith("**") and lines[0].endswith(".**")
    assert lines[2].startswith("| method | Avg, % |")
    assert [line.split(" | ")[0] for line in lines[4:6]] == ["| best-single", "| model:dee"]
    assert all(line.count("|") == lines[2].count("|") for line in lines[3:6])


def test_names_from_elsewhere_make_no_markup_and_no_broken_xml() -> None:
    name = "model:a|b<script>`x`\x1b[31m\ufffe[link](http://evil)"
    rows = [Result(f"k{at}", "d<&>", str(at), name, "scored", 1.0, "m", "route", 1, 0.1, 0.1) for at in range(3)]
    reports = build_report({name: rows}, (), np.random.default_rng(0))
    row = next(line for line in to_markdown(reports, 3).splitlines() if "script" in line and line.startswith("|"))
    assert row.replace("\\|", "").count("|") == 5
    assert "\\<script\\>" in row and "\\[link\\]" in row and "\x1b" not in row
    root = ElementTree.fromstring(to_junit(reports, [], None))
    assert root[0].get("name") == "model:a|b<script>`x`[link](http://evil)"
    assert root[0][0].get("name") == "d<&>"


def test_questions_without_an_answer_are_an_error_for_ci() -> None:
    rows = [Result("k", "d", "1", "m", "failed", 0.0, error="HTTP 500")]
    reports = build_report({"m": rows}, (), np.random.default_rng(0))
    root = ElementTree.fromstring(to_junit(reports, [], None))
    assert root[0].get("errors") == "1"
    assert "| failed |" in to_markdown(reports, 1)


@pytest.mark.parametrize(("text", "meant"), [("0.7", "70"), ("0.705:model:dee", "70.5:model:dee"), ("0.999", "99.9")])
def test_a_share_where_a_percentage_is_demanded_is_asked_about(small_bank: Path, answers: Path, text: str, meant: str):
    run = evaluate(small_bank, answers, "--fail-under", text)
    says_one_error(run, 2, "takes a percentage", f"Then write --fail-under {meant}")
    for threshold in ("0", "1", "50"):
        assert evaluate(small_bank, answers, "--fail-under", threshold).exit_code == 0


def test_formats_that_print_one_comparison_refuse_others(small_bank: Path, answers: Path) -> None:
    says_one_error(evaluate(small_bank, answers, "--output-format", "junti"), 2, "(did you mean `junit`?)")
    says_one_error(evaluate(small_bank, answers, "--output-format", "junit", "--json"), 2, "give one of them")
    says_one_error(evaluate(small_bank, answers, "--output-format", "markdown", "--curve"), 2, "--curve")
    assert evaluate(small_bank, answers, "--output-format", "json").json["methods"]


def test_eval_says_how_many_questions_and_the_headline(small_bank: Path, answers: Path) -> None:
    said = evaluate(small_bank, answers).stderr
    assert "12 questions (capitals 6, sums 6)\n" in said
    assert "ada" in said.splitlines()[-1] and "clearly beats" in said.splitlines()[-1]


def test_eval_says_how_many_questions_failed_and_why(
    small_bank: Path, answers: Path, pool: Path, loopback: Loopback
) -> None:
    for model in MODELS:
        loopback.script(model, every=1, every_fault=Fault("status", status=400, message="I will not"))
    options = ("--live", "--config", pool, "--grader", "contains", "--limit", "2", "--method", "best-single")
    run = jisi("eval", answers, "--bank", small_bank, *options)
    assert "4 questions (capitals 2, sums 2); 4 of them failed with at least one method" in run.stderr
    assert "best-single: 4 questions failed: " in run.stderr
    assert "I will not" in run.stderr


def test_a_log_gets_a_line_a_minute_and_none_when_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    tell = progress.a_line_a_minute(Output(), "answering")
    assert tell is not None
    for second in range(1, 301):
        now[0] = float(second)
        tell(second, 300)
    assert capsys.readouterr().err.splitlines() == [
        "answering: 60 of 300 (20%), about 4 min left",
        "answering: 120 of 300 (40%), about 3 min left",
        "answering: 180 of 300 (60%), about 2 min left",
        "answering: 240 of 300 (80%), about 1 min left",
    ]
    assert progress.a_line_a_minute(Output(quiet=True), "answering") is None


def test_progress_of_eval_counts_every_question_of_every_method(
    small_bank: Path, answers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(progress, "MINUTE", 0.0)
    out = tmp_path / "out.jsonl"
    said = [line for line in evaluate(small_bank, answers, "--out", str(out)).stderr.splitlines() if " left" in line]
    assert said[0].startswith("answering: 1 of 24 (4%)")
    assert len(said) == 23
    again = [line for line in evaluate(small_bank, answers, "--out", str(out)).stderr.splitlines() if " left" in line]
    assert len(again) == 23  # what an earlier run settled counts as done
