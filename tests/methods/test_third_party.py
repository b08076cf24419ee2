"""A method of somebody else's: a class with the decorator, in their program or in a package that pip installed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.errors import InputError
from jisi_cli.methods import registry
from jisi_cli.methods.context import MethodContext
from jisi_cli.methods.protocol import Query, Silent
from jisi_cli.methods.registry import all_methods, broken_plugins, make_method, method_info, register_method
from jisi_cli.methods.router import Router
from tests.cli.commands import jisi, says_one_error
from tests.methods.synthetic import setting

EXAMPLE = """
import numpy as np
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import Router


@register_method("briefest", "the model with the shortest train answers", "recorded", "an example")
class Briefest(Router):
    reason = "its answers are the shortest"

    def rank(self, queries):
        return (self.ranking for _ in queries)

    def __init__(self, context, settings):
        super().__init__(context, settings)
        lengths = np.nanmean(context.bank.completion_tokens, axis=0)
        self.ranking = tuple(np.array(context.bank.model_names)[np.argsort(lengths)].tolist())
"""


@pytest.fixture(autouse=True)
def registered_for_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    all_methods()
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    monkeypatch.setattr(registry, "_LOADED", {})


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, entry: str, source: str, package: str = "briefly") -> None:
    """Put a package with one entry point where pip would."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[jisi.methods]\n{entry} = {package}_methods\n")
    (folder / f"{package}_methods.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, f"{package}_methods", raising=False)


def test_a_class_with_the_decorator_is_a_method() -> None:
    exec(compile(EXAMPLE, "example", "exec"), {"__name__": "my_methods"})
    given = setting()
    made = make_method("briefest", given.context)
    (plan, *_) = made.plan(given.tests.queries)
    lengths = np.nanmean(given.context.bank.completion_tokens, axis=0)
    assert plan[0] == given.models[int(np.argmin(lengths))]
    outcome = asyncio.run(made.answer(given.tests.queries[0], plan, given.tests.pool, Silent()))
    assert (outcome.answer.model, outcome.reason) == (plan[0], "its answers are the shortest")
    assert "briefest" in all_methods()


def test_a_package_adds_a_method_by_its_entry_point(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bank: Path
) -> None:
    install(monkeypatch, tmp_path, "briefest", EXAMPLE)
    run = jisi("eval", bank, "--bank", bank, "--method", "briefest", "--json")
    assert [method["name"] for method in run.json["methods"]] == ["briefest", "best-single"]
    listed = {info["name"]: info for info in jisi("eval", "--list-methods", "--json").json}
    assert listed["briefest"]["source"] == "an example"
    # jisi's own stand before what others add.
    assert list(all_methods()).index("briefest") > list(all_methods()).index("smacs")


def test_a_method_that_cannot_be_loaded_is_named_where_it_matters_and_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, "broken", "import nothing_of_this_name")
    assert make_method("best-single", setting().context)
    for name in ("broken", "best"):
        with pytest.raises(InputError, match=r"no method is called.*`broken` of the package briefly 1.0 cannot be lo"):
            method_info(name)
    run = jisi("eval", "--list-methods")
    assert run.exit_code == 0 and "jisi-router" in run.stdout and "broken" not in run.stdout
    assert "the method `broken` of the package briefly 1.0 cannot be loaded" in run.stderr
    assert "Traceback" not in run.stderr
    says_one_error(jisi("ask", "Why?", "--method", "broken"), 2, "briefly 1.0", "ModuleNotFoundError")


def test_a_name_that_is_taken_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"two methods are called `knn`: jisi_cli\.methods\.routers\.knn\.Knn and "):

        @register_method("knn", "another one", "recorded", "an example")
        class Mine:
            pass

    install(monkeypatch, tmp_path, "nearest", EXAMPLE.replace('"briefest"', '"knn"'))
    assert "two methods are called `knn`" in broken_plugins()[0]
    assert method_info("knn").made_by.__module__ == "jisi_cli.methods.routers.knn"


def test_the_same_class_may_be_defined_again_as_a_notebook_does() -> None:
    class First(Router[None]):
        def rank(self, queries: Sequence[Query]) -> Iterator[tuple[str, ...]]:
            return (("a",) for _ in queries)

        @classmethod
        def again(cls, context: MethodContext) -> str:
            return cls.__name__

    for _ in range(2):
        register_method("mine", "the first", "recorded", "an example")(First)
    assert method_info("mine").made_by is First
