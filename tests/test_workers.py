"""On how many cores work is spread."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.cli.commands import ROOT


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot keep a process to some cores")
@pytest.mark.parametrize("count", ["jisi_cli.workers.usable_cores()", "jisi_cli.embed.bert._cores().count"])
def test_a_process_that_may_run_on_one_core_counts_one(count: str) -> None:
    script = (
        "import os, jisi_cli.workers, jisi_cli.embed.bert\n"
        f"os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\nprint({count}, os.cpu_count())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split()[0] == "1"
