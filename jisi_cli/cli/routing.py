"""What `jisi route` does: stage 1 of one question or of many, completed by probes on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jisi_cli.cli.output import Column, Output, count, dollars, one_line
from jisi_cli.cli.questions import Problems, read_lines
from jisi_cli.cli.session import Session
from jisi_cli.cli.tables import Picture, bars
from jisi_cli.errors import InputError
from jisi_cli.formats.questions import read_questions
from jisi_cli.methods.decision import Decision, Describe, ExpectedUsage, expected_usage
from jisi_cli.methods.jisi import JiSi
from jisi_cli.methods.protocol import Query, Silent
from jisi_cli.scoring import Coarse
from jisi_cli.types import Answer

if TYPE_CHECKING:
    from jisi_cli.models.live import LivePool


_NEIGHBOURS = 10
_BLOCK = 256


def route_one(
    session: Session,
    text: str,
    *,
    probe: bool,
    explain: bool,
    as_json: bool,
    as_line: bool,
    html: Path | None = None,
) -> None:
    """Route one question and show the decision; with `html` as a page, too."""
    (query,) = session.queries([text])
    method = JiSi.from_context(session.context(), session.settings)
    (first,) = method.plan([query])
    described = neighbours_of(session) if explain else None

    async def decide() -> tuple[Decision, dict[str, Any]]:
        async with _probing(session, probe=probe) as pool:
            decision, calls = await _decide(session, method, query, first, pool)
        return decision, _to_json(session, method, text, decision, calls, described)

    decision, data = session.run(decide())
    if as_line:
        session.out.json_line(data)
    elif as_json:
        session.out.json(data)
    else:
        _show(session, decision, data)
    if html is not None:
        _write_page(session, method, html, text, decision)
    session.purse.check()


def _write_page(session: Session, method: JiSi, path: Path, text: str, decision: Decision) -> None:
    """Draw a decision."""
    from jisi_cli.cli.report import origin_of, write_page
    from jisi_cli.report.decision_page import NEIGHBOURS, Neighbour, decision_page

    questions, train, arrays = session.bank.questions, session.bank.train_rows.tolist(), session.arrays
    near = []
    for row, similarity, kept in decision.nearest(NEIGHBOURS):
        question = questions[train[row]]
        scores = zip(arrays.scores[row].tolist(), arrays.present[row].tolist(), strict=True)
        outcomes = tuple(score if known else None for score, known in scores)
        near.append(Neighbour(question.dataset, one_line(question.query, 240), similarity, kept, outcomes))
    usage = [_usage(session, model, decision.coarse) for model in decision.models]
    expected = [(found.completion_tokens, found.cost_usd) for found in usage]
    manifest = session.bank.manifest
    made = {
        "question": text,
        "bank": str(session.bank.path),
        "SHA-256 of the bank's questions": [part.sha256 for part in manifest.queries],
        "embedder": manifest.embedder.to_json(),
        "settings": session.settings_json(method),
    }
    size = len(arrays.query_vectors)
    write_page(
        path, decision_page(text, decision, near, session.settings, expected, size, origin_of(made)), session.out
    )


def route_many(session: Session, source: Path, *, probe: bool, explain: bool) -> None:
    """Route every question of a JSONL file, one JSON document a line, in the file's order."""
    problems = Problems(session.out, strict=False)
    questions = list(read_questions(read_lines(source), problems))
    if not questions:
        raise InputError(f"{source}: no question in it; it needs one JSON object with `query` a line")
    method = JiSi.from_context(session.context(), session.settings)
    described = neighbours_of(session) if explain else None

    async def decide_all() -> None:
        # One pool, and so one budget, for the whole run.
        async with _probing(session, probe=probe) as pool:
            for start in range(0, len(questions), _BLOCK):
                block = questions[start : start + _BLOCK]
                queries = session.queries([question.query for question in block])
                for question, query, first in zip(block, queries, method.plan(queries), strict=True):
                    decision, calls = await _decide(session, method, query, first, pool)
                    data = _to_json(session, method, question.query, decision, calls, described)
                    session.out.json_line({"dataset": question.dataset, "index": question.index, **data})

    session.run(decide_all())
    session.purse.check()
    problems.summarise()


def _probing(session: Session, *, probe: bool) -> AbstractAsyncContextManager[LivePool | None]:
    """Open the pool where candidates are to be called."""
    return session.pool() if probe else nullcontext()


async def _decide(
    session: Session, method: JiSi, query: Query, first: Coarse, pool: LivePool | None
) -> tuple[Decision, tuple[Answer, ...]]:
    if pool is None:
        await asyncio.sleep(0)  # where Ctrl-C is let in
        return Decision(session.models, first, scores_are_means=session.settings.compat == "openjisi"), ()
    return await method.probe(query, first, pool, Silent())


def neighbours_of(session: Session) -> Describe:
    """Return what says of train rows, when they are listed as neighbours, what they are and who solved them."""

    def describe(places: Sequence[int]) -> list[dict[str, Any]]:
        rows = session.bank.train_rows[np.array(places, dtype=np.intp)]
        order = np.argsort(rows)
        found = dict(zip(rows[order].tolist(), session.bank.some_questions(rows[order]), strict=True))
        return [
            {"dataset": question.dataset, "index": question.index, "query": question.query, "solved_by": solved}
            for question, solved in ((found[row], solvers(place)) for row, place in zip(rows, places, strict=True))
        ]

    def solvers(place: int) -> list[str]:
        facts = zip(session.models, session.arrays.scores[place], session.arrays.present[place], strict=True)
        return [name for name, right, known in facts if known and right > 0.5]

    return describe


def _to_json(
    session: Session,
    method: JiSi,
    text: str,
    decision: Decision,
    calls: tuple[Answer, ...],
    described: Describe | None,
) -> dict[str, Any]:
    """Return a decision as plain data; with neighbours where the bank's rows are described."""
    data = decision.to_json(0) if described is None else decision.to_json(_NEIGHBOURS, described)
    for row in data["models"]:
        usage = _usage(session, row["model"], decision.coarse)
        row["expected_completion_tokens"] = usage.completion_tokens
        row["expected_cost_usd"] = usage.cost_usd
    probed = [{"model": call.model, "error": call.error, "tokens": call.completion_tokens} for call in calls]
    return {"query": text, **data, "probes": probed, "settings": session.settings_json(method)}


def _usage(session: Session, model: str, first: Coarse) -> ExpectedUsage:
    entry = session.entry(model)
    return expected_usage(session.bank, model, first, entry.price if entry else None)


def _show(session: Session, decision: Decision, data: dict[str, Any]) -> None:
    out = session.out
    for probed in data["probes"]:
        if probed["error"] is not None:
            out.warn(f"{probed['model']} did not answer: {probed['error']}")
    probing = decision.fine is not None
    columns = [Column("rank", right=True), Column("model", shrink=True), Column("score", right=True)]
    columns += [Column("fine", right=True)] if probing else []
    columns += [Column("tokens", right=True), Column("cost", right=True), Column("role")]
    rows = []
    for row in data["models"]:
        tokens, cost = row["expected_completion_tokens"], dollars(row["expected_cost_usd"])
        fine = [f"{row['fine_score']:.3f}"] if probing else []
        shown = "–" if tokens is None else f"{tokens:.0f}"
        rows.append(
            [
                str(row["rank"]),
                row["model"],
                f"{row['coarse_score']:.3f}",
                *fine,
                shown,
                cost,
                _roles(decision, row["model"]),
            ]
        )
    scores = [row["fine_score" if probing else "coarse_score"] for row in data["models"]]
    out.table(columns, rows, picture=Picture("fine" if probing else "score", lambda width: bars(scores, width)))
    out.note(
        f"support set: {count(data['support_size'], 'question')} of {len(session.arrays.query_vectors):,} "
        f"with similarity from {data['threshold']:.3f}; tokens and cost are expectations per call"
    )
    if "neighbours" in data:
        show_neighbours(out, data["neighbours"])


def show_neighbours(out: Output, neighbours: list[dict[str, Any]], *, stderr: bool = False) -> None:
    """Write the nearest support queries, what the filter made of them, and who solved them."""
    filtered = any(found["mixed"] is not None for found in neighbours)
    columns = [Column("similarity", right=True)]
    columns += [Column("mixed", right=True), Column("kept")] if filtered else []
    columns += [Column("dataset"), Column("question", shrink=True), Column("solved by", shrink=True)]
    rows = []
    for found in neighbours:
        stage = [f"{found['mixed']:.3f}", "yes" if found["kept"] else "no"] if filtered else []
        solved = ", ".join(found["solved_by"]) or "nobody"
        rows.append([f"{found['similarity']:.3f}", *stage, found["dataset"], one_line(found["query"], 60), solved])
    out.table(columns, rows, stderr=stderr)


def _roles(decision: Decision, model: str) -> str:
    roles = ["candidate"] if model in decision.candidates else []
    roles += ["aggregator"] if model == decision.aggregator else []
    roles += ["aggregatee"] if model in decision.aggregatees else []
    return ", ".join(roles)
