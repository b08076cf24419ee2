"""lm-eval: what lm-evaluation-harness leaves with `--log_samples`.

`samples_<task>_<time>.jsonl`, one line per (question, filter): `{doc_id, doc, target, arguments, resps,
filtered_resps, filter, metrics, <metric>: value}`; the model's name is in the sibling `results_<time>.json`.

`doc` is the row of the task's own data set, so its keys differ from task to task. Its question is preferred to the
prompt in `arguments`, whose few-shot examples are the same for every question.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from jisi_cli.formats import fields
from jisi_cli.formats.choices import Choices, choices_of, is_position
from jisi_cli.formats.column_map import QUERY
from jisi_cli.formats.files import Preview, files_in
from jisi_cli.formats.issues import ImportIssue, Located, Location, OnIssue, Row, UnusableError, usable
from jisi_cli.formats.record import Record
from jisi_cli.formats.rows import json_file, json_value
from jisi_cli.formats.table_blocks import read_rows

_ENDINGS = ("jsonl", "json", "parquet", "jsonl.gz")
_TIME = r"\d{4}-\d\d-\d\dT[\d.:-]+"
_SAMPLES = re.compile(rf"samples_(?P<task>.+?)(?:_(?P<time>{_TIME}))?\.(?:jsonl?|parquet)(?:\.gz)?")
_PRETRAINED = re.compile(r"(?:^|,)(?:pretrained|model)=([^,]+)")
_NO_METRIC = {
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
    *("doc_hash", "prompt_hash", "target_hash"),
}
_PLACEHOLDER = "bypass"
"""The metric that the harness writes with --predict_only, for want of another."""

_QUESTION = (*QUERY, "problem", "input", "question_stem", "goal", "text")


def matches(preview: Preview) -> bool:
    """Whether a row is a logged sample, or a folder has files of them."""
    if preview.path.is_dir():
        return any(any(preview.path.rglob(f"samples_*.{ending}")) for ending in _ENDINGS)
    return preview.has("doc_id", "doc", "resps")


def read(source: Path, on_issue: OnIssue) -> Iterator[Located]:
    """Yield the records of the latest run of each task of each model; see `Format`."""
    latest: dict[tuple[str, str], _Samples] = {}
    results: dict[Path, dict[str, Row]] = {}
    earlier = 0
    for path in files_in(source, *(f"samples_*.{ending}" for ending in _ENDINGS)):
        if path.parent not in results:
            results[path.parent] = _results(path.parent)
        try:
            samples = _samples(path, results[path.parent])
        except UnusableError as why:
            on_issue(Location(str(path)).issue(why))
            continue
        earlier += (samples.model, samples.task) in latest
        other = latest.get((samples.model, samples.task), samples)
        latest[samples.model, samples.task] = max(samples, other, key=lambda found: found.time)
    for samples in latest.values():
        yield from _records(samples, on_issue)
    if earlier:
        on_issue(ImportIssue(str(source), None, f"files of earlier runs that are not read: {earlier}", note=True))


class _Samples(NamedTuple):
    """One file, and what its results say about it."""

    path: Path
    task: str
    time: str
    model: str
    lower_is_better: frozenset[str]


class _Survey(NamedTuple):
    """What is to be read of a file.

    Attributes:
        filters: The filters in it, of which the first is read: the others judge the same responses again.
        metric: The first metric that is from 0 to 1 throughout; None where there is none.
        unfit: Metrics before it that are not.
        is_text: Whether there are responses to grade.
    """

    filters: tuple[str | None, ...]
    metric: str | None
    unfit: tuple[str, ...]
    is_text: bool


def _results(folder: Path) -> dict[str, Row]:
    """Return the results beside samples, by file name, the latest first."""
    found: dict[str, Row] = {}
    for path in sorted(folder.glob("results*.json"), reverse=True):
        try:
            document = json_file(path)
        except UnusableError:
            continue
        if isinstance(document, dict):
            found[path.name] = document
    return found


def _samples(path: Path, results: Mapping[str, Row]) -> _Samples:
    """Tell task, time and model of a file of samples.

    The model is that of the results of the same run, else the one of all results beside it, else the folder's name.

    Raises:
        UnusableError: Results of several models lie beside it, and none of them is of its run.
    """
    named = _SAMPLES.fullmatch(path.name)
    task, time = named["task"] if named else path.stem, (named and named["time"]) or ""
    same_run = results.get(f"results_{time}.json", {})
    models = list(dict.fromkeys(name for name in map(_model_of, results.values()) if name))
    model = _model_of(same_run)
    if model is None and len(models) > 1:
        names, file = ", ".join(models[:3]), f"results_{time or '<time>'}.json"
        raise UnusableError(f"results of {names} lie beside it, and no {file} says whose answers these are")
    # The harness names the folder after the model, with `__` for the slash.
    model = model or next(iter(models), None) or path.parent.name.replace("__", "/") or "unnamed"
    directions = same_run.get("higher_is_better")
    of_task = directions.get(task) if isinstance(directions, dict) else None
    lower = [name for name, higher in of_task.items() if higher is False] if isinstance(of_task, dict) else []
    return _Samples(path, task, time, model, frozenset(lower))


def _records(samples: _Samples, on_issue: OnIssue) -> Iterator[Located]:
    """Yield the records of a file, which is looked through first."""
    survey = _survey(samples)
    numbers = fields.Numbers()
    several: Counter[bool] = Counter()

    def make(row: Row, location: Location) -> Record:
        index = fields.name(row.get("doc_id"), "doc_id", str(location.line))
        answered = response(row)
        score = numbers.score(row.get(survey.metric), location) if survey.metric and answered.scored else None
        several[answered.scored] += answered.several
        return Record(
            dataset=samples.task,
            index=index,
            query=question(row),
            model=samples.model,
            reference=reference(row),
            response=answered.text,
            score=score,
            status=fields.status(answered.text, score),
            order=fields.order(index),
        )

    rows = (
        (location, row) for location, row in read_rows(samples.path, on_issue) if _filter_of(row) == survey.filters[0]
    )
    yield from usable(rows, make, on_issue)
    _report(str(samples.path), survey, on_issue)
    numbers.report(on_issue)
    if several[True]:
        message = f"answered several times, of which the scored response is kept: {several[True]:,}"
        on_issue(ImportIssue(str(samples.path), None, message, note=True))
    if several[False]:
        message = f"answered several times, with a score that is no one response's, so unscored: {several[False]:,}"
        on_issue(ImportIssue(str(samples.path), None, message, doubt=True))


def _survey(samples: _Samples) -> _Survey:
    filters: dict[str | None, None] = {}
    fits: dict[str, bool] = {}
    is_text = False
    for _, row in read_rows(samples.path, lambda issue: None):  # reported by the second reading
        filters.setdefault(_filter_of(row))
        if _filter_of(row) != next(iter(filters)):
            continue
        is_text = is_text or response(row).text is not None
        for name in _metrics(row):
            fits[name] = fits.get(name, name != _PLACEHOLDER and name not in samples.lower_is_better) and _fits(
                row[name]
            )
    metric = next((name for name, fit in fits.items() if fit), None)
    unfit = [name for name in fits if not fits[name]]
    return _Survey(tuple(filters) or (None,), metric, tuple(unfit), is_text)


def _filter_of(row: Row) -> str | None:
    return fields.text(row.get("filter"))


def _metrics(row: Row) -> list[str]:
    """Return the names of a sample's metrics that are one number: the task lists its main one first."""
    listed = row.get("metrics")
    names = [name for name in listed if isinstance(name, str) and name in row] if isinstance(listed, list) else []
    return [name for name in names or row if name not in _NO_METRIC and isinstance(row[name], int | float)]


def _fits(value: object) -> bool:
    return isinstance(value, int | float) and (math.isnan(value) or 0 <= value <= 1)


def _report(source: str, survey: _Survey, on_issue: OnIssue) -> None:
    """Say which filter and which metric the scores are of."""
    if len(survey.filters) > 1:
        read_one, *others = (name or "none" for name in survey.filters)
        message = f"scores are those of the filter {read_one}; not read: {', '.join(others)}"
        on_issue(ImportIssue(source, None, message, note=True))
    if survey.metric:
        on_issue(ImportIssue(source, None, f"scores are the metric {survey.metric}", note=True))
    elif survey.unfit:
        message = (
            f"no metric is from 0 to 1, more being better ({', '.join(survey.unfit)}), so its answers are unscored"
        )
        on_issue(ImportIssue(source, None, f"{message}; `jisi bank grade` grades them", doubt=survey.is_text))


def _model_of(results: Row) -> str | None:
    name = fields.text(results.get("model_name"))
    if name:
        return name
    config = results.get("config")
    if not isinstance(config, dict):
        return None
    arguments = config.get("model_args")
    if isinstance(arguments, dict):
        return fields.text(fields.first(arguments, ("pretrained", "model")))
    named = _PRETRAINED.search(arguments) if isinstance(arguments, str) else None
    return named[1] if named else fields.text(config.get("model"))


class Response(NamedTuple):
    """What a model answered to one sample.

    Attributes:
        text: The response; None when it was a log-likelihood of each choice.
        several: Whether the question was answered several times, differently.
        scored: Whether the sample's score is that of `text`.
    """

    text: str | None
    several: bool = False
    scored: bool = True


def question(sample: Row) -> str:
    """Return the question with its lettered choices; the prompt when the doc has no question jisi knows.

    Raises:
        UnusableError: There is neither.
    """
    doc = sample.get("doc")
    if isinstance(doc, dict):
        try:
            stem = fields.question(doc, _QUESTION)
        except UnusableError:
            return _prompt(sample)
        choices = _choices(doc)
        return stem if choices is None else choices.below(stem)
    return _prompt(sample)


def reference(sample: Row) -> str | None:
    """Return the right answer: of a choice between log-likelihoods, whose target is a position, its label."""
    target, doc = sample.get("target"), sample.get("doc")
    choices = _choices(doc) if isinstance(doc, dict) and _is_likelihood(sample.get("resps")) else None
    if choices is not None and is_position(fields.text(target) or ""):
        try:
            return choices.letter(int(fields.text(target) or ""))
        except UnusableError:
            pass
    return fields.text(target)


def response(sample: Row) -> Response:
    """Return the generated text that the sample's score belongs to, as far as that can be told.

    Of a question that was answered several times, `filtered_resps` is what was scored: one of the responses, or what a
    response ends in. A score over all of them, such as a majority of extracted answers, may be no response's own.
    """
    resps = sample.get("resps")
    texts = [] if _is_likelihood(resps) else _texts(resps)
    if not texts:
        return Response(None)
    if len(set(texts)) == 1:
        return Response(texts[0])
    scored = _texts(sample.get("filtered_resps"))
    if len(scored) == 1 and scored[0].strip():
        ending = re.compile(rf"(?<!\w){re.escape(scored[0].strip())}\W*$")
        for found in ([text for text in texts if text == scored[0]], [text for text in texts if ending.search(text)]):
            if found:
                return Response(found[0], several=True)
    return Response(texts[0], several=True, scored=False)


def _choices(doc: Row) -> Choices | None:
    try:
        return choices_of(doc)
    except UnusableError:
        return None


def _texts(found: object) -> list[str]:
    """Return all texts of nested lists."""
    if isinstance(found, list):
        return [text for item in found for text in _texts(item)]
    return [fields.text(found) or ""] if isinstance(found, str) else []


def _is_likelihood(resps: object) -> bool:
    """Tell pairs (log-likelihood, is greedy) from texts: the harness may write both as strings."""
    while isinstance(resps, list) and resps and isinstance(resps[0], list):
        resps = resps[0]
    if not isinstance(resps, list) or len(resps) != 2 or resps[1] not in ("True", "False", True, False):
        return False
    try:
        return fields.number(resps[0], "log-likelihood") is not None
    except UnusableError:
        return str(resps[0]).strip().lower() == "-inf" or resps[0] == float("-inf")


def _prompt(sample: Row) -> str:
    """Return the text that was sent, from either way in which the harness has logged it."""
    arguments = sample.get("arguments")
    if isinstance(arguments, dict):  # {"gen_args_0": {"arg_0": prompt, "arg_1": …}}
        first = next(iter(arguments.values()), None)
        return fields.required(_said(first.get("arg_0") if isinstance(first, dict) else None), "question")
    first = arguments[0] if isinstance(arguments, list) and arguments else None  # [[prompt, …]]
    return fields.required(_said(first[0] if isinstance(first, list) and first else None), "question")


def _said(prompt: object) -> object:
    """Return the user's last words of a chat, which may be logged as a list with one JSON text; else the prompt."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    messages = prompt
    if isinstance(prompt, str) and prompt.lstrip().startswith(("[{", "[ {")):
        try:
            messages = json_value(prompt.encode("utf-8", "replace"))
        except UnusableError:
            return prompt
    if not isinstance(messages, list) or not all(isinstance(item, dict) and "content" in item for item in messages):
        return prompt
    said = [message["content"] for message in messages if message.get("role") == "user"]
    return _content(said[-1]) if said else prompt


def _content(content: object) -> object:
    """Return the text of a message; where it is in parts, that of its texts."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str)) or None
    return content
