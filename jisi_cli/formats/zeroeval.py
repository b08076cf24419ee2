"""zeroeval: `result_dirs/<task>/<model>.json`, a list of items with the task's own answer and no scores.

ZeroEval's scores come from its evaluation scripts, so every record is unscored and names the grader
that gives the same verdicts, so that the published accuracies come out. Its ids (`gsm8k-main-test-#10`, or bare
integers) do not sort as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase

from jisi_cli.formats import fields
from jisi_cli.formats.files import files_in
from jisi_cli.formats.questions import with_choices
from jisi_cli.formats.record import Located, OnProblem, Place, Record, Row, Unusable, admitted, items_of, usable
from jisi_cli.formats.rows import json_file

_GRADERS = {
    "gsm": "zeroeval-number",
    "math-l5": "zeroeval-number",
    "crux": "zeroeval-text",
    "mmlu-redux": "zeroeval-choice",
}
_QUESTION = ("question", "problem", "puzzle", "instruction")
_ANSWER = ("correct_answer", "answer", "solution")
_LAST_NUMBER = re.compile(r"([0-9]{1,18})$")


def read(source: Path, on_problem: OnProblem) -> Iterator[Record]:
    """Yield an unscored record per item of each model's file; see `Importer`."""
    return admitted(_located(source, on_problem), on_problem)


def _located(source: Path, on_problem: OnProblem) -> Iterator[Located]:
    for path in files_in(source, "*.json"):
        if path.name.endswith(".summary.json"):
            continue
        place = Place(str(path))
        try:
            items = json_file(path)
            if not isinstance(items, list):
                raise Unusable("not a result of ZeroEval: no list of items")
        except Unusable as why:
            on_problem(place.problem(why))
            continue
        yield from usable(items_of(items, str(path)), _record, on_problem)


def _record(item: object, place: Place) -> Record:
    if not isinstance(item, dict):
        raise Unusable("not a JSON object ({…})")
    path = Path(place.source)
    dataset = fields.name(item.get("dataset"), "dataset", path.parent.name)
    index = fields.required(fields.first(item, ("id", "session_id")), "id")
    position = _LAST_NUMBER.search(index)
    response = _response(item)
    return Record(
        dataset=dataset,
        index=index,
        query=_query(item),
        model=path.stem,
        reference=_reference(item),
        response=response,
        status=fields.status(response, None),
        grader=_GRADERS.get(dataset),
        order=int(position[1]) if position else None,
    )


def _response(item: Row) -> str | None:
    match item.get("output"):
        case [first, *_]:
            return fields.text(first)
        case str(whole):
            return fields.text(whole)
        case _:
            return None


def _query(item: Row) -> str:
    """Return the bare question; where there is none, the chat history's, which has ZeroEval's template."""
    try:
        return with_choices(fields.question(item, _QUESTION), item.get("choices"))
    except Unusable:
        history = item.get("chat_history")
        if not isinstance(history, list) or not history:
            raise
        return fields.required(history[0], "question")


def _reference(item: Row) -> str | None:
    found = fields.first(item, _ANSWER)
    choices = item.get("choices")
    if isinstance(choices, list) and found in choices[: len(ascii_uppercase)]:
        return ascii_uppercase[choices.index(found)]  # models are asked for the letter
    answer = fields.text(found)
    # gsm keeps the mark that GSM8K puts before a final answer: "# 18".
    return answer.lstrip("#").strip() if answer is not None and answer.startswith("#") else answer
