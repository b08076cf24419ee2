"""Banks that cannot be read: for want of memory, or because of what is in their tables."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bank.making import build, records

SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import pyarrow.parquet
from jisi_cli.bank.bank import Bank
from jisi_cli.errors import JisiError
banks = [Bank(Path(name)) for name in sys.argv[1:]]
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size, size))
for bank in banks:
    try:
        bank.questions
    except JisiError as error:
        print(int(error.exit_code), error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how much memory a process has")
def test_want_of_memory_is_not_told_as_a_broken_bank(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    build(whole, records(4))
    shutil.copytree(whole, cut)
    with (cut / "queries.parquet").open("r+b") as file:
        file.truncate(100)
    command = [sys.executable, "-c", SHORT_OF_MEMORY, str(whole), str(cut)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0].startswith(f"1 {whole / 'queries.parquet'} is whole, but this machine cannot read it (")
    assert "--force" not in said[0]  # it would cost answers that were paid for
    assert said[1].startswith(f"3 {cut / 'queries.parquet'} is broken (")
