"""Work on a Ray cluster with a bank in an object store, which its nodes fetch themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bank.making import files_of
from tests.cli.commands import Run, finish, start
from tests.cluster.nodes import Nodes
from tests.object_store import BUCKET, ObjectStore

pytest.importorskip("ray", reason="needs the extra `ray`")


def test_a_bank_in_a_store_is_extended_and_replayed_on_a_cluster_as_by_one_process(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    address, here = f"s3://{BUCKET}/bank", tmp_path / "bank"
    lines = Path("sample_data/answers.jsonl").read_text().splitlines(keepends=True)
    parts = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    for path, some in zip(parts, (lines[: len(lines) // 2], lines[len(lines) // 2 :]), strict=True):
        path.write_text("".join(some))
    homes = {name: tmp_path / "homes" / name for name in ("driver", "one", "two")}
    with Nodes(env=object_store.environment) as nodes:
        for name in ("one", "two"):
            nodes.add(env={"JISI_CACHE_HOME": str(homes[name])})

        def jisi(*arguments: str | Path) -> Run:
            env = nodes.env | {"JISI_CACHE_HOME": str(homes["driver"])}
            run = finish(start(*arguments, env=env))
            assert run.exit_code == 0, run.stderr
            return run

        for bank, engine in ((address, ("--engine", nodes.engine)), (here, ())):
            built = ("-o", bank, "--embedder", "hashing:64", "--split", "0.7", "-q")
            jisi("bank", "build", parts[0], *built)
            jisi("bank", "build", parts[1], "--append", *built, *engine)
        asked = ("--method", "jisi-vote,mlp,knn", "--out")
        jisi("eval", address, *asked, tmp_path / "away.jsonl", "--engine", nodes.engine)
        jisi("eval", here, *asked, tmp_path / "here.jsonl")
    stored = {name.removeprefix("bank/"): object_store.get(name) for name in object_store.names()}
    kept = {name for name in stored if name.endswith(".parquet")}
    assert sorted(stored[name] for name in kept) == sorted(files_of(here).values())
    assert (tmp_path / "away.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()
    # Each node has a copy of its own.
    for home in homes.values():
        assert list(home.rglob("bank.json")), home
