"""A kill between the ledger and the cache: nothing that was paid for is kept without being in the bill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from jisi_cli.models.ledger import Ledger
from tests.faults.afflictions import killed_before_it_is_kept
from tests.faults.every_command import Scene, common_ground
from tests.faults.forked import start
from tests.faults.scene import EMBEDDER, cached_answers, environment
from tests.loopback import Loopback

ENDPOINT = "litellm:openai/vec"


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loopback, Path]]:
    """The folder of a pool file, of questions and of two banks, one of which an endpoint embeds."""
    folder = tmp_path_factory.mktemp("common")
    with common_ground(folder) as server:
        for model in ("ada", "bob", "vec"):
            server.script(model, "yes")
        table = f'[embedder]\nname = "{ENDPOINT}"\napi_base = "{server.api_base}"\nprice = {{ input = 4 }}\n'
        pool = folder / "jisi.toml"
        pool.write_text(f"{table}{pool.read_text()}")
        words = ("bank", "build", folder / "answers.jsonl", "-o", folder / "embedded", "--embedder", ENDPOINT)
        assert start(folder, *words, "--config", pool).finish().exit_code == 0
        yield server, folder


@pytest.mark.parametrize(
    ("words", "cache", "role"),
    [
        ("ask What-is-it? --bank {common}/embedded --mode aggregate", "answers", "probe"),
        ("bank build {common}/questions.jsonl -o {new} --call --batch " + " ".join(EMBEDDER), "answers", "expert"),
        ("bank grade {own} --grader judge --judge bob", "answers", "judge"),
        ("ask What-is-it? --bank {common}/embedded", "vectors", "embedding"),
    ],
    ids=["a live call", "a batch", "a judge", "an embedding"],
)
def test_what_was_paid_for_is_in_the_bill_before_it_is_kept(
    common: tuple[Loopback, Path], tmp_path: Path, words: str, cache: str, role: str
) -> None:
    scene = Scene(*common, tmp_path)
    command = words.format(own=scene.bank, new=scene.new, common=common[1]).split()
    prepare = partial(killed_before_it_is_kept, cache)
    run = start(
        tmp_path, *command, "--config", common[1] / "jisi.toml", env=environment(tmp_path), prepare=prepare
    ).finish()
    assert run.exit_code == -9, run
    assert cached_answers(tmp_path / "cache" / cache) == 0
    with closing(Ledger(tmp_path / "data" / "ledger" / "calls.sqlite", warn=pytest.fail)) as ledger:
        rows = [row for row in ledger.rows() if row.role == role]
    assert rows and all(row.cost_usd is not None and row.cost_usd > 0 and row.error is None for row in rows)
