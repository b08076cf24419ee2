"""`jisi ask --method`: any method answers a question, as a user meets it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.methods.registry import all_methods
from tests.cli.commands import MODELS, Run, jisi, says_one_error
from tests.loopback import Loopback

QUESTION = "What is 3 plus 6?"


@pytest.fixture
def ask(small_bank: Path, pool: Path) -> Any:
    def run(*arguments: str) -> Run:
        return jisi("ask", QUESTION, *arguments, "--bank", small_bank, "--config", pool)

    return run


def test_a_mixture_answers_and_its_footer_names_whom_it_aggregated(ask: Any) -> None:
    run = ask("--method", "moa", "--explain")
    assert (run.exit_code, run.stdout) == (0, "ada says so\n")
    reason, steps, footer = run.stderr.splitlines()
    assert reason == "aggregate: it wrote with 3 responses as references"
    assert re.match(r"steps: embed ", steps)
    assert re.match(r"ada aggregated ada, bob, cyd · 4 calls · ", footer)


def test_the_json_of_a_method_without_a_decision_is_complete(ask: Any) -> None:
    data = ask("--method", "majority-voting:top=2", "--json").json
    assert (data["method"], data["mode"], data["model"], data["answer"]) == (
        "majority-voting:top=2",
        "consensus",
        "ada",
        "ada says so",
    )
    assert [call["role"] for call in data["calls"]] == ["expert", "expert"]
    assert data["decision"] is None and data["settings"] == {"top": 2}
    assert data["cost_usd"] > 0


def test_a_streamed_answer_is_written_once(ask: Any) -> None:
    for method in ("moa", "agent-forest", "smacs"):
        assert re.fullmatch(r"\w+ says so\n", ask("--method", method, "--stream").stdout)


def test_sampling_options_hold_for_a_method_and_its_own_temperature_without_them(ask: Any, loopback: Loopback) -> None:
    ask("--method", "self-consistency")
    assert {request.body["temperature"] for request in loopback.requests} == {0.7}
    asked = loopback.count()
    assert asked == 4
    ask("--method", "self-consistency", "--temperature", "0.9", "--no-cache")
    assert {request.body["temperature"] for request in loopback.requests[asked:]} == {0.9}


def test_samples_are_cached_each_for_itself(ask: Any, loopback: Loopback) -> None:
    ask("--method", "self-consistency")
    run = ask("--method", "self-consistency")
    assert loopback.count() == 4
    assert "4 calls (4 cached)" in run.stderr
    ask("--method", "self-consistency:samples=6")
    assert loopback.count() == 6


def test_another_of_jisis_methods_keeps_its_decision_and_heeds_its_settings(ask: Any) -> None:
    data = ask("--method", "jisi-router", "--k", "2", "--json").json
    assert (data["mode"], len(data["calls"]), data["settings"]["k"]) == ("route", 2, 2)
    assert data["decision"] is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "nonsense"], ["no method is called `nonsense`", "moa"]),
        (["--method", "moa:layer=2"], ["no setting `layer=2`", "layers=1"]),
        (["--method", "moa", "--mode", "route"], ["--mode and --aggregate are JiSi's", "--method moa"]),
        (["--method", "jisi-router", "--aggregate", "never"], ["--mode and --aggregate are JiSi's"]),
        (["--method", "moa", "--n-base", "9"], ["--n-base is JiSi's", "--method moa"]),
        (["--method", "oracle"], ["for `jisi eval` alone"]),
        (["--method", "best-per-dataset-oracle"], ["for `jisi eval` alone"]),
        (["--method", "model:zoe"], ["the bank has no such model", ", ".join(MODELS)]),
    ],
)
def test_what_a_method_cannot_heed_is_refused(
    ask: Any, loopback: Loopback, arguments: list[str], words: list[str]
) -> None:
    says_one_error(ask(*arguments), 2, *words)
    assert loopback.count() == 0


def test_every_multi_agent_method_answers_a_question(ask: Any) -> None:
    agents = [name for name, info in all_methods().items() if ".ensembles." in info.made_by.__module__]
    assert len(agents) == 11
    for name in agents:
        run = ask("--method", name)
        assert run.exit_code == 0, run
        assert run.stdout.endswith(" says so\n")
