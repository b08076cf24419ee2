"""`jisi bank calibrate`: settings chosen for a method, what that gains on held-out questions, what is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jisi_cli.cli.completion import completion
from jisi_cli.cli.options import (
    BankArgument,
    ConfigOption,
    FailedOption,
    JsonOption,
    QuietOption,
    VerboseOption,
)
from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError, did_you_mean
from jisi_cli.hyperparameters import OWN_DEFAULTS, OWN_SETTINGS
from jisi_cli.types import LARGEST_SEED

if TYPE_CHECKING:
    from jisi_cli.evaluation.calibration import Calibration
    from jisi_cli.jisi import Jisi

_CALIBRATED = ("jisi-router", *OWN_SETTINGS)
"""Methods whose settings recorded answers can compare."""
_WITHOUT_ANSWERS = ("jisi-router", "jisi-query")
"""Methods that are scored without reading final answers; the paper has them, so that their defaults are the paper's."""


def calibrate(
    bank: BankArgument = None,
    config: ConfigOption = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            metavar="NAME",
            help=f"Method to tune: {', '.join(_CALIBRATED)}.",
            autocompletion=completion(lambda _: _CALIBRATED),
        ),
    ] = "jisi-router",
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, max=LARGEST_SEED, help="Seed of the folds and the bootstrap.")
    ] = 42,
    failed: FailedOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing into the bank.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Choose a method's settings for a bank and its embedder by nested cross-validation on its train rows.

    Of the settings that recorded answers cannot tell from the best, the one with the fewest calls is chosen. It is
    written into the bank, for that method alone, if the gain is real: if its 95 % interval, on questions that the
    choice never saw, is above zero. Otherwise the defaults stay. What is chosen for jisi-router also holds for jisi and
    jisi-static.

    Example: jisi bank calibrate sample_data/bank --dry-run
    """
    from jisi_cli.jisi import Jisi

    out = Output(quiet=quiet, verbose=verbose)
    if method not in _CALIBRATED:
        raise InputError(
            f"--method must be one of {', '.join(_CALIBRATED)}, which recorded answers can score, "
            f"not {method!r}{did_you_mean(method, _CALIBRATED)}"
        )
    jisi = Jisi(bank, config, failed=failed, calls="ignored", seed=seed, user=out, command="bank calibrate")
    data = _calibrate(jisi, method, out, dry_run=dry_run)
    if as_json:
        out.json(data)
    else:
        _show(data, out)


def _calibrate(jisi: Jisi, method: str, out: Output, *, dry_run: bool) -> dict[str, Any]:
    """Choose settings for a method, write into the bank what its questions support, and return what was found.

    Args:
        jisi: What is open.
        method: One of the methods that recorded answers can score.
        out: Where progress goes.
        dry_run: Write nothing.

    Raises:
        InputError: The bank's scores do not allow it.
        BankError: The bank has changed meanwhile.
    """
    from jisi_cli.bank.update import update_hyperparameters

    found = _cross_validated(jisi, method, out)
    shared = jisi.bank.shared_settings
    held = jisi.bank.own_settings.get(method, {}) if method in OWN_SETTINGS else shared
    supported = found.supported()
    if not dry_run and supported != held:
        update_hyperparameters(jisi.bank, supported, method)
    left = held if dry_run else supported
    return {
        "bank": str(jisi.bank.path),
        "method": method,
        "chosen": asdict(found.chosen),
        "changes": found.changes(),
        "average": found.average,
        "calls": found.calls,
        "paper_average": found.default_average,
        "paper_calls": found.default_calls,
        "held_out": asdict(found.held_out),
        "held_out_defaults": asdict(found.held_out_default),
        "gain": {"average": found.gain.average, "low": found.gain.low, "high": found.gain.high},
        "gain_calls": found.held_out.calls,
        "folds_that_agree": found.agreement,
        "settings_tried": found.tried,
        "failed_answers": jisi.bank.failed,
        "written": bool(supported) and not dry_run,
        "removed": {} if dry_run or supported else held,
        "in_force": left or (shared if method in OWN_DEFAULTS else {}),
        "seed": jisi.seed,
    }


def _cross_validated(jisi: Jisi, method: str, out: Output) -> Calibration:
    from jisi_cli.bank.score_sources import keyless_problem
    from jisi_cli.cli.progress import counted
    from jisi_cli.evaluation.calibration import calibrate
    from jisi_cli.evaluation.final_codes import answer_codes, without_reading
    from jisi_cli.evaluation.held_out import Train

    problem = keyless_problem(jisi.bank)
    if problem is not None:
        raise InputError(f"nothing was calibrated: {problem}")
    with counted(out, "reading final answers") as on_progress:
        if method in _WITHOUT_ANSWERS:
            finals = without_reading(jisi.bank, jisi.models)
        else:
            finals = answer_codes(jisi.bank, jisi.models, on_progress)
    train = Train(jisi.configured.context.bank, jisi.configured.context.datasets, finals, jisi.seed, jisi.bank.failed)
    with counted(out, "cross-validating") as on_progress:
        return calibrate(method, train, seed=jisi.seed, on_progress=on_progress)


def _show(data: Mapping[str, Any], out: Output) -> None:
    """Say what was chosen, what choosing gains on questions that it never saw, and what the bank holds now."""
    gain, chosen, default = data["gain"], data["held_out"], data["held_out_defaults"]
    defaults = "the paper's settings" if data["method"] in _WITHOUT_ANSWERS else "the default settings"
    out.sentence(
        f"best of {data['settings_tried']} settings for {data['method']}: {_listed(data['changes']) or defaults}"
    )
    out.sentence(
        f"on questions that the choice never saw: {100 * chosen['average']:.2f} % at {chosen['calls']:.1f} calls each, "
        f"with {defaults} {100 * default['average']:.2f} % at {default['calls']:.1f}"
    )
    interval = f"[{100 * gain['low']:+.2f}, {100 * gain['high']:+.2f}]"
    out.sentence(f"gain: {100 * gain['average']:+.2f} points, 95 % interval {interval}")
    if data["method"] == "jisi-consensus":
        out.note("where an aggregator would write an answer, which was never recorded, the router's choice was scored")
    out.note(_consequence(data, defaults))


def _consequence(data: Mapping[str, Any], defaults: str) -> str:
    whom = f"{data['method']} alone" if data["method"] in OWN_SETTINGS else "jisi, jisi-router and jisi-static"
    if data["written"]:
        return f"written into {data['bank']} for {whom}; flags and [routing] still win over it"
    if data["gain"]["low"] > 0:
        return "nothing was written"
    why = "the gain is not distinguishable from none, so"
    did = f"{_listed(data['removed'])} was removed for {whom}" if data["removed"] else "nothing was written"
    return f"{why} {did}; {data['method']} has {_listed(data['in_force']) or defaults} in this bank"


def _listed(settings: Mapping[str, Any]) -> str:
    values = {name: value if isinstance(value, str) else f"{value:g}" for name, value in settings.items()}
    return ", ".join(f"{name}={value or 'none'}" for name, value in values.items())
