"""`jisi bank grade`, and the flags about grading of `bank build --call` and `eval --live`."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.models.ledger import Ledger, ledger_path
from tests.cli.commands import MODELS, jisi, pool_file, recorded_answers, says_one_error, start, wait_for, write_lines
from tests.loopback import Loopback


@pytest.fixture
def bank(small_bank: Path, tmp_path: Path) -> Path:
    """A bank of one's own: `ada` and the others say their question's number, which is the reference."""
    return Path(shutil.copytree(small_bank, tmp_path / "bank"))


def scores(bank: Path) -> dict[str, list[float | None]]:
    opened = Bank(bank)
    return {
        model: [None if np.isnan(s) else s for s in opened.answers(model).scores.tolist()] for model in opened.models
    }


def contents(folder: Path) -> dict[str, str]:
    """Return a hash of every file, the lock aside."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def one_sided(folder: Path, grader: str) -> Path:
    """Write a question that names a grader; its reference is Python and a pattern too."""
    return write_lines(folder / "questions.jsonl", [{"query": "What is it?", "gt": "assert 4", "grader": grader}])


# What changes and what does not.


def test_other_graders_give_other_scores_and_nothing_else_changes(bank: Path) -> None:
    before = Bank(bank)  # open meanwhile, with everything still to be read
    run = jisi("bank", "grade", bank, "--grader", "contains", "--json")
    assert run.exit_code == 0
    assert run.json["graded"] == 48 and run.json["unscored"] == 0 and run.json["written"] is True
    # Of 12, 9, 6 and 3 right answers, all 48 hold their number.
    assert [run.json["models"][model]["changed"] for model in MODELS] == [0, 3, 6, 9]
    assert [run.json["models"][model]["before"] for model in MODELS] == [1.0, 0.75, 0.5, 0.25]
    assert {run.json["models"][model]["after"] for model in MODELS} == {1.0}
    after = Bank(bank)
    assert scores(bank) == {model: [1.0] * 12 for model in MODELS}
    for model in MODELS:
        old, new = before.answers(model), after.answers(model)
        assert np.array_equal(before.response_vectors(model), after.response_vectors(model))
        assert before.responses(model) == after.responses(model)
        for column in ("prompt_tokens", "completion_tokens", "cost_usd", "status"):
            assert np.array_equal(getattr(old, column), getattr(new, column)), column
    assert [q.key for q in before.questions] == [q.key for q in after.questions]
    assert {question.grader for question in after.questions} == {"contains"}
    assert np.array_equal(before.query_vectors, after.query_vectors)


def test_grading_again_by_the_graders_that_the_bank_now_names_changes_nothing(bank: Path) -> None:
    assert jisi("bank", "grade", bank, "--grader", "contains").exit_code == 0
    found = contents(bank)
    run = jisi("bank", "grade", bank, "--json")
    assert (run.json["graded"], run.json["changed"], run.json["written"]) == (48, 0, False)
    assert contents(bank) == found


def test_a_bank_that_names_no_grader_is_left_as_it_is(bank: Path) -> None:
    found = contents(bank)
    run = jisi("bank", "grade", bank)
    assert run.exit_code == 0 and "48 responses left as they are: no grader or no reference" in run.stderr
    assert "nothing was written" in run.stderr and contents(bank) == found


def test_a_dry_run_tells_the_same_and_writes_nothing(bank: Path) -> None:
    found = contents(bank.parent)
    run = jisi("bank", "grade", bank, "--grader", "contains", "--dry-run", "--json")
    assert run.json["changed"] == 18 and run.json["written"] is False
    assert contents(bank.parent) == found
    again = jisi("bank", "grade", bank, "--grader", "contains", "--json")
    assert {**again.json, "written": False} == run.json


def test_a_response_that_the_grader_cannot_read_becomes_unscored_and_is_counted(bank: Path) -> None:
    run = jisi("bank", "grade", bank, "--grader", "choice")
    assert run.exit_code == 0 and "unscored by choice: no final answer could be read" in run.stderr
    answers = Bank(bank).answers("ada")
    assert np.isnan(answers.scores).sum() == (answers.status == "unscored").sum() > 0
    assert jisi("bank", "grade", bank, "--grader", "contains", "--json").json["unscored"] == 0
    assert set(Bank(bank).answers("ada").status) == {"ok"}


def test_datasets_and_models_limit_what_is_graded(bank: Path) -> None:
    run = jisi("bank", "grade", bank, "--grader", "contains", "--datasets", "sums", "--models", "dee", "--json")
    assert run.json["graded"] == 6 and list(run.json["models"]) == ["dee"]
    found = scores(bank)
    assert sum(found["ada"]) == 12 and sum(found["bob"]) == 9  # type: ignore[arg-type]
    opened = Bank(bank)
    sums = [row for row, question in enumerate(opened.questions) if question.dataset == "sums"]
    assert [found["dee"][row] for row in sums] == [1.0] * 6
    assert {question.grader for question in opened.questions} == {None}  # the other models' scores are another's
    says_one_error(jisi("bank", "grade", bank, "--datasets", "novels"), 2, "--datasets", "novels", "capitals, sums")
    says_one_error(jisi("bank", "grade", bank, "--models", "zoe"), 2, "--models", "zoe", "ada")


def test_a_grader_may_be_chosen_for_one_dataset(bank: Path) -> None:
    run = jisi("bank", "grade", bank, "--grader", "sums=contains", "--json")
    assert run.json["graded"] == 24 and run.json["left_as_they_are"] == 24
    assert {(q.dataset, q.grader) for q in Bank(bank).questions} == {("sums", "contains"), ("capitals", None)}


def test_a_graded_bank_can_be_inspected_extended_and_evaluated(bank: Path, tmp_path: Path) -> None:
    assert jisi("bank", "grade", bank, "--grader", "contains").exit_code == 0
    assert jisi("bank", "inspect", bank).exit_code == 0
    lines = recorded_answers({"eve": 6})
    more = write_lines(tmp_path / "more.jsonl", lines)
    run = jisi("bank", "build", more, "-o", bank, "--append", "--embedder", "hashing:64")
    assert run.exit_code == 0, run
    assert sum(scores(bank)["eve"]) == 6 and sum(scores(bank)["dee"]) == 12  # type: ignore[arg-type]
    run = jisi("bank", "grade", bank, "--json")
    assert run.json["graded"] == 60 and run.json["changed"] == 6


def test_failed_and_missing_answers_stay_what_they_are(tmp_path: Path) -> None:
    lines = recorded_answers({"ada": 12, "bob": 9})
    for line in lines[:4]:
        line["raw_output"]["bob"] = None
    source = write_lines(tmp_path / "answers.jsonl", lines)
    assert jisi("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "hashing:64").exit_code == 0
    before = Bank(tmp_path / "bank").answers("bob").status.tolist()
    run = jisi("bank", "grade", tmp_path / "bank", "--grader", "contains", "--json")
    assert run.json["models"]["bob"]["graded"] == 8
    after = Bank(tmp_path / "bank").answers("bob").status.tolist()
    assert [status for status in after if status != "ok"] == [status for status in before if status != "ok"]


# Being interrupted, and being two.


def slow_grader(folder: Path) -> str:
    """Return a grader command that takes its time and leaves a mark for each response."""
    path = folder / "slow.py"
    path.write_text(
        f"import sys, time, uuid\nopen({str(folder)!r} + f'/mark-{{uuid.uuid4()}}', 'w')\ntime.sleep(5)\nprint(0.5)\n"
    )
    return f"{sys.executable} -S {path}"


def test_a_killed_run_leaves_the_bank_as_it_was_and_a_lock_that_nobody_holds(bank: Path, tmp_path: Path) -> None:
    found = contents(bank)
    process = start("bank", "grade", bank, "--grader", f"command:{slow_grader(tmp_path)}", "--concurrency", "2")
    wait_for(process, lambda: len(list(tmp_path.glob("mark-*"))) >= 2)
    says_one_error(jisi("bank", "grade", bank, "--grader", "contains"), 3, "another build is at work")
    process.kill()
    process.communicate()
    assert contents(bank) == found
    assert jisi("bank", "grade", bank, "--grader", "contains", "--json").json["changed"] == 18


def test_ctrl_c_ends_the_graders_too(bank: Path, tmp_path: Path) -> None:
    found = contents(bank)
    endless = f"{sys.executable} -c \"open('{tmp_path}/mark', 'w'); import time; time.sleep(600)\""
    process = start("bank", "grade", bank, "--grader", f"command:{endless}")
    wait_for(process, (tmp_path / "mark").exists)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, b"interrupted\n")
    assert contents(bank) == found


# What only the user may allow.


@pytest.mark.parametrize("command", [("bank", "build"), ("eval",)])
@pytest.mark.parametrize("grader", ["code", "command", "command:touch MARK", "judge", "judge:ada", "pairwise:bob"])
def test_a_file_of_questions_runs_no_program_and_pays_no_judge(
    command: tuple[str, ...], grader: str, small_bank: Path, pool: Path, loopback: Loopback, tmp_path: Path
) -> None:
    source = one_sided(tmp_path, grader.replace("MARK", str(tmp_path / "mark")))
    if command == ("eval",):
        run = jisi("eval", source, "--live", "--bank", small_bank, "--config", pool, "--method", "best-single")
    else:
        run = jisi(*command, source, "-o", tmp_path / "new", "--call", "--embedder", "hashing:64", "--config", pool)
    says_one_error(run, 2, "questions.jsonl:1", "`")
    assert loopback.count() == 0 and not (tmp_path / "mark").exists() and not (tmp_path / "new" / "bank.json").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--grader", "code"), ("--allow-code",)),
        (("--grader", "command"), ("--grader-command",)),
        (("--grader", "judge"), ("--judge",)),
        (("--grader", "judge:zoe"), ("--judge", "zoe", "ada")),
        (("--grader", "vibes"), ("vibes", "numeric")),
        (("--grader", "numeric:0.1"), ("numeric:0.1",)),
        (("--grader", "command:no-such-program"), ("no-such-program",)),
        (("--grader", "command", "--grader-command", "'unclosed"), ("quotes",)),
    ],
)
def test_a_grader_that_cannot_be_used_is_refused_and_nothing_changes(
    flags: tuple[str, ...], words: tuple[str, ...], bank: Path, pool: Path
) -> None:
    found = contents(bank)
    says_one_error(jisi("bank", "grade", bank, "--config", pool, *flags), 2, *words)
    assert contents(bank) == found


def test_flags_about_grading_are_refused_where_nothing_is_graded(small_bank: Path, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    run = jisi("bank", "build", source, "-o", tmp_path / "new", "--embedder", "hashing:64", "--grader", "exact")
    says_one_error(run, 2, "--grader", "--call")
    says_one_error(jisi("eval", small_bank, "--allow-code"), 2, "--allow-code", "--live")


def test_no_bank_is_made_where_there_is_none(tmp_path: Path) -> None:
    says_one_error(jisi("bank", "grade", tmp_path / "none"), 3, "no bank at", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_answers_are_run_where_the_user_allows_it(pool: Path, loopback: Loopback, tmp_path: Path) -> None:
    good = "```python\ndef double(x):\n    return 2 * x\n```"
    for model, text in {
        "ada": good,
        "bob": good.replace("2", "3"),
        "cyd": "No.",
        "dee": "```python\nquit()\n```",
    }.items():
        loopback.script(model, text=text)
    line = {"query": "Write double.", "gt": "assert double(4) == 8", "grader": "code"}
    source = write_lines(tmp_path / "questions.jsonl", [line])
    command = ("bank", "build", source, "-o", tmp_path / "new", "--call", "--embedder", "hashing:64", "--config", pool)
    run = jisi(*command, "--allow-code")
    assert run.exit_code == 0 and "1 response unscored by code: no final answer could be read" in run.stderr
    expected = {"ada": [1.0], "bob": [0.0], "cyd": [None], "dee": [0.0]}
    assert scores(tmp_path / "new") == expected
    says_one_error(jisi("bank", "grade", tmp_path / "new"), 2, "--allow-code")
    assert jisi("bank", "grade", tmp_path / "new", "--allow-code", "--json").json["changed"] == 0
    assert loopback.count() == 4


def test_a_program_of_the_users_grades_with_parts_of_a_point(bank: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.py"
    path.write_text(
        "import json, sys\ng = json.load(sys.stdin)\nprint(0.5 if g['reference'] in g['response'] else 'null')\n"
    )
    command = f"{sys.executable} -S {path}"
    run = jisi(
        "bank", "grade", bank, "--grader", "command", "--grader-command", command, "--datasets", "sums", "--json"
    )
    assert run.json["graded"] == 24 and run.json["models"]["ada"]["after"] == 0.5
    assert {q.grader for q in Bank(bank).questions} == {"command", None}  # not what it runs
    assert command not in (bank / "bank.json").read_text()


# The judge.


def judge(messages: list[dict[str, Any]]) -> str:
    """Find that the answers to even numbers are right."""
    fenced = messages[1]["content"].split('of="reference">\n')[1]
    return f"It says so.\nVerdict: {'wrong' if int(fenced.split()[0]) % 2 else 'right'}"


@pytest.fixture
def judged_pool(tmp_path: Path, loopback: Loopback) -> Path:
    """A pool with a judge besides the bank's models."""
    loopback.script("judy", text=judge)
    for model in MODELS:
        loopback.script(model, text="4")
    return pool_file(tmp_path / "judged.toml", loopback, [*MODELS, "judy"])


def test_a_judge_grades_and_is_booked_as_a_judge(bank: Path, judged_pool: Path, loopback: Loopback) -> None:
    command = ("bank", "grade", bank, "--config", judged_pool, "--grader", "judge", "--judge", "judy")
    run = jisi(*command, "--json")
    assert run.exit_code == 0 and run.json["judge_calls"] == 48 and run.json["judge_cost_usd"] > 0
    assert {sum(row) for row in scores(bank).values()} == {6.0}  # type: ignore[arg-type]
    assert loopback.count() == loopback.count("judy") == 48
    booked = list(Ledger(ledger_path(), warn=print).rows())
    assert {(entry.role, entry.command, entry.model) for entry in booked} == {("judge", "bank grade", "judy")}
    assert {entry.dataset for entry in booked} == {"sums", "capitals"}
    run = jisi(*command, "--json")  # from the cache
    assert run.json["changed"] == 0 and run.json["judge_cost_usd"] == 0 and loopback.count() == 48


def test_a_dry_run_asks_no_judge(bank: Path, judged_pool: Path, loopback: Loopback) -> None:
    run = jisi("bank", "grade", bank, "--config", judged_pool, "--grader", "sums=judge:judy", "--dry-run", "--json")
    assert (run.json["left_to_a_judge"], run.json["graded"], run.json["judge_calls"]) == (24, 0, 0)
    assert loopback.count() == 0


def test_a_budget_stops_the_judge_and_what_it_graded_is_kept(bank: Path, judged_pool: Path, loopback: Loopback) -> None:
    # A call may cost up to 1000 completion tokens at $2 per million, and about 300 prompt tokens at $1.
    command = ("bank", "grade", bank, "--config", judged_pool, "--grader", "judge:judy", "--concurrency", "1")
    run = jisi(*command, "--max-cost", "0.008", "--json")
    assert run.exit_code == 5 and run.json["written"] is True and run.json["stopped"]
    assert len(run.errors) == 1 and "--max-cost" in run.errors[0]
    assert 0 < run.json["graded"] == loopback.count("judy") < 48
    assert run.json["judge_cost_usd"] <= 0.008
    assert {question.grader for question in Bank(bank).questions} == {None}  # not all of them are the judge's
    done = loopback.count("judy")
    assert jisi(*command).exit_code == 0
    assert loopback.count("judy") == 48 and done < 48


def test_a_judge_grades_answers_as_they_come(judged_pool: Path, loopback: Loopback, tmp_path: Path) -> None:
    lines = [{"query": f"What is {n}?", "gt": str(n), "grader": "judge", "index": str(n)} for n in range(3)]
    source = write_lines(tmp_path / "questions.jsonl", lines)
    command = (
        "bank",
        "build",
        source,
        "-o",
        tmp_path / "new",
        "--call",
        "--embedder",
        "hashing:64",
        "--models",
        "ada,bob",
    )
    run = jisi(*command, "--config", judged_pool, "--judge", "judy")
    assert run.exit_code == 0 and "6 calls of the judge for $" in run.stderr
    assert scores(tmp_path / "new") == {"ada": [1.0, 0.0, 1.0], "bob": [1.0, 0.0, 1.0]}
    assert (loopback.count("judy"), loopback.count("ada")) == (3, 3)  # ada and bob say the same


def test_a_live_evaluation_is_graded_as_the_user_chooses(
    small_bank: Path, judged_pool: Path, loopback: Loopback, tmp_path: Path
) -> None:
    lines = [{"query": f"What is {n}?", "gt": str(n), "grader": "vibes", "index": str(n)} for n in range(4)]
    source = write_lines(tmp_path / "questions.jsonl", lines)
    command = (
        "eval",
        source,
        "--live",
        "--bank",
        small_bank,
        "--config",
        judged_pool,
        "--method",
        "best-single",
        "--json",
    )
    run = jisi(*command, "--grader", "judge:judy", "--out", tmp_path / "results.jsonl")
    assert run.exit_code == 0, run
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {result["index"]: result["score"] for result in results} == {"0": 1.0, "1": 0.0, "2": 1.0, "3": 0.0}
    assert {result["model"] for result in results} <= set(MODELS)
    run = jisi(*command, "--grader", "contains", "--out", tmp_path / "results.jsonl")
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [result["score"] for result in results[4:]] == [0.0] * 4  # asked anew: another grader, other results
    assert loopback.count("judy") == 4
