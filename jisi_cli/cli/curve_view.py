"""How the trade of quality for dollars is shown to a person."""

from __future__ import annotations

from jisi_cli.cli.output import Column, Output, dollars
from jisi_cli.evaluation.curve import Curve


def show_curve(curve: Curve, out: Output) -> None:
    """Write the points by cost, then the area under the front of all and of each method with several points."""
    columns = [Column("method"), Column("cost per question", right=True), Column("Avg", right=True), Column("front")]
    rows = [
        [point.label, dollars(point.cost_usd), f"{100 * point.average:.2f}", "*" if point.on_front else ""]
        for point in curve.points
    ]
    out.table(columns, rows)
    if curve.area is not None:
        out.separate()
        areas = {"all together": curve.area, **curve.areas}
        table = [[name, f"{100 * area:.2f}"] for name, area in areas.items()]
        out.table([Column("method"), Column("area under the front", right=True)], table)
        out.note(
            f"the best Avg in % for a budget, averaged over budgets from {dollars(curve.points[0].cost_usd)} "
            f"to {dollars(curve.points[-1].cost_usd)} per question; * marks the Pareto front"
        )
    if curve.unpriced:
        out.warn(
            f"{', '.join(curve.unpriced)}: no point where an Avg or dollars are unknown; "
            "--prices names list prices, --live asks"
        )
