"""What the package imports is what it declares: nothing is there only because another package happens to bring it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent

FOR_OTHERS = {"llm": "imported by a plug-in that `llm` itself loads", "_typeshed": "known to type checkers alone"}
"""What is imported and not declared, and why."""


@cache
def imported() -> dict[str, str]:
    """Return the packages that jisi imports, each with a place where it does."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "jisi_cli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for module in modules(node):
                found.setdefault(module.partition(".")[0], f"{path.relative_to(ROOT)}:{node.lineno}")
    return {name: place for name, place in found.items() if name not in {*sys.stdlib_module_names, "jisi_cli"}}


def modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """Return what pyproject.toml names for its users, by canonical name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [texts for extra, texts in project["optional-dependencies"].items() if extra not in ("test", "dev")]
    wanted = (text for group in (project["dependencies"], *extras) for text in group)
    return {canonical(re.split(r"[^\w.-]", text)[0]) for text in wanted}


def test_every_package_that_is_imported_is_declared() -> None:
    brought_by = packages_distributions()
    known = declared()
    missing = {
        name: place
        for name, place in imported().items()
        if name not in FOR_OTHERS and known.isdisjoint(map(canonical, brought_by.get(name, [name])))
    }

    assert not missing, "declare these in pyproject.toml, with bounds and a reason"


def test_what_need_not_be_declared_is_imported_still() -> None:
    assert imported().keys() >= FOR_OTHERS.keys()
