"""Every name that a bank has can be given on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from jisi_cli.cli.eval_ci import Threshold
from jisi_cli.cli.options import split_names
from jisi_cli.grading.registry import GraderSpec, parse_chosen
from tests.cli.commands import jisi, recorded_answers, write_lines

NAMES = (
    "@cf/meta/llama-3.1-8b-instruct",
    "claude-sonnet-4@20250514",
    "ollama/qwen3:8b",
    "a=b",
    "jisi-router@paper",
    "llama, the second",
    "mini (new)",
)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    models = {name: 12 - place for place, name in enumerate(NAMES)}
    lines = [{**line, "dataset": f"{line['dataset']}, x=y"} for line in recorded_answers(models)]
    source = write_lines(folder / "answers.jsonl", lines)
    run = jisi("bank", "build", source, "-o", folder / "bank", "--embedder", "hashing:64", "--split", "0.5")
    assert run.exit_code == 0, run
    return folder / "bank"


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_the_bank_is_a_method_an_opponent_and_a_choice(bank: Path, name: str) -> None:
    given = name.replace(",", "\\,")
    run = jisi("eval", bank, "--method", f"model:{given},random", "--versus", f"model:{given}", "--json")
    assert run.exit_code == 0, run
    assert [method["name"] for method in run.json["methods"]][:2] == [f"model:{name}", "random"]
    chosen = jisi("eval", bank, "--method", "best-single", "--models", given, "--json")
    assert chosen.exit_code == 0, chosen
    asked = jisi("route", "What is 1 plus 4?", "--bank", bank, "--models", given, "--json")
    assert asked.exit_code == 0, asked
    assert [entry["name"] if "name" in entry else entry["model"] for entry in asked.json["models"]] == [name]


def test_a_data_set_of_the_bank_can_be_chosen_and_given_a_grader(bank: Path) -> None:
    run = jisi("eval", bank, "--method", "best-single", "--datasets", "sums\\, x=y", "--json")
    assert run.exit_code == 0, run
    assert list(run.json["methods"][0]["averages"]["datasets"]) == ["sums, x=y"]
    graded = jisi("bank", "grade", bank, "--grader", "sums, x=y=numeric", "--dry-run", "--json")
    assert graded.exit_code == 0, graded


def test_the_readings_of_jisi_stay(bank: Path) -> None:
    run = jisi("eval", bank, "--method", "jisi-router@paper", "--json")
    assert [method["name"] for method in run.json["methods"]] == ["jisi-router@paper", "best-single"]
    assert jisi("eval", bank, "--method", "knn@paper").exit_code == 2


def test_names_are_split_at_commas_that_have_no_backslash() -> None:
    assert split_names(["a,b\\,c, d", "e"]) == ["a", "b,c", "d", "e"]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("numeric", (GraderSpec("numeric"), {})),
        ("d=numeric", (None, {"d": GraderSpec("numeric")})),
        ("d=x=numeric", (None, {"d=x": GraderSpec("numeric")})),
        ("command:./c --f=numeric", (GraderSpec("command", "./c --f=numeric"), {})),
        ("d=x=command:./c --f=1", (None, {"d=x": GraderSpec("command", "./c --f=1")})),
        ("d=unknown", (None, {"d": GraderSpec("unknown")})),
    ],
)
def test_a_data_set_may_have_an_equals_sign_in_its_name(
    value: str, found: tuple[GraderSpec | None, dict[str, GraderSpec]]
) -> None:
    assert parse_chosen([value]) == found


def test_a_threshold_means_the_model_of_exactly_that_name() -> None:
    rows = ["model:mini (new)", "model:mini", "jisi (paper settings)", "jisi (calibrated)"]
    assert Threshold.parse("70:model:mini").rows(rows) == ["model:mini"]
    assert Threshold.parse("70:model:mini (new)").rows(rows) == ["model:mini (new)"]
    assert Threshold.parse("70:jisi").rows(rows) == ["jisi (paper settings)", "jisi (calibrated)"]
