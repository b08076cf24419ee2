"""zeroeval: `result_dirs/<task>/<model>.json`, a list of items with the task's own answer and no scores.

ZeroEval's scores come from its evaluation scripts, so every record is unscored and names the grader that gives the same
verdicts and thus the published accuracies. Its ids (`gsm8k-main-test-#10`, or bare integers) do not sort as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase

from jisi_cli.formats import fields
from jisi_cli.formats.files import Preview, files_in
from jisi_cli.formats.issues import Located, Location, OnIssue, Row, UnusableError, items_of, usable
from jisi_cli.formats.questions import with_choices
from jisi_cli.formats.record import Record
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


def matches(preview: Preview) -> bool:
    """Whether a document is a list of ZeroEval's items."""
    match preview.document:
        case [{"output": _, **rest}, *_]:
            return "session_id" in rest or "id" in rest
    return False


def read(source: Path, on_issue: OnIssue) -> Iterator[Located]:
    """Yield an unscored record per item of each model's file; see `Format`."""
    for path in files_in(source, "*.json"):
        if path.name.endswith(".summary.json"):
            continue
        location = Location(str(path))
        try:
            items = json_file(path)
            if not isinstance(items, list):
                raise UnusableError("not a result of ZeroEval: no list of items")
        except UnusableError as why:
            on_issue(location.issue(why))
            continue
        yield from usable(items_of(items, str(path)), _record, on_issue)


def _record(item: object, location: Location) -> Record:
    if not isinstance(item, dict):
        raise UnusableError("not a JSON object ({…})")
    path = Path(location.source)
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
    except UnusableError:
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
