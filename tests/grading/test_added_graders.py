"""A grader that another package adds: one class with `grade`, which runs only when the user names it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from jisi_cli.errors import InputError
from jisi_cli.formats.record import Question
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import GradingOptions, grader_names, parse_chosen
from tests.cli.commands import jisi
from tests.formats.test_added_formats import bank_of_sums

STARTS_WITH = '''"""starts-with: whether a response begins with the reference."""


class StartsWith:
    def grade(self, submission):
        return float(submission.response.startswith(submission.reference))
'''
IMPORTED = "import os, pathlib\n\npathlib.Path(os.environ['SEEN']).write_text('imported')\n\n" + STARTS_WITH

Install = Callable[..., None]


def grade(options: GradingOptions, grader: str | None = None) -> float | None:
    question = Question("sums", "1", "What is 2 + 2?", "4", grader)
    with GraderSet(options) as graders:
        return asyncio.run(graders.grade(question, "4, I think"))


def named(*values: str) -> GradingOptions:
    return GradingOptions(*parse_chosen(values))


def test_it_grades_a_bank_when_the_user_names_it(install_package: Install, tmp_path: Path) -> None:
    install_package("jisi_starts", STARTS_WITH, graders={"starts-with": "jisi_starts:StartsWith"})
    bank = bank_of_sums(tmp_path)
    done = jisi("bank", "grade", bank, "--grader", "starts-with", "--json")
    assert done.exit_code == 0, done.stderr
    assert done.json["graded"] == 18


def test_it_grades_single_data_sets_and_in_threads(install_package: Install) -> None:
    blocks = (
        "from jisi_cli.grading.registry import grader\n\n\n"
        + STARTS_WITH.replace("class", "@grader(blocks=True)\nclass").partition("\n\n\n")[2]
    )
    install_package("jisi_starts", blocks, graders={"starts-with": "jisi_starts:StartsWith"})
    assert grade(named("sums=starts-with")) == 1.0
    assert grade(named("split=test=starts-with")) is None
    assert "starts-with" not in grader_names()


def test_a_file_of_questions_alone_imports_nothing(
    install_package: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    install_package("jisi_starts", IMPORTED, graders={"starts-with": "jisi_starts:StartsWith"})
    with pytest.raises(InputError, match="only the file of questions names it; if you trust it, give --grader"):
        grade(GradingOptions(), "starts-with")
    assert not (tmp_path / "seen").exists()
    assert grade(named("other=starts-with"), "starts-with") == 1.0
    assert (tmp_path / "seen").exists()


def test_a_name_that_no_package_adds_is_unknown() -> None:
    for name in ("starts-with", "grader_set", "os", "jisi_cli.files:open_plain"):
        with pytest.raises(InputError, match=rf"no grader is called `{name}`|`{name}` names no grader"):
            grade(GradingOptions(), name)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import not_there\n", "the grader `starts-with` of the package jisi_starts 1.0 cannot be loaded"),
        ("StartsWith = 1\n", "the grader `starts-with` of an installed package is not a class with a method `grade`"),
    ],
)
def test_a_broken_one_is_one_line(install_package: Install, tmp_path: Path, source: str, says: str) -> None:
    install_package("jisi_starts", source, graders={"starts-with": "jisi_starts:StartsWith"})
    done = jisi("bank", "grade", bank_of_sums(tmp_path), "--grader", "starts-with")
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
