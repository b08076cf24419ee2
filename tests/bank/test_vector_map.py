"""Mapped vectors are those of the Parquet parts, whatever happens to the maps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.bank import vector_map
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import SplitSpec
from jisi_cli.bank.vector_map import MAPS
from jisi_cli.errors import BankError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import coarse
from tests.bank.making import MODELS, build, everything, failed, records


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A bank in two parts, with test rows, a failed answer and gaps."""
    path = tmp_path / "bank"
    answers = records(30)
    answers[4] = failed(answers[4])
    del answers[7:9]
    build(path, answers[:60], split=SplitSpec(0.7, 42), vector_dtype="float16")
    build(path, answers, append=True)
    return path


@pytest.fixture
def every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_map, "_LEAST_BYTES", 0)


def maps(bank: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (bank / MAPS).iterdir()} if (bank / MAPS).is_dir() else {}


def test_a_small_bank_needs_no_map(bank: Path) -> None:
    everything(Bank(bank))
    assert not (bank / MAPS).exists()


def test_mapped_vectors_are_those_of_the_parquet_parts(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Bank(bank)
    expected, arrays = everything(plain), plain.arrays()
    monkeypatch.setattr(vector_map, "_LEAST_BYTES", 0)
    for _ in range(2):  # made, then found
        mapped = Bank(bank)
        assert everything(mapped) == expected
        assert len(maps(bank)) == 1 + len(MODELS)
        found = mapped.arrays()
        assert found.query_vectors.tobytes() == arrays.query_vectors.tobytes()
        rows = np.arange(len(arrays.query_vectors))
        for ours, theirs in zip(found.response_vectors, arrays.response_vectors, strict=True):
            assert ours[rows].tobytes() == theirs[rows].tobytes()
        assert found.longest_row >= float(np.linalg.norm(found.query_vectors.astype(float), axis=1).max())
        first, second = (coarse(one, found.query_vectors[3], Hyperparameters()) for one in (found, arrays))
        assert (first.rows.tolist(), first.scores.tolist()) == (second.rows.tolist(), second.scores.tolist())


@pytest.mark.usefixtures("every_size")
def test_train_vectors_are_mapped_and_not_copied(bank: Path) -> None:
    arrays = Bank(bank).arrays()
    base: object = arrays.query_vectors
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert not arrays.query_vectors.flags.writeable


@pytest.mark.usefixtures("every_size")
@pytest.mark.parametrize("damage", ["cut", "emptied", "longer", "odd norm"])
def test_a_damaged_map_is_made_anew(bank: Path, damage: str) -> None:
    expected = everything(Bank(bank))
    whole = maps(bank)
    for file in (bank / MAPS).iterdir():
        data = file.read_bytes()
        file.write_bytes(
            {"cut": data[:-9], "emptied": b"", "longer": data + b"x", "odd norm": data[:-8] + b"\xff" * 8}[damage]
        )
    assert everything(Bank(bank)) == expected
    assert maps(bank) == whole


@pytest.mark.usefixtures("every_size")
def test_a_part_that_was_touched_gets_another_map_and_the_old_one_goes(bank: Path) -> None:
    expected = everything(Bank(bank))
    before = maps(bank)
    for file in bank.rglob("*.parquet"):
        file.chmod(0o640)
    assert everything(Bank(bank)) == expected
    assert len(maps(bank)) == len(before)
    assert not maps(bank).keys() & before.keys()


@pytest.mark.usefixtures("every_size")
def test_a_part_that_is_not_what_the_manifest_says_is_never_mapped(bank: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(bank, other)
    manifest = (other / "bank.json").read_text(encoding="utf-8")
    digest = Bank(other).manifest.queries[0].sha256
    (other / "bank.json").write_text(manifest.replace(digest, "0" * 64), encoding="utf-8")
    assert everything(Bank(other)) == everything(Bank(bank))
    assert len(maps(other)) == len(MODELS)


@pytest.mark.usefixtures("every_size")
def test_where_no_map_can_be_made_the_vectors_are_read(bank: Path) -> None:
    expected = everything(Bank(bank))
    shutil.rmtree(bank / MAPS)
    (bank / MAPS).write_text("in the way")
    assert everything(Bank(bank)) == expected


@pytest.mark.usefixtures("every_size")
def test_a_map_does_not_hide_that_a_part_is_missing(bank: Path) -> None:
    Bank(bank).arrays()
    (bank / Bank(bank).manifest.queries[0].path).unlink()
    with pytest.raises(BankError, match="is missing"):
        Bank(bank).arrays()


@pytest.mark.usefixtures("every_size")
def test_a_build_takes_the_maps_along_and_an_open_bank_keeps_its_own(bank: Path) -> None:
    reader = Bank(bank)
    expected = everything(reader)
    build(bank, records(34), append=True)
    assert maps(bank) == {}
    assert everything(reader) == expected
    assert len(Bank(bank).query_vectors) == 34


@pytest.mark.slow
def test_many_processes_may_make_the_same_maps_at_once(bank: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from jisi_cli.bank import vector_map\nfrom jisi_cli.bank.bank import Bank\n"
        "vector_map._LEAST_BYTES = 0\nbank = Bank(Path(sys.argv[1]))\n"
        "print(bank.query_vectors.sum(), *(bank.response_vectors(model).sum() for model in bank.models))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(bank)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(3)]
    said = {process.communicate()[0] for process in running}
    assert [process.returncode for process in running] == [0] * 3
    assert len(said) == 1
    assert len(maps(bank)) == 1 + len(MODELS)


@pytest.mark.usefixtures("every_size")
def test_a_link_where_the_maps_belong_leads_nobody_to_write_or_delete_elsewhere(bank: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "queries-mine").write_text("mine")
    (bank / MAPS).symlink_to(elsewhere)
    everything(Bank(bank))
    assert [(file.name, file.read_text()) for file in elsewhere.iterdir()] == [("queries-mine", "mine")]


@pytest.mark.usefixtures("every_size")
def test_a_half_made_map_that_is_gone_when_it_is_looked_at_is_in_nobodys_way(bank: Path) -> None:
    (bank / MAPS).mkdir()
    (bank / MAPS / ".gone.part").symlink_to("gone")  # listed, and not there
    Bank(bank).arrays()
    assert any((bank / MAPS).glob("queries-*"))
