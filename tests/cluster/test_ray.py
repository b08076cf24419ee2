"""Work on a real Ray cluster: a head without workers, and nodes of one processor each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bank.making import files_of
from tests.cli.commands import Run, finish, start
from tests.cluster.nodes import Nodes

pytest.importorskip("ray", reason="needs the extra `ray`")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with Nodes() as found:
        found.add(2)
        yield found


def jisi(nodes: Nodes, *arguments: str | Path) -> Run:
    return finish(start(*arguments, "--engine", nodes.engine, env=nodes.env))


def test_a_replay_on_a_cluster_is_that_of_one_process(nodes: Nodes, tmp_path: Path) -> None:
    asked = ("eval", "sample_data/bank", "--method", "jisi,jisi-router,jisi-vote,knn,mlp,oracle")
    away = jisi(nodes, *asked, "--out", tmp_path / "away.jsonl")
    here = finish(start(*asked, "--out", tmp_path / "here.jsonl"))
    assert (away.exit_code, away.stderr) == (0, here.stderr)
    assert (tmp_path / "away.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()


def test_a_bank_embedded_on_a_cluster_is_that_of_one_process_byte_for_byte(nodes: Nodes, tmp_path: Path) -> None:
    asked = ("bank", "build", "sample_data/answers.jsonl", "--limit", "4", "--split", "0.7", "-q")
    away = jisi(nodes, *asked, "-o", tmp_path / "away")
    here = finish(start(*asked, "-o", tmp_path / "here"))
    assert (away.exit_code, here.exit_code) == (0, 0), (away, here)
    assert files_of(tmp_path / "away") == files_of(tmp_path / "here")
    assert (tmp_path / "away/bank.json").read_bytes() == (tmp_path / "here/bank.json").read_bytes()
