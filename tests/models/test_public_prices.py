"""Public prices without LiteLLM: the same to the last bit, of its own release only, and never from a damaged file."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from jisi_cli.config import ModelEntry
from jisi_cli.models import pricing
from jisi_cli.models.kept_file import litellm_version
from jisi_cli.models.litellm_client import load_litellm
from jisi_cli.models.pricing import Counts, Parts, Rates, is_covered, keep_rates, kept_rates, price_of_call
from jisi_cli.paths import cache_folder

RATES = Rates(1.5e-07, 6e-07, 7.5e-08, 6e-07)
UNKNOWN = Rates()


def file() -> Path:
    return cache_folder() / "prices.json"


def in_a_new_process() -> None:
    """Forget what this process has read, so that the file is all there is."""
    pricing._kept.cache_clear()
    pricing._refused.cache_clear()


def test_what_is_priced_by_the_token_is_kept_for_later_processes() -> None:
    keep_rates("openai/a", RATES.price)
    in_a_new_process()
    assert kept_rates("openai/a") == RATES
    assert kept_rates("openai/b") is None
    assert file().stat().st_mode & 0o077 == 0


def test_that_nobody_knows_a_price_is_kept_too() -> None:
    keep_rates("openai/a", lambda tokens: None)
    in_a_new_process()
    assert kept_rates("openai/a") == UNKNOWN
    assert UNKNOWN.price(Counts(1, 1)) is None


OTHERWISE: dict[str, Callable[[Counts], float | None]] = {
    "dearer when long": lambda tokens: tokens.prompt * (1e-6 if tokens.prompt <= 32_000 else 2e-6),
    "dearer answers when long": lambda tokens: tokens.completion * (1e-6 if tokens.completion <= 32_000 else 2e-6),
    "by the call": lambda tokens: tokens.prompt * 1e-6 + 0.005,
    "no more than that": lambda tokens: min(tokens.prompt * 1e-6, 0.05),
    "in another order": lambda tokens: tokens.completion * 6e-7 - tokens.reasoning * 1e-7,
    "not known for all": lambda tokens: None if tokens.cached else tokens.prompt * 1e-6,
    "no number": lambda tokens: float("nan"),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_is_priced_otherwise_is_left_to_litellm(name: str) -> None:
    keep_rates("openai/a", OTHERWISE[name])
    assert kept_rates("openai/a") is None
    assert not file().exists()


def test_a_model_whose_prices_take_long_is_left_to_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "_PATIENCE", 0.0)
    keep_rates("openai/a", RATES.price)
    assert kept_rates("openai/a") is None


@pytest.mark.parametrize(
    "tokens", [Counts(100_001, 1), Counts(1, 100_001), Counts(1, 1, cached=2), Counts(1, 1, reasoning=2)]
)
def test_long_and_odd_calls_are_left_to_litellm(tokens: Counts) -> None:
    assert is_covered(Counts(100_000, 100_000, 100_000, 100_000))
    assert not is_covered(tokens)


DAMAGED: dict[str, str] = {
    "cut short": '{"litellm": "',
    "no table": "[1, 2]",
    "no prices": '{"litellm": "VERSION"}',
    "another release": '{"litellm": "0.0.0", "kept": {"openai/a": [0.1, 0.1, 0.1, 0.1]}}',
    "a price that is text": '{"litellm": "VERSION", "kept": {"openai/a": ["1", 0.1, 0.1, 0.1]}}',
    "no number": '{"litellm": "VERSION", "kept": {"openai/a": [NaN, 0.1, 0.1, 0.1]}}',
    "below nothing": '{"litellm": "VERSION", "kept": {"openai/a": [-0.1, 0.1, 0.1, 0.1]}}',
    "beyond belief": '{"litellm": "VERSION", "kept": {"openai/a": [1e9, 0.1, 0.1, 0.1]}}',
    "half known": '{"litellm": "VERSION", "kept": {"openai/a": [null, 0.1, 0.1, 0.1]}}',
    "too few": '{"litellm": "VERSION", "kept": {"openai/a": [0.1]}}',
    "too deep": "[" * 100_000,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_or_foreign_file_counts_as_none_and_is_made_anew(name: str) -> None:
    file().parent.mkdir(parents=True, exist_ok=True)
    file().write_text(DAMAGED[name].replace("VERSION", litellm_version()))
    in_a_new_process()
    assert kept_rates("openai/a") is None
    keep_rates("openai/a", RATES.price)
    in_a_new_process()
    assert kept_rates("openai/a") == RATES


def test_a_folder_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JISI_CACHE_HOME", str(tmp_path / "file" / "below"))
    keep_rates("openai/a", RATES.price)
    assert kept_rates("openai/a") == RATES  # for this process


def test_the_file_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "_MOST_MODELS", 3)
    for number in range(5):
        keep_rates(f"openai/{number}", RATES.price)
    assert list(json.loads(file().read_text())["kept"]) == ["openai/2", "openai/3", "openai/4"]


MODELS = (
    *("openai/gpt-4o-mini", "gpt-4.1", "openai/gpt-5-mini", "openai/o3-mini", "groq/openai/gpt-oss-20b"),
    *("deepseek/deepseek-chat", "mistral/mistral-small-latest", "gemini/gemini-2.5-flash", "openai/nobody-knows-this"),
)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_prices_without_litellm_are_its_own_to_the_last_bit(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load_litellm()
    monkeypatch.setattr(pricing, "_PATIENCE", 60.0)  # also on a busy machine
    entry = ModelEntry("a", model)
    rng = random.Random(1)
    calls = [(rng.randint(1, 100_000), rng.randint(1, 20_000)) for _ in range(40)]
    parts = [Parts(), Parts(cached=1), Parts(reasoning=1), Parts(cached=1, reasoning=1)]
    usual = [price_of_call(entry, *tokens, parts=part) for tokens in calls for part in parts]
    in_a_new_process()

    def never() -> None:
        raise AssertionError("LiteLLM was asked")

    monkeypatch.setattr(pricing, "is_loaded", lambda: False)
    monkeypatch.setattr(pricing, "load_litellm", never)
    assert [price_of_call(entry, *tokens, parts=part) for tokens in calls for part in parts] == usual


@pytest.mark.slow
def test_parts_with_prices_of_their_own_are_left_to_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ModelEntry("a", "anthropic/claude-sonnet-4-5")
    plain, written, tier = Parts(), Parts(written=50), Parts(tier="priority")
    usual = [price_of_call(entry, 100, 10, parts=parts) for parts in (plain, written, tier)]
    in_a_new_process()
    monkeypatch.setattr(pricing, "is_loaded", lambda: False)
    assert [price_of_call(entry, 100, 10, parts=parts) for parts in (plain, written, tier)] == usual
    assert usual[1] != usual[0]
