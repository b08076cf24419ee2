"""How the list of methods is shown: what each does, what it needs, where it comes from."""

from __future__ import annotations

from jisi_cli.cli.output import Column, Output
from jisi_cli.methods.catalogue import METHODS, MethodInfo, method_info


def show_methods(out: Output, *, as_json: bool) -> None:
    """List the methods."""
    infos = [*METHODS.values(), method_info("model:NAME")]
    if as_json:
        fields = ("name", "description", "departures", "needs", "training_seconds", "source")
        out.json([{field: getattr(info, field) for field in fields} for info in infos])
        return
    columns = [
        Column("method"),
        Column("what it does"),
        Column("needs"),
        Column("training", right=True),
        Column("source"),
    ]
    rows = [[info.name, info.description, info.needs, _training(info), info.source] for info in infos]
    if out.draws:
        # A terminal is too narrow for whole sentences in another column.
        out.table(columns, rows)
        out.separate()
        for info in infos:
            if info.departures:
                out.data(f"{info.name} differs from its source: {info.departures}")
    else:
        columns.append(Column("differs from its source in this"))
        out.table(columns, [[*row, info.departures] for row, info in zip(rows, infos, strict=True)])
    out.note(
        "training: about how much processor time it takes on 2,000 questions and 10 models; what was trained is kept"
    )


def _training(info: MethodInfo) -> str:
    return "" if info.training_seconds is None else f"{info.training_seconds:g} s"
