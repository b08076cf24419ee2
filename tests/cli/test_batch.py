"""`--batch` of the command line: what it costs beforehand, what a later run goes on with, and what it refuses."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jisi_cli.models.batch.batches import Polling
from jisi_cli.models.batch.journal import BatchJournal, journal_folder
from jisi_cli.models.ledger import Ledger, ledger_path
from tests.bank.making import data_of
from tests.cli.commands import jisi, pool_file, says_one_error
from tests.cli.evaluation_data import SKILL, build
from tests.cli.test_eval_live import by_name, lines, live, questions
from tests.faults import afflictions
from tests.faults.forked import start
from tests.loopback import Fault, Loopback

MODELS = tuple(SKILL)


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look every few hundredths of a second how far a batch is; of itself jisi waits for seconds, and then longer."""
    monkeypatch.setattr(Polling, "pause", lambda polling, number: 0.02)


def at_once_and_unhurried() -> None:
    """The same, and an ending in order, for a process."""
    afflictions.looks_at_once()
    afflictions.unhurried()


@pytest.fixture
def pool(tmp_path: Path, loopback: Loopback) -> Path:
    """Three models at half price by batch; the question is a number, which ada and bob repeat and cyd does not."""
    loopback.script("ada", "The answer is {question}")
    loopback.script("bob", "I think so too. The answer is {question}")
    loopback.script("cyd", "The answer is 1{question}")
    path = pool_file(tmp_path / "jisi.toml", loopback, MODELS)
    path.write_text(
        path.read_text().replace("output = 2", "output = 2, batch = 0.5").replace("retries = 0", "retries = 2")
    )
    return path


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text(lines(questions(4)))
    return path


def collect(asked: Path, pool: Path, bank: Path, *arguments: str | Path) -> object:
    return jisi("bank", "build", asked, "-o", bank, "--call", "--config", pool, "--embedder", "hashing:16", *arguments)


def paid() -> float:
    return sum(row.cost_usd or 0.0 for row in Ledger(ledger_path(), warn=print).rows())


def test_a_bank_by_batch_is_that_of_live_calls_at_half_the_bill(
    pool: Path, asked: Path, loopback: Loopback, tmp_path: Path
) -> None:
    expected = collect(asked, pool, tmp_path / "bank", "--batch", "--dry-run", "--json").json["total"]
    assert expected["batch_cost_usd"] == pytest.approx(expected["cost_usd"] / 2)
    run = collect(asked, pool, tmp_path / "bank", "--batch")
    assert run.exit_code == 0, run
    assert loopback.count() == 0
    by_batch = paid()
    assert "12 answers (0 cached)" in run.stderr
    again = collect(asked, pool, tmp_path / "live")
    assert again.exit_code == 0, again
    assert "12 answers (12 cached)" in again.stderr
    assert data_of(tmp_path / "bank") == data_of(tmp_path / "live")
    rows = list(Ledger(ledger_path(), warn=print).rows())
    assert by_batch == pytest.approx(sum(row.list_cost_usd for row in rows if not row.cached) / 2)


def test_ctrl_c_leaves_a_batch_to_the_provider_and_the_same_command_goes_on(
    pool: Path, asked: Path, loopback: Loopback, tmp_path: Path
) -> None:
    command = ("bank", "build", asked, "-o", tmp_path / "bank", "--call", "--batch", "--config", pool)
    command = (*command, "--embedder", "hashing:16", "--models", "ada")
    loopback.batches.held = {"GET batches/id"}
    process = start(tmp_path, *command, prepare=at_once_and_unhurried)
    while process.poll() is None and not loopback.batches.reached.wait(0.05):
        pass
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert "4 requests keep running at the provider; run the same command again to wait" in said
    loopback.batches.held = set()
    process = start(tmp_path, *command, prepare=at_once_and_unhurried)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "4 requests under way at 127.0.0.1 since" in said
    assert list(loopback.batches.asked().values()) == [1] * 4


def test_live_calls_are_not_asked_again_by_batch(pool: Path, asked: Path, loopback: Loopback, tmp_path: Path) -> None:
    assert collect(asked, pool, tmp_path / "live").exit_code == 0
    assert collect(asked, pool, tmp_path / "bank", "--batch").exit_code == 0
    assert loopback.batches.batches == []


def test_live_calls_for_what_a_batch_is_under_way_for_are_warned_of(
    pool: Path, asked: Path, loopback: Loopback, tmp_path: Path
) -> None:
    loopback.batches.refused = {"GET batches/id"}
    left = collect(asked, pool, tmp_path / "bank", "--batch")
    assert left.exit_code == 4, left
    live = collect(asked, pool, tmp_path / "live", "--models", "ada")
    assert (live.exit_code, loopback.count()) == (0, 4)
    assert "warning: 4 answers will be paid for twice" in live.stderr
    again = collect(asked, pool, tmp_path / "again", "--models", "ada")
    assert "paid for twice" not in again.stderr, "they are cached"


def test_a_budget_stops_with_what_it_allowed_in_the_bank(pool: Path, asked: Path, tmp_path: Path) -> None:
    run = collect(asked, pool, tmp_path / "bank", "--batch", "--max-cost", "0.0000001")
    assert run.exit_code == 5
    assert "are left; raise --max-cost" in run.errors[0]
    assert not (tmp_path / "bank" / "bank.json").exists()


def test_what_batches_under_way_may_cost_counts_as_spent_today(pool: Path, asked: Path, tmp_path: Path) -> None:
    journal = BatchJournal(journal_folder())
    journal.about_to_submit("0" * 32, "openai/ada", "c" * 64, 1, {"another's key": 2.0})
    pool.write_text(pool.read_text().replace("max_retries", "max_cost_per_day = 2.0\nmax_retries"))
    run = collect(asked, pool, tmp_path / "bank")
    assert run.exit_code == 5
    assert "batches under way may cost $2.00" in run.stderr
    journal.settle("0" * 32, ["another's key"])
    assert journal.promised_usd(datetime.now(UTC)) == 0.0
    assert collect(asked, pool, tmp_path / "bank").exit_code == 0


def test_a_batch_that_every_provider_refuses_makes_no_bank(
    pool: Path, asked: Path, loopback: Loopback, tmp_path: Path
) -> None:
    loopback.batches.ends = ["failed"] * 3
    run = collect(asked, pool, tmp_path / "bank", "--batch")
    assert run.exit_code == 4
    assert sum("was refused: the file is not one of ours" in line for line in run.warnings) == 3
    assert not (tmp_path / "bank" / "bank.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bank", "build", "x.jsonl", "-o", "b", "--batch"), "add --call"),
        (("eval", "--batch"), "add --live"),
    ],
)
def test_it_is_refused_where_no_model_is_asked(arguments: tuple[str, ...], words: str) -> None:
    says_one_error(jisi(*arguments), 2, words)


def test_answers_that_are_not_to_be_kept_are_not_asked_by_batch(pool: Path, asked: Path, tmp_path: Path) -> None:
    run = collect(asked, pool, tmp_path / "bank", "--batch", "--no-store")
    says_one_error(run, 2, "leave --no-store")


def test_a_live_evaluation_by_batch_is_one_without(loopback: Loopback, pool: Path, tmp_path: Path) -> None:
    bank = build(tmp_path)
    loopback.script("bob", "I think so too. The answer is {question}", every=5, every_fault=Fault("status", status=500))
    options = ("--method", "best-single,jisi-vote,jisi,model:cyd", "--out", tmp_path / "r.jsonl")
    run = live(bank, pool, *options, "--batch", stdin=lines(questions(6)))
    by_batch = by_name(run)
    assert loopback.count() == 0, "no call was made live"
    assert set(loopback.batches.asked().values()) <= {1, 2}
    bill = paid()
    (tmp_path / "r.jsonl").unlink()
    without = by_name(live(bank, pool, *options, stdin=lines(questions(6))))
    assert loopback.count() == 0, "all of it was cached"
    assert paid() == bill
    for name, method in by_batch.items():
        assert method["averages"] == without[name]["averages"], name
    rows = [row for row in Ledger(ledger_path(), warn=print).rows() if not row.cached and row.error is None]
    assert bill == pytest.approx(sum(row.list_cost_usd for row in rows) / 2)
    assert len({(row.model, row.query_hash, row.role) for row in rows}) <= len(rows)


def test_a_provider_that_no_longer_says_ends_an_evaluation_and_the_same_command_goes_on(
    loopback: Loopback, pool: Path, tmp_path: Path
) -> None:
    bank, asked = build(tmp_path), lines(questions(3))
    loopback.batches.refused.add("GET batches/id")
    run = live(bank, pool, "--method", "model:ada", "--batch", stdin=asked)
    assert run.exit_code == 4
    assert "does not say how batch_1 is doing: HTTP 403: not yours" in run.errors[0]
    loopback.batches.refused.clear()
    assert by_name(live(bank, pool, "--method", "model:ada", "--batch", stdin=asked))
    assert list(loopback.batches.asked().values()) == [1] * 3


def test_the_journal_holds_no_question_and_no_key(
    pool: Path, asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", "sk-a-secret-of-the-lab")
    pool.write_text(pool.read_text().replace('name = "ada"', 'name = "ada"\napi_key_env = "LAB_KEY"'))
    asked.write_text(json.dumps({"query": "a question of mine", "gt": "1", "grader": "numeric"}) + "\n")
    assert collect(asked, pool, tmp_path / "bank", "--batch").exit_code == 0
    written = b"".join(path.read_bytes() for path in journal_folder().iterdir())
    assert b"openai/ada" in written
    assert b"question of mine" not in written
    assert b"a-secret" not in written
