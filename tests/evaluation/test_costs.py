"""Mean dollars of a call per model: recorded on train rows, else tokens times list prices, else unknown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.build import BuildOptions, write_bank
from jisi_cli.bank.sources import stage_records
from jisi_cli.bank.vectors import EmbeddedVectors
from jisi_cli.config import Price, read_prices
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.errors import InputError
from jisi_cli.formats.record import Record
from jisi_cli.methods.context import mean_costs, row_dollars

PRICES = {"ada": Price(1.0, 2.0), "bob": Price(3.0, 4.0), "cyd": Price(5.0, 6.0)}


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """Four train rows and a test row; ada's dollars are recorded, bob's tokens, nothing of cyd, half of dee's."""
    known = {
        "ada": [{"cost_usd": cost} for cost in (0.01, 0.02, 0.03, None, 100.0)],
        "bob": [{"prompt_tokens": 100 * n, "completion_tokens": 50} for n in (1, 2, 3, 4, 10_000)],
        "cyd": [{}] * 5,
        "dee": [{"prompt_tokens": 100, "completion_tokens": n} for n in (10, None, 30, None, 0)],
    }
    records = [
        Record(
            "d",
            str(row),
            f"question {row}",
            model,
            response="yes",
            score=1.0,
            split="test" if row == 4 else "train",
            **fields,
        )
        for model, rows in known.items()
        for row, fields in enumerate(rows)
    ]
    vectors = EmbeddedVectors(load_embedder(EmbedderSpec("hashing:16")))
    write_bank(tmp_path / "bank", stage_records(records), vectors, BuildOptions())
    return Bank(tmp_path / "bank")


def test_recorded_dollars_of_train_rows_come_first(bank: Bank) -> None:
    assert mean_costs(row_dollars(bank, ["ada"], PRICES)).tolist() == pytest.approx([0.02])


def test_tokens_times_list_prices_fill_in(bank: Bank) -> None:
    # 3 dollars for 250 tokens in the mean and 4 for 50, per million.
    assert mean_costs(row_dollars(bank, ["bob"], PRICES)).tolist() == pytest.approx([(3 * 250 + 4 * 50) / 1e6])


def test_rows_without_tokens_are_left_out_of_the_mean(bank: Bank) -> None:
    assert mean_costs(row_dollars(bank, ["dee"], {"dee": Price(1.0, 1.0)})).tolist() == pytest.approx([120 / 1e6])


def test_what_nobody_knows_stays_unknown(bank: Bank) -> None:
    assert np.isnan(mean_costs(row_dollars(bank, ["cyd"], PRICES))).all()
    assert np.isnan(mean_costs(row_dollars(bank, ["bob"], {}))).all()


def test_costs_are_in_the_order_of_the_models_asked_for(bank: Bank) -> None:
    found = mean_costs(row_dollars(bank, ["cyd", "bob", "ada"], PRICES))
    assert np.isnan(found[0]) and found[2] == pytest.approx(0.02)


def test_free_is_not_unknown(bank: Bank) -> None:
    assert mean_costs(row_dollars(bank, ["bob"], {"bob": Price(0.0, 0.0)})).tolist() == [0.0]


def prices(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "prices.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_list_prices_are_read_and_null_is_unknown(tmp_path: Path) -> None:
    path = prices(tmp_path, {"ada": {"input": 1, "output": 2.5}, "bob": None, "cyd": {"input": 0, "output": 0}})
    assert read_prices(path) == {"ada": Price(1.0, 2.5), "cyd": Price(0.0, 0.0)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        [1, 2],
        "text",
        {"ada": 3},
        {"ada": {"input": 1}},
        {"ada": {"input": "cheap", "output": 1}},
        {"ada": {"input": None, "output": 1}},
        {"ada": {"input": -1, "output": 1}},
        {"ada": {"input": 1, "output": True}},
        b'{"ada": {"input": NaN, "output": 1}}',
        b'{"ada": {"input": Infinity, "output": 1}}',
    ],
)
def test_a_file_that_holds_no_prices_is_refused_with_the_shape_that_is_wanted(tmp_path: Path, content: object) -> None:
    with pytest.raises(InputError, match=r'prices\.json: cannot be read as prices .*"input": 1\.0, "output": 2\.0'):
        read_prices(prices(tmp_path, content))


def test_a_file_of_prices_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_prices(tmp_path / "nowhere.json")
