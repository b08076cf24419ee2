"""Which local folders are copies of banks in object stores, as far as this process has opened any."""

from __future__ import annotations

from pathlib import Path

_addresses: dict[Path, str] = {}


def remember_copy(folder: Path, address: str) -> None:
    """Remember that a folder is the local copy of a bank."""
    _addresses[folder] = address


def is_copy(folder: Path) -> bool:
    """Whether a folder is the local copy of a bank in an object store."""
    return folder in _addresses


def as_named(text: str) -> str:
    """Return text for people, in which a bank's local copy is called by the address that the user knows it by."""
    for folder, address in _addresses.items():
        text = text.replace(str(folder), address)
    return text
