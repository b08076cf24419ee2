"""Where settings come from: flags over the pool file over the bank over the defaults; errors name file and key."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jisi_cli.config import find_config, load_config
from jisi_cli.errors import InputError, JisiError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.trust import refused
from tests.cli.commands import jisi, pool_file, says_one_error
from tests.loopback import Loopback

QUESTION = "What is 3 plus 6?"
DEFAULTS = Hyperparameters().to_json()
REPORTED = DEFAULTS | {"aggregation": "auto"}
OTHER: dict[str, dict[str, Any]] = {
    "k": {"k": 2},
    "n_base": {"n_base": 7},
    "gamma": {"gamma": 0.9},
    "beta": {"beta": 0.25},
    "epsilon": {"epsilon": 0.6, "sigma": 0.2},
    "sigma": {"sigma": 0.4, "delta": 0.1},
    "delta": {"delta": 0.5, "epsilon": 0.2},
    "t": {"t": 0.5},
    "max_aggregate_tokens": {"max_aggregate_tokens": 99},
    "compat": {"compat": "openjisi"},
    "switch": {"switch": "consensus"},
    "u": {"u": 0.5},
    "price_weight": {"price_weight": 0.0},
    "prior": {"prior": 10.0},
    "probe_schedule": {"probe_schedule": "2,1", "switch": "consensus"},
}
"""A setting that is not the default, for each hyperparameter; some need another beside them."""


def chosen(*arguments: str | Path) -> dict[str, Any]:
    """Return the hyperparameters in force."""
    run = jisi("route", QUESTION, "--json", *arguments)
    assert run.exit_code == 0, run
    found: dict[str, Any] = run.json["settings"]
    return found


def flags(changes: dict[str, Any]) -> list[str]:
    return [word for key, value in changes.items() for word in (f"--{key.replace('_', '-')}", str(value))]


def toml(changes: dict[str, Any]) -> str:
    return "[routing]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in changes.items())


def test_every_hyperparameter_is_tried_here() -> None:
    assert set(OTHER) == {field.name for field in dataclasses.fields(Hyperparameters)}


@pytest.mark.parametrize("name", OTHER)
def test_every_hyperparameter_is_a_flag_a_key_of_the_pool_file_and_of_the_bank(
    name: str, small_bank: Path, tmp_path: Path
) -> None:
    changes = OTHER[name]
    expected = REPORTED | changes
    config = tmp_path / "jisi.toml"
    config.write_text("")
    assert chosen("--bank", small_bank, "--config", config, *flags(changes)) == expected
    config.write_text(toml(changes))
    assert chosen("--bank", small_bank, "--config", config) == expected
    config.write_text("")
    bank = Path(shutil.copytree(small_bank, tmp_path / "bank"))
    manifest = json.loads((bank / "bank.json").read_text())
    (bank / "bank.json").write_text(json.dumps(manifest | {"hyperparameters": changes}))
    assert chosen("--bank", bank, "--config", config) == expected


def test_flags_win_over_the_pool_file_which_wins_over_the_bank(small_bank: Path, tmp_path: Path) -> None:
    bank = Path(shutil.copytree(small_bank, tmp_path / "bank"))
    manifest = json.loads((bank / "bank.json").read_text())
    of_bank = {"k": 1, "t": 0.1, "gamma": 0.1}
    (bank / "bank.json").write_text(json.dumps(manifest | {"hyperparameters": of_bank}))
    config = tmp_path / "jisi.toml"
    config.write_text(toml({"k": 2, "t": 0.2}))
    found = chosen("--bank", bank, "--config", config, "--k", "4")
    assert (found["k"], found["t"], found["gamma"], found["beta"]) == (4, 0.2, 0.1, DEFAULTS["beta"])
    inspected = jisi("bank", "inspect", bank, "--config", config, "--k", "4", "--json").json["hyperparameters"]
    assert inspected | {"aggregation": "auto"} == found


def test_a_flag_may_set_back_to_the_default(small_bank: Path, tmp_path: Path) -> None:
    config = tmp_path / "jisi.toml"
    config.write_text(toml({"k": 2, "u": 0.5}))
    assert chosen("--bank", small_bank, "--config", config, "--k", "3", "--u", "0.999") == DEFAULTS | {
        "aggregation": "auto"
    }


def test_the_bank_is_the_flag_s_or_the_environment_s_or_the_pool_file_s(
    small_bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "jisi.toml"
    shutil.copytree(small_bank, tmp_path / "of-the-file")
    config.write_text('bank = "of-the-file"\n')
    monkeypatch.chdir("/")
    assert chosen("--config", config) == DEFAULTS | {
        "aggregation": "auto"
    }  # relative to the file, not to where one stands
    monkeypatch.setenv("JISI_BANK", str(tmp_path / "of-the-environment"))
    assert "of-the-environment" in says_one_error(jisi("route", QUESTION, "--config", config), 3)
    run = jisi("route", QUESTION, "--config", config, "--bank", tmp_path / "of-the-flag")
    assert "of-the-flag" in says_one_error(run, 3)


def test_the_pool_file_is_the_flag_s_the_environment_s_the_folder_s_or_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    for folder in (here, home):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("JISI_CONFIG_HOME", str(home))
    assert find_config() is None
    (home / "jisi.toml").write_text("")
    assert find_config() == home / "jisi.toml"
    (here / "jisi.toml").write_text("")
    assert find_config() == Path("jisi.toml")
    (tmp_path / "other.toml").write_text("")
    monkeypatch.setenv("JISI_CONFIG", str(tmp_path / "other.toml"))
    assert find_config() == tmp_path / "other.toml"
    assert find_config(home / "jisi.toml") == home / "jisi.toml"
    for missing in (tmp_path / "nowhere.toml", tmp_path):
        with pytest.raises(InputError, match="no configuration file at"):
            find_config(missing)


def test_limits_of_the_pool_file_count_where_no_flag_does(small_bank: Path, loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("ada")
    config = pool_file(tmp_path / "jisi.toml", loopback, ["ada"], extra="max_cost = 0.0001\n")
    assert jisi("ask", QUESTION, "--bank", small_bank, "--config", config).exit_code == 5
    assert jisi("ask", QUESTION, "--bank", small_bank, "--config", config, "--max-cost", "1").exit_code == 0
    config = pool_file(tmp_path / "jisi.toml", loopback, ["ada"], extra="timeout = 0.001\n")
    assert jisi("ask", "Another?", "--bank", small_bank, "--config", config).exit_code == 4
    assert jisi("ask", "Another?", "--bank", small_bank, "--config", config, "--timeout", "60").exit_code == 0


LATER = ("max_retries", "num_retries", "timeout", "stream")
"""Refused where the accounts are kept, as jisi sets them."""

MODEL = '[[models]]\nname = "ada"\nlitellm = "openai/ada"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("k = [", ["TOML"]),
        ("[routing]\nwarmth = 1", ["[routing]", "warmth"]),
        ("[routing]\nk = 0", ["[routing]", "k must be"]),
        ("[routing]\nk = '3'", ["[routing]", "k must be"]),
        ("[routing]\nk = true", ["[routing]", "k must be"]),
        ("[routing]\nk = 2.5", ["[routing]", "k must be"]),
        ("[routing]\ngamma = nan", ["[routing]", "gamma must be"]),
        ("[routing]\nepsilon = 0.9", ["[routing]", "epsilon + sigma + delta"]),
        ("[routing]\ncompat = ['paper']", ["[routing]", "compat must be"]),
        ("[routing]\nswitch = 1", ["[routing]", "switch must be"]),
        ("[routing]\nprobe_schedule = 3", ["[routing]", "probe_schedule must be"]),
        ("[routing]\nprobe_schedule = [2, 1]", ["[routing]", "probe_schedule must be"]),
        ("routing = 3", ["routing", "table"]),
        ("[embeder]\nname = 'x'", ["embeder"]),
        ("[embedder]\nmodel = 'x'", ["[embedder]", "model"]),
        ("[embedder]\nname = 3", ["[embedder]", "name"]),
        ("[embedder]\nmax_tokens = 'many'", ["[embedder]", "max_tokens"]),
        ("[embedder]\nmax_tokens = 0", ["[embedder]", "max_tokens"]),
        ("[embedder]\ntruncation = 'middle'", ["[embedder]", "truncation"]),
        ("[embedder]\ntruncation = []", ["[embedder]", "truncation"]),
        ("[embedder]\nprompt = 1", ["[embedder]", "prompt"]),
        ("[budget]\nmax_price = 1", ["[budget]", "max_price"]),
        (f"[budget]\nmax_cost = 'much'\n{MODEL}", ["[budget]", "max_cost"]),
        (f"[budget]\nmax_cost = -1\n{MODEL}", ["[budget]", "max_cost"]),
        (f"[budget]\ntimeout = inf\n{MODEL}", ["[budget]", "timeout"]),
        (f"[budget]\nconcurrency = 'all'\n{MODEL}", ["[budget]", "concurrency"]),
        (f"[budget]\nmax_retries = true\n{MODEL}", ["[budget]", "max_retries"]),
        (f"[budget]\nmax_cost_per_day = '1'\n{MODEL}", ["[budget]", "max_cost_per_day"]),
        ("bank = 3", ["bank"]),
        ("models = 3", ["[[models]]"]),
        ("[models]\nname = 'ada'", ["[[models]]"]),
        ("[[models]]\nname = 'ada'", ["number 1", "litellm"]),
        (f"{MODEL}colour = 'red'", ["number 1", "colour"]),
        (f"{MODEL}api_base = 3", ["number 1", "api_base"]),
        (f"{MODEL}system = ''", ["number 1", "system"]),
        (f"{MODEL}params = 3", ["number 1", "params"]),
        (f"{MODEL}params = {{ api_key = 'sk-secret-0123456789' }}", ["number 1", "api_key", "environment"]),
        (f"{MODEL}params = {{ stream = true }}", ["ada", "stream"]),
        (f"{MODEL}api_key_env = 3", ["number 1", "api_key_env"]),
        (f"{MODEL}api_key_env = 'sk-secret-0123456789'", ["number 1", "api_key_env", "GROQ_API_KEY"]),
        (f"{MODEL}api_key_env = 'gsk_secret0123456789'", ["number 1", "api_key_env"]),
        ("[embedder]\nname = 'litellm:openai/v'\napi_key_env = 'sk-secret-0123456789'", ["[embedder]", "api_key_env"]),
        (f"{MODEL}api_base = 'host/v1'", ["number 1", "api_base", "https://"]),
        (f"{MODEL}api_base = 'file:///etc/passwd'", ["number 1", "api_base", "https://"]),
        ("[[models]]\nlitellm = 'huggingface/http://host.example/v1'", ["number 1", "litellm", "api_base"]),
        ("[[models]]\nlitellm = 'huggingface/https:/host.example'", ["number 1", "litellm", "api_base"]),
        ("[[models]]\nlitellm = 'custom//host.example'", ["number 1", "litellm", "api_base"]),
        ("[[models]]\nlitellm = 'aiohttp_openai/a'", ["number 1", "litellm", "openai/"]),
        ("[[models]]\nlitellm = 'local:smollm2'\napi_base = 'http://host'", ["number 1", "local", "api_base"]),
        *(
            (f"{MODEL}batch_store = {store}", ["number 1", "batch_store", "s3://BUCKET/FOLDER"])
            for store in (
                *("'folder'", "'s3://bucket'", "'https://host/bucket/folder'", "'s3://bucket/../folder'"),
                *("'s3://sk-secret-0123456789@bucket/folder'", "'gs://bucket/folder?sig=sk-secret-0123456789'"),
                *("'abfs://box@account.dfs.core.windows.net/folder'", "'file:///tmp/folder'"),
            )
        ),
        (f"{MODEL}batch_store = 3", ["number 1", "batch_store"]),
        *(
            (f"{MODEL}batch_role = '{role}'", ["number 1", "batch_role", "arn:aws:iam::"])
            for role in ("batch", "arn:aws:iam::1:role/x", "arn:aws:s3:::bucket", "arn:aws:iam::123456789012:role/x y")
        ),
        ("[[models]]\nlitellm = 'local:smollm2'\nbatch_store = 's3://b0/f'", ["number 1", "local", "batch_store"]),
        ("[embedder]\nname = 'litellm:huggingface/http://host/v1'", ["[embedder]", "name", "api_base"]),
        *(
            (f"{MODEL}params = {{ {param} }}", ["number 1", param.split(" ")[0].strip('"')])
            for param in (
                *('organization = "theirs"', 'custom_llm_provider = "huggingface"'),
                *('vertex_credentials = "/etc/x.json"', 'aws_bedrock_runtime_endpoint = "http://host"'),
                *('azure_ad_token_provider = "x"', "ssl_verify = false", 'cert = "x.pem"', "use_litellm_proxy = true"),
                *("input_cost_per_token = 0", "mock_response = 'x'", 'callbacks = ["langfuse"]', 'hf_model_name = "x"'),
                *('model_list = [{ model_name = "x" }]', 'default_headers = { X = "y" }', 'extra_query = { a = "b" }'),
                *('aws_region_name = "evil.example/#"', 'vertex_location = "evil.example/"', 'unheard_of = "text"'),
                *('extra_headers = { Host = "evil.example" }', 'extra_headers = "X: y"', 'api_version = "../../x"'),
                *('langsmith_base_url = "http://host"', 'aws_profile_name = "admin"', "num_retries = 9"),
            )
        ),
        (f"{MODEL}price = 3", ["number 1", "price"]),
        (f"{MODEL}price = {{ input = 1 }}", ["number 1", "price"]),
        (f"{MODEL}price = {{ input = -1, output = 1 }}", ["number 1", "price"]),
        (f"{MODEL}price = {{ input = nan, output = 1 }}", ["number 1", "price"]),
        (f"{MODEL}price = {{ input = 1, output = 1, cached = 1 }}", ["number 1", "`cached_input` and `cache_write`"]),
        (f"{MODEL}price = {{ input = 1, output = 1, cached_input = -1 }}", ["number 1", "price"]),
        (f'{MODEL}price = {{ input = 1, output = 1, cache_write = "2" }}', ["number 1", "price"]),
        (f"{MODEL}concurrency = 0", ["number 1", "concurrency"]),
        (f"{MODEL}tokens_per_minute = 'many'", ["number 1", "tokens_per_minute"]),
        (f"{MODEL}{MODEL}", ["two models", "ada"]),
    ],
)
def test_a_mistake_in_the_pool_file_is_one_line_that_names_file_and_key(
    text: str, words: list[str], small_bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "jisi.toml"
    config.write_text(text)
    run = jisi("ask", QUESTION, "--bank", small_bank, "--config", config)
    where = [] if "stream" in text or "num_retries" in text else [str(config)]
    words = ["ada" if not where and word == "number 1" else word for word in words]
    says_one_error(run, 2, *where, *words, secrets=["sk-secret-0123456789"])
    if where:
        # `jisi models`, with which people check such a file, says the same.
        monkeypatch.setenv("JISI_BANK", str(small_bank))
        assert jisi("models", "--config", config) == run


def test_a_pool_file_that_is_no_text_is_an_input_error(tmp_path: Path) -> None:
    config = tmp_path / "jisi.toml"
    for data in (b"\xff\xfe\x00", b"\x00", b"a = " + b"[" * 50_000):
        config.write_bytes(data)
        with pytest.raises(InputError, match="cannot be read as TOML"):
            load_config(config)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=5) | st.just("head"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abk"), inner, max_size=3),
    max_leaves=6,
)
TABLES = ["bank", "models", "embedder", "routing", "budget", "x"]
INNER = ["name", "litellm", "price", "input", "output", "params", "k", "t", "compat", "probe_schedule"]
KEYS = st.sampled_from([*TABLES, *INNER, "max_tokens", "truncation", "prompt", "concurrency", "timeout"])


def as_toml(value: object) -> str:
    """Write a value inline, as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value) if value == value and abs(value) != float("inf") else str(value)
    return json.dumps(value if value is not None else "null")


@settings(max_examples=300)
@given(st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES)), max_size=4))
def test_any_toml_is_a_configuration_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text("".join(f"{key} = {as_toml(value)}\n" for key, value in data.items()), encoding="utf-8")
    try:
        config = load_config(path)
        Hyperparameters().with_changes(config.routing, f"{path} [routing]")
    except JisiError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)


def test_what_decides_a_model_s_answer_may_be_set(tmp_path: Path) -> None:
    config = tmp_path / "jisi.toml"
    config.write_text(
        "[[models]]\nlitellm = 'openrouter/a'\napi_key_env = 'MY_KEY'\n[models.params]\n"
        "temperature = 0.2\ntop_k = 5\nmin_p = 0.1\nnum_ctx = 8192\nunheard_of = true\nstop = ['http://']\n"
        "reasoning_effort = 'high'\nresponse_format = { type = 'json_object' }\nthinking = { budget_tokens = 9 }\n"
        "additional_drop_params = ['top_p']\nprompt_cache_key = 'x'\naws_region_name = 'us-gov-west-1'\n"
        "api_version = '2024-10-21'\nextra_body = { provider = { order = ['a'] } }\n"
        "extra_headers = { X-Title = 'jisi' }\n"
    )
    (entry,) = load_config(config).models
    assert len(entry.params) == 15
    assert entry.api_key_env == "MY_KEY"


def test_no_argument_of_litellm_s_own_can_be_set(tmp_path: Path) -> None:
    """What the installed release names as its own is an address, a path, a price, a switch: nothing for a model."""
    from litellm.types.utils import all_litellm_params

    for_models = {"allowed_openai_params", "api_version", "headers", "additional_drop_params"}
    for name in set(all_litellm_params) - for_models:
        for value in (1, True, "text", {"a": "b"}, ["text"]):
            kept_elsewhere = name in ("metadata", "fallbacks", "caching", "cache", "client", "api_base", "base_url")
            assert kept_elsewhere or name in LATER or refused({name: value}) is not None, name
