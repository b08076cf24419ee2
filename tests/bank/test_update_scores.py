"""New scores for responses that lie in several parts of a bank."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import model_folder, read_manifest, write_manifest
from jisi_cli.bank.tables import write_part
from jisi_cli.bank.update import update_scores
from tests.bank.making import build, everything, failed, record
from tests.cli.commands import ROOT


def test_of_a_response_that_came_later_the_later_one_is_scored(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    build(path, [failed(record(0)), record(2), record(4)])
    build(path, [record(0)], append=True)
    before = Bank(path)
    old = everything(before)
    texts, vectors = before.responses("ada"), np.array(before.response_vectors("ada"))
    assert texts[0] == record(0).response
    update_scores(Bank(path), {"ada": {0: 0.25, 1: None}}, {0: "judge"})
    assert everything(before) == old
    update_scores(Bank(path), {"ada": {0: 0.5}}, {2: "regex"})
    after = Bank(path)
    np.testing.assert_array_equal(after.answers("ada").scores, [0.5, np.nan, before.answers("ada").scores[2]])
    assert after.answers("ada").status.tolist() == ["ok", "unscored", "ok"]
    assert after.responses("ada") == texts
    np.testing.assert_array_equal(after.response_vectors("ada"), vectors)
    assert [question.grader for question in after.questions] == ["judge", None, "regex"]
    assert rows_of(path, "ada") == [0, 1, 2]


def rows_of(bank: Path, model: str) -> list[int]:
    """Return the rows that any reader of the model's Parquet files finds, and check that jisi reads these files."""
    files = sorted(bank.glob(f"responses/model={model}/*.parquet"))
    assert sorted(bank / part.path for part in read_manifest(bank).responses[model]) == files
    return sorted(row for file in files for row in pq.ParquetFile(file).read(["row"]).column("row").to_pylist())


def test_each_answer_stands_once_for_every_reader_after_grading_and_after_asking_again(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    build(path, [failed(record(0)), *(record(row) for row in range(1, 5)), record(0, "bob/7b")])
    build(path, [record(0), record(5)], append=True)
    assert rows_of(path, "ada") == list(range(6))
    build(path, [record(6)], append=True)  # what replaces nothing leaves the other parts alone
    assert len(read_manifest(path).responses["ada"]) == 2
    update_scores(Bank(path), {"ada": {3: 0.5}}, {3: "judge"})
    assert rows_of(path, "ada") == list(range(7))
    assert len(list(path.glob("queries*.parquet"))) == 1
    assert Bank(path).answers("ada").scores[3] == 0.5


def test_a_reader_from_before_keeps_what_was_replaced_until_the_next_change(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    build(path, [record(row) for row in range(4)])
    fresh, old = Bank(path), everything(Bank(path))
    update_scores(Bank(path), {"ada": {0: 0.25}}, {0: "judge"})
    assert everything(fresh) == old
    (path / ".replaced" / "mine.txt").write_text("kept")
    update_scores(Bank(path), {"ada": {0: 0.75}}, {})
    assert sorted(file.name for file in (path / ".replaced").iterdir() if len(file.name) != 64) == ["mine.txt"]
    assert len(list((path / ".replaced").iterdir())) == 2


def test_a_bank_of_an_earlier_version_with_doubled_rows_opens_and_is_made_single_when_it_is_written(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bank"
    build(path, [record(row, model) for row in range(3) for model in ("ada", "zoe")])
    double(path, "ada", {1: 0.125})
    assert Bank(path).answers("ada").scores[1] == 0.125
    update_scores(Bank(path), {"zoe": {0: 0.5}}, {})
    assert rows_of(path, "ada") == rows_of(path, "zoe") == [0, 1, 2]
    assert Bank(path).answers("ada").scores[1] == 0.125


def double(path: Path, model: str, scores: dict[int, float]) -> None:
    """Add a part with other scores, as earlier versions did when they graded."""
    manifest = read_manifest(path)
    (part,) = manifest.responses[model]
    table = pq.ParquetFile(path / part.path).read().take(sorted(scores))
    column = pa.array([scores[row] for row in sorted(scores)], pa.float64())
    table = table.set_column(table.column_names.index("score"), "score", column)
    further = write_part(path, model_folder(model), "part", table.schema, [table])
    write_manifest(path, replace(manifest, responses={**manifest.responses, model: (part, further)}))


KILLED = """
import os, shutil, sys
from pathlib import Path
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.update import update_scores
import pyarrow.parquet

def graded(bank, left):
    def audit(event, arguments):
        nonlocal left
        if event in ("os.rename", "os.mkdir", "os.remove") and str(bank) in str(arguments[0]):
            left -= 1
            if not left:
                os._exit(9)
    sys.addaudithook(audit)
    update_scores(Bank(bank), {"ada": {0: 0.5}, "zoe": {0: 0.5}}, {0: "judge"})
    os._exit(0)

for place in range(1, 1000):
    copy = Path(shutil.copytree(sys.argv[1], f"{sys.argv[1]}-{place}"))
    child = os.fork() or graded(copy, place)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
"""


@pytest.mark.slow
def test_a_grading_that_is_killed_leaves_the_old_bank_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    build(path, [record(row, model) for row in range(3) for model in ("ada", "zoe")])
    old = everything(Bank(path))
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=True, cwd=ROOT)
    became = []
    for killed in sorted(tmp_path.glob("bank-*"), key=lambda copy: copy.stat().st_mtime_ns):
        bank = Bank(killed)
        new = [bank.answers(model).scores[0] for model in ("ada", "zoe")] == [0.5, 0.5]
        became.append(new)
        assert everything(bank) == old or (new and bank.questions[0].grader == "judge")
        update_scores(Bank(killed), {"ada": {0: 0.5}, "zoe": {0: 0.5}}, {0: "judge"})
        assert rows_of(killed, "ada") == rows_of(killed, "zoe") == [0, 1, 2]
        assert len(list(killed.glob("queries*.parquet"))) == 1
        assert not list(killed.rglob("*.part"))
    assert became.count(False) > 3
    assert became.count(True) > 2
