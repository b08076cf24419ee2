"""What the README promises under Security: nothing read is run, and what is kept can be read by its owner alone."""

from __future__ import annotations

import ast
import os
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import jisi_cli
from tests.cli.commands import MODELS, build_small_bank, jisi, pool_file
from tests.loopback import Loopback

PACKAGE = Path(jisi_cli.__file__).parent

UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pandas"}
"""Modules that run what they read, or (pandas) whose readers may."""
RUNNING = {"eval", "exec", "compile", "__import__", "execfile"}
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "commands.getoutput"}
UNSAFE = {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.jit.load", "ctypes.pydll"}

ALLOWED = {
    # The answer that the grader `code` runs in a confined process of its own, with --allow-code.
    ("grading/confined/program.py", "exec_module"),
    # The error alone, of `torch.load` with `weights_only`.
    ("formats/torch_file.py", "import pickle"),
}


def name_of(node: ast.expr) -> str:
    """Return a dotted name; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return ""


def dangers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of whatever may run what it is given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, f"import {n.name}") for n in node.names if n.name.split(".")[0] in UNPICKLING)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLING:
            yield node.lineno, f"import {node.module}"
        elif isinstance(node, ast.Call):
            called = name_of(node.func)
            settings = {keyword.arg: keyword.value for keyword in node.keywords}
            if called in RUNNING | SHELLS | UNSAFE or called.endswith((".read_pickle", ".to_pickle")):
                yield node.lineno, called
            if called.endswith(".exec_module"):
                yield node.lineno, "exec_module"
            if "shell" in settings and not _is(settings["shell"], False):
                yield node.lineno, "shell"
            if called in ("torch.load", "torch.serialization.load") and not _is(settings.get("weights_only"), True):
                yield node.lineno, called
            if called in ("np.load", "numpy.load") and not _is(settings.get("allow_pickle"), False):
                yield node.lineno, called
            if "trust_remote_code" in settings and not _is(settings["trust_remote_code"], False):
                yield node.lineno, "trust_remote_code"


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_unpickles_evaluates_or_starts_a_shell() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), what)
        for path in sorted(PACKAGE.rglob("*.py"))
        for _, what in dangers(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "text",
    [
        *(
            "import pickle",
            "from joblib import load",
            "import pandas as pd",
            "eval('1')",
            "exec(text)",
            "compile(a, b)",
        ),
        *(
            "compile(a, b)",
            "_Text(text).exec_module(m)",
            "os.system(command)",
            "subprocess.run(words, shell=True)",
            "subprocess.Popen(words, shell=wanted)",
        ),
        *("torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path)", "np.load(p, allow_pickle=True)"),
        *("yaml.load(text)", "Model(path, trust_remote_code=True)", "frame.to_pickle(path)"),
    ],
)
def test_the_check_finds_what_it_looks_for(text: str) -> None:
    assert list(dangers(ast.parse(text)))


@pytest.mark.parametrize(
    "text", ["torch.load(p, weights_only=True)", "np.load(p, allow_pickle=False)", "re.compile(p)", "model.eval()"]
)
def test_the_check_lets_pass_what_is_harmless(text: str) -> None:
    assert not list(dangers(ast.parse(text)))


def test_whatever_jisi_keeps_by_itself_is_for_its_owner_alone(tmp_path: Path, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, "{model} says {question}")
    bank, pool = build_small_bank(tmp_path), pool_file(tmp_path / "jisi.toml", loopback)
    before = os.umask(0o022)
    try:
        assert jisi("ask", "What is 3 plus 6?", "--bank", bank, "--config", pool).exit_code == 0
    finally:
        os.umask(before)
    kept = [path for home in ("jisi_cache", "jisi_data") for path in (tmp_path / home).rglob("*")]
    files = [path for path in kept if path.is_file()]
    assert {path.name for path in files} >= {"cache.db", "calls.sqlite", "flights.lock"}
    for home in ("jisi_cache", "jisi_data"):
        assert stat.S_IMODE((tmp_path / home).stat().st_mode) == 0o700, home
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700, path


def requirements() -> dict[str, SpecifierSet]:
    """Return the versions of every package that an installation may bring."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [
        text
        for name, texts in project["optional-dependencies"].items()
        if name not in ("test", "dev")
        for text in texts
    ]
    found = map(Requirement, [*project["dependencies"], *extras])
    return {requirement.name: requirement.specifier for requirement in found}


def test_every_package_has_a_lower_and_an_upper_bound() -> None:
    for name, versions in requirements().items():
        kinds = {version.operator for version in versions}
        assert {">=", "<"} <= kinds, name


@pytest.mark.parametrize("version", ["1.82.7", "1.82.8"])
def test_litellms_bad_releases_are_excluded(version: str) -> None:
    assert not requirements()["litellm"].contains(version)
    assert requirements()["litellm"].contains("1.82.9")
