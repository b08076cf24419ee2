"""What `jisi cost --erase` does: say what there is, ask, erase, say what is gone."""

from __future__ import annotations

from collections.abc import Sequence

from jisi_cli.cli.output import Output
from jisi_cli.erasing import Kept, erase, kept
from jisi_cli.errors import InputError, JisiError


def run_erasing(out: Output, *, asks: bool, as_json: bool) -> None:
    """Erase the ledger and what is cached.

    Raises:
        InputError: It is to be asked first, and nobody can answer.
        JisiError: The answer was no, or something cannot be erased.
    """
    before = kept()
    if asks and any(found.entries for found in before):
        _ask(before, out)
    for found in before:
        erase(found)
    freed = sum(found.size for found in before) - sum(found.size for found in kept())
    if as_json:
        places = [{"what": found.what, "path": str(found.path), "entries": found.entries} for found in before]
        out.json({"erased": places, "bytes_freed": freed})
    out.note(f"erased: {_listed(before)}; {_size(freed)} freed" if _listed(before) else "nothing was kept")


def require_alone(*, erase: bool, **others: object) -> None:
    """Refuse options about a bill beside `--erase`, which leaves nothing for one.

    Args:
        erase: Whether `--erase` was given, without which `--yes` answers nothing.
        others: Options by name.

    Raises:
        InputError: There are such options.
    """
    if not erase:
        raise InputError("--yes answers what --erase asks; give both, or leave it out")
    for name, value in others.items():
        if value:
            raise InputError(f"--erase erases everything, and shows no bill; leave out {name}")


def _ask(found: Sequence[Kept], out: Output) -> None:
    size = _size(sum(place.size for place in found))
    answer = out.confirmed(f"Erase {_listed(found)} ({size})? An answer that was paid for will be paid for again.")
    if answer is None:
        raise InputError("--erase asks before it erases, and here nobody can answer; add --yes")
    if not answer:
        raise JisiError("nothing was erased; answer y, or add --yes, to erase it")


def _listed(found: Sequence[Kept]) -> str:
    return ", ".join(f"{place.entries:,} {place.what}" for place in found if place.entries)


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
