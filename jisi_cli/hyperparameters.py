"""The method's hyperparameters: names, defaults, bounds. No NumPy, so that `--help` stays light."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from jisi_cli.errors import InputError, did_you_mean

_MOST = 1_000_000_000
"""No setting means anything beyond it."""
_ROUND = re.compile(r" *[1-9][0-9]{0,5} *")

Compat = Literal["paper", "openjisi"]
"""Which reading of the method: the paper's equations, or the authors' released code."""

Switch = Literal["paper", "consensus"]
"""What ends a question: the paper's adaptive switch alone, or agreement of the candidates first."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Settings of JiSi; the defaults are the paper's (§4.1).

    Attributes:
        k: Candidates that are asked, and aggregatees at most.
        n_base: Neighbours that the support set holds at least.
        gamma: Share of the n_base-th similarity that still admits a query to the support set.
        beta: Share of the support set that survives the mixed filter.
        epsilon: Weight of query similarity in the filter.
        sigma: Weight of response similarity.
        delta: Weight of the similarity in completion tokens; the three weights sum to 1.
        t: Share of the best fine score that still makes a model an aggregatee.
        max_aggregate_tokens: Responses together longer than this are cut down to two.
        compat: `paper`, or `openjisi` for the choices of the authors' released code.
        switch: `paper`, or `consensus` to stop where the candidates' final answers agree (ours).
        u: Share of the candidates' weight that an answer needs to win at once: 0.999 is unanimous.
        probe_schedule: How many candidates are asked in each round, as in `2,1`; the next round comes
            only while they disagree (`consensus` only). Empty asks all at once.
        price_weight: How much expected dollars count against expected score, from 0 (not at all, the
            paper) to 1 (ours).
        prior: Questions of similarity 1 that a model's mean score over the whole bank counts for beside its scores
            on the support set; from 0 (not at all, the paper). It steadies the choice where a bank is small (ours).
    """

    k: int = 3
    n_base: int = 50
    gamma: float = 0.95
    beta: float = 0.5
    epsilon: float = 0.5
    sigma: float = 0.3
    delta: float = 0.2
    t: float = 0.8
    max_aggregate_tokens: int = 13_000
    compat: Compat = "paper"
    switch: Switch = "paper"
    u: float = 0.999
    probe_schedule: str = ""
    price_weight: float = 0.0
    prior: float = 0.0

    def __post_init__(self) -> None:
        for name in ("k", "n_base", "max_aggregate_tokens"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number from 1, not {value!r}")
            _require_possible(name, value)
        for name in ("gamma", "beta", "epsilon", "sigma", "delta", "t", "u", "price_weight"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InputError(f"{name} must be a number from 0 to 1, not {value!r}")
        if isinstance(self.prior, bool) or not isinstance(self.prior, int | float) or not 0 <= self.prior < math.inf:
            raise InputError(f"prior must be a number from 0, not {self.prior!r}")
        _require_possible("prior", self.prior)
        total = self.epsilon + self.sigma + self.delta
        if abs(total - 1) > 1e-9:
            raise InputError(f"epsilon + sigma + delta must be 1, not {total:g}; set all three")
        for name, choices in (("compat", get_args(Compat)), ("switch", get_args(Switch))):
            value = getattr(self, name)
            if value not in choices:
                near = did_you_mean(str(value), choices)
                raise InputError(f"{name} must be one of {', '.join(choices)}, not {value!r}{near}")
        self._check_schedule()

    def rounds(self) -> tuple[int, ...]:
        """How many candidates are asked in each round; they add up to K."""
        return tuple(int(part) for part in self.probe_schedule.split(",")) if self.probe_schedule else (self.k,)

    def _check_schedule(self) -> None:
        if self.probe_schedule == "":
            return
        parts = self.probe_schedule.split(",") if isinstance(self.probe_schedule, str) else [""]
        if not all(_ROUND.fullmatch(part) for part in parts) or sum(map(int, parts)) != self.k:
            raise InputError(f"probe_schedule must be numbers that add up to k={self.k}, not {self.probe_schedule!r}")
        if self.switch != "consensus":
            raise InputError("probe_schedule stops when candidates agree; it needs switch = consensus")

    def with_changes(self, changes: Mapping[str, Any], where: str) -> Hyperparameters:
        """Return a copy with some settings replaced; None leaves a setting as it is.

        Args:
            changes: New values by name.
            where: Who says so, for the error message.

        Raises:
            InputError: A name is unknown or a value out of bounds.
        """
        known = {field.name for field in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            near = did_you_mean(unknown[0], known)
            raise InputError(f"{where}: unknown hyperparameter `{unknown[0]}`{near}; known: {', '.join(sorted(known))}")
        try:
            return replace(self, **{name: value for name, value in changes.items() if value is not None})
        except InputError as error:
            raise InputError(f"{where}: {error}") from error

    def giving_way_to(self, stated: Mapping[str, Any]) -> Hyperparameters:
        """Return a copy with the default candidates and rounds where those here do not fit what was stated of them.

        A bank's were chosen together: so `--k 2` makes rounds of `2,1` give way, instead of being refused for them.

        Args:
            stated: Settings by name; None is not stated.
        """
        said = {name: stated[name] for name in ("k", "probe_schedule", "switch") if stated.get(name) is not None}
        try:
            replace(self, **said)
        except InputError:
            return replace(self, k=Hyperparameters().k, probe_schedule="")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return asdict(self)

    def identity(self) -> dict[str, Any]:
        """Return what results are kept under: a setting that came after 0.1 is absent at its default.

        Results that were kept before there was such a setting are found again.
        """
        settings = asdict(self)
        if not self.prior:
            del settings["prior"]
        return settings


def _require_possible(name: str, value: float) -> None:
    """Refuse a number so large that it is a slip, and that arrays and sums cannot hold.

    Raises:
        InputError: It is.
    """
    if value > _MOST:
        raise InputError(f"{name} must be at most {_MOST:,}, not {value!r}")


# The calibrated cascade has settings of its own: it wants a wider support set than the paper's stages.


CascadeAggregate = Literal["auto", "never"]


@dataclass(frozen=True, slots=True)
class CascadeSettings:
    """Settings of `jisi-cascade`.

    Attributes:
        n_base: Neighbours that the support set holds at least.
        gamma: Share of the n_base-th similarity that still admits a query to the support set.
        prior: Questions of similarity 1 that a model's mean score over the whole bank counts for beside its scores
            on the support set.
        tau: How likely right an answer must be to be given; below it the next model is asked.
        max_calls: Answers to a question at most.
        mean_calls: Mean answers a question may take, for which tau is chosen on the bank's train rows; 0 for no such
            ceiling.
        aggregate: `auto`: where no answer was sure enough, the paper's aggregator writes one, but not in a replay,
            which has none. `never`: the most probable answer is given.
    """

    n_base: int = 100
    gamma: float = 0.7
    prior: float = 10.0
    tau: float = 0.8
    max_calls: int = 5
    mean_calls: float = 0.0
    aggregate: CascadeAggregate = "auto"

    def __post_init__(self) -> None:
        for name in ("n_base", "max_calls"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number from 1, not {value!r}")
            _require_possible(name, value)
        for name, most in (("gamma", 1.0), ("tau", 1.0), ("prior", math.inf), ("mean_calls", math.inf)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                shown = "--calls (mean_calls)" if name == "mean_calls" else name
                raise InputError(f"{shown} must be a number from 0{' to 1' if most == 1 else ''}, not {value!r}")
        _require_possible("prior", self.prior)
        _require_possible("--calls (mean_calls)", self.mean_calls)
        if 0 < self.mean_calls < 1:
            raise InputError(
                f"--calls (mean_calls) must be a number from 1, not {self.mean_calls!r}; every question takes a call"
            )
        if self.aggregate not in get_args(CascadeAggregate):
            raise InputError(f"jisi-cascade takes aggregate auto or never, not {self.aggregate!r}")


CASCADE_OPTIONS = ("tau", "max_calls", "mean_calls")
"""Settings of the cascade alone that may be given as options or in the pool file's [routing]."""

_OTHER_OPTIONS = {"mean_calls": "--calls"}


def option_name(setting: str) -> str:
    """Return the option of the command line that gives a setting."""
    return _OTHER_OPTIONS.get(setting, "--" + setting.replace("_", "-"))


CASCADE = "jisi-cascade"

OWN_DEFAULTS = {
    "jisi-query": Hyperparameters(),
    "jisi-vote": Hyperparameters(switch="consensus"),
    "jisi-consensus": Hyperparameters(switch="consensus"),
}
"""Methods that a bank may hold hyperparameters of their own for, and what these are where nothing was chosen."""

OWN_SETTINGS = (*OWN_DEFAULTS, CASCADE)
"""Under these names a bank holds what was chosen for one method, beside what all others of JiSi's methods share."""


def of_jisi(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without those of the cascade alone: hyperparameters, and what is neither."""
    return {name: value for name, value in settings.items() if name not in CASCADE_OPTIONS}


def stated_options(*stated: tuple[Mapping[str, Any], str]) -> dict[str, Any]:
    """Return the settings of the cascade that were stated, those of a later source before those of an earlier one.

    What a bank was calibrated to for the paper's stages is not among them: the cascade wants another support set.

    Args:
        *stated: Settings by name, of which others are left out and None is not stated; and who says so.

    Raises:
        InputError: A value is out of bounds.
    """
    known = {field.name for field in fields(CascadeSettings)}
    found: dict[str, Any] = {}
    for settings, where in stated:
        given = {name: value for name, value in settings.items() if name in known and value is not None}
        try:
            found = with_later(found, given)
            CascadeSettings(**found)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    return found


def with_later(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of the cascade after others were stated; a tau that is stated later is not chosen by --calls.

    Raises:
        InputError: A tau and a ceiling on mean calls are stated together.
    """
    if "tau" in later and later.get("mean_calls"):
        raise InputError("--calls (mean_calls) chooses tau, so both cannot be given; leave one of them out")
    outdated = "mean_calls" if "tau" in later else None
    return {**{name: value for name, value in earlier.items() if name != outdated}, **later}


def setting_names() -> frozenset[str]:
    """Return the names of all settings that a question may be asked with: JiSi's, and the cascade's own."""
    return frozenset({field.name for field in fields(Hyperparameters)} | set(CASCADE_OPTIONS))
