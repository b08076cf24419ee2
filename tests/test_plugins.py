"""Entry points of other packages, through metadata as a real installation writes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jisi_cli import plugins
from jisi_cli.errors import InputError

Install = Callable[..., None]


def test_a_name_that_no_package_adds_is_none() -> None:
    assert plugins.load("graders", "nobody-adds-this") is None


def test_what_a_package_adds_is_found_by_its_name(install_package: Install) -> None:
    install_package("shouting", "class Shouting:\n    pass\n", graders={"shouting": "shouting:Shouting"})
    assert plugins.installed("graders") == ("shouting",)
    assert plugins.installed("formats") == ()
    assert plugins.load("graders", "shouting").__name__ == "Shouting"  # type: ignore[union-attr]


def test_looking_a_name_up_imports_nothing(install_package: Install) -> None:
    install_package("loud", "raise SystemExit('imported')\n", graders={"loud": "loud:Loud"})
    assert plugins.installed("graders") == ("loud",)


@pytest.mark.parametrize("source", ["import not_there\n", "raise SystemExit('no\\nreason')\n", "x = 1\n"])
def test_a_package_that_cannot_be_imported_is_one_line(install_package: Install, source: str) -> None:
    install_package("broken", source, methods={"broken": "broken:Broken"})
    with pytest.raises(
        InputError, match=r"^the method `broken` of the package broken 1.0 cannot be loaded \(.*uninstall it$"
    ):
        plugins.load("methods", "broken")


def test_two_packages_with_one_name_are_refused_by_name(install_package: Install) -> None:
    install_package("first", "", formats={"tap": "first"})
    install_package("second", "", formats={"tap": "second"})
    with pytest.raises(InputError, match=r"the package (first|second) 1.0 and the package (first|second) 1.0 both add"):
        plugins.load("formats", "tap")


def test_a_package_cannot_take_a_name_of_jisis_own(install_package: Install) -> None:
    install_package("taker", "", embedders={"minilm": "taker"})
    with pytest.raises(InputError, match=r"the package taker 1.0 adds the embedder `minilm`, a name of jisi's own"):
        plugins.installed("embedders", {"minilm"})
