"""The page of one decision: why one question goes where it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.decision import Decision
from jisi_cli.reporting.decision_charts import Neighbour, neighbourhood, scores, support
from jisi_cli.reporting.formats import UNKNOWN, amount, listed
from jisi_cli.reporting.page import Page, Tile, render

_PROBE = "-\N{WORD JOINER}-\N{WORD JOINER}probe"
"""The flag, in one piece at the end of a line, too."""

Usage = tuple[float | None, float | None]
"""Expected completion tokens and dollars of one call."""


def decision_page(
    question: str,
    decision: Decision,
    neighbours: Sequence[Neighbour],
    settings: Hyperparameters,
    usage: Sequence[Usage],
    bank_size: int,
    origin: Mapping[str, str],
) -> str:
    """Return the page as HTML.

    Args:
        question: What was asked.
        decision: What was decided; without stage 2 where no candidate was asked.
        neighbours: The nearest questions, nearest first.
        settings: Hyper-parameters.
        usage: What a call of each model may be expected to use (M).
        bank_size: Questions that the support set was drawn from.
        origin: What made the page.
    """
    written = [(UNKNOWN if t is None else f"{t:,.0f}", UNKNOWN if d is None else amount(d)) for t, d in usage]
    page = Page(
        title="One decision",
        subtitle=question,
        headline=_headline(decision),
        tiles=[
            _candidates(decision, usage),
            _support(decision, bank_size),
            _margin(decision),
            _switch(decision, settings),
        ],
        charts=[neighbourhood(decision, neighbours), scores(decision, settings, written), support(decision, settings)],
        origin=origin,
    )
    return render(page)


def _headline(decision: Decision) -> str:
    if decision.fine is None:
        return f"{listed(decision.candidates, 3)} would be asked"
    chosen = decision.aggregatees
    if len(chosen) == 1:
        return f"{chosen[0]} answers"
    return f"{decision.aggregator} writes one answer from those of {listed(chosen, 3)}"


def _candidates(decision: Decision, usage: Sequence[Usage]) -> Tile:
    costs = [usage[model][1] for model in decision.coarse.candidates]
    known = [cost for cost in costs if cost is not None]
    price = f"{amount(sum(known))} to be expected" if len(known) == len(costs) else "their price is not known"
    count = f"{len(decision.candidates)} of {len(decision.models)} models"
    return Tile("Candidates", count, f"{listed(decision.candidates)}; {price}")


def _support(decision: Decision, bank_size: int) -> Tile:
    size = len(decision.coarse.rows)
    note = f"of {bank_size:,} in the bank, with a similarity from {decision.coarse.threshold:.3f} on"
    if decision.fine is not None:
        note += f"; the filter kept {len(decision.fine.kept):,}"
    return Tile("Support set", f"{size:,} question{'' if size == 1 else 's'}", note)


def _margin(decision: Decision) -> Tile:
    margin = decision.margin()
    if margin is None:
        return Tile("Margin", "none", "there is one model, or nobody solved a question like this")
    stage = "stage 1" if decision.fine is None else "stage 2"
    return Tile("Margin", f"{100 * margin:.1f} %", f"by which the second best score of {stage} lies below the best")


def _switch(decision: Decision, settings: Hyperparameters) -> Tile:
    if decision.fine is None:
        return Tile(
            "Switch", "open", f"the candidates' responses decide between routing and aggregating; {_PROBE} asks them"
        )
    # Not to be broken into lines.
    chosen, t = len(decision.aggregatees), f"t\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{settings.t:g}"
    if chosen == 1:
        return Tile("Switch", "route", f"no other model scores within {t} of the best")
    return Tile("Switch", "aggregate", f"{chosen} models score within {t} of the best")
