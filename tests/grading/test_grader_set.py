"""Who says which grader is used, what it may do, and that a file of questions may not."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from jisi_cli.errors import InputError
from jisi_cli.formats.record import Question
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import GraderSpec, GradingOptions, parse_chosen
from jisi_cli.models.replay import ReplayPool
from tests.grading.submissions import python


def question(grader: str | None, reference: str | None = "4", dataset: str = "zoo") -> Question:
    return Question(dataset, "1", "What is 2 + 2?", reference, grader)


def grade(asked: Question, response: str, options: GradingOptions | None = None) -> float | None:
    with GraderSet(options) as graders:
        graders.check([asked])
        return asyncio.run(graders.grade(asked, response))


@pytest.mark.parametrize(
    ("values", "for_all", "by_dataset"),
    [
        ([], None, {}),
        (["numeric"], GraderSpec("numeric"), {}),
        (["gsm=numeric"], None, {"gsm": GraderSpec("numeric")}),
        (
            ["exact", "gsm=numeric", "a:b=math"],
            GraderSpec("exact"),
            {"gsm": GraderSpec("numeric"), "a:b": GraderSpec("math")},
        ),
        (["judge:openai/gpt:4=x"], GraderSpec("judge", "openai/gpt:4=x"), {}),
        (["gsm=judge:gpt"], None, {"gsm": GraderSpec("judge", "gpt")}),
        (["command:./check.sh --level=2"], GraderSpec("command", "./check.sh --level=2"), {}),
        (["gsm=command:./check.sh --level=2"], None, {"gsm": GraderSpec("command", "./check.sh --level=2")}),
        (["nonsense"], GraderSpec("nonsense"), {}),
    ],
)
def test_graders_are_chosen_for_all_or_by_dataset(
    values: list[str], for_all: GraderSpec | None, by_dataset: dict[str, GraderSpec]
) -> None:
    assert parse_chosen(values) == (for_all, by_dataset)


def test_the_user_wins_over_the_questions_and_a_dataset_over_all() -> None:
    options = GradingOptions(GraderSpec("exact"), {"gsm": GraderSpec("numeric")}, judge="gpt")
    assert str(options.spec_for(question("choice"))) == "exact"
    assert str(options.spec_for(question("choice", dataset="gsm"))) == "numeric"
    assert str(GradingOptions().spec_for(question("choice"))) == "choice"
    assert GradingOptions().spec_for(question(None)) is None
    assert str(GradingOptions(judge="gpt").spec_for(question("judge"))) == "judge:gpt"


@pytest.mark.parametrize(
    ("grader", "reference", "response", "score"),
    [
        ("numeric", "4", "The answer is 4.", 1.0),
        ("exact", "four", "four", 1.0),
        ("choice", "B", "(B)", 1.0),
        ("contains", "four", "That is four.", 1.0),
        ("regex", r"\bfour\b", "That is four.", 1.0),
        ("math", r"\sqrt{16}", r"\boxed{4}", 1.0),
        ("math", r"\sqrt{17}", r"\boxed{4}", 0.0),
        (None, "4", "4", None),
        ("numeric", None, "4", None),
    ],
)
def test_a_question_names_the_graders_that_are_harmless(
    grader: str | None, reference: str | None, response: str, score: float | None
) -> None:
    assert grade(question(grader, reference), response) == score


@pytest.mark.parametrize(
    ("grader", "message"),
    [
        ("vibes", "zoo/1: no grader is called `vibes`; the graders are agreement, choice, code, command"),
        ("code", "zoo/1: .*--allow-code"),
        ("command", "zoo/1: .*--grader-command"),
        ("judge", "zoo/1: .*--judge"),
        ("pairwise", "zoo/1: .*--judge"),
        ("command:touch x", "zoo/1: `command:touch x` names no grader"),
        ("judge:gpt-expensive", "zoo/1: `judge:gpt-expensive` names no grader"),
        ("code:now", "zoo/1: `code:now` names no grader"),
        (" code", "no grader is called ` code`"),
        ("", "no grader is called ``"),
    ],
)
def test_a_question_names_neither_programs_nor_models(grader: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        grade(question(grader), "4")
    for allowed in (GradingOptions(judge="gpt", command=f"touch {tmp_path}/x"), GradingOptions(allow_code=True)):
        if ":" in grader:
            with pytest.raises(InputError, match=message):
                grade(question(grader), "4", allowed)
    assert list(tmp_path.iterdir()) == []


def test_grading_without_a_check_is_no_way_around_it() -> None:
    with GraderSet() as graders, pytest.raises(InputError, match="--allow-code"):
        asyncio.run(graders.grade(question("code", "assert True"), python("x = 1")))


def test_what_the_user_allows_is_done() -> None:
    assert (
        grade(question("code", "assert f() == 4"), python("def f(): return 4"), GradingOptions(allow_code=True)) == 1.0
    )
    command = f"{sys.executable} -c 'print(0.5)'"
    assert grade(question("command"), "4", GradingOptions(command=command)) == 0.5
    assert grade(question("numeric"), "4", GradingOptions(GraderSpec("command", command))) == 0.5
    with pytest.raises(InputError, match="--allow-code"):
        grade(question("numeric"), "4", GradingOptions(GraderSpec("code")))


def test_a_judge_must_be_in_the_pool() -> None:
    graders = GraderSet(GradingOptions(judge="gpt"), ReplayPool({}, ["ada", "bob"]))
    with graders, pytest.raises(InputError, match="no judge `gpt`; it has ada, bob"):
        graders.check([question("judge")])


def test_why_responses_have_no_score_is_counted() -> None:
    with GraderSet() as graders:

        async def all_of_them() -> list[float | None]:
            asked = [question("numeric"), question("numeric"), question("regex", "("), question("choice", "B")]
            return [await graders.grade(one, "no idea") for one in asked]

        assert asyncio.run(all_of_them()) == [None] * 4
    assert graders.unscored["numeric: no final answer could be read"] == 2
    assert graders.unscored["choice: no final answer could be read"] == 1
    assert sum(graders.unscored.values()) == 4


def test_slow_graders_hold_up_neither_the_loop_nor_each_other() -> None:
    """Ten answers that sleep are graded at the same time as one that does not."""
    options = GradingOptions(allow_code=True)
    done: list[str] = []

    async def one(graders: GraderSet, name: str, asked: Question, response: str) -> None:
        assert await graders.grade(asked, response) == 1.0
        done.append(name)

    async def together() -> None:
        with GraderSet(options) as graders:
            code = question("code", "import time\ntime.sleep(0.5)")
            async with asyncio.TaskGroup() as group:
                for number in range(2):
                    group.create_task(one(graders, f"slow {number}", code, python("x = 1")))
                group.create_task(one(graders, "quick", question("numeric"), "4"))

    asyncio.run(together())
    assert done[0] == "quick" and len(done) == 3


def test_a_cancelled_run_ends_its_processes() -> None:
    async def cancelled() -> None:
        with GraderSet(GradingOptions(allow_code=True)) as graders:
            task = asyncio.create_task(graders.grade(question("code", "while True: pass"), python("x = 1")))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())  # it would wait for the thread, and the thread for its process
