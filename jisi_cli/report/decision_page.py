"""The page of one decision: why one question goes where it goes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.answers import GivenAnswer
from jisi_cli.methods.decision import Decision, percent
from jisi_cli.report.charts import (
    HOVER,
    INK,
    LINE,
    PALETTE,
    QUIET,
    Chart,
    Spec,
    Viewport,
    fitted,
    names,
    number,
    text_width,
)
from jisi_cli.report.page import UNKNOWN, Card, Page, Tile, listed, render
from jisi_cli.types import format_dollars

NEIGHBOURS = 40
"""Nearest questions that are drawn, on a phone half of them."""
_ROWS = 20
"""Nearest questions in the table."""
_SOLVED, _FAILED, _UNKNOWN = "solved it", "failed", "no answer"
_FIRST, _SECOND = "stage 1: the question", "stage 2: question and responses"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A question of the bank near the one that is decided.

    Attributes:
        dataset: Where it comes from.
        text: The question.
        similarity: Its cosine similarity.
        kept: Whether the filter of stage 2 kept it; None without that stage.
        outcomes: Score of each model's answer in [0, 1] (M), None where there is none.
    """

    dataset: str
    text: str
    similarity: float
    kept: bool | None
    outcomes: tuple[float | None, ...]


def neighbourhood(decision: Decision, neighbours: Sequence[Neighbour]) -> Chart:
    """Return the nearest questions by similarity, and which model solved them."""
    order = [decision.models[model] for model in decision.coarse.ranking]
    cells = [
        {
            "rank": rank,
            "model": model,
            "outcome": _outcome(score),
            "kept": near.kept is not False,
            "hover": f"{rank}. {model}: {_outcome(score)}",
        }
        for rank, near in enumerate(neighbours, start=1)
        for model, score in zip(decision.models, near.outcomes, strict=True)
    ]
    bars = [
        {
            "rank": rank,
            "similarity": near.similarity,
            "kept": near.kept is not False,
            "hover": f"{rank}. {near.similarity:.3f}: {near.text}",
        }
        for rank, near in enumerate(neighbours, start=1)
    ]

    def spec(viewport: Viewport) -> Spec:
        shown = min(len(bars), NEIGHBOURS // 2 if viewport.narrow else NEIGHBOURS)
        return _matrix([c for c in cells if int(str(c["rank"])) <= shown], bars[:shown], order, viewport)

    rows = tuple(_neighbour_row(rank, near, decision.models) for rank, near in enumerate(neighbours[:_ROWS], start=1))
    filtered = any(near.kept is not None for near in neighbours)
    note = (
        "The nearest questions of the bank from left to right, and which models solved them; the table has their texts."
    )
    if filtered:
        note += " Pale ones were dropped by the filter of stage 2."
    header = ("", "similarity", "question", "solved by", "dataset", *(("filter",) if filtered else ()))
    return Chart("Nearest questions", note, spec if bars else None, header, rows)


def _neighbour_row(rank: int, near: Neighbour, models: Sequence[str]) -> tuple[str, ...]:
    solved = [model for model, score in zip(models, near.outcomes, strict=True) if score is not None and score > 0.5]
    by = "no model" if not solved else "all" if len(solved) == len(models) else ", ".join(solved)
    kept = () if near.kept is None else ("kept" if near.kept else "dropped",)
    return (str(rank), f"{near.similarity:.3f}", near.text, by, near.dataset, *kept)


def _outcome(score: float | None) -> str:
    return _UNKNOWN if score is None else _SOLVED if score > 0.5 else _FAILED


def _matrix(cells: list[Spec], bars: list[Spec], order: list[str], viewport: Viewport) -> Spec:
    extent = min(viewport.label_width, 12 + int(max(map(text_width, order)) * 1.05))
    width = viewport.width - extent - 14
    x = {"field": "rank", "type": "ordinal", "axis": None, "scale": {"paddingInner": 0.12, "paddingOuter": 0}}
    faded = {"condition": {"test": "datum.kept", "value": 1}, "value": 0.3}
    kinds = [kind for kind in (_SOLVED, _FAILED, _UNKNOWN) if any(cell["outcome"] == kind for cell in cells)]
    colours = {_SOLVED: PALETTE[0], _FAILED: LINE, _UNKNOWN: "transparent"}
    colour = {
        "field": "outcome",
        "type": "nominal",
        "scale": {"domain": kinds, "range": [colours[kind] for kind in kinds]},
        "legend": {"symbolType": "square", "symbolStrokeColor": QUIET, "symbolStrokeWidth": 0.5},
    }
    y = {**number("similarity", None, tickCount=3, minExtent=extent, maxExtent=extent), "scale": {"zero": True}}
    rows = names("model", viewport, order)
    rows = {**rows, "axis": {**rows["axis"], "grid": False, "minExtent": extent, "maxExtent": extent}}
    rows["scale"] = {**rows["scale"], "paddingInner": 0.12, "paddingOuter": 0}
    similarity = {
        "title": {"text": "similarity", "frame": "group"},
        "data": {"values": bars},
        "width": width,
        "height": 70,
        "mark": {"type": "bar", "color": QUIET},
        "encoding": {"x": x, "y": y, "opacity": faded, **HOVER},
    }
    solved = {
        "data": {"values": cells},
        "width": width,
        "height": {"step": 22},
        "mark": {"type": "rect"},
        "encoding": {"x": x, "y": rows, "color": colour, "opacity": faded, **HOVER},
    }
    return {"vconcat": [similarity, solved], "spacing": 14, "padding": {"left": 0, "right": 4, "top": 0, "bottom": 4}}


def scores(decision: Decision, settings: Hyperparameters, usage: Sequence[tuple[str, str]]) -> Chart:
    """Return what each model scored in both stages, as a share of the best.

    Args:
        decision: The decision.
        settings: With the threshold t of the switch.
        usage: Expected tokens and dollars of a call of each model (M), as texts.
    """
    coarse, fine = decision.coarse, decision.fine
    ranking = coarse.ranking if fine is None else fine.ranking
    stages = [(_FIRST, coarse.scores)] + ([(_SECOND, fine.scores)] if fine is not None else [])
    values = [
        {
            "model": decision.models[model],
            "stage": stage,
            "share": _share(float(found[model]), float(found.max())),
            # Of different sizes, so that equal shares do not hide one another.
            "size": 130 if fine is not None and stage == _FIRST else 50,
            "hover": f"{decision.models[model]}, {stage.partition(':')[0]}: {found[model]:.3f}",
        }
        for stage, found in stages
        for model in ranking
    ]
    order = [decision.models[model] for model in ranking]
    threshold = settings.t if fine is not None else None

    def spec(viewport: Viewport) -> Spec:
        return _score_spec(values, order, threshold, decision, viewport)

    promised, refined = decision.expected_scores()
    rows = tuple(
        (
            str(rank),
            decision.models[model],
            f"{coarse.scores[model]:.3f}",
            f"{100 * promised[model]:.1f} %",
            *((f"{fine.scores[model]:.3f}", f"{100 * refined[model]:.1f} %") if fine and refined else ()),
            *usage[model],
            roles(decision, decision.models[model]),
        )
        for rank, model in enumerate(ranking, start=1)
    )
    second = ("fine score", "promised in stage 2") if fine is not None else ()
    header = ("rank", "model", "score", "promised", *second, "tokens", "$ per question", "role")
    note = (
        "Scores as a share of the best one; the names of the candidates are bold. Promised is the weighted share of "
        "near questions that the model solved."
    )
    if threshold is not None:
        note += f" Responses of models whose stage 2 reaches the dashed line, t = {threshold:g}, are aggregated."
    return Chart("Scores", note, spec, header, rows, open=True)


def roles(decision: Decision, model: str) -> str:
    """Return what a model is to do, in words."""
    found = ["candidate"] if model in decision.candidates else []
    found += ["aggregator"] if model == decision.aggregator else []
    found += ["aggregatee"] if model in decision.aggregatees else []
    return ", ".join(found)


def _share(score: float, best: float) -> float:
    return max(0.0, score) / best if best > 0 else 0.0


def _score_spec(values: list[Spec], order: list[str], t: float | None, decision: Decision, viewport: Viewport) -> Spec:
    rows = names("model", viewport, order)
    tests = [f"datum.value == {quoted}" for quoted in map(json.dumps, decision.candidates)]
    rows["axis"] |= {"labelFontWeight": {"condition": {"test": " || ".join(tests), "value": "bold"}, "value": "normal"}}
    stages = list(dict.fromkeys(str(value["stage"]) for value in values))
    field = {"field": "stage", "type": "nominal", "legend": {"columns": 1 if viewport.narrow else 2}}
    x = {
        **number("share", "share of the best score"),
        "axis": {"format": ".0%", "tickCount": 4 if viewport.narrow else 6},
    }
    points = {
        "mark": {"type": "point", "filled": False, "strokeWidth": 2.5},
        "encoding": {
            "y": rows,
            "x": x,
            "color": {**field, "scale": {"domain": stages, "range": [QUIET, PALETTE[0]][-len(stages) :]}},
            "size": {"field": "size", "type": "quantitative", "scale": None, "legend": None},
            **HOVER,
        },
    }
    rule = {
        "mark": {"type": "rule", "color": INK, "strokeDash": [4, 4]},
        "encoding": {"x": {"datum": t, "type": "quantitative"}},
    }
    layer = [points] if t is None else [rule, points]
    return fitted(viewport, {"data": {"values": values}, "height": {"step": 26}, "layer": layer}, right=20)


def support(decision: Decision, settings: Hyperparameters) -> Chart:
    """Return the similarities of the whole support set, with what let questions in."""
    coarse, unlike = decision.coarse, decision.coarse.unlike
    ordered = sorted((coarse if unlike is None else unlike).similarities.tolist(), reverse=True)
    step = max(1, len(ordered) // 400)
    values = [{"place": place, "similarity": ordered[place - 1]} for place in range(1, len(ordered) + 1, step)]
    base = min(settings.n_base, len(ordered))

    def spec(viewport: Viewport) -> Spec:
        x = number("place", "questions, the nearest first", grid=False, format="d")
        y = number("similarity", None, tickCount=4)
        rule = {"type": "rule", "color": PALETTE[1], "strokeWidth": 2}
        return fitted(
            viewport,
            {
                "data": {"values": values},
                "title": {"text": "similarity", "frame": "group"},
                "height": 160,
                "layer": [
                    {"mark": {"type": "line", "color": PALETTE[0], "strokeWidth": 2}, "encoding": {"x": x, "y": y}},
                    {"mark": rule, "encoding": {"y": {"datum": (coarse if unlike is None else unlike).threshold}}},
                    {"mark": {**rule, "color": QUIET, "strokeDash": [4, 4]}, "encoding": {"x": {"datum": base}}},
                ],
            },
            right=16,
        )

    note = (
        f"Questions with a similarity from {coarse.threshold:.3f} on (orange) take part: gamma = {settings.gamma:g} of "
        f"the similarity of number {base} (dashed), {coarse.kth:.3f}."
    )
    if decision.strangeness is not None:
        note = f"{decision.strangeness}. These are the nearest questions, which were not taken for similar."
    rows = tuple((f"{v['place']:,}", f"{v['similarity']:.3f}") for v in _thinned(values))
    return Chart("Support set", note, spec, ("place", "similarity"), rows)


def _thinned(values: list[Spec]) -> list[Spec]:
    step = max(1, len(values) // 20)
    return values[::step]


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
        settings: Hyperparameters.
        usage: What a call of each model may be expected to use (M).
        bank_size: Questions that the support set was drawn from.
        origin: What made the page.
    """
    written = [(UNKNOWN if t is None else f"{t:,.0f}", UNKNOWN if d is None else format_dollars(d)) for t, d in usage]
    page = Page(
        title="One decision",
        subtitle=question,
        headline=_headline(decision),
        tiles=[
            *_trust(decision),
            _candidates(decision, usage),
            _support(decision, bank_size),
            _margin(decision),
            _switch(decision, settings),
        ],
        charts=[neighbourhood(decision, neighbours), scores(decision, settings, written), support(decision, settings)],
        answers=[Card(answer.call.model, ", ".join(answer.facts()), _text(answer)) for answer in decision.answers],
        origin=origin,
    )
    return render(page)


def _headline(decision: Decision) -> str:
    if decision.fine is None and not decision.answered:
        return f"{listed(decision.candidates, 3)} would be asked"
    chosen = decision.aggregatees
    if len(chosen) == 1 or decision.belief is not None:
        who = f"{chosen[0]} answers"
    else:
        who = f"{decision.aggregator} writes one answer from those of {listed(chosen, 3)}"
    said = _plain_words(decision)
    return who if said is None else f"{said}; {who}"


def _plain_words(decision: Decision) -> str | None:
    from jisi_cli.methods.answers import in_plain_words

    return in_plain_words(None if decision.belief is None else decision.belief.confidence, decision.answers)


def _trust(decision: Decision) -> list[Tile]:
    """Return what a person wants to know first: how sure the answer is, and what its model has shown so far."""
    first, second = decision.expected_scores()
    chosen = decision.aggregatees[0] if decision.aggregatees else decision.candidates[0]
    promised = (first if second is None else second)[decision.models.index(chosen)]
    promise = Tile(
        "Promised", f"{100 * promised:.0f} %", f"of {chosen}: the weighted share of near questions it solved"
    )
    if decision.strangeness is not None:
        promise = replace(promise, note=f"the share of the bank's questions that {chosen} solved")
    if decision.fine is None and not decision.answered:
        return [promise]
    said = _plain_words(decision)
    if decision.belief is not None:
        sure = percent(decision.belief.confidence)
        return [Tile("How sure", sure, (said or "").partition(": ")[2] or "how likely the answer is right"), promise]
    if said is None:
        return [Tile("Agreement", "not known", "the answers have no final answers that can be compared"), promise]
    return [
        Tile("Agreement", said, "how likely an answer is right, this method does not know"),
        promise,
    ]


def _text(answer: GivenAnswer) -> str:
    return answer.call.text if answer.call.ok else answer.call.error or "it returned nothing"


def _candidates(decision: Decision, usage: Sequence[Usage]) -> Tile:
    costs = [usage[model][1] for model in decision.coarse.candidates]
    known = [cost for cost in costs if cost is not None]
    price = f"{format_dollars(sum(known))} to be expected" if len(known) == len(costs) else "their price is not known"
    count = f"{len(decision.candidates)} of {len(decision.models)} models"
    return Tile("Candidates", count, f"{listed(decision.candidates)}; {price}")


def _support(decision: Decision, bank_size: int) -> Tile:
    size = len(decision.coarse.rows)
    if decision.strangeness is not None:
        return Tile("Support set", "the whole bank", decision.strangeness)
    note = f"of {bank_size:,} in the bank, with a similarity from {decision.coarse.threshold:.3f} on"
    if decision.fine is not None:
        note += f"; the filter kept {len(decision.fine.kept):,}"
    return Tile("Support set", f"{size:,} question{'' if size == 1 else 's'}", note)


def _margin(decision: Decision) -> Tile:
    margin = decision.margin()
    if margin is None:
        return Tile("Margin", "none", "there is one model, or none solved a question like this")
    stage = "stage 1" if decision.fine is None else "stage 2"
    return Tile("Margin", f"{100 * margin:.1f} %", f"by which the second best score of {stage} lies below the best")


def _switch(decision: Decision, settings: Hyperparameters) -> Tile:
    if decision.belief is not None:
        none = f"none of the answers is right with a probability of {percent(decision.belief.none)}"
        return Tile("Asked", f"{len(decision.answered)} of {len(decision.models)} models", none)
    if decision.fine is None:
        return Tile(
            "Switch", "open", f"the candidates' responses decide between routing and aggregating; {_PROBE} asks them"
        )
    # Not to be broken into lines.
    chosen, t = len(decision.aggregatees), f"t\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{settings.t:g}"
    if chosen == 1:
        return Tile("Switch", "route", f"no other model scores within {t} of the best")
    return Tile("Switch", "aggregate", f"{chosen} models score within {t} of the best")
