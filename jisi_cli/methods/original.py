"""A rival in its authors' settings or in ours: as its name asks for, or whichever does better on train rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jisi_cli.errors import InputError
from jisi_cli.methods.cross_validation import Learn, cross_validated
from jisi_cli.methods.examples import Examples
from jisi_cli.methods.trained_state import State
from jisi_cli.methods.training import Training

SETTING = "original"
_NAMES = ("jisi's settings", "the original's settings")
_AVERAGES = "cross_validated"


def wanted(name: str) -> str:
    """Return `yes`, `no` or `auto`, as a method's name says; with settings of its own it is `no` unless it says so.

    Raises:
        InputError: It says something else.
    """
    parts = name.split(":")[1:]
    said = [part.partition("=")[2] for part in parts if part.startswith(f"{SETTING}=")]
    if said and said[-1] not in ("yes", "no", "auto"):
        raise InputError(f"`{name}`: {SETTING} is yes, no or auto, not {said[-1]!r}")
    return said[-1] if said else "no" if parts else "auto"


def without_wish(name: str) -> str:
    """Return a method's name with all settings but this one."""
    return ":".join(part for part in name.split(":") if not part.startswith(f"{SETTING}="))


def averages_of(examples: Examples, ways: Sequence[Learn], seed: int) -> State:
    """Return what ours and the original's settings score on train rows, to be kept beside what is learned."""
    return {_AVERAGES: cross_validated(examples, ways, seed)}


def is_better(state: State) -> bool:
    """Whether the original's settings did at least as well; ours where too few rows tell."""
    ours, original = state[_AVERAGES].tolist()
    return bool(original >= ours)


def note_choice(state: State, training: Training | None) -> None:
    """Tell which settings were chosen, and why."""
    if training is None:
        return
    chosen = int(is_better(state))
    averages = 100 * state[_AVERAGES]
    if np.isnan(averages).any():
        training.chosen = f"{_NAMES[0]}: too few train rows to compare"
        return
    training.chosen = (
        f"{_NAMES[chosen]}: {averages[chosen]:.2f} % on train, {_NAMES[1 - chosen]} {averages[1 - chosen]:.2f}"
    )
