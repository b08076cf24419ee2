"""What other packages add to jisi: methods, formats, graders and embedders, found by their entry points.

A package names what it adds in its own pyproject.toml, in one of the groups `jisi.methods`, `jisi.formats`,
`jisi.graders` and `jisi.embedders`:

    [project.entry-points."jisi.graders"]
    starts-with = "my_package:StartsWith"

Names are looked up among installed packages only. Looking up a name imports nothing; `load` does, so call it only for
what the user asks for, never because a bank or a file of questions says so.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from jisi_cli.errors import InputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Group = Literal["methods", "formats", "graders", "embedders"]


def installed(group: Group, built_in: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names that installed packages add to a group, sorted.

    Args:
        group: What is added.
        built_in: jisi's own names, which no package may take.

    Raises:
        InputError: Two packages add one name, or a package adds one of jisi's own.
    """
    return tuple(sorted(_entry_points(group, built_in)))


def load(group: Group, name: str, built_in: Collection[str] = ()) -> object | None:
    """Import what an installed package adds under a name; None when no package does.

    Args:
        group: What is added.
        name: The name the user gave.
        built_in: jisi's own names, which no package may take.

    Raises:
        InputError: It cannot be imported, two packages add one name, or a package adds one of jisi's own.
    """
    found = _entry_points(group, built_in).get(name)
    if found is None:
        return None
    try:
        loaded: object = found.load()
    except (Exception, SystemExit) as error:  # whatever a package raises when it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(
            f"the {_singular(group)} `{name}` of {_package(found)} cannot be loaded ({reason}); repair or uninstall it"
        ) from error
    return loaded


def _entry_points(group: Group, built_in: Collection[str]) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # slow to import, and most commands need no look-up

    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=f"jisi.{group}"):
        other = found.setdefault(entry.name, entry)
        if entry.name in built_in:
            raise InputError(
                f"{_package(entry)} adds the {_singular(group)} `{entry.name}`, a name of jisi's own; {_REMEDY}"
            )
        if other != entry:
            raise InputError(
                f"{_package(other)} and {_package(entry)} both add the {_singular(group)} `{entry.name}`; {_REMEDY}"
            )
    return found


_REMEDY = "uninstall it, or have it renamed there"


def _package(entry: EntryPoint) -> str:
    return "an installed package" if entry.dist is None else f"the package {entry.dist.name} {entry.dist.version}"


def _singular(group: Group) -> str:
    return group.removesuffix("s")
