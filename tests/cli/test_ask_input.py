"""`jisi ask --input`: many questions, kept as they are answered, resumed, counted and paid for once."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

import jisi_cli as library
from jisi_cli.asking import Answered, ask_all
from jisi_cli.errors import BudgetError, InputError
from jisi_cli.formats.record import Question
from tests.cli.commands import Run, jisi, says_one_error, write_lines
from tests.faults.afflictions import unhurried
from tests.faults.forked import start_here
from tests.loopback import Fault, Loopback

QUESTIONS = [
    {"query": "What is 3 plus 6?", "dataset": "mine", "index": "a"},
    {"query": "What is 4 plus 6?"},
    {"query": "What is 5 plus 6?", "index": 7},
]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "q.jsonl", QUESTIONS)


@pytest.fixture
def ask(small_bank: Path, pool: Path, questions: Path) -> Any:
    """`jisi ask --input` with one model, so that calls are easily counted."""

    def run(*arguments: str | Path, source: str | Path = questions, stdin: str | None = None) -> Run:
        common = ("--models", "ada", "--bank", small_bank, "--config", pool)
        return jisi("ask", "--input", source, *common, *arguments, stdin=stdin)

    return run


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def refusing(loopback: Loopback, word: str) -> None:
    """Let `ada` refuse questions with a word in them."""
    refusal = Fault("status", status=400, message="not that")
    loopback.script("ada", text="The answer is 9.", fails=lambda said: refusal if word in said[-1]["content"] else None)


def test_lines_come_on_stdout_in_the_order_of_the_file(ask: Any, loopback: Loopback) -> None:
    loopback.script("ada", text="The answer is 9.")
    run = ask()
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.exit_code == 0
    assert [(line["query"], line["dataset"], line["index"]) for line in found] == [
        ("What is 3 plus 6?", "mine", "a"),
        ("What is 4 plus 6?", "q", "2"),
        ("What is 5 plus 6?", "q", "7"),
    ]
    assert {(line["answer"], line["model"], line["error"], line["calls"]) for line in found} == {
        ("The answer is 9.", "ada", None, 1)
    }
    assert found[0]["answers"][0] | {"score": 1} == {
        "model": "ada",
        "role": "probe",
        "text": "The answer is 9.",
        "score": 1,
        "final_answer": "9",
        "agrees": True,
        "cut_off": None,
        "error": None,
    }
    assert run.stderr.startswith("3 of 3 questions answered · 3 calls · $")


def test_a_run_goes_on_where_another_was(ask: Any, loopback: Loopback, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    refusing(loopback, "4 plus")
    run = ask("--out", out)
    assert (run.exit_code, run.stdout) == (1, "")
    assert run.warnings == ["warning: q 2: no model could answer (ada: HTTP 400: not that)"]
    assert "2 of 3 questions answered · 1 failed · 3 calls" in run.stderr
    assert sorted(line["index"] for line in lines(out) if line["answer"] is None) == ["2"]
    loopback.script("ada", text="The answer is 10.")
    again = ask("--out", out)
    assert again.exit_code == 0
    assert "3 of 3 questions answered (2 earlier) · 1 call" in again.stderr
    assert loopback.count() == 4  # what failed was asked again, and nothing else
    assert [line["index"] for line in lines(out)].count("2") == 2
    assert len(lines(out)) == 4
    before = out.read_bytes()
    assert ask("--out", out).exit_code == 0
    assert (out.read_bytes(), loopback.count()) == (before, 4)


@pytest.mark.parametrize("words", [("--system", "Be brief."), ("--temperature", "0.9"), ("--method", "jisi-query")])
def test_another_way_of_asking_is_another_line(words: tuple[str, ...], ask: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    ask("--out", out)
    ask("--out", out, *words)
    assert len(lines(out)) == 6


def test_a_half_written_line_is_cut_off_and_asked_again(ask: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    ask("--out", out)
    whole = out.read_bytes()
    out.write_bytes(whole[:-40])
    assert "(2 earlier)" in ask("--out", out).stderr
    assert len(lines(out)) == 3


@pytest.mark.parametrize(
    "content",
    [
        b"my notes\n",
        b'{"key": "k", "dataset": "d", "index": "1"}\n',
        b'{"key": "k", "query": "q"}\n',
        b'{"query": "mine"}',
    ],
)
def test_a_file_of_somebody_else_is_not_touched(content: bytes, ask: Any, loopback: Loopback, tmp_path: Path) -> None:
    out = tmp_path / "notes.txt"
    out.write_bytes(content)
    says_one_error(ask("--out", out), 2, "not a result of `jisi ask`; name another file with --out")
    assert (out.read_bytes(), loopback.count()) == (content, 0)


def test_a_file_that_another_run_writes_is_refused(ask: Any, tmp_path: Path) -> None:
    from filelock import lock_descriptor

    out = tmp_path / "a.jsonl"
    with out.open("ab") as file:
        assert lock_descriptor(file.fileno(), blocking=False)
        says_one_error(ask("--out", out), 2, "another `jisi ask` is writing it")


def test_bad_lines_are_told_with_their_number_and_counted(ask: Any, loopback: Loopback, tmp_path: Path) -> None:
    source = tmp_path / "bad.jsonl"
    source.write_text('{"query": "What is 1 plus 1?"}\nnonsense\n{"answer": 3}\n', encoding="utf-8")
    run = ask("--json", source=source)
    assert run.exit_code == 0
    assert ["bad.jsonl:2" in run.warnings[0], "bad.jsonl:3" in run.warnings[1]] == [True, True]
    assert (run.json["questions"], run.json["answered"], run.json["skipped_lines"]) == (1, 1, 2)
    assert [line["query"] for line in run.json["results"]] == ["What is 1 plus 1?"]
    asked = loopback.count()
    says_one_error(ask("--strict", source=source), 2, "bad.jsonl:2", "--strict")
    assert loopback.count() == asked


def test_when_no_question_is_answered_nobody_could(ask: Any, loopback: Loopback) -> None:
    refusing(loopback, "plus")
    run = ask()
    assert (run.exit_code, len(run.stdout.splitlines())) == (4, 3)


def test_a_budget_is_for_all_and_what_it_paid_for_is_kept(ask: Any, loopback: Loopback, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    usage = {"prompt_tokens": 100, "completion_tokens": 500, "total_tokens": 600}
    loopback.script("ada", text="The answer is 9.", usage=usage)
    run = ask("--out", out, "--max-cost", "0.0035", "--concurrency", "1")
    assert run.exit_code == 5
    assert len(run.errors) == 1
    assert 0 < len(lines(out)) < 3
    assert all(line["answer"] for line in lines(out))
    assert ask("--out", out).exit_code == 0
    assert loopback.count() == 3


def test_ctrl_c_keeps_what_is_answered(
    small_bank: Path, pool: Path, questions: Path, loopback: Loopback, tmp_path: Path
) -> None:
    out = tmp_path / "a.jsonl"
    loopback.script("ada", text="The answer is 9.", faults=(None, Fault("hang")))
    common = ("--models", "ada", "--concurrency", "1", "--bank", small_bank, "--config", pool)
    process = start_here("ask", "--input", questions, "--out", out, *common, prepare=unhurried)
    process.until(lambda: loopback.count("ada") == 2)
    run = process.interrupt()
    assert (run.exit_code, len(lines(out))) == (130, 1)
    assert "Traceback" not in run.stderr
    assert "1 of 3 questions answered" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("What?", "--input", "q.jsonl"), "give a question or --input, not both"),
        (("--input", "q.jsonl", "--answers"), "--answers is about one question"),
        (("--input", "q.jsonl", "--explain"), "--explain is about one question"),
        (("--input", "q.jsonl", "--json", "--jsonl"), "give one of them"),
        (("What?", "--out", "a.jsonl"), "--out is about the questions of a file"),
        (("What?", "--strict"), "--strict is about the questions of a file"),
        (("--input", "absent.jsonl"), "absent.jsonl: cannot be read"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: tuple[str, ...], words: str, small_bank: Path, pool: Path
) -> None:
    says_one_error(jisi("ask", *arguments, "--bank", small_bank, "--config", pool), 2, words)


def test_without_a_bank_the_pool_answers_all_the_same(pool: Path, questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    run = jisi("ask", "--input", questions, "--out", out, "--config", pool)
    assert (run.exit_code, len(lines(out))) == (0, 3)
    assert "(3 earlier) · 0 calls" in jisi("ask", "--input", questions, "--out", out, "--config", pool).stderr


# The library.


def test_the_library_yields_each_answer_as_it_ends(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    loopback.script("ada", text="The answer is 9.")
    with library.open(small_bank, pool, models=["ada"]) as opened:
        found = list(library.ask_all(["What is 3 plus 6?", "What is 4 plus 6?"], jisi=opened))
    assert sorted((one.index, one.answer, one.earlier) for one in found) == [
        ("1", "The answer is 9.", False),
        ("2", "The answer is 9.", False),
    ]
    assert isinstance(found[0], Answered)


def test_the_library_refuses_an_empty_question_before_any_call(
    small_bank: Path, pool: Path, loopback: Loopback
) -> None:
    with pytest.raises(InputError, match="questions 2 is empty"):
        list(ask_all(["What?", " "], bank=small_bank, config=pool))
    assert loopback.count() == 0


def test_the_library_stops_with_the_budget(small_bank: Path, pool: Path) -> None:
    with pytest.raises(BudgetError):
        list(ask_all(["What is 3 plus 6?"], bank=small_bank, config=pool, max_cost=1e-9))


def test_who_stops_listening_stops_the_asking(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    with library.open(small_bank, pool, models=["ada"], concurrency=1) as opened:
        found = ask_all([f"What is {n} plus 6?" for n in range(50)], jisi=opened)
        next(found)
        found.close()  # type: ignore[attr-defined]
    assert loopback.count() < 50


def test_what_ends_after_nobody_listens_any_more_is_not_written(
    small_bank: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, ended = threading.Event(), threading.Event()
    lost: list[str] = []

    async def stubborn(jisi: object, question: Question, key: str, *more: object, remember: bool) -> Answered:
        """Answer the first question at once, and the others only after they were cancelled."""
        if question.index != "1":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.to_thread(late.wait, 60)
                ended.set()
        return Answered(key, question.query, question.dataset, question.index, answer="9")

    monkeypatch.setattr("jisi_cli.asking._ask_one", stubborn)
    out = tmp_path / "out.jsonl"
    with library.open(small_bank, pool, models=["ada"], concurrency=2) as opened:
        found = ask_all(["What?", "Why?"], jisi=opened, out=out)
        next(found)
        opened.account.background.run(_told_of(lost))
        found.close()  # type: ignore[attr-defined]
        late.set()
        assert ended.wait(60)
    assert (len(lines(out)), lost) == (1, [])


async def _told_of(lost: list[str]) -> None:
    """Collect what goes wrong in tasks that nobody waits for."""
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(str(context)))


def test_a_map_says_which_columns_hold_the_questions(ask: Any, loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("ada", text="The answer is 9.")
    table = tmp_path / "table.csv"
    table.write_text("nr,frage\nx,What is 3 plus 6?\ny,What is 4 plus 6?\n")
    run = ask("--map", "query=frage,index=nr", source=table)
    assert run.exit_code == 0
    assert [(line["dataset"], line["index"], line["query"]) for line in map(json.loads, run.stdout.splitlines())] == [
        ("table", "x", "What is 3 plus 6?"),
        ("table", "y", "What is 4 plus 6?"),
    ]
    says_one_error(ask("--map", "query=fragen", source=table), 2, "fragen")
    says_one_error(jisi("ask", "Why?", "--map", "query=frage"), 2, "--map is about the questions of a file")
