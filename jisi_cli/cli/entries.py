"""Who takes part in a comparison: methods by name, in their readings, made from train data."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jisi_cli.cli.embedder_choice import EmbedderChoice
from jisi_cli.cli.output import Output
from jisi_cli.cli.pool import PoolOptions
from jisi_cli.cli.progress import training_bar
from jisi_cli.cli.questions import read_text
from jisi_cli.cli.session import Session
from jisi_cli.cli.test_sources import SourceRequest
from jisi_cli.errors import InputError
from jisi_cli.evaluation.experiments import Variation, ablations, growing, traded
from jisi_cli.evaluation.runner import Contestant
from jisi_cli.grading.registry import GradingOptions
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.context import MethodContext
from jisi_cli.methods.registry import MethodInfo, all_methods, make_method, method_info
from jisi_cli.methods.training import Training

BASELINE = "best-single"
_READINGS: dict[str, Callable[[Hyperparameters], Hyperparameters]] = {
    "paper": lambda settings: Hyperparameters(),
    "openjisi": lambda settings: replace(settings, compat="openjisi"),
}
"""What may stand behind an @: the paper's settings, or the choices of the authors' released code."""


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """The command line of `jisi eval`."""

    test: str | None
    bank: Path | None
    config: Path | None
    methods: tuple[str, ...]
    versus: tuple[str, ...]
    live: bool
    out_file: Path | None
    format: str | None
    models: list[str] | None
    datasets: list[str] | None
    limit: int | None
    prices: Path | None
    sweep: tuple[str, ...]
    grow: Path | None
    grow_from: int
    ablate: bool
    curve: bool
    seed: int
    fail_under: str | None
    strict: bool
    pool: PoolOptions
    routing: Mapping[str, Any]
    grading: GradingOptions
    as_json: bool
    report: Path | None = None
    embedder: EmbedderChoice = field(default_factory=EmbedderChoice)
    failed: str | None = None

    @property
    def is_comparison(self) -> bool:
        """Whether methods are compared as they are, rather than in an experiment of their settings."""
        return not (self.sweep or self.grow or self.ablate or self.curve)

    @property
    def source(self) -> SourceRequest:
        """Where the questions come from."""
        return SourceRequest(
            test=self.test,
            format=self.format,
            datasets=self.datasets,
            limit=self.limit,
            live=self.live,
            strict=self.strict,
        )


def variations(request: EvalRequest, context: MethodContext, session: Session) -> list[Variation]:
    """Return what is compared: the methods asked for, or the contestants of an experiment.

    Raises:
        InputError: A method cannot be had.
    """
    if request.ablate:
        return [*ablations(context), Variation(BASELINE, BASELINE, context)]
    if request.grow is not None:
        methods = [name for name in _methods(request) if name != "jisi"] or ["jisi-router"]
        order = [line.strip() for line in read_text(request.grow).splitlines() if line.strip()]
        return growing(context, order, request.grow_from, methods)
    if request.curve:
        return [entry for name in _methods(request) for entry in traded(name, context)]
    names = _methods(request)
    if not request.live and BASELINE not in names:
        # Costs nothing in a replay, and without it a reader cannot tell whether routing pays at all.
        names.append(BASELINE)
    return [entry for name in names for entry in _readings(name, context, session)]


def make_contestants(
    entries: Sequence[Variation], session: Session, request: EvalRequest, out: Output
) -> list[Contestant]:
    """Make the methods; `all` goes without what cannot be made, as without prices.

    Raises:
        InputError: A method that was asked for by name cannot be made.
    """
    made = []
    for entry in entries:
        try:
            made.append(_make(entry, session, request, out))
        except InputError as error:
            if "all" not in request.methods or entry.label in (*request.methods, *request.versus):
                raise
            out.note(f"{entry.label} is left out: {error}")
    return made


def _make(entry: Variation, session: Session, request: EvalRequest, out: Output) -> Contestant:
    """Make one method, with what decides its answers as its identity."""
    info, context = method_info(entry.method), entry.context
    untried = info.needs == "live" and not request.live
    method, training = None, Training()
    started = time.perf_counter()
    if info.needs != "labels" and not untried:
        with training_bar(out, entry.label, trains=info.trains) as on_step:
            training = Training(on_step)
            method = make_method(entry.method, replace(context, training=training))
    making = time.perf_counter() - started
    parts = [part.sha256 for part in session.bank.manifest.queries]
    parts += [part.sha256 for model in session.models for part in session.bank.manifest.responses[model]]
    identity = (
        entry.method,
        context.hyperparameters.to_json(),
        context.bank.model_names,
        parts,
        context.costs.tolist(),
        request.seed,
        _asked(session) if request.live else "replay",
        *_failed_reading(session),
        *_switch(info, context),
    )
    among = context.bank.model_names
    return Contestant(entry.label, method, identity, making, training, untried, among, context.coarse)


def _failed_reading(session: Session) -> tuple[str, ...]:
    """How failed and empty answers are read, where there are any: what other banks' results are known by stays."""
    bank = session.bank
    some = bank.failed != "wrong" or any(bank.counted_wrong(model)[bank.train_rows].any() for model in session.models)
    return (f"failed={bank.failed}",) if some else ()


def _switch(info: MethodInfo, context: MethodContext) -> tuple[str, ...]:
    """What tells results of a switch apart from those of 0.1, where `jisi` had the paper's whatever was asked for."""
    switch = context.hyperparameters.switch
    return (f"switch={switch}",) if switch != "paper" and info.takes("switch") else ()


def _asked(session: Session) -> list[object]:
    """What decides the answers of live models, as it decides whether a cached answer is theirs."""
    entries = [entry for entry in session.config.models if entry.name in session.models]
    return [(entry.name, entry.litellm, entry.api_base, entry.system, dict(entry.params)) for entry in entries]


def _readings(name: str, context: MethodContext, session: Session) -> list[Variation]:
    """One method; JiSi in the reading its name asks for, and on a calibrated bank in the paper's, too."""
    method, reading = _with_reading(name)
    if not method_info(method).takes_hyperparameters:
        return [Variation(name, method, context)]
    if reading:
        changed = _READINGS[reading](context.hyperparameters)
        return [Variation(name, method, replace(context, hyperparameters=changed))]
    calibrated = session.bank.manifest.hyperparameters
    if not calibrated or context.hyperparameters != session.bank.hyperparameters():
        return [Variation(name, method, context)]
    paper = replace(context, hyperparameters=Hyperparameters())
    return [
        Variation(f"{name} (paper settings)", method, paper),
        Variation(f"{name} (calibrated)", method, context),
    ]


def _with_reading(name: str) -> tuple[str, str]:
    """Return a method and the reading behind its @; the name of a model may have an @ of its own."""
    if name.startswith("model:"):
        return name, ""
    method, _, reading = name.partition("@")
    return method, reading


def _methods(request: EvalRequest) -> list[str]:
    """The methods in the order asked for; `all` leaves out what cannot be done with what there is.

    A comparison by replay lists what needs live calls, too, so that nobody takes the table for the whole of it.

    Raises:
        InputError: There is no such method, or it needs what is not there.
    """
    names = list(dict.fromkeys(request.methods))
    everything: list[str] = []
    if "all" in names:
        impossible = "labels" if request.live else "" if request.is_comparison else "live"
        everything = [info.name for info in all_methods().values() if info.needs != impossible and not info.argument]
        names = [*everything, *(name for name in names if name not in ("all", *everything))]
    names += [name for name in request.versus if name not in names]
    for name in names:
        method, reading = _with_reading(name)
        info = method_info(method)
        if reading and (reading not in _READINGS or not info.takes_hyperparameters):
            raise InputError(
                f"`{name}`: JiSi's methods have the readings {', '.join(_READINGS)}, as in jisi-router@paper"
            )
        if reading and not request.is_comparison:
            raise InputError(f"`{name}`: an experiment takes methods without @; set --compat and the like instead")
        if info.needs == "live" and not request.live and name not in everything:
            raise InputError(f"`{name}` needs live calls; add --live, or leave it out")
        if info.needs == "labels" and request.live:
            raise InputError(f"`{name}` is read off recorded answers; leave it out of a live run")
    return names
