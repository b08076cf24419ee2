"""`jisi models`: what it lists, and what a check tells."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.commands import jisi, pool_file, says_one_error
from tests.loopback import Fault, Loopback

PUBLIC = '[[models]]\nname = "mini"\nlitellm = "openai/gpt-4.1-mini"\n'


def public_pool(folder: Path, text: str = PUBLIC) -> Path:
    (folder / "public.toml").write_text(text, encoding="utf-8")
    return folder / "public.toml"


def test_the_list_names_the_key_that_is_missing_and_never_the_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = public_pool(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "set OPENAI_API_KEY" in jisi("models", "--config", pool).stdout
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-value")
    run = jisi("models", "--config", pool, "--json")
    assert run.json["models"][0]["key"] == "found"
    assert "secret" not in run.stdout + run.stderr


def test_what_the_map_does_not_say_is_unknown_and_never_no(tmp_path: Path, pool: Path) -> None:
    (known,) = jisi("models", "--config", public_pool(tmp_path), "--json").json["models"]
    assert known["price_source"] == "litellm"
    assert known["input_usd_per_million"] == 0.4
    assert known["context_tokens"] > 100_000
    assert (known["can_stream"], known["can_call_tools"], known["can_see"]) == (True, True, True)
    unknown = jisi("models", "--config", pool, "--json").json["models"][0]
    assert (unknown["input_usd_per_million"], unknown["price_source"]) == (1.0, "pool")
    assert [unknown[name] for name in ("context_tokens", "can_stream", "can_call_tools", "can_see")] == [None] * 4
    assert unknown["key"] == "not needed"


def test_a_check_asks_each_model_once_and_shows_the_providers_error(pool: Path, loopback: Loopback) -> None:
    loopback.script("ada", faults=[Fault("status", status=401, message="no such account")] * 9)
    run = jisi("models", "--check", "--config", pool, "--json")
    assert run.exit_code == 0
    ada, *others = (model["check"] for model in run.json["models"])
    assert not ada["answered"] and "no such account" in ada["error"]
    assert all(check["answered"] and check["seconds"] > 0 for check in others)
    assert loopback.count() == 4
    # The second check asks again, and both are booked.
    jisi("models", "--check", "--config", pool)
    assert loopback.count() == 8
    groups = jisi("cost", "--json").json["groups"]
    assert sum(group["calls"] for group in groups) == 8
    assert next(group["failed_calls"] for group in groups if group["model"] == "ada") == 2


def test_4_when_no_model_answers_a_check(tmp_path: Path, loopback: Loopback) -> None:
    pool = pool_file(tmp_path / "dead.toml", loopback, ["gone"])
    run = jisi("models", "--check", "--config", pool)
    assert run.exit_code == 4
    assert "gone" in run.stdout and "no model answered" in run.stderr


def test_5_when_the_budget_lets_no_model_be_asked(pool: Path, loopback: Loopback) -> None:
    run = jisi("models", "--check", "--config", pool, "--max-cost", "0.0000001")
    assert run.exit_code == 5
    assert loopback.count() == 0


def test_the_list_of_litellm_is_searched(tmp_path: Path) -> None:
    names = [model["litellm"] for model in jisi("models", "--known", "GPT-4.1-mini", "--json").json["models"]]
    assert "gpt-4.1-mini" in names
    run = jisi("models", "--known", "gpt-4.1-minj")
    assert run.stdout == "" and "similar: " in run.stderr
    says_one_error(jisi("models", "--known", "gpt", "--check"), 2, "--known")


def test_an_unknown_model_and_a_missing_pool_are_one_error(pool: Path, tmp_path: Path) -> None:
    says_one_error(jisi("models", "--config", pool, "--models", "zed"), 2, "zed", "ada")
    says_one_error(jisi("models", "--config", public_pool(tmp_path, "")), 2, "jisi init")


def test_settings_that_go_together_only_with_what_the_bank_holds_are_judged_with_it(
    pool: Path, small_bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.write_text(f'{pool.read_text()}\n[routing]\nprobe_schedule = "2,1"\n')
    says_one_error(jisi("models", "--config", pool), 2, "[routing]", "switch = consensus")
    bank = Path(shutil.copytree(small_bank, tmp_path / "agreeing"))
    manifest = json.loads((bank / "bank.json").read_text())
    (bank / "bank.json").write_text(json.dumps(manifest | {"hyperparameters": {"switch": "consensus"}}))
    monkeypatch.setenv("JISI_BANK", str(bank))
    assert jisi("models", "--config", pool).exit_code == 0
    # Of a bank that is not there, or not yet, nothing can be said but that no bank holds a setting of such a name.
    for elsewhere in (str(tmp_path / "unbuilt"), "s3://bucket/bank"):
        monkeypatch.setenv("JISI_BANK", elsewhere)
        assert jisi("models", "--config", pool).exit_code == 0
    pool.write_text(f"{pool.read_text()}K = 3\n")
    says_one_error(jisi("models", "--config", pool), 2, "[routing]", "unknown hyperparameter `K`", "did you mean `k`?")


def test_a_timeout_in_which_no_call_can_be_answered_is_refused_before_one_is_made(
    pool: Path, loopback: Loopback
) -> None:
    pool.write_text(pool.read_text().replace("[budget]", "[budget]\ntimeout = 0"))
    for check in ((), ("--check",)):
        says_one_error(jisi("models", "--config", pool, *check), 2, "timeout of 0 seconds")
    assert loopback.count() == 0
