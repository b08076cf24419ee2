"""Banks that cannot be read: for want of memory, or because of what is in their tables."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.errors import BankError
from tests.bank.making import WIDTH, build, everything, record, records

SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import pyarrow.parquet
from jisi_cli.bank.bank import Bank
from jisi_cli.errors import JisiError
banks = [Bank(Path(name)) for name in sys.argv[1:]]
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + (4 << 20)
resource.setrlimit(resource.RLIMIT_AS, (size, size))
for bank in banks:
    try:
        bank.questions
    except JisiError as error:
        print(int(error.exit_code), error)
"""

NOT_OURS = """
import sys
from pathlib import Path
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.inspect import inspect_bank
from jisi_cli.errors import BankError
from tests.faults.afflictions import bound_by_permissions
bank = Bank(Path(sys.argv[1]))
bound_by_permissions()
for read in (lambda: Bank(bank.path), lambda: bank.questions, lambda: inspect_bank(bank, bank.hyperparameters())):
    try:
        read()
    except BankError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how much memory a process has")
def test_want_of_memory_is_not_told_as_a_broken_bank(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    # Larger than the room that is left, however well it is compressed.
    build(whole, [record(0, query=random.Random(0).randbytes(8 << 20).hex())])
    shutil.copytree(whole, cut)
    with (cut / "queries.parquet").open("r+b") as file:
        file.truncate(100)
    command = [sys.executable, "-c", SHORT_OF_MEMORY, str(whole), str(cut)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0].startswith(f"1 {whole / 'queries.parquet'} is whole, but this machine cannot read it (")
    assert "--force" not in said[0]  # it would cost answers that were paid for
    assert said[1].startswith(f"3 {cut / 'queries.parquet'} is broken (")


@pytest.mark.skipif(sys.platform != "linux", reason="the superuser may read everything elsewhere")
def test_a_bank_that_one_may_not_read_is_not_to_be_built_again(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    build(bank, records(4))
    for name in ("bank.json", "queries.parquet"):
        (bank / name).chmod(0)
    command = [sys.executable, "-c", NOT_OURS, str(bank)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.splitlines()
    denied = "cannot be read (permission denied); allow it, or use a copy that is yours"
    assert said == [f"{bank / name} {denied}" for name in ("bank.json", "queries.parquet", "queries.parquet")]


def change(file: Path, column: str, value: object) -> None:
    """Give the third row of a part another value."""
    table = pq.ParquetFile(file).read()
    values = table.column(column).to_pylist()
    values[2] = value
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array(values, table.schema.field(place).type)), file)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf"), None])
def test_a_vector_that_is_no_numbers_is_a_bank_error(tmp_path: Path, dtype: str, odd: float | None) -> None:
    build(tmp_path / "bank", records(6), vector_dtype=dtype)
    for part in ("queries.parquet", "responses/model=ada/part-*.parquet"):
        copied = Path(shutil.copytree(tmp_path / "bank", tmp_path / part[:7]))
        file = next(copied.glob(part))
        # Older releases of Arrow take halves from NumPy alone.
        change(file, "vector", [np.dtype(dtype).type(0)] * (WIDTH - 1) + [odd and np.dtype(dtype).type(odd)])
        with pytest.raises(BankError, match="vectors that are no numbers") as caught:
            everything(Bank(copied))
        assert str(file) in str(caught.value)


@pytest.mark.parametrize("odd", [-0.1, 1.1, 1e308, float("inf"), float("-inf")])
def test_a_score_out_of_range_is_a_bank_error(tmp_path: Path, odd: float) -> None:
    bank = tmp_path / "bank"
    build(bank, records(6))
    change(next(bank.glob("responses/model=ada/part-*.parquet")), "score", odd)
    with pytest.raises(BankError, match=r"a score of ada is .*, not from 0 to 1; build it again"):
        Bank(bank).arrays()


def test_a_vector_too_large_for_any_sum_is_a_bank_error(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    build(bank, records(6), vector_dtype="float32")
    change(bank / "queries.parquet", "vector", [3e38] * WIDTH)
    with pytest.raises(BankError, match="vectors that are no numbers"):
        everything(Bank(bank))


@pytest.mark.parametrize(
    ("part", "column", "words"),
    [
        ("responses/model=ada/part-*.parquet", "row", "answers a question twice"),
        ("queries.parquet", "index", "more than once"),
    ],
)
def test_what_stands_twice_in_a_bank_is_a_bank_error(tmp_path: Path, part: str, column: str, words: str) -> None:
    bank = tmp_path / "bank"
    build(bank, records(6))
    file = next(bank.glob(part))
    change(file, column, pq.read_table(file).column(column).to_pylist()[1])
    with pytest.raises(BankError, match=words):
        everything(Bank(bank))


def test_nonsense_under_its_own_hash_is_a_broken_bank_not_a_small_machine(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    build(bank, [record(number, query=random.Random(number).randbytes(2000).hex()) for number in range(40)])
    manifest, file = json.loads((bank / "bank.json").read_text()), bank / "queries.parquet"
    metadata = pq.ParquetFile(file).metadata.row_group(0)
    names = [metadata.column(place).path_in_schema for place in range(metadata.num_columns)]
    query = metadata.column(names.index("query"))
    with file.open("r+b") as opened:
        opened.seek((query.dictionary_page_offset or query.data_page_offset) + query.total_compressed_size // 2)
        opened.write(bytes(64))
    manifest["queries"][0]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (bank / "bank.json").write_text(json.dumps(manifest))
    with pytest.raises(BankError, match="is broken"):
        _ = Bank(bank).questions
