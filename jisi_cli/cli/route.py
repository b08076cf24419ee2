"""`jisi route`: who would answer, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jisi_cli.cli.exchange import show_answers
from jisi_cli.cli.layout import Picture, bars
from jisi_cli.cli.opening import Opening, opens_pool
from jisi_cli.cli.options import JsonOption, MapOption
from jisi_cli.cli.output import Column, Output, count, dollars, one_line
from jisi_cli.conversation import BEHIND
from jisi_cli.errors import InputError
from jisi_cli.printable import printable

if TYPE_CHECKING:
    from jisi_cli.formats.record import Question
    from jisi_cli.jisi import Jisi
    from jisi_cli.methods.decision import Belief, Decision

_NEIGHBOURS = 10


@opens_pool(
    "unlike",
    "label",
    method="Who decides: jisi, jisi-cascade, or another of their kind.",
    no_cache="With --probe: use no cached answer.",
)
def route(
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="The question; `-` reads it from stdin.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="Route every question of a file (JSONL, CSV, Parquet), one JSON document per line; `-` is stdin.",
        ),
    ] = None,
    map_: MapOption = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Call the candidates and complete the decision, without the aggregator.")
    ] = False,
    answers: Annotated[
        bool, typer.Option("--answers", help="With --probe: show what each candidate answered, side by side.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show the nearest questions of the bank.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also draw the decision as a page (HTML).")
    ] = None,
    as_json: JsonOption = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON document per line.")] = False,
    *,
    opening: Opening,
) -> None:
    """Show who would answer a question, and why. No model is called without --probe.

    Example: jisi route "What is 17 * 23?" --config sample_data/jisi.toml
    """
    from jisi_cli.cli.question import read_question

    _check_options(query, source, html, map_, answers=answers, probe=probe)
    out = opening.out
    text = None if source is not None else read_question(query, out)
    with opening.open("route", calls="required" if probe else "preferred") as jisi:
        if source is not None:
            _route_all(jisi, source, map_ or (), out, probe=probe, explain=explain)
        elif text is not None:
            if html is not None and not jisi.bank.rows:
                raise InputError("--html draws what a bank says of a question, and there is no bank; leave it out")
            decision = jisi.route(text, probe=probe)
            data = jisi.explain(text, decision, neighbours=_NEIGHBOURS if explain else 0)
            if as_jsonl:
                out.json_line(data)
            elif as_json:
                out.json(data)
            else:
                _show(jisi, decision, data, out)
                if answers:
                    show_answers(out, decision.answers, stderr=False)
            if html is not None:
                _write_page(jisi, html, text, decision, out)
        jisi.account.check()


def _check_options(
    query: str | None,
    source: Path | None,
    html: Path | None,
    map_: list[str] | None,
    *,
    answers: bool,
    probe: bool,
) -> None:
    """Refuse options that do not go together, before anything is opened.

    Raises:
        InputError: Such options were given, or the page cannot be written.
    """
    from jisi_cli.cli.report import require_page

    if source is not None and html is not None:
        raise InputError("--html draws one decision; leave out --input")
    if html is not None:
        require_page(html)
    if source is not None and query is not None:
        raise InputError("give a question or --input, not both")
    if map_ and source is None:
        raise InputError("--map is about the questions of a file; name it with --input")
    if answers and not probe:
        raise InputError("--answers shows what the candidates answered; add --probe to ask them")


def _route_all(jisi: Jisi, source: Path, columns: Sequence[str], out: Output, *, probe: bool, explain: bool) -> None:
    """Route every question of a file, one JSON document a line, in the file's order."""
    from jisi_cli.files import is_stream, read_lines
    from jisi_cli.formats.column_map import ColumnMap
    from jisi_cli.formats.files import kind_of
    from jisi_cli.formats.hub_dataset import is_hub_dataset
    from jisi_cli.formats.questions import read_questions
    from jisi_cli.user import ImportIssues

    problems = ImportIssues(out, strict=False)
    # JSON lines that name no data set have always been of `questions` here, wherever they stand.
    is_lines = is_stream(source) or (not is_hub_dataset(source) and kind_of(source) == "json")
    rows = read_lines(source) if is_lines else source
    questions: list[Question] = list(read_questions(rows, problems, columns=ColumnMap.parse(columns)))
    if not questions:
        raise InputError(f"{source}: no question in it; each row needs a `question`, or `messages`")
    talks = [question.conversation for question in questions]
    if probe and any(talks):
        raise InputError("--probe asks bare questions, and some lines hold messages; leave it out, or use ask --input")
    behind = sum(talk is not None and talk.is_put_behind for talk in talks)
    if explain and behind:
        out.note(f"{BEHIND}: {count(behind, 'question')}")
    decisions = jisi.decisions([question.query for question in questions], probe=probe)
    for question, decision in zip(questions, decisions, strict=True):
        data = jisi.explain(question.query, decision, neighbours=_NEIGHBOURS if explain else 0)
        turn = {"turn": question.conversation.text} if explain and question.conversation is not None else {}
        out.json_line({"dataset": question.dataset, "index": question.index, **data, **turn})
    problems.summarise()


def _show(jisi: Jisi, decision: Decision, data: dict[str, Any], out: Output) -> None:
    from jisi_cli.methods.answers import agreement_words

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
        score = f"{row['coarse_score']:.3f}" if data["support_size"] else "–"
        rows.append([str(row["rank"]), row["model"], score, *fine, shown, cost, _roles(decision, row["model"])])
    drawn = [row["fine_score" if probing else "coarse_score"] for row in data["models"]]
    picture = Picture("fine" if probing else "score", lambda width: bars(drawn, width))
    out.table(columns, rows, picture=picture if data["support_size"] else None)
    expected = "tokens and cost are expectations per call"
    if decision.strangeness is not None:
        out.note(f"{decision.strangeness}; {expected}")
    elif data["support_size"]:  # else there is no bank, which was said
        out.note(
            f"support set: {count(data['support_size'], 'question')} of {len(jisi.configured.arrays.query_vectors):,} "
            f"with similarity from {data['threshold']:.3f}; {expected}"
        )
    tau = (data["settings"] or {}).get("tau")
    if tau is not None and not probing:
        out.note(
            "score: how likely a model is right; asked in this order until an answer is so "
            f"with a probability of {tau:g}"
        )
    said = belief_words(decision.belief) if decision.belief is not None else agreement_words(decision.answers)
    if said is not None:
        out.note(said)
    if data.get("neighbours"):
        show_neighbours(out, data["neighbours"])


def belief_words(belief: Belief) -> str:
    """Say how likely each group of equal answers is right."""
    from jisi_cli.methods.decision import percent

    groups = zip(belief.groups, belief.probabilities, strict=True)
    each = [f"{', '.join(map(one_line, models))} {percent(probability)}" for models, probability in groups]
    return f"{belief}; right with a probability of: {'; '.join(each)}; none of them {percent(belief.none)}"


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


def _write_page(jisi: Jisi, path: Path, text: str, decision: Decision, out: Output) -> None:
    """Draw a decision."""
    from jisi_cli.answering import expected_usage
    from jisi_cli.cli.report import origin_of, write_page
    from jisi_cli.report.decision_page import NEIGHBOURS, Neighbour, decision_page

    questions, train, arrays = jisi.bank.questions, jisi.bank.train_rows.tolist(), jisi.configured.arrays
    near = []
    for row, similarity, kept in decision.nearest(NEIGHBOURS):
        question = questions[train[row]]
        scores = zip(arrays.scores[row].tolist(), arrays.present[row].tolist(), strict=True)
        outcomes = tuple(score if known else None for score, known in scores)
        near.append(Neighbour(question.dataset, one_line(question.query, 240), similarity, kept, outcomes))
    usage = [expected_usage(jisi.configured, model, decision) for model in decision.models]
    expected = [(found.completion_tokens, found.cost_usd) for found in usage]
    manifest = jisi.bank.manifest
    made = {
        "question": text,
        "bank": str(jisi.bank.path),
        "SHA-256 of the bank's questions": [part.sha256 for part in manifest.queries],
        "embedder": manifest.embedder.to_json(),
        "settings": jisi.settings,
    }
    size = len(arrays.query_vectors)
    shown = replace(decision, calls=tuple(replace(call, text=printable(call.text)) for call in decision.calls))
    page = decision_page(text, shown, near, jisi.configured.staged.hyperparameters, expected, size, origin_of(made))
    write_page(path, page, out)
