"""What takes part in a comparison: methods by name, in their readings, made from train data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from jisi_cli.bank.bank import Bank
from jisi_cli.errors import InputError
from jisi_cli.evaluation.experiments import Variant, ablations, growing, traded
from jisi_cli.evaluation.one_question import Entry
from jisi_cli.formats.record import ScoreSource
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.cascade_training import LEAST_ROWS
from jisi_cli.methods.context import MethodContext, scored_by
from jisi_cli.methods.final_answers import later_readings_of
from jisi_cli.methods.registry import MethodInfo, all_methods, make_method, method_info
from jisi_cli.methods.training import Training

DEFAULT = ("best-single", "jisi-query", "jisi-router", "jisi-vote", "jisi")
BOUND = "oracle"
"""It is read off recorded answers, so a live run goes without it."""
BASELINE = "best-single"
_BEYOND_THE_PAPER = ("jisi-vote", "jisi-consensus")
_KEYLESS: tuple[ScoreSource, ...] = ("agreement", "label")
_READINGS: dict[str, Callable[[Hyperparameters], Hyperparameters]] = {
    "paper": lambda settings: Hyperparameters(),
    "openjisi": lambda settings: replace(settings, compat="openjisi"),
}
"""What may stand behind an @: the paper's settings, or the choices of the authors' released code."""

ShowTraining = Callable[[str], AbstractContextManager[Callable[[int, int], None] | None]]
"""Shows how far the training of a method is, as long as the context is open."""


def chosen_methods(methods: Sequence[str], versus: Sequence[str], *, live: bool, compared: bool) -> list[str]:
    """Return methods in the order asked for; `all` leaves out what cannot be done with what there is.

    A comparison by replay lists what needs live calls, too, so that its table is not taken for the whole.

    Args:
        methods: Methods by name, or `all`.
        versus: What they are compared with.
        live: Whether models are called.
        compared: Whether methods are compared as they are, rather than in an experiment of their settings.

    Raises:
        InputError: There is no such method, or it needs what is not there.
    """
    names = list(dict.fromkeys(methods))
    everything: list[str] = []
    if "all" in names:
        impossible = "labels" if live else "" if compared else "live"
        everything = [info.name for info in all_methods().values() if info.needs != impossible and not info.argument]
        names = [*everything, *(name for name in names if name not in ("all", *everything))]
    names += [name for name in versus if name not in names]
    for name in names:
        method, reading = _with_reading(name)
        info = method_info(method)
        if reading and (reading not in _READINGS or not info.takes_hyperparameters):
            raise InputError(
                f"`{name}`: JiSi's methods have the readings {', '.join(_READINGS)}, as in jisi-router@paper"
            )
        if reading and not compared:
            raise InputError(f"`{name}`: an experiment takes methods without @; set --compat and the like instead")
        if info.needs == "live" and not live and name not in everything:
            raise InputError(f"`{name}` needs live calls; add --live, or leave it out")
        if info.needs == "labels" and live:
            raise InputError(f"`{name}` is read off recorded answers; leave it out of a live run")
    return names


def variants(
    context: MethodContext,
    bank: Bank,
    methods: Sequence[str],
    versus: Sequence[str] = (),
    *,
    live: bool = False,
    grow: Sequence[str] | None = None,
    grow_from: int = 5,
    ablate: bool = False,
    curve: bool = False,
) -> list[Variant]:
    """Return what is compared: the methods asked for, or what an experiment makes of them.

    Args:
        context: What methods are made from.
        bank: The bank; where it is calibrated, JiSi's methods take part in their default settings, too.
        methods: Methods by name, or `all`.
        versus: What they are compared with.
        live: Whether models are called.
        grow: Models in the order in which they are added (the paper's Fig. 5).
        grow_from: Models to begin with.
        ablate: Leave out one part of JiSi at a time.
        curve: Take methods that trade quality for dollars at several weights.

    Raises:
        InputError: A method cannot take part.
    """
    if ablate:
        return [*ablations(context), Variant(BASELINE, BASELINE, context)]
    names = chosen_methods(methods, versus, live=live, compared=grow is None and not curve)
    if grow is not None:
        return growing(context, grow, grow_from, [name for name in names if name != "jisi"] or ["jisi-router"])
    if curve:
        return [variant for name in names for variant in traded(name, context)]
    if not live and BASELINE not in names:
        # Costs nothing in a replay, and without it a reader cannot tell whether routing pays at all.
        names.append(BASELINE)
    return [variant for name in names for variant in _readings(name, context, bank)]


def make_entries(
    variants: Sequence[Variant],
    bank: Bank,
    models: Sequence[str],
    asked: object,
    *,
    live: bool,
    required: Callable[[str], bool],
    training: ShowTraining = lambda name: nullcontext(),
    on_left_out: Callable[[str], None],
) -> list[Entry]:
    """Make the methods; `all` goes without what cannot be made, as without prices.

    Args:
        variants: What is compared.
        bank: What they are made from.
        models: Its models in use.
        asked: What decides the answers besides the methods: `replay`, or how models are called.
        live: Whether models are called.
        required: Whether a method was asked for by its name.
        training: Shows how far a training is.
        on_left_out: Told of a method that cannot be made.

    Raises:
        InputError: A method that was asked for by name cannot be made.
    """
    made = []
    for variant in variants:
        try:
            made.append(_make(variant, bank, models, asked, training, live=live))
        except InputError as error:
            if required(variant.label):
                raise
            on_left_out(f"{variant.label} is left out: {error}")
    return made


def _make(
    variant: Variant, bank: Bank, models: Sequence[str], asked: object, show: ShowTraining, *, live: bool
) -> Entry:
    """Make one method, with what decides its answers as its identity."""
    info, context = method_info(variant.method), variant.context
    needs_live = info.needs == "live" and not live
    method, training = None, Training()
    started = time.perf_counter()
    if info.needs != "labels" and not needs_live:
        with show(variant.label) if info.trains else nullcontext() as on_step:
            training = Training(on_step)
            method = make_method(variant.method, replace(context, training=training))
    return Entry(
        name=variant.label,
        method=method,
        identity=_identity(variant, info, bank, models, asked),
        making=time.perf_counter() - started,
        training=training,
        needs_live=needs_live,
        among=context.bank.model_names,
        coarse=context.coarse,
        fine=context.fine,
        compares_answers=_compares_answers(info, variant),
        kept_as=variant.kept_as,
    )


def _identity(
    variant: Variant, info: MethodInfo, bank: Bank, models: Sequence[str], asked: object
) -> tuple[object, ...]:
    """Return what decides the answers: results that are stored under it are found again as long as it is the same."""
    context = variant.context
    parts = [part.sha256 for part in bank.manifest.queries]
    parts += [part.sha256 for model in models for part in bank.manifest.responses[model]]
    return (
        variant.method,
        context.hyperparameters.identity(),
        context.bank.model_names,
        parts,
        context.costs.tolist(),
        context.seed,
        asked,
        *_failed_reading(bank, models),
        *_switch(info, context),
        *_options(info, context),
        *_reading(info, bank, models),
        *_fitting(info, bank, models),
    )


def _failed_reading(bank: Bank, models: Sequence[str]) -> tuple[str, ...]:
    """Return how failed and empty answers are read, where there are any; the keys of other banks' results stay."""
    some = bank.failed != "wrong" or any(bank.counted_wrong(model)[bank.train_rows].any() for model in models)
    return (f"failed={bank.failed}",) if some else ()


def _switch(info: MethodInfo, context: MethodContext) -> tuple[str, ...]:
    """Return what tells results of a switch apart from those of 0.1, where `jisi` always had the paper's."""
    switch = context.hyperparameters.switch
    return (f"switch={switch}",) if switch != "paper" and info.takes("switch") else ()


def _compares_answers(info: MethodInfo, variant: Variant) -> bool:
    """Return whether a method compares final answers: by its nature, or by the switch of JiSi."""
    if not info.takes_hyperparameters:
        return info.compares_answers
    settings = info.read_settings(variant.method, variant.context)
    return isinstance(settings, Hyperparameters) and settings.switch == "consensus"


def _reading(info: MethodInfo, bank: Bank, models: Sequence[str]) -> tuple[str, ...]:
    """Return how final answers of train rows are read that an earlier version read otherwise, if a method learns them.

    (What it compares on a test question is part of that question's key.)
    """
    learned = later_readings_of(bank, models) if info.compares_answers and info.trains else frozenset()
    return tuple(f"reads={name}" for name in sorted(learned))


def _fitting(info: MethodInfo, bank: Bank, models: Sequence[str]) -> tuple[str, ...]:
    """Return what is no longer learned from, where an earlier version fitted weights on it."""
    if not (info.compares_answers and info.trains):
        return ()
    agreed, labelled = (scored_by(bank, source, models) for source in _KEYLESS)
    was_fitted = agreed.any() and labelled.any() and (~agreed).sum() >= LEAST_ROWS
    return ("fit=no labels beside agreement",) if was_fitted else ()


def _options(info: MethodInfo, context: MethodContext) -> tuple[str, ...]:
    """Return the method's own settings that were given as options; what stands behind its name is part of that."""
    return tuple(f"{name}={context.options[name]!r}" for name in info.options if name in context.options)


def _readings(name: str, context: MethodContext, bank: Bank) -> list[Variant]:
    """Return one method; JiSi in the reading its name asks for, and on a calibrated bank with its defaults, too."""
    method, reading = _with_reading(name)
    if not method_info(method).takes_hyperparameters:
        return [Variant(name, method, context)]
    context = context.for_method(method)
    if reading:
        changed = _READINGS[reading](context.hyperparameters)
        return [Variant(name, method, replace(context, hyperparameters=changed))]
    if not bank.chosen(method) or context.hyperparameters != bank.hyperparameters(method):
        return [Variant(name, method, context)]
    kept_as, defaults = f"{name} (paper settings)", replace(context, hyperparameters=Hyperparameters())
    # The paper has no vote.
    label = f"{name} (default settings)" if method in _BEYOND_THE_PAPER else kept_as
    return [
        Variant(label, method, defaults, kept_as=kept_as),
        Variant(f"{name} (calibrated)", method, context),
    ]


def _with_reading(name: str) -> tuple[str, str]:
    """Return a method and the reading behind its @; the name of a model may have an @ of its own."""
    if name.startswith("model:"):
        return name, ""
    method, _, reading = name.partition("@")
    return method, reading
