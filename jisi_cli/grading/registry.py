"""The graders by name; a grader is imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from jisi_cli.errors import InputError
from jisi_cli.grading.protocol import Grader

GRADERS = {
    "choice": "jisi_cli.grading.choice:Choice",
    "contains": "jisi_cli.grading.contains:Contains",
    "exact": "jisi_cli.grading.exact:Exact",
    "numeric": "jisi_cli.grading.numeric:Numeric",
    "zeroeval-choice": "jisi_cli.grading.zeroeval:ZeroEvalChoice",
    "zeroeval-number": "jisi_cli.grading.zeroeval:ZeroEvalNumber",
    "zeroeval-text": "jisi_cli.grading.zeroeval:ZeroEvalText",
}
"""The graders that look at texts alone: name -> `module:Class`; the class is called without arguments."""

ASSISTED = ("code", "command", "judge", "math", "pairwise", "regex")
"""The graders that need a process or a model besides; `grader_set` makes them."""

READERS = {
    "choice": "choice",
    "exact": "exact",
    "math": "numeric",
    "numeric": "numeric",
    "zeroeval-choice": "choice",
    "zeroeval-number": "numeric",
    "zeroeval-text": "exact",
}
"""Graders whose questions have a final answer, and the grader that reads it."""


def load_grader(name: str) -> Grader:
    """Return the grader of this name that looks at texts alone, with its default settings.

    Raises:
        InputError: There is no such grader.
    """
    try:
        module, _, attribute = GRADERS[name].partition(":")
    except KeyError:
        raise InputError(f"no grader is called `{name}`; the graders are {known_graders()}") from None
    return cast("Grader", getattr(import_module(module), attribute)())


def known_graders() -> str:
    """Return the names of all graders, as a message lists them."""
    return ", ".join(sorted((*GRADERS, *ASSISTED)))
