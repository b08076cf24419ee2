"""Every part of an answer failing, alone and with every other: what still works works, and the result says the rest."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.models.ledger import Ledger, LedgerEntry, ledger_path
from tests.cli.commands import Run, jisi, recorded_answers, write_lines
from tests.faults.scene import write_pool, write_questions
from tests.loopback import Fault, Loopback

MODELS = ("ada", "bob", "cyd")
PARTS = ("embedder", "cache", "ledger", "candidate", "aggregator", "judge")
REFUSED = Fault("status", status=400, message="not today")

ROUTING = ("--models", ",".join(MODELS), "--n-base", "1", "--gamma", "1", "--t", "0")
"""The nearest question alone decides, which all models answered rightly: they rank as they stand in the bank."""

PAIRS = [(), *((part,) for part in PARTS), *combinations(PARTS, 2)]


def name(broken: tuple[str, ...]) -> str:
    return "+".join(broken) or "nothing"


def refuse_to_aggregate(messages: list[dict[str, Any]]) -> Fault | None:
    return REFUSED if any("<response-" in message["content"] for message in messages) else None


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loopback, Path]]:
    """A bank whose embedder is an endpoint."""
    folder = tmp_path_factory.mktemp("degradation")
    with Loopback() as server:
        server.script("emb", width=16)
        write_pool(folder / "jisi.toml", server, MODELS, budget="max_retries = 0")
        with (folder / "jisi.toml").open("a") as file:
            file.write(f'[[models]]\nname = "judge"\nlitellm = "openai/judge"\napi_base = "{server.api_base}"\n')
            file.write(f'[embedder]\nname = "litellm:openai/emb"\napi_base = "{server.api_base}"\n')
        answers = write_lines(folder / "answers.jsonl", recorded_answers(dict.fromkeys(MODELS, 12)))
        write_questions(folder / "questions.jsonl", 2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JISI_CACHE_HOME", str(folder / "cache"))
            patch.setenv("JISI_DATA_HOME", str(folder / "data"))
            run = jisi("bank", "build", answers, "-o", folder / "bank", "--config", folder / "jisi.toml")
        assert run.exit_code == 0, run
        yield server, folder


class Scene:
    """The pool with some parts broken; `ada` ranks first and aggregates, `cyd` is the candidate that dies."""

    def __init__(self, server: Loopback, folder: Path, tmp_path: Path, broken: tuple[str, ...]) -> None:
        self.server, self.broken, self.cache = server, broken, tmp_path / "jisi_cache"
        failing = {"candidate": "cyd", "aggregator": "ada", "judge": "judge"}
        self.dead = {model for part, model in failing.items() if part in broken}
        self.common = ("--bank", folder / "bank", "--config", folder / "jisi.toml", "--json")
        self.questions = folder / "questions.jsonl"
        for model in MODELS:
            server.script(model, "{model} says {question}")
        server.script("emb", width=16)
        server.script("judge", "Verdict: right")
        if "embedder" in broken:
            server.script("emb", every=1, every_fault=Fault("no_choices"))
        if "candidate" in broken:
            server.script("cyd", every=1, every_fault=REFUSED)
        if "aggregator" in broken:
            server.script("ada", "{model} says {question}", fails=refuse_to_aggregate)
        if "judge" in broken:
            server.script("judge", every=1, every_fault=REFUSED)
        for part, home in (("cache", "jisi_cache"), ("ledger", "jisi_data")):
            if part in broken:
                (tmp_path / home).write_text("a file is in the way")
        server.requests.clear()

    def warned(self, run: Run, words: str) -> bool:
        return any(words in line for line in run.warnings)

    def check_words(self, run: Run) -> None:
        """Check that a run names what was missing, and nothing else."""
        assert "Traceback" not in run.stderr
        assert self.warned(run, "no cache at") == ("cache" in self.broken)
        assert self.warned(run, "the ledger at") == ("ledger" in self.broken)


@pytest.fixture
def scene(
    built: tuple[Loopback, Path], tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    monkeypatch.setenv("OPENAI_API_KEY", "named-by-the-pool-file")
    return Scene(*built, tmp_path, request.param)


@pytest.mark.parametrize("scene", [pair for pair in PAIRS if "judge" not in pair], ids=name, indirect=True)
def test_a_question_is_answered_whatever_part_fails(scene: Scene) -> None:
    run = jisi("ask", "What is 3 plus 6?", *scene.common, *ROUTING)
    assert run.exit_code == 0, run
    found = run.json
    scene.check_words(run)
    # Who was asked and failed is named by the result and by a warning each.
    failed = {call["model"] for call in found["calls"] if call["error"]}
    assert failed == {model for model in MODELS if scene.warned(run, f"{model} did not answer: HTTP 400: not today")}
    if "embedder" in scene.broken:
        assert (found["mode"], found["model"], failed) == ("fallback", "ada", set())
        assert "asked without routing" in found["missing"][0]
        assert scene.warned(run, found["missing"][0])
    else:
        dead = {"candidate": "cyd", "aggregator": "ada"}
        assert failed == {model for part, model in dead.items() if part in scene.broken}
        writer = next(model for model in MODELS if model not in failed)
        assert (found["mode"], found["model"], found["missing"]) == ("aggregate", writer, [])
        written = {row["model"] for row in found["decision"]["aggregatees"]}
        assert written == set(MODELS) - ({"cyd"} & failed)
    if "ledger" not in scene.broken:
        assert sum(row.role != "embedding" for row in book()) == len(found["calls"])


@pytest.mark.parametrize("scene", PAIRS, ids=name, indirect=True)
def test_an_evaluation_is_right_or_says_what_it_lacks(scene: Scene) -> None:
    grading = ("--grader", "judge", "--judge", "judge")
    run = jisi("eval", scene.questions, *scene.common, "--live", "--method", "jisi", *ROUTING, *grading)
    scene.check_words(run)
    if "embedder" in scene.broken:
        # What a method would have said cannot be known, so nothing is evaluated and nobody is paid.
        assert (run.exit_code, run.stdout) == (4, ""), run
        assert "gave no vectors" in run.errors[0] or "something else than vectors" in run.errors[0]
        assert {request.model for request in scene.server.requests} == {"emb"}
        return
    assert run.exit_code == 0, run
    (report,) = run.json["methods"]
    assert report["failed"] == 0
    assert report["modes"] == {"aggregate": 1.0}
    right = [0, 2] if "judge" in scene.broken else [2, 0]
    assert [report["scored"], report["unscored"]] == right
    assert (report["averages"] is None) == ("judge" in scene.broken)
    assert ("2 responses unscored by judge: the judge failed: HTTP 400: not today" in run.stderr) == (
        "judge" in scene.broken
    )
    if "ledger" not in scene.broken:
        assert {row.model for row in book() if row.error} == scene.dead


def book() -> list[LedgerEntry]:
    return list(Ledger(ledger_path(), warn=print).rows())


@pytest.mark.parametrize("scene", [("ledger",)], ids=name, indirect=True)
def test_answers_that_are_paid_for_are_not_lost_when_the_embedder_fails_behind_them(scene: Scene) -> None:
    live = ("eval", scene.questions, *scene.common, "--live", "--method", "jisi", *ROUTING)
    asked = ("ask", "What is 3 plus 6?", *scene.common, "--mode", "aggregate", *ROUTING)
    assert (jisi(*asked).exit_code, jisi(*live).exit_code) == (0, 0)
    # The questions' vectors are known now; those of other responses are not.
    scene.server.script("emb", every=1, every_fault=Fault("no_choices"))
    for model in MODELS:
        scene.server.script(model, "{model} now says {question}")
    (scene.cache / "answers" / "cache.db").unlink()
    run = jisi(*asked)
    assert (run.exit_code, run.json["mode"], run.json["model"]) == (0, "fallback", "ada")
    assert "no response was embedded" in run.json["reason"]
    assert "left out of the decision: ada, bob, cyd" in run.json["missing"][0]
    assert scene.warned(run, run.json["missing"][0])
    # An evaluation takes no such answer for the method's.
    (report,) = jisi(*live).json["methods"]
    assert (report["failed"], report["scored"]) == (2, 0)
