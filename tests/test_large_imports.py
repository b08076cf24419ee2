"""Large imports without the collector: it works as before afterwards, and has nothing of theirs to look through."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from jisi_cli.large_imports import uncollected


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_it_was_whatever_happens_within(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(ImportError), uncollected():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


def test_garbage_that_is_made_later_is_collected() -> None:
    with uncollected():
        pass
    ring: list[object] = []
    ring.append(ring)
    del ring
    assert gc.collect() > 0


def test_a_program_that_ends_waits_for_what_is_imported_aside() -> None:
    """Python would stop the thread in the middle of C code: `llm` ended by a segmentation fault, its answer said."""
    script = (
        "import time; from jisi_cli.large_imports import import_aside\n"
        "import_aside(lambda: (time.sleep(1), print('imported', flush=True)))\n"
        "print('ended', flush=True)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert sorted(run.stdout.split()) == ["ended", "imported"]


def test_litellm_is_out_of_the_collectors_sight() -> None:
    """How much there is to look through decides how long Python takes to end."""
    script = (
        "import gc; from jisi_cli.models.litellm_client import load_litellm; load_litellm(); "
        "print(len(gc.get_objects())); gc.unfreeze(); print(len(gc.get_objects()))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    kept, everything = map(int, run.stdout.split())
    assert kept < everything / 20
