"""Completion in a real bash: names of values, quickly, silently, and never more than a word."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jisi_cli.cli import completion
from jisi_cli.embed.registry import _BUILT_IN
from jisi_cli.formats.registry import built_in
from jisi_cli.grading.registry import grader_names
from jisi_cli.methods.registry import all_methods
from tests.cli.commands import MODELS, ROOT
from tests.loopback import Loopback

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

PRESSED = """
source <(_JISI_COMPLETE=source_bash jisi)
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_jisi_completion jisi
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def tab(folder: Path, *words: str, **variables: str) -> list[str]:
    """Press Tab behind some words, the last of them unfinished; return what bash would offer."""
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    (place / "jisi").write_text(f'#!/bin/sh\nexec {sys.executable} -m jisi_cli "$@"\n')
    (place / "jisi").chmod(0o755)
    path = {"PATH": f"{place}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    script = PRESSED.format(words=" ".join(map(shlex.quote, ("jisi", *words))))
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=folder,
        env={**os.environ, **path, **variables},
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@needs_bash
def test_bash_completes_methods_graders_formats_and_choices(tmp_path: Path) -> None:
    assert tab(tmp_path, "ask", "--method", "jisi-v") == ["jisi-vote"]
    assert tab(tmp_path, "eval", "--method", "knn,best-s") == ["knn,best-single"]
    assert tab(tmp_path, "bank", "grade", "--grader", "num") == ["numeric"]
    assert tab(tmp_path, "bank", "build", "--format", "lm") == ["lm-eval"]
    assert tab(tmp_path, "ask", "--compat", "") == ["paper", "openjisi"]
    assert tab(tmp_path, "bank", "build", "--embedder", "mini") == ["minilm"]
    assert tab(tmp_path, "bank", "calibrate", "--method", "jisi-v") == ["jisi-vote"]
    assert tab(tmp_path, "as") == ["ask"]
    assert "--method" in tab(tmp_path, "ask", "--m")


@needs_bash
def test_bash_completes_the_models_of_the_pool_in_force(pool: Path, tmp_path: Path) -> None:
    assert tab(tmp_path, "ask", "--models", "") == list(MODELS)  # ./jisi.toml
    assert tab(tmp_path, "ask", "--models", "ada,b") == ["ada,bob"]
    pool.rename(tmp_path / "other.toml")
    assert tab(tmp_path, "ask", "--models", "") == []
    assert tab(tmp_path, "ask", "--config", "other.toml", "--models", "c") == ["cyd"]
    assert tab(tmp_path, "bank", "grade", "--judge", "d", JISI_CONFIG=str(tmp_path / "other.toml")) == ["dee"]


@needs_bash
def test_a_pool_file_that_cannot_be_read_completes_nothing_and_says_nothing(tmp_path: Path) -> None:
    for content in ("not TOML [", "[unknown]\n", "models = 3\n"):
        (tmp_path / "jisi.toml").write_text(content)
        assert tab(tmp_path, "ask", "--models", "") == []
    assert tab(tmp_path, "ask", "--config", "nowhere.toml", "--models", "") == []
    (tmp_path / "jisi.toml").unlink()
    os.mkfifo(tmp_path / "jisi.toml")
    assert tab(tmp_path, "ask", "--models", "") == []


@needs_bash
def test_a_strangers_pool_file_offers_nothing_that_a_shell_would_run_or_a_terminal_obey(
    tmp_path: Path, loopback: Loopback
) -> None:
    names = ["good", "$(touch bad)", "`touch bad`", "a;touch bad", "two words", "x\\u001b[2J", "*", "--x", "n" * 300]
    tables = [
        f'[[models]]\nname = "{name}"\nlitellm = "openai/x"\napi_base = "{loopback.api_base}"\n' for name in names
    ]
    (tmp_path / "jisi.toml").write_text("\n".join(tables))
    assert tab(tmp_path, "ask", "--models", "") == ["good"]
    assert not (tmp_path / "bad").exists()
    assert loopback.count() == 0


def test_names_that_are_read_are_those_that_are_registered() -> None:
    own = {name for name, info in all_methods().items() if info.made_by.__module__.startswith("jisi_cli.")}
    assert set(completion.methods()) >= own
    assert {name for name in completion.methods() if name not in all_methods()} == set()
    assert set(grader_names()) <= set(completion.graders())
    assert set(built_in()) <= set(completion.formats())
    assert {name.rstrip(":") for name in completion.embedders()} >= _BUILT_IN
    for names in (completion.methods(), completion.graders(), completion.formats()):
        assert len(names) == len(set(names))


def test_completion_imports_nothing_heavy() -> None:
    script = (
        "import os, sys\n"
        "os.environ |= {'_JISI_COMPLETE': 'complete_bash', 'COMP_CWORD': '3', 'COMP_WORDS': 'jisi ask --method ji'}\n"
        "sys.argv = ['jisi']\n"
        "from jisi_cli.cli.app import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "print('MODULES', *sorted(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    completed, _, modules = done.stdout.partition("MODULES")
    assert "jisi-vote" in completed
    loaded = set(modules.split())
    assert not loaded & {"litellm", "numpy", "pyarrow", "rich", "sklearn", "torch", "httpx"}
    assert "jisi_cli.cli.eval" not in loaded  # of the commands, only the one that is completed
