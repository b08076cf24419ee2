"""What travels to workers: banks and their maps by name, embedders by what they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.copies import remember_copy
from jisi_cli.embed.protocol import EmbedderSpec, LazyEmbedder
from jisi_cli.embed.registry import load_embedder
from jisi_cli.embed.unit_embedder import UnitEmbedder
from jisi_cli.errors import BankError, InputError, JisiError
from tests.cli.commands import ROOT

pytest.importorskip("ray", reason="needs the extra `ray`")

from jisi_cli.cluster.shipping import packed, unpacked


def mapped(folder: Path) -> np.ndarray:
    path = folder / "maps" / "vectors"
    path.parent.mkdir(parents=True)
    np.arange(60_000, dtype=np.float32).tofile(path)
    return np.memmap(path, dtype=np.float32, mode="r", shape=(600, 100)).view(np.ndarray)


def test_rows_of_a_map_travel_as_the_name_of_its_file(tmp_path: Path) -> None:
    rows = mapped(tmp_path)[100:500]
    sent = packed({"rows": rows})
    assert len(sent) < 2000
    found = unpacked(sent)["rows"]
    assert np.array_equal(found, rows) and found.dtype == rows.dtype and not found.flags.writeable
    (tmp_path / "maps" / "vectors").unlink()
    with pytest.raises(BankError, match="every node"):
        unpacked(sent)


def test_rows_of_a_copy_that_only_this_node_has_travel_whole(tmp_path: Path) -> None:
    remember_copy(tmp_path, "s3://bucket/bank")
    rows = mapped(tmp_path)
    sent = packed(rows)
    shutil.rmtree(tmp_path / "maps")
    assert np.array_equal(unpacked(sent), rows)


def test_a_bank_travels_by_its_path_and_must_be_the_same_there(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sample_data" / "bank", tmp_path / "bank")
    sent = packed(Bank(tmp_path / "bank", "unscored"))
    assert len(sent) < 4000
    found = unpacked(sent)
    assert (found.path, found.failed) == ((tmp_path / "bank").resolve(), "unscored")
    manifest = tmp_path / "bank" / "bank.json"
    part = found.manifest.queries[0].sha256
    manifest.write_text(manifest.read_text().replace(part, part[::-1]))
    with pytest.raises(BankError, match="another bank"):
        unpacked(sent)
    shutil.rmtree(tmp_path / "bank")
    with pytest.raises(BankError, match="every node must see the bank"):
        unpacked(sent)


def test_an_embedder_travels_as_its_spec_after_the_user_has_allowed_it() -> None:
    embedder = load_embedder(EmbedderSpec("hashing:64"))
    assert isinstance(embedder, UnitEmbedder)
    there = unpacked(packed(embedder))
    assert there.spec == embedder.spec
    assert np.array_equal(there.embed(["some words"]), embedder.embed(["some words"]))

    def refuse() -> UnitEmbedder:
        raise InputError("only the bank names it")

    with pytest.raises(JisiError, match="only the bank names it"):
        packed(LazyEmbedder(EmbedderSpec("org/model", "1" * 40, 64), refuse))


def test_an_endpoint_is_asked_by_the_process_that_pays() -> None:
    spec = EmbedderSpec("litellm:openai/small", dimension=8)
    there = unpacked(packed(LazyEmbedder(spec, lambda: load_embedder(spec))))
    with pytest.raises(InputError, match="paid for"):
        there.embed(["some words"])
