"""Which models of a pool can do what not every model can: what the pool file says, else LiteLLM's map."""

from __future__ import annotations

from collections.abc import Iterable

from jisi_cli.config import ModelEntry
from jisi_cli.conversation import Ability
from jisi_cli.errors import InputError
from jisi_cli.models.facts import facts_of

_WORDS: dict[Ability, tuple[str, str]] = {
    "tools": ("call tools", "tools = true"),
    "vision": ("take pictures", "vision = true"),
}
"""What an ability is called, and what the pool file says of a model that has it."""


def has(entry: ModelEntry, ability: Ability) -> bool | None:
    """Return whether a model can do something; None where nothing is known of that."""
    stated = {"tools": entry.tools, "vision": entry.vision}[ability]
    if stated is not None:
        return stated  # before LiteLLM is imported
    facts = facts_of(entry)
    return {"tools": facts.calls_tools, "vision": facts.sees}[ability]


def able(entries: Iterable[ModelEntry], needs: Iterable[Ability]) -> tuple[str, ...]:
    """Return the names of the models that are known to be able to do all that is needed."""
    wanted = sorted(needs)
    return tuple(entry.name for entry in entries if all(has(entry, ability) for ability in wanted))


def none_able(entries: Iterable[ModelEntry], needs: Iterable[Ability], pool: object) -> InputError:
    """Return the error of a pool in which no model can do what is needed.

    Args:
        entries: The models that may be asked.
        needs: What is needed.
        pool: The pool file.
    """
    wanted = sorted(needs)
    can = " and ".join(_WORDS[ability][0] for ability in wanted)
    write = ", ".join(_WORDS[ability][1] for ability in wanted)
    names = ", ".join(entry.name for entry in entries)
    return InputError(
        f"no model that may be asked ({names}) is known to {can}; where one does, write {write} for it in {pool}, or "
        "add one that does"
    )
