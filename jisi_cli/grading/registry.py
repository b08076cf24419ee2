"""The graders by name; a grader is imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from jisi_cli.errors import InputError
from jisi_cli.grading.protocol import Grader

GRADERS = {
    "choice": "jisi_cli.grading.choice:Choice",
    "exact": "jisi_cli.grading.exact:Exact",
    "numeric": "jisi_cli.grading.numeric:Numeric",
}
"""Name -> `module:Class`; the class is called without arguments."""


def load_grader(name: str) -> Grader:
    """Return the grader of this name, with its default settings.

    Raises:
        InputError: There is no such grader.
    """
    try:
        module, _, attribute = GRADERS[name].partition(":")
    except KeyError:
        known = ", ".join(sorted(GRADERS))
        raise InputError(f"no grader is called `{name}`; the graders are {known}") from None
    return cast("Grader", getattr(import_module(module), attribute)())
