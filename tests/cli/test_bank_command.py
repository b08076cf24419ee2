"""`jisi bank build` and `jisi bank inspect` as a user types them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import read_manifest
from jisi_cli.cli.learning_curve import show_curve
from jisi_cli.cli.output import Output
from jisi_cli.evaluation.learning_curve import CurvePoint, Gain, LearningCurve
from jisi_cli.models.ledger import Ledger, ledger_path
from tests.cli.commands import MODELS, Run, jisi, pool_file, recorded_answers, says_one_error, write_lines
from tests.loopback import Fault, Loopback

EMBEDDER = ("--embedder", "hashing:64")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twelve questions with the recorded answers of four models."""
    return write_lines(tmp_path / "answers.jsonl", recorded_answers())


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """Where the bank is to be."""
    return tmp_path / "bank"


def build(*arguments: str | Path) -> Run:
    return jisi("bank", "build", *arguments, *EMBEDDER)


def test_a_build_says_what_it_made_and_that_it_is_small(source: Path, bank: Path) -> None:
    run = build(source, "-o", bank)
    assert (run.exit_code, run.stdout) == (0, "")
    made, small = run.stderr.splitlines()
    assert made == f"{bank}: 12 questions and 48 answers added"
    assert small.startswith(
        "the bank is small, with 12 train questions: to tell two models apart that differ by 5 points"
    )
    assert build(source, "-o", bank, "--force", "--quiet").stderr == ""


def test_a_build_without_scores_says_how_to_get_some(bank: Path, tmp_path: Path) -> None:
    lines = [{key: value for key, value in line.items() if key != "records"} for line in recorded_answers()]
    run = build(write_lines(tmp_path / "unscored.jsonl", lines), "-o", bank)
    assert run.exit_code == 0 and Bank(bank).models == tuple(MODELS)
    (_, words) = run.stderr.splitlines()
    assert words.startswith("no answer has a score yet")
    assert f"jisi bank grade {bank} --grader agreement" in words and f"jisi bank label {bank} --n 12" in words
    assert "48 answers are unscored, 12 of each model" in jisi("bank", "inspect", bank, "--json").json["warnings"]


def test_a_split_that_leaves_no_train_question_is_told(bank: Path, tmp_path: Path) -> None:
    lines = [{**line, "dataset": f"alone {number}"} for number, line in enumerate(recorded_answers())]
    run = build(write_lines(tmp_path / "alone.jsonl", lines), "-o", bank, "--split", "0.7")
    assert run.exit_code == 0 and "the bank has no train question" in run.stderr
    says_one_error(jisi("eval", bank, "--splits", "2"), 2, "a split of 0.7 leaves no train question", "fewer than 2")


def test_json_says_the_same_as_data(source: Path, bank: Path) -> None:
    found = build(source, "-o", bank, "--json").json
    assert found == {
        "bank": str(bank),
        "questions_added": 12,
        "answers_added": dict.fromkeys(MODELS, 12),
        "answers_known": 0,
        "texts_embedded": 60,
        "texts_truncated": 0,
        "questions": 12,
        "models": list(MODELS),
        "embedder": read_manifest(bank).embedder.to_json(),
    }
    found = build(source, "-o", bank, "--append", "--json").json
    assert (found["questions_added"], found["answers_added"], found["answers_known"]) == (0, {}, 48)


def test_the_sources_and_the_split_are_recorded(source: Path, bank: Path) -> None:
    build(source, "-o", bank, "--split", "0.7", "--seed", "7")
    manifest = read_manifest(bank)
    (recorded,) = manifest.sources
    assert (recorded.name, recorded.format, recorded.records) == ("answers.jsonl", "jisi", 48)
    assert manifest.split is not None
    assert (manifest.split.fraction, manifest.split.seed) == (0.7, 7)
    assert (len(Bank(bank).train_rows), len(Bank(bank).test_rows)) == (8, 4)


def test_models_datasets_and_limit_choose_what_enters(source: Path, bank: Path) -> None:
    build(source, "-o", bank, "--models", "dee,ada", "--datasets", "sums", "--limit", "4")
    found = Bank(bank)
    assert found.models == ("ada", "dee")
    assert [question.key for question in found.questions] == [("sums", str(number)) for number in (0, 2, 4, 6)]


def test_several_sources_in_any_order_make_one_bank(tmp_path: Path) -> None:
    lines = recorded_answers()
    one = write_lines(tmp_path / "one.jsonl", lines[:5])
    two = write_lines(tmp_path / "two.jsonl", lines[5:][::-1])
    build(one, two, "-o", tmp_path / "a")
    build(two, one, "-o", tmp_path / "b")
    ours, theirs = (sorted((tmp_path / name).rglob("*.parquet")) for name in "ab")
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]


def test_append_adds_a_model_and_questions(source: Path, bank: Path, tmp_path: Path) -> None:
    build(source, "-o", bank)
    more = write_lines(tmp_path / "more.jsonl", recorded_answers({"eve": 5}, questions=14))
    run = build(more, "-o", bank, "--append")
    assert run.stderr.startswith(
        f"{bank}: 2 questions and 14 answers added\nthe bank is small, with 14 train questions"
    )
    assert Bank(bank).models == (*MODELS, "eve")
    assert jisi("bank", "build", more, "-o", bank, "--append").exit_code == 0  # no --embedder: the bank's own
    run = jisi("bank", "build", more, "-o", bank, "--append", "--embedder", "hashing:32")
    says_one_error(run, 3, "hashing:64", "hashing:32")


def test_strict_stops_at_the_first_line_that_cannot_be_used(source: Path, bank: Path) -> None:
    source.write_text(source.read_text() + '{"query": "x", "records": {"ada": 7}}\n')
    says_one_error(build(source, "-o", bank, "--strict"), 2, f"{source}:13", "between 0 and 1")
    assert not bank.exists()
    run = build(source, "-o", bank)
    assert (run.exit_code, len(run.warnings)) == (0, 1)


def test_records_that_contradict_each_other_are_left_out_and_told(source: Path, bank: Path, tmp_path: Path) -> None:
    other = write_lines(tmp_path / "other.jsonl", [{**recorded_answers()[0], "query": "Another text?"}])
    run = build(source, other, "-o", bank)
    assert run.exit_code == 0
    assert len(run.warnings) == 4
    assert all("sums/0" in warning for warning in run.warnings)


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_that_the_split_cannot_take_is_refused(source: Path, bank: Path, seed: str) -> None:
    says_one_error(build(source, "-o", bank, "--split", "0.7", "--seed", seed), 2, "--seed")


def test_inspect_shows_models_by_datasets(small_bank: Path) -> None:
    run = jisi("bank", "inspect", small_bank)
    assert run.exit_code == 0
    lines = run.stdout.splitlines()
    assert lines[0] == f"{small_bank}: 12 questions (12 train, 0 test), 4 models"
    assert "hashing:64" in lines[1]
    table = {line.split("  ")[0]: line.split() for line in lines}
    assert table["ada"][:5] == ["ada", "100.00", "100.00", "100.00", "12"]
    assert table["bob"][1:4] == ["66.67", "83.33", "75.00"]
    assert table["oracle"][1:4] == ["100.00", "100.00", "100.00"]
    assert table["questions"][1:3] == ["6", "6"]
    assert any("hashing embedder" in warning for warning in run.warnings)


def test_inspect_json_holds_everything(small_bank: Path) -> None:
    found = jisi("bank", "inspect", small_bank, "--json", "--n-base", "5").json
    assert found["best_single"] == "ada"
    assert found["best_per_dataset"] == {"capitals": "ada", "sums": "ada"}
    assert found["datasets"] == {"capitals": {"train": 6, "test": 0}, "sums": {"train": 6, "test": 0}}
    assert found["hyperparameters"]["n_base"] == 5
    assert [summary["model"] for summary in found["models"]] == list(MODELS)
    assert found["models"][0]["cost_usd"] == pytest.approx(12e-6)
    assert {"sampled", "train", "quantiles", "histogram", "whole_bank"} == set(found["support"])
    assert found["warnings"]


def test_inspect_shows_gaps_as_dashes(tmp_path: Path) -> None:
    lines = recorded_answers({"ada": 3, "bob": 2}, questions=4)
    for line in lines:
        if line["dataset"] == "capitals":
            line["records"] = dict.fromkeys(line["records"])
    build(write_lines(tmp_path / "a.jsonl", lines), "-o", tmp_path / "bank")
    run = jisi("bank", "inspect", tmp_path / "bank")
    table = {line.split("  ")[0]: line.split() for line in run.stdout.splitlines()}
    assert table["ada"][1] == table["best per dataset"][3] == table["oracle"][1] == "–"


QUESTIONS = [
    {
        "query": f"What is {number} plus {number}?",
        "gt": str(2 * number),
        "dataset": "sums",
        "index": number,
        "grader": "numeric",
    }
    for number in range(6)
]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Six questions that can be graded."""
    return write_lines(tmp_path / "questions.jsonl", QUESTIONS)


def doubled(messages: list[dict[str, Any]]) -> str:
    """Answer the questions rightly."""
    return f"The answer is {2 * int(str(messages[-1]['content']).split()[2])}."


@pytest.fixture
def two_models(tmp_path: Path, loopback: Loopback) -> Path:
    """A pool of one model that is right and one that says 4 to everything."""
    loopback.script("right", text=doubled)
    loopback.script("four", text="The answer is 4.")
    return pool_file(tmp_path / "pool.toml", loopback, ["right", "four"])


def test_call_asks_every_model_every_question_and_grades(
    questions: Path, two_models: Path, bank: Path, loopback: Loopback
) -> None:
    run = build(questions, "-o", bank, "--call", "--config", two_models)
    assert run.exit_code == 0, run
    assert loopback.count() == 12
    found = Bank(bank)
    assert found.models == ("four", "right")
    assert found.answers("right").scores.tolist() == [1, 1, 1, 1, 1, 1]
    assert found.answers("four").scores.tolist() == [0, 0, 1, 0, 0, 0]
    assert found.answers("four").status.tolist() == ["ok"] * 6
    assert "12 answers (0 cached) for $" in run.stderr
    assert found.responses("right")[3] == "The answer is 6."
    assert found.answers("right").completion_tokens.tolist() == [4] * 6
    rows = list(Ledger(ledger_path(), warn=pytest.fail).rows())
    assert {(row.command, row.role) for row in rows} == {("bank build", "expert")}


def test_an_answer_that_cannot_be_read_is_unscored_and_said_to_be(
    two_models: Path, bank: Path, loopback: Loopback, tmp_path: Path
) -> None:
    loopback.script("right", text="A")
    loopback.script("four", text="A or B")
    rows = [{"query": f"Is it {n}? (A) yes (B) no", "gt": "A", "grader": "choice", "index": n} for n in range(2)]
    run = build(write_lines(tmp_path / "choices.jsonl", rows), "-o", bank, "--call", "--config", two_models)
    assert run.exit_code == 0, run
    assert Bank(bank).answers("right").scores.tolist() == [1, 1]
    assert Bank(bank).answers("four").status.tolist() == ["unscored"] * 2
    assert "2 responses unscored by choice: no final answer could be read" in run.stderr
    assert run.stderr.count("unscored") == 1


def test_a_build_that_is_run_again_pays_for_nothing_twice(
    questions: Path, two_models: Path, bank: Path, loopback: Loopback
) -> None:
    build(questions, "-o", bank, "--call", "--config", two_models)
    run = build(questions, "-o", bank, "--call", "--force", "--config", two_models)
    assert (run.exit_code, loopback.count()) == (0, 12)
    assert "(12 cached) for $0" in run.stderr


def test_append_and_call_ask_only_what_the_bank_lacks(
    questions: Path, two_models: Path, bank: Path, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(questions, "-o", bank, "--call", "--config", two_models, "--models", "four")
    assert (loopback.count("four"), loopback.count("right")) == (6, 0)
    monkeypatch.setenv("JISI_CACHE_HOME", str(tmp_path / "empty-cache"))
    another = {"query": "What is 9 plus 9?", "gt": "18", "grader": "numeric", "dataset": "sums", "index": 9}
    more = write_lines(tmp_path / "more.jsonl", [*QUESTIONS, another])
    run = build(more, "-o", bank, "--call", "--append", "--config", two_models)
    assert run.exit_code == 0
    assert (loopback.count("four"), loopback.count("right")) == (7, 7)
    assert len(Bank(bank).questions) == 7


def test_a_failed_answer_is_asked_again_only_when_told(
    questions: Path, two_models: Path, bank: Path, loopback: Loopback
) -> None:
    loopback.script("four", text="The answer is 4.", faults=[Fault("status", status=400, message="not today")])
    run = build(questions, "-o", bank, "--call", "--config", two_models)
    assert run.exit_code == 0
    assert run.warnings == ["warning: 1 answer failed: HTTP 400: not today"]
    assert Bank(bank).answers("four").status.tolist().count("failed") == 1
    asked = loopback.count()
    build(questions, "-o", bank, "--call", "--append", "--config", two_models)
    assert loopback.count() == asked
    run = build(questions, "-o", bank, "--call", "--append", "--retry-failed", "--config", two_models)
    assert (run.exit_code, loopback.count()) == (0, asked + 1)
    assert "failed" not in Bank(bank).answers("four").status.tolist()


def test_save_answers_writes_what_a_build_without_calls_reads(
    questions: Path, two_models: Path, bank: Path, loopback: Loopback, tmp_path: Path
) -> None:
    loopback.script("four", text="The answer is 4.", faults=[Fault("status", status=400, message="not today")])
    saved = tmp_path / "saved.jsonl"
    build(questions, "-o", bank, "--call", "--save-answers", saved, "--config", two_models)
    assert [json.loads(line)["query"] for line in saved.read_text().splitlines()] == [q["query"] for q in QUESTIONS]
    asked = loopback.count()
    again = tmp_path / "again"
    assert build(saved, "-o", again).exit_code == 0
    assert loopback.count() == asked
    for part in sorted(path.relative_to(bank) for path in bank.rglob("*.parquet")):
        assert (again / part).read_bytes() == (bank / part).read_bytes(), part


def test_a_budget_ends_the_calls_keeps_what_was_paid_for_and_exits_with_5(
    questions: Path, two_models: Path, bank: Path, loopback: Loopback
) -> None:
    """A call may cost 2000 millionths of a dollar and a little; each costs about 13."""
    run = build(questions, "-o", bank, "--call", "--config", two_models, "--max-cost", "0.00205")
    assert run.exit_code == 5
    assert len(run.errors) == 1
    assert "--append --call" in run.errors[0]
    assert 1 <= loopback.count() < 12
    held = sum((Bank(bank).answers(model).status != "missing").sum() for model in Bank(bank).models)
    assert held == loopback.count()
    run = build(questions, "-o", bank, "--call", "--append", "--config", two_models)
    assert (run.exit_code, loopback.count()) == (0, 12)


def test_a_budget_too_small_for_any_call_builds_nothing(
    questions: Path, two_models: Path, bank: Path, loopback: Loopback
) -> None:
    run = build(questions, "-o", bank, "--call", "--config", two_models, "--max-cost", "0.0001")
    assert (run.exit_code, len(run.errors), loopback.count()) == (5, 1, 0)
    assert not (bank / "bank.json").exists()


def test_when_nobody_answers_no_bank_is_built(
    questions: Path, two_models: Path, bank: Path, loopback: Loopback
) -> None:
    for model in ("right", "four"):
        loopback.script(model, every=1, every_fault=Fault("status", status=401, message="who are you?"))
    run = build(questions, "-o", bank, "--call", "--config", two_models)
    assert (run.exit_code, len(run.errors), loopback.count()) == (4, 1, 2)
    # The calls end in any order, and with them their failures are told.
    for model, warning in zip(("four", "right"), sorted(run.warnings), strict=True):
        words = f"warning: {model} is not asked again in this run: HTTP 401: who are you?; no key was sent there"
        assert warning.startswith(words)
        assert f'api_key_env = "…" for `{model}`' in warning
    assert not (bank / "bank.json").exists()


def test_without_a_key_the_offline_pool_is_offered(questions: Path, bank: Path, tmp_path: Path) -> None:
    config = tmp_path / "jisi.toml"
    config.write_text('[[models]]\nname = "ada"\nlitellm = "openai/gpt-4o-mini"\n')
    run = build(questions, "-o", bank, "--call", "--config", config)
    assert (run.exit_code, len(run.errors)) == (4, 1)
    assert "OPENAI_API_KEY" in run.warnings[0]
    assert "jisi demo" in run.errors[0]


def test_what_cannot_be_embedded_is_told_before_anything_is_paid(
    questions: Path, two_models: Path, bank: Path, loopback: Loopback
) -> None:
    run = jisi("bank", "build", questions, "-o", bank, "--call", "--config", two_models, "--embedder", "./nowhere")
    says_one_error(run, 2, "./nowhere")
    build(questions, "-o", bank, "--call", "--config", two_models)
    asked = loopback.count()
    more = ("bank", "build", questions, "-o", bank, "--call", "--append", "--config", two_models)
    says_one_error(jisi(*more, "--embedder", "hashing:32"), 3, "hashing:64", "hashing:32")
    assert loopback.count() == asked


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"query": "x?", "gt": "1", "grader": "no-such-grader"}, "no-such-grader"),
        ({"query": "x?", "grader": "numeric"}, "needs a reference"),
    ],
)
def test_a_question_that_cannot_be_graded_as_it_says_is_told_before_anything_is_paid(
    line: dict[str, str], words: str, two_models: Path, bank: Path, loopback: Loopback, tmp_path: Path
) -> None:
    source = write_lines(tmp_path / "odd.jsonl", [line])
    says_one_error(build(source, "-o", bank, "--call", "--config", two_models), 2, words)
    assert loopback.count() == 0


def test_questions_without_answers_need_call(questions: Path, bank: Path) -> None:
    says_one_error(build(questions, "-o", bank), 2, "--call")


def test_calls_are_made_at_the_same_time_within_the_limit(
    questions: Path, two_models: Path, bank: Path, loopback: Loopback
) -> None:
    for model in ("right", "four"):
        loopback.script(model, text="The answer is 4.", delay=0.5)  # of each model the first call goes alone
    build(questions, "-o", bank, "--call", "--config", two_models, "--concurrency", "3")
    assert loopback.most_at_once == 3


def test_inspect_says_how_many_questions_would_be_enough(small_bank: Path) -> None:
    run = jisi("bank", "inspect", small_bank)
    found = jisi("bank", "inspect", small_bank, "--json").json
    five, two = found["resolution"]["enough"]
    assert (five["difference"], two["difference"]) == (0.05, 0.02)
    assert f"that differ by 5 points takes about {five['questions']:,} questions" in run.stdout
    assert "curve" not in found


def test_inspect_shows_the_learning_curve_that_is_asked_for(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers(questions=60))
    built = jisi("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "hashing:64")
    assert "the bank is small, with 60 train questions: to tell two models apart" in built.stderr
    assert "--prior 10" in built.stderr
    curve = jisi("bank", "inspect", tmp_path / "bank", "--curve", "--prior", "5", "--json").json["curve"]
    assert [point["questions"] for point in curve["points"]] == [25, 48]
    assert (curve["settings"]["prior"], curve["draws"]) == (5, 10)
    shown = jisi("bank", "inspect", tmp_path / "bank", "--curve").stdout
    assert "95 % interval" in shown
    assert re.search(r"from 25 to 48 questions the vote (gained|lost) \d+\.\d\d points", shown)
    told = jisi("bank", "inspect", tmp_path / "bank").stderr
    assert "--curve measures what a vote gains with fewer questions" in told


@pytest.mark.parametrize(("gain", "words"), [(-0.0195, "lost 1.95 points"), (0.0195, "gained 1.95 points")])
def test_a_curve_that_falls_is_said_to_lose(gain: float, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    points = tuple(CurvePoint(size, 0.5, 0.4, Gain(0.1, 0.0, 0.2)) for size in (25, 50))
    settings = {"k": 3, "n_base": 50, "gamma": 0.95, "prior": 0.0}
    show_curve(LearningCurve("jisi-vote", settings, 10, points, Gain(gain, gain - 0.01, gain + 0.01)), Output())
    assert f"the vote {words} (interval of the gain [{100 * gain - 1:+.2f}, {100 * gain + 1:+.2f}])" in (
        capsys.readouterr().out
    )


def test_a_bank_too_small_for_a_curve_says_so(small_bank: Path) -> None:
    run = jisi("bank", "inspect", small_bank, "--curve", "--json")
    assert "curve" not in run.json
    assert "--curve measures" not in jisi("bank", "inspect", small_bank).stderr
    assert run.warnings[-1] == "warning: a learning curve needs 20 train questions; the bank has 12"


def test_inspect_takes_a_pool_file_with_settings_of_the_cascade(small_bank: Path, tmp_path: Path) -> None:
    config = tmp_path / "jisi.toml"
    config.write_text("[routing]\ntau = 0.9\nn_base = 7\n")
    run = jisi("bank", "inspect", small_bank, "--config", config, "--json")
    assert run.json["hyperparameters"]["n_base"] == 7
