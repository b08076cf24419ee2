"""Work on a real Ray cluster: a head without workers, and nodes of one processor each."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.bank.making import files_of
from tests.cli.commands import ROOT, SCORES, Run, build_small_bank, finish, pool_file, says_one_error, start, wait_for
from tests.cluster import crew_process, gpu_process, killed_nodes
from tests.cluster.nodes import Nodes
from tests.faults import scene
from tests.faults.scene import EMBEDDER, environment, serving, write_pool, write_questions
from tests.loopback import Loopback, Script

pytest.importorskip("ray", reason="needs the extra `ray`")

KEY = "sk-of-the-nodes"
MODELS = ("ada", "bob")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with Nodes(env={"OPENAI_API_KEY": KEY}) as found:
        yield found


@pytest.fixture
def nodes(cluster: Nodes) -> Nodes:
    """Two nodes, whatever the test before has killed."""
    cluster.add(2 - len(cluster.others))
    return cluster


def jisi(nodes: Nodes, *arguments: str | Path) -> Run:
    return finish(start(*arguments, "--engine", nodes.engine, env=nodes.env))


def test_a_replay_on_a_cluster_is_that_of_one_process(nodes: Nodes, tmp_path: Path) -> None:
    asked = ("eval", "sample_data/bank", "--method", "jisi,jisi-router,jisi-vote,knn,mlp,oracle")
    away = jisi(nodes, *asked, "--out", tmp_path / "away.jsonl")
    here = finish(start(*asked, "--out", tmp_path / "here.jsonl"))
    assert (away.exit_code, away.stderr) == (0, here.stderr)
    assert (tmp_path / "away.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()


@pytest.mark.parametrize(
    "asked", [("--splits", "2", "-m", "jisi-vote,mlp"), ("--sweep", "k=1,2"), ("--learning-curve",)]
)
def test_an_experiment_on_a_cluster_is_that_of_one_process(
    nodes: Nodes, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    found = []
    for engine in (nodes.engine, "asyncio"):
        # What is kept of final answers is not there yet, so that they are read.
        env = {**nodes.env, "JISI_CACHE_HOME": str(tmp_path / engine.partition(":")[0])}
        run = finish(start("eval", "sample_data/bank", *asked, "--engine", engine, "--json", env=env))
        assert run.exit_code == 0, run.stderr
        found.append((without_seconds(run.json), run.stderr))
    assert found[0] == found[1]


def without_seconds(told: Any) -> Any:
    """Return what a document says but for how long things took."""
    if isinstance(told, dict):
        return {name: without_seconds(value) for name, value in told.items() if name not in ("seconds", "timing")}
    return [without_seconds(value) for value in told] if isinstance(told, list) else told


def test_a_cluster_with_a_password_is_joined_by_who_knows_it(tmp_path: Path) -> None:
    asked = ("eval", "sample_data/bank", "--method", "best-single,knn")
    with Nodes(env={"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}) as locked:
        locked.add()
        assert jisi(locked, *asked).exit_code == 0
        without_any = {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}
        for env in ({"RAY_AUTH_MODE": "disabled"}, {**locked.env, "RAY_AUTH_TOKEN": "another" * 9}, without_any):
            run = finish(start(*asked, "--engine", locked.engine, env=env))
            says_one_error(run, 1, "set RAY_AUTH_MODE=token here")
            assert "0123456789abcdef" not in run.stderr


def test_a_bank_embedded_on_a_cluster_is_that_of_one_process_byte_for_byte(nodes: Nodes, tmp_path: Path) -> None:
    asked = ("bank", "build", "sample_data/answers.jsonl", "--limit", "4", "--split", "0.7", "-q")
    away = jisi(nodes, *asked, "-o", tmp_path / "away")
    here = finish(start(*asked, "-o", tmp_path / "here"))
    assert (away.exit_code, here.exit_code) == (0, 0), (away, here)
    assert files_of(tmp_path / "away") == files_of(tmp_path / "here")
    assert (tmp_path / "away/bank.json").read_bytes() == (tmp_path / "here/bank.json").read_bytes()


def test_calls_on_a_cluster_bring_the_bank_of_one_process_and_keep_its_books(nodes: Nodes, tmp_path: Path) -> None:
    source = write_questions(tmp_path / "questions.jsonl", 12)
    homes = [tmp_path / "away", tmp_path / "here"]
    for home in homes:
        home.mkdir()
        with serving(home, {model: {"text": f"{model} answers: {{question}}"} for model in MODELS}) as server:
            pool = write_pool(home / "jisi.toml", server, MODELS)
            command = ["bank", "build", source, "-o", home / "bank", "--call", "--config", pool, *EMBEDDER, "-q"]
            engine = ["--engine", nodes.engine] if home is homes[0] else []
            env = environment(home) | {"RAY_AUTH_MODE": "disabled", "OPENAI_API_KEY": "sk-of-the-driver"}
            out, err = scene.start(home, *command, "--max-cost", "1", *engine, env=env).communicate(timeout=300)
            assert (out, err) == ("", "")
            senders = {line["sender"] for line in server.lines("received")}
            # A key is never sent to a node: it uses its own.
            assert senders == {f"Bearer {KEY if engine else 'sk-of-the-driver'}"}
            # Every answer was kept as it came, so that nothing is asked again.
            again = ["--force", *engine]
            scene.start(home, *command, *again, env=env).communicate(timeout=300)
            assert server.count("received") == 24
    assert sorted(files_of(homes[0] / "bank").values()) == sorted(files_of(homes[1] / "bank").values())
    away, here = (bookings(home) for home in homes)
    assert away == here and len(away) == 48
    # The journal of the server says who sent what.
    found = [file for folder in (tmp_path, nodes.folder) for file in folder.rglob("*") if file.is_file()]
    written = b"".join(file.read_bytes() for file in found if file.name != "journal.jsonl")
    assert KEY.encode() not in written and b"sk-of-the-driver" not in written


def test_what_batches_brought_is_embedded_on_a_cluster(nodes: Nodes, loopback: Loopback, tmp_path: Path) -> None:
    for model in MODELS:
        loopback.script(model, f"{model} answers: {{question}}")
    pool = pool_file(tmp_path / "jisi.toml", loopback, MODELS)
    source = write_questions(tmp_path / "questions.jsonl", 6)
    asked = ("bank", "build", source, "--call", "--batch", "--config", pool, *EMBEDDER, "-q")
    away = jisi(nodes, *asked, "-o", tmp_path / "away")
    assert (away.exit_code, loopback.count()) == (0, 0), away.stderr
    assert len(loopback.batches.asked()) == 12
    # Kept by the first, so that nothing is asked.
    here = finish(start(*asked, "-o", tmp_path / "here", env=nodes.env))
    assert here.exit_code == 0, here.stderr
    assert sorted(files_of(tmp_path / "away").values()) == sorted(files_of(tmp_path / "here").values())


def bookings(home: Path) -> list[tuple[object, ...]]:
    """Return what the ledger says of each call, times apart."""
    with closing(sqlite3.connect(home / "data" / "ledger" / "calls.sqlite")) as rows:
        columns = (
            "model, role, litellm, prompt_tokens, completion_tokens, cost_usd, cached, attempts, error, query_hash"
        )
        return sorted(rows.execute(f"SELECT {columns} FROM calls").fetchall(), key=repr)


def test_pieces_of_a_node_that_is_killed_are_done_by_another_once_and_in_order(nodes: Nodes, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.cluster.crew_process", nodes.engine, str(tmp_path)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **nodes.env}, **streams)
    wait_for(process, lambda: len({path.name.partition("-")[2] for path in tmp_path.iterdir()}) == 2)
    nodes.kill(nodes.others[0])
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    # Nothing but results: what the cluster says of its nodes, here that one has died, is no output of ours.
    squares, refused = map(json.loads, out.splitlines())
    assert squares == [number * number for number in range(crew_process.PIECES)], err
    assert refused == ["InputError", "-1 is below 0; give another"]


def test_a_node_that_is_killed_costs_its_calls_and_no_answer_that_was_kept(nodes: Nodes, tmp_path: Path) -> None:
    found = killed_nodes.run(*(tmp_path, nodes), kills=1, questions=20, seed=1, max_cost=1.0, delay=0.5, replaced=False)
    assert (found.exit_code, found.same_files, found.again) == (0, True, [])
    assert found.wanted <= found.received <= found.wanted + killed_nodes.CONCURRENCY
    assert found.billed_usd <= found.counted_usd <= 1.0


def test_money_that_killed_workers_may_have_spent_is_spent(nodes: Nodes, tmp_path: Path) -> None:
    found = killed_nodes.run(
        *(tmp_path, nodes), kills=0, questions=20, seed=1, max_cost=0.02, delay=0.0, replaced=False
    )
    assert found.exit_code == 5 and found.billed_usd <= found.counted_usd <= 0.02


def test_a_bank_is_graded_on_a_cluster_as_by_one_process(nodes: Nodes, tmp_path: Path) -> None:
    asked = ("bank", "grade", "sample_data/bank", "--dry-run", "--json", "--grader", "contains")
    away, here = jisi(nodes, *asked), finish(start(*asked))
    assert (away.exit_code, away.stderr) == (0, here.stderr)
    assert away.json == here.json and here.json["changed"] > 0 and here.json["graded"] > 300


def test_embedding_with_cuda_has_a_worker_on_each_gpu_and_nowhere_else(nodes: Nodes, tmp_path: Path) -> None:
    nodes.add(env={"NODE": "with-gpus"}, gpus=gpu_process.GPUS, cpus=4)
    try:
        command = [sys.executable, "-m", "tests.cluster.gpu_process", nodes.engine, str(tmp_path)]
        run = subprocess.run(command, cwd=ROOT, env={**os.environ, **nodes.env}, capture_output=True, check=True)
    finally:
        nodes.kill(nodes.others[-1])
    found = json.loads(run.stdout)
    said = [path.name.split("-", 1) for path in tmp_path.iterdir()]
    # A worker sees its own GPU, by whatever number the user asked for one.
    assert sorted(where for _, where in said) == ["with-gpus-0-cuda", "with-gpus-1-cuda"]
    assert found["gpus"] == gpu_process.GPUS and len(found["embedded"]) == gpu_process.CHUNKS
    assert {str(int(pid)) for [[pid]] in found["embedded"]} == {pid for pid, _ in said}


def test_a_live_comparison_on_a_cluster_is_that_of_one_process(nodes: Nodes, tmp_path: Path) -> None:
    bank, results = build_small_bank(tmp_path), []
    questions = write_questions(tmp_path / "questions.jsonl", 6)
    for home in (tmp_path / "away", tmp_path / "here"):
        home.mkdir()
        with serving(home, {model: {"text": f"{model} says {{question}}"} for model in SCORES}) as server:
            pool = write_pool(home / "jisi.toml", server, tuple(SCORES))
            command = ["eval", questions, "--bank", bank, "--live", "--config", pool, "--method", "jisi,best-single"]
            engine = ["--engine", nodes.engine] if home.name == "away" else []
            env = environment(home) | {"RAY_AUTH_MODE": "disabled"}
            process = scene.start(home, *command, "--out", home / "out.jsonl", "--max-cost", "1", *engine, env=env)
            process.communicate(timeout=300)
            assert process.returncode == 0
            results.append([without_time(line) for line in (home / "out.jsonl").read_text().splitlines()])
    # Questions are under way at one time, so that their lines come in any order.
    assert sorted(results[0]) == sorted(results[1]) and len(results[0]) == 12


def without_time(line: str) -> str:
    """Return what a line says but for its key, which holds the server's address, and the order in which calls ended."""
    told = json.loads(line)
    bill = sorted(json.dumps(call) for call in told["bill"])
    return json.dumps({**told, "key": None, "bill": bill})


def test_a_cluster_whose_head_is_gone_ends_the_run_with_one_line_and_what_was_kept_stays(
    loopback: Loopback, tmp_path: Path
) -> None:
    loopback.scripts = {model: Script(text="4") for model in MODELS}
    loopback.hold_after = 4
    pool = pool_file(tmp_path / "jisi.toml", loopback, MODELS)
    source = write_questions(tmp_path / "questions.jsonl", 12)
    build = ("bank", "build", source, "-o", tmp_path / "bank", "--call", "--config", pool, *EMBEDDER)
    with Nodes(env={"OPENAI_API_KEY": KEY}) as nodes:
        nodes.add()
        process = start(*build, "--concurrency", "2", "--engine", nodes.engine, env=nodes.env)
        wait_for(process, lambda: len(loopback.requests) == 6)
        assert nodes.head is not None
        nodes.head.kill()
        says_one_error(finish(process), 1, "the head of the Ray cluster, ", " has not answered for 30 seconds")
    loopback.hold_after = None
    assert finish(start(*build)).exit_code == 0
    asked = [(request.model, str(request.body["messages"])) for request in loopback.requests]
    assert len(set(asked)) == 24 and [asked.count(kept) for kept in asked[:4]] == [1] * 4
