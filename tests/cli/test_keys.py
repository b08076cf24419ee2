"""Keys that are missing or refused: said once a model, before or instead of hundreds of calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jisi_cli.bank.bank import Bank
from tests.cli.commands import Run, jisi, pool_file, says_one_error, write_lines
from tests.loopback import Fault, Loopback, Raw, Script

HASHING = ("--embedder", "hashing:32")
BAD_KEY = "Incorrect API key provided."


def question(n: int) -> dict[str, Any]:
    return {"query": f"What is {n} + {n}?", "gt": str(2 * n), "grader": "numeric"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Thirty questions, so that with sixteen calls at one time some are always waiting."""
    return write_lines(tmp_path / "questions.jsonl", [question(n) for n in range(30)])


@pytest.fixture
def pool(loopback: Loopback, tmp_path: Path) -> Path:
    for model in ("ada", "bob", "cyd"):
        loopback.script(model, text="Answer: 4")
    return pool_file(tmp_path / "jisi.toml", loopback, ("ada", "bob", "cyd"))


def refuses(status: int, message: str = BAD_KEY) -> Script:
    return Script(every=1, every_fault=Fault("status", status=status, message=message))


def build(source: Path, pool: Path, tmp_path: Path, *more: str) -> Run:
    return jisi("bank", "build", source, "--call", "--config", pool, *HASHING, "-o", tmp_path / "bank", *more)


@pytest.mark.parametrize(("status", "message"), [(401, BAD_KEY), (403, "forbidden"), (400, "API key not valid.")])
def test_a_model_whose_first_call_is_refused_for_its_key_is_asked_once_and_one_line_says_so(
    source: Path, pool: Path, loopback: Loopback, tmp_path: Path, status: int, message: str
) -> None:
    loopback.scripts["bob"] = refuses(status, message)
    run = build(source, pool, tmp_path)
    assert run.exit_code == 0
    assert (loopback.count("ada"), loopback.count("bob"), loopback.count("cyd")) == (30, 1, 30)
    (line,) = [line for line in run.warnings if "bob" in line]
    assert "bob is not asked again in this run: " in line and f"HTTP {status}: {message}" in line
    # What was never asked is no failure of the model: adding it later takes no more than --append.
    assert Bank(tmp_path / "bank").models == ("ada", "cyd")
    loopback.script("bob", text="Answer: 6")
    assert build(source, pool, tmp_path, "--append").exit_code == 0
    assert (loopback.count("ada"), loopback.count("bob")) == (30, 1 + 30)
    assert Bank(tmp_path / "bank").models == ("ada", "bob", "cyd")


@pytest.mark.parametrize("message", ["your input was flagged by our moderation", "Request not allowed"])
def test_a_question_that_is_refused_for_what_it_says_takes_no_model_away(
    source: Path, pool: Path, loopback: Loopback, tmp_path: Path, message: str
) -> None:
    flagged = Fault("status", status=403, message=message)
    loopback.scripts["bob"] = Script(text="Answer: 4", faults=(flagged,))
    assert build(source, pool, tmp_path).exit_code == 0
    assert loopback.count("bob") == 30


def test_a_key_that_was_good_once_is_not_given_up(source: Path, pool: Path, loopback: Loopback, tmp_path: Path) -> None:
    loopback.scripts["bob"] = Script(text="Answer: 4", faults=(None, Fault("status", status=401), None))
    run = build(source, pool, tmp_path)
    assert run.exit_code == 0 and loopback.count("bob") == 30
    assert "1 answer failed: HTTP 401" in run.stderr


def test_where_all_keys_are_refused_nothing_is_built(
    source: Path, pool: Path, loopback: Loopback, tmp_path: Path
) -> None:
    for model in ("ada", "bob", "cyd"):
        loopback.scripts[model] = refuses(401)
    run = build(source, pool, tmp_path)
    assert loopback.count() == 3
    assert run.exit_code == 4 and len(run.errors) == 1 and len(run.warnings) == 3
    assert not (tmp_path / "bank" / "bank.json").exists()


def test_keys_are_looked_for_before_the_first_call_and_what_has_none_is_left_out(
    source: Path, pool: Path, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_LAB_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    text = pool.read_text()
    bob = f'name = "bob"\nlitellm = "openai/bob"\napi_base = "{loopback.api_base}"\n'
    pool.write_text(
        text.replace(bob, f'{bob}api_key_env = "SOME_LAB_KEY"\n')
        + '\n[[models]]\nname = "gpt"\nlitellm = "openai/gpt-4o-mini"\n'
    )
    dry = build(source, pool, tmp_path, "--dry-run", "--json")
    assert dry.exit_code == 0
    assert dry.json["missing_keys"] == {"bob": "SOME_LAB_KEY", "gpt": "OPENAI_API_KEY"}
    expected = [
        "warning: bob has no key, so it is not asked; set SOME_LAB_KEY in the environment",
        "warning: gpt has no key, so it is not asked; set OPENAI_API_KEY in the environment",
    ]
    assert dry.warnings == expected and loopback.count() == 0
    run = build(source, pool, tmp_path)
    assert run.exit_code == 0 and run.warnings == expected
    assert (loopback.count("ada"), loopback.count("bob")) == (30, 0)


def test_where_no_model_has_a_key_the_run_ends_before_it_begins(
    source: Path, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_LAB_KEY", raising=False)
    pool = pool_file(tmp_path / "jisi.toml", loopback, ("ada",), key="SOME_LAB_KEY")
    run = build(source, pool, tmp_path)
    assert run.exit_code == 4 and "set SOME_LAB_KEY" in run.errors[0]
    assert loopback.count() == 0


def test_a_judge_without_a_key_is_told_before_the_answers_are_paid(
    source: Path, pool: Path, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    judge = f'\n[[models]]\nname = "jud"\nlitellm = "openai/jud"\napi_base = "{loopback.api_base}"\n'
    pool.write_text(pool.read_text() + judge + 'api_key_env = "JUDGE_KEY"\n')
    run = build(source, pool, tmp_path, "--models", "ada", "--grader", "judge:jud")
    says_one_error(run, 2, "the judge `jud` has no key", "JUDGE_KEY")
    assert loopback.count() == 0


def test_eval_asks_a_model_whose_key_is_refused_once(
    small_bank: Path, source: Path, loopback: Loopback, tmp_path: Path
) -> None:
    for model in ("ada", "bob", "cyd", "dee"):
        loopback.script(model, text="Answer: 4")
    loopback.scripts["bob"] = refuses(401)
    pool = pool_file(tmp_path / "jisi.toml", loopback, extra="concurrency = 1\n")
    asked = ("--bank", small_bank, "--config", pool, "--method", "majority-voting-3,model:bob", "--json")
    run = jisi("eval", source, "--live", *asked)
    assert run.exit_code == 0 and loopback.count("bob") == 1
    assert len([line for line in run.warnings if "bob is not asked again in this run: HTTP 401" in line]) == 1


def test_questions_without_a_grader_are_refused_with_their_line(pool: Path, loopback: Loopback, tmp_path: Path) -> None:
    rows = [question(n) for n in range(4)]
    del rows[1]["grader"], rows[3]["grader"]
    source = write_lines(tmp_path / "mine.jsonl", rows)
    run = build(source, pool, tmp_path)
    says_one_error(run, 2, f"{source}:2 (and 1 more): no grader", "--grader NAME", "--grader agreement")
    says_one_error(build(source, pool, tmp_path, "--dry-run"), 2, f"{source}:2 (and 1 more)")
    write_lines(source, [{"query": "Write a haiku."}])
    says_one_error(build(source, pool, tmp_path), 2, f"{source}:1: no right answer", "--grader agreement", "bank label")
    assert loopback.count() == 0
    assert build(source, pool, tmp_path, "--grader", "agreement").exit_code == 0
    assert loopback.count() == 3


def test_a_key_in_the_bodys_own_shape_is_not_taken_for_a_refusal(
    source: Path, pool: Path, loopback: Loopback, tmp_path: Path
) -> None:
    error = Raw({"error": {"message": "Unsupported parameter: 'key'", "param": "key"}}, status=400)
    loopback.scripts["bob"] = Script(raw=lambda body: error)
    assert build(source, pool, tmp_path).exit_code == 0
    assert loopback.count("bob") == 30
