"""Calls that are out when a run is killed, and calls of runs at the same time: a limit of a day counts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jisi_cli.models.ledger import Ledger, ledger_path
from tests.cli.commands import jisi
from tests.faults.forked import Forked, start_here
from tests.faults.scene import EMBEDDER, write_questions
from tests.loopback import Loopback

WORST = 0.02
"""Dollars of a call at most: 20 tokens of the response, at a tenth of a cent each; prompts are free."""


def pool(folder: Path, server: Loopback, budget: str = "") -> Path:
    path = folder / "jisi.toml"
    path.write_text(
        f"[budget]\n{budget}\n"
        f'[[models]]\nname = "ada"\nlitellm = "openai/ada"\napi_base = "{server.api_base}"\n'
        "price = { input = 0, output = 1000 }\nparams = { max_tokens = 20 }\n"
    )
    return path


def build(folder: Path, config: Path, name: str, *words: str | Path) -> Forked:
    questions = folder / f"{name}.jsonl"
    command = ("bank", "build", questions, "-o", folder / name, "--call", *EMBEDDER, "--config", config, *words)
    return start_here(*command)


def test_the_next_runs_of_a_day_count_what_was_out_when_a_run_was_killed(tmp_path: Path, loopback: Loopback) -> None:
    loopback.script("ada", text="it is {question}")
    loopback.hold_after = 1  # the first call to a model goes out alone
    write_questions(tmp_path / "killed.jsonl", 8)
    killed = build(tmp_path, pool(tmp_path, loopback), "killed", "--concurrency", "4", "--label", "nightly")
    killed.until(lambda: loopback.count() == 5)
    (row,) = jisi("cost", "--json").json["out"]
    assert (row["command"], row["label"], row["is_under_way"]) == ("bank build", "nightly", True)
    killed.kill()
    killed.finish()
    shown = jisi("cost")
    assert "for calls that were out when their run was cut off (bank build, nightly; " in shown.stderr
    (row,) = jisi("cost", "--json").json["out"]
    assert not row["is_under_way"]
    assert 4 * WORST <= row["usd"] <= 8 * WORST
    (spent,) = (row.cost_usd for row in Ledger(ledger_path(), warn=print).rows())
    # Of a day's limit so much is left that one call would fit, but for those.
    loopback.hold_after = None
    limited = pool(tmp_path, loopback, f"max_cost_per_day = {spent + row['usd'] + WORST / 2}")
    next_one = build(tmp_path, limited, "killed").finish()
    assert next_one.exit_code == 5, next_one
    assert "and calls of other runs, under way or cut off, may cost $0." in next_one.errors[0]
    assert loopback.count() == 5
    limited = pool(tmp_path, loopback, f"max_cost_per_day = {spent + row['usd'] + 8 * WORST}")
    last = build(tmp_path, limited, "killed", "--append").finish()
    assert last.exit_code == 0, last


def test_two_runs_at_the_same_time_keep_to_one_limit_of_a_day_together(tmp_path: Path, loopback: Loopback) -> None:
    # Four words and so four tokens each: a fifth of what a call can cost.
    loopback.script("ada", text="it is about so")
    limit = 0.30
    config = pool(tmp_path, loopback, f"max_cost_per_day = {limit}")
    both = []
    for name in ("one", "other"):
        write_questions(tmp_path / f"{name}.jsonl", 100)  # each alone would pass it
        path = tmp_path / f"{name}.jsonl"
        path.write_text(path.read_text().replace("Say number", f"{name}: say number"))
        both.append(build(tmp_path, config, name, "--concurrency", "8"))
    ended = [process.finish() for process in both]
    assert [run.exit_code for run in ended] == [5, 5], ended
    spent = sum(row.cost_usd or 0.0 for row in Ledger(ledger_path(), warn=print).rows())
    assert spent == pytest.approx(0.004 * loopback.count())
    # It stops because no further call fits beside what the other has out, not long before.
    assert limit - 4 * WORST <= spent <= limit
    assert jisi("cost", "--json").json["out"] == []
