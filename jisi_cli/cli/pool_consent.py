"""The user's leave for a pool file that merely lies in the current folder: before it names an address or a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from jisi_cli.cli.output import Output
from jisi_cli.config import Config, ModelEntry
from jisi_cli.errors import InputError
from jisi_cli.trust import beyond_the_provider

_LOCAL = "local:"
_allowed: set[str] = set()
"""Files that the user has allowed for this process alone."""


def require_consent(config: Config, entries: Sequence[ModelEntry], out: Output) -> None:
    """Ask whether a pool file that the user never named may lead where it says; without a terminal, refuse.

    Args:
        config: The configuration in force.
        entries: Its models that are about to be called.
        out: Where a person is asked.

    Raises:
        InputError: It may not.
    """
    if config.trusted or config.identity in _allowed:
        return
    wants = list(dict.fromkeys(what for entry in entries for what in what_it_names(entry)))
    if not wants:
        return
    words = f"{config.path} in this folder, which you have not allowed, {_listed(wants)}"
    answer = out.confirmed(f"{words}. Go on this once? (`jisi trust` allows it for good)")
    if answer is None:
        raise InputError(f"{words}; read it, then run `jisi trust`, or name it: --config {config.path}")
    if not answer:
        raise InputError(f"{config.path} was not allowed; nothing was sent")
    _allowed.add(config.identity)


def what_it_names(entry: ModelEntry) -> Iterator[str]:
    """Yield, in words, what of a pool entry leads beyond its provider or takes a key there."""
    if entry.api_base is not None:
        yield f"sends questions to {_shown(entry.api_base)}"
    if entry.api_key_env is not None:
        yield f"sends the key {entry.api_key_env}"
    if entry.litellm.startswith(_LOCAL) and entry.litellm.removeprefix(_LOCAL) not in _packaged():
        yield f"loads the weights {entry.litellm.removeprefix(_LOCAL)}"
    if "arn:" in entry.litellm:
        yield f"calls {entry.litellm}"
    for name in beyond_the_provider(entry.params):
        yield f"sets {name}"


def _packaged() -> Iterable[str]:
    from jisi_cli.models.local import NAMES

    return NAMES


def _shown(address: str) -> str:
    """Return an address without what may be secret in it."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address"
    return f"{parts.scheme}://{parts.hostname}{port}"


def _listed(wants: Sequence[str]) -> str:
    shown = [*wants[:3], *([f"and {len(wants) - 3} more"] if len(wants) > 3 else [])]
    return ", ".join(shown)
