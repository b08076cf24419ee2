"""A light start-up, and one place that prints. The rooms' import arrows are contracts in pyproject.toml."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "jisi_cli"

HEAVY = [
    "litellm",
    "torch",
    "sentence_transformers",
    "sklearn",
    "pyarrow",
    "numpy",
    "rich",
    "transformers",
    "diskcache",
]


MODULES = [
    path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__main__.py" and path != PACKAGE / "__init__.py"
]


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["ask", "--help"], ["bank", "build", "--help"], ["cost", "--json"], ["cost"]],
)
def test_help_and_bills_import_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        f"sys.argv = ['jisi', *{arguments!r}]\n"
        "from jisi_cli.cli.app import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "print('MODULES', *sorted(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("MODULES")[2].split())
    assert "jisi_cli.cli.app" in loaded
    assert not loaded & set(HEAVY)


def test_every_printing_call_is_in_the_output_module() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"print", "eval", "exec"}, f"{path}:{node.lineno}"


def test_nothing_in_the_package_can_unpickle() -> None:
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        assert "import pickle" not in source, path
        assert "allow_pickle=True" not in source, path
        assert "shell=True" not in source, path
