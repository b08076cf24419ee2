"""What a provider had in its own cache costs the cached price: in `ask`, the ledger and `cost`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import jisi, pool_file
from tests.loopback import Loopback

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


@pytest.mark.parametrize(
    ("details", "price", "dollars"),
    [
        ({}, "{ input = 10, output = 20, cached_input = 1 }", 0.012),
        ({"prompt_tokens_details": {"cached_tokens": 900}}, "{ input = 10, output = 20, cached_input = 1 }", 0.0039),
        ({"prompt_tokens_details": {"cached_tokens": 900}}, "{ input = 10, output = 20 }", 0.012),
    ],
    ids=["no report", "reported", "no price of its own"],
)
def test_cached_tokens_have_their_price_from_the_answer_to_the_bill(
    details: dict[str, object], price: str, dollars: float, tmp_path: Path, loopback: Loopback
) -> None:
    loopback.script("ada", text="four", usage={**USAGE, **details})
    config = pool_file(tmp_path / "jisi.toml", loopback, models=("ada",))
    config.write_text(config.read_text().replace("{ input = 1, output = 2 }", price))
    asked = ("ask", "What is 2 + 2?", "--config", config, "--json")
    run = jisi(*asked)
    assert run.json["cost_usd"] == pytest.approx(dollars, rel=1e-9)
    assert run.json["calls"][0]["cached_prompt_tokens"] == (900 if details else 0)
    bill = jisi("cost", "--json").json["total"]
    assert bill["known_cost_usd"] == pytest.approx(dollars, rel=1e-9)
    again = jisi(*asked).json["calls"][0]
    assert (again["cost_usd"], again["list_cost_usd"]) == (0, pytest.approx(dollars, rel=1e-9))
