"""The rooms' import arrows, and a light start-up."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "jisi_cli"

# A room may import the rooms before it, never one after it.
ROOMS = [
    "errors",
    "large_imports",
    "http_errors",
    "half_precision",
    "exact_sums",
    "paths",
    "amounts",
    "input_files",
    "output_files",
    "sqlite_reading",
    "trust",
    "call_params",
    "config",
    "hyperparameters",
    "finish_reason",
    "reasoning",
    "scoring",
    "embedders.protocol",
    "bank",
    "llm.json_disk",
    "llm.address",
    "llm.unpacking",
    "llm.outgoing",
    "llm.litellm_setup",
    "embedders",
    "llm.answer",
    "pricing",
    "ledger",
    "erasing",
    "llm",
    "grading",
    "methods",
    "collection",
    "evaluation",
    "reporting",
    "accounting",
    "cli",
]
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


def room_of(module: str) -> str:
    name = module.removeprefix("jisi_cli.")
    fitting = [room for room in ROOMS if name == room or name.startswith(room + ".")]
    return max(fitting, key=len) if fitting else ""


def imports_of(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.append(node.module or "")
            names.extend(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
    return [name for name in names if name.startswith("jisi_cli.")]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = [
    path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__main__.py" and path != PACKAGE / "__init__.py"
]


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_a_module_imports_only_rooms_before_its_own(path: Path) -> None:
    own = room_of(module_of(path))
    assert own, f"{path} is in no room; add it to ROOMS"
    for imported in imports_of(path):
        room = room_of(imported)
        if room:
            assert ROOMS.index(room) <= ROOMS.index(own), f"{module_of(path)} imports {imported} from a later room"


def test_methods_never_import_each_other() -> None:
    shared = {
        "protocol",
        "registry",
        "catalogue",
        "factories",
        "decision",
        "aggregation_prompt",
        "asking",
        "ranked",
        "consensus",
    }
    shared |= {"panel", "similarity", "bleu", "plurality", "tuning", "references_prompt", "synthesis", "choosing"}
    shared |= {"agent_factories", "price_weight", "panel_method", "shared_coarse"}
    shared |= {"router_factories", "examples", "trained_state", "training", "clusters", "descent", "contrasts"}
    shared |= {"departures", "cross_validation", "original", "best_model", "perceptron"}
    methods = {path.stem for path in (PACKAGE / "methods").glob("*.py")} - shared - {"__init__"}
    for path in (PACKAGE / "methods").glob("*.py"):
        if path.stem in methods:
            siblings = {name.split(".")[2] for name in imports_of(path) if name.startswith("jisi_cli.methods.")}
            assert not (siblings & methods - {path.stem}), f"{path.name} imports another method"


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
