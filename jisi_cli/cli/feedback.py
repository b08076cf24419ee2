"""`jisi feedback`: say what an answer was worth."""

from __future__ import annotations

from typing import Annotated

import typer

from jisi_cli.cli.options import JsonOption, QuietOption
from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError


def feedback(
    answer: Annotated[
        str, typer.Argument(metavar="ANSWER", help="`last`, or the id of an answer, of its run, or of a completion.")
    ],
    score: Annotated[str | None, typer.Argument(metavar="[SCORE]", help="good, bad, or a number from 0 to 1.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", metavar="TEXT", help="The right answer, instead of a score; a grader compares with it."
        ),
    ] = None,
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why, for your own records.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what an answer was worth, so that a bank can learn from it.

    It waits in an inbox in your data folder until `jisi bank build --append --feedback -o BANK` adds it to a bank: a
    score counts for the model that answered, for all that agreed if agreement decided, and for the aggregator if one
    wrote the answer. With --reference, the answers of all models that were asked are graded when they are added. If you
    say something twice, the last word counts.

    The last 1,000 answers are remembered, until `jisi cost --erase`; none with --no-store. `last` is the last one of
    ask, chat or llm. Answers of ask --input, mcp and serve come with an id.

    Example: jisi feedback last good
    """
    from jisi_cli.cli.question import checked_text
    from jisi_cli.history.answers import Answers
    from jisi_cli.history.feedback import Inbox, read_score

    out = Output(quiet=quiet)
    if (score is None) == (reference is None):
        raise InputError("give either a score (good, bad, 0 to 1) or --reference with the right answer")
    value = None if score is None else read_score(score)
    right = None if reference is None else checked_text(reference, "--reference").strip()
    if right == "":
        raise InputError("--reference is empty; write the right answer")
    answers, inbox = Answers(), Inbox()
    try:
        why = None if note is None else checked_text(note, "--note")
        name = inbox.add(answers, answer, value, reference=right, note=why)
        waiting = len(inbox.waiting())
    finally:
        answers.close()
        inbox.close()
    if as_json:
        out.json({"id": name, "score": value, "reference": right, "waiting": waiting})
    out.note(f"{waiting:,} waiting for a bank: jisi bank build --append --feedback -o BANK")
