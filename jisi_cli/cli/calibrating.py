"""What `jisi bank calibrate` does: cross-validate, say what was gained, write it where it is real."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.lock import exclusive
from jisi_cli.bank.manifest import read_manifest, write_manifest
from jisi_cli.cli.entries import make_context
from jisi_cli.cli.output import Output
from jisi_cli.cli.progress import counted
from jisi_cli.cli.session import Session
from jisi_cli.errors import BankError, InputError
from jisi_cli.evaluation.calibration import Calibration, calibrate
from jisi_cli.evaluation.test_set import from_bank

_METHODS = ("jisi-router", "jisi-query", "jisi-vote")


def run_calibration(session: Session, method: str, *, seed: int, dry_run: bool, out: Output) -> dict[str, Any]:
    """Calibrate a bank; return what was found as plain data.

    Raises:
        InputError: The method cannot be scored by a replay.
        BankError: The bank was changed while it was calibrated, or is being built.
    """
    if method not in _METHODS:
        raise InputError(f"--method must be one of {', '.join(_METHODS)}: a replay can score these, not {method!r}")
    context = make_context(session, {}, seed)
    train = from_bank(session.bank, session.models, session.bank.train_rows, {})
    with counted(out, "cross-validating") as on_progress:
        found = asyncio.run(calibrate(method, context, train, seed=seed, on_progress=on_progress))
    written = found.real and bool(found.changes()) and not dry_run
    if written:
        _write(session.bank, found)
    return {
        "bank": str(session.bank.path),
        "method": method,
        "chosen": found.chosen.to_json(),
        "changes": found.changes(),
        "average": found.average,
        "paper_average": found.paper_average,
        "gain": {"average": found.gain.average, "low": found.gain.low, "high": found.gain.high},
        "folds_that_agree": found.agreement,
        "settings_tried": found.tried,
        "failed_answers": session.bank.failed,
        "written": written,
        "seed": seed,
    }


def show_calibration(data: dict[str, Any], out: Output) -> None:
    """Tell what was found and what was done about it."""
    gain = data["gain"]
    changes = ", ".join(f"{name}={value:g}" for name, value in data["changes"].items()) or "the paper's settings"
    out.data(f"best of {data['settings_tried']} settings for {data['method']}: {changes}")
    best, paper = 100 * data["average"], 100 * data["paper_average"]
    out.data(f"cross-validated Avg {best:.2f} %, with the paper's settings {paper:.2f} %")
    out.data(
        f"gain on rows that the choice never saw: {100 * gain['average']:+.2f} points "
        f"[{100 * gain['low']:+.2f}, {100 * gain['high']:+.2f}]"
    )
    if data["written"]:
        out.note(f"written into {data['bank']}; flags and [routing] still win over it")
    elif gain["low"] > 0:
        out.note("nothing was written")
    else:
        out.note("the gain is not distinguishable from none, so nothing was written")


def _write(bank: Bank, found: Calibration) -> None:
    """Write what was found into the bank that it was found on.

    Raises:
        BankError: The bank is another by now, or is being built.
    """
    with exclusive(bank.path):
        manifest = read_manifest(bank.path)
        if manifest != bank.manifest:
            raise BankError(f"{bank.path} has changed meanwhile, so nothing was written; calibrate it again")
        write_manifest(bank.path, replace(manifest, hyperparameters=found.changes()))
