"""What `--engine` says: this process alone, or a Ray cluster, and where it is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jisi_cli.errors import InputError, did_you_mean

HERE = "asyncio"
"""The engine that is this process alone."""
_RAY = "ray"
_ADDRESS = re.compile(r"auto|local|[\w.-]+:\d{1,5}|\[[0-9a-fA-F:.]+\]:\d{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RayEngine:
    """A Ray cluster.

    Attributes:
        address: `host:port` of its head, `auto` for the one on this machine, `local` for one that lives as long as the
            run; None for what RAY_ADDRESS says, else `local`.
    """

    address: str | None = None


def read_engine(text: str | None) -> RayEngine | None:
    """Return the cluster that `--engine` names; None for this process alone.

    Raises:
        InputError: There is no such engine, or the address is not one.
    """
    kind, _, address = (text or HERE).partition(":")
    if kind == HERE and not address:
        return None
    if kind != _RAY:
        raise InputError(f"--engine takes {HERE}, ray or ray:ADDRESS, not {text!r}{did_you_mean(kind, (HERE, _RAY))}")
    if address.startswith("//"):
        raise InputError(
            f"--engine {text}: Ray's client protocol is not used; run jisi on a machine of the cluster with "
            "--engine ray:auto"
        )
    if address and not _ADDRESS.fullmatch(address):
        raise InputError(f"--engine {text}: an address is HOST:PORT of the cluster's head, auto, or local")
    return RayEngine(address or None)
