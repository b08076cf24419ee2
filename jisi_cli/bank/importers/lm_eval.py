"""lm-eval: what lm-evaluation-harness leaves with `--log_samples`.

`samples_<task>_<time>.jsonl`, one line per (question, filter): `{doc_id, doc, target, arguments, resps,
filtered_resps, filter, metrics, <metric>: value}`; the model's name is in the sibling `results_<time>.json`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from jisi_cli.bank.importers import fields
from jisi_cli.bank.importers.admission import Located, admitted, usable
from jisi_cli.bank.importers.files import files_in
from jisi_cli.bank.importers.json_lines import file_json_rows, json_file
from jisi_cli.bank.importers.lm_eval_doc import question, response
from jisi_cli.bank.importers.protocol import Numbered, OnProblem, Place, Problem, Row, Unusable
from jisi_cli.bank.records import Record

_TIME = r"\d{4}-\d\d-\d\dT[\d.:-]+"
_SAMPLES = re.compile(rf"samples_(?P<task>.+?)(?:_(?P<time>{_TIME}))?\.jsonl")
_PRETRAINED = re.compile(r"(?:^|,)(?:pretrained|model)=([^,]+)")
_NO_METRIC = {
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
    *("doc_hash", "prompt_hash", "target_hash"),
}


def read(source: Path, on_problem: OnProblem) -> Iterator[Record]:
    """Yield the records of the latest run of each task of each model; see `Importer`."""
    return admitted(_located(source, on_problem), on_problem)


class _Samples(NamedTuple):
    path: Path
    task: str
    time: str


def _located(source: Path, on_problem: OnProblem) -> Iterator[Located]:
    latest: dict[tuple[Path, str], _Samples] = {}
    earlier = 0
    for path in files_in(source, "samples_*.jsonl"):
        named = _SAMPLES.fullmatch(path.name)
        samples = _Samples(path, named["task"] if named else path.stem, (named and named["time"]) or "")
        earlier += (path.parent, samples.task) in latest
        other = latest.get((path.parent, samples.task), samples)
        latest[path.parent, samples.task] = max(samples, other, key=lambda found: found.time)
    for samples in latest.values():
        model = _model(samples)
        rows = _one_filter(file_json_rows(samples.path, on_problem), samples.path, on_problem)
        yield from usable(rows, _maker(samples.task, model, on_problem), on_problem)
    if earlier:
        on_problem(Problem(str(source), None, f"files of earlier runs that are not read: {earlier}", note=True))


def _one_filter(rows: Iterator[Numbered], path: Path, on_problem: OnProblem) -> Iterator[Numbered]:
    """Pass the rows of the file's first filter; the others judge the same responses again."""
    filters: dict[str | None, None] = {}
    for place, row in rows:
        name = fields.text(row.get("filter"))
        filters.setdefault(name)
        if name == next(iter(filters)):
            yield place, row
    if len(filters) > 1:
        read_one, *others = (name or "none" for name in filters)
        message = f"scores are those of the filter {read_one}; not read: {', '.join(others)}"
        on_problem(Problem(str(path), None, message, note=True))


def _maker(task: str, model: str, on_problem: OnProblem) -> Callable[[Row, Place], Record]:
    announced: set[str] = set()

    def make(row: Row, place: Place) -> Record:
        index = fields.name(row.get("doc_id"), "doc_id", str(place.line))
        metric = _metric(row)
        score = fields.score(row[metric]) if metric else None
        if metric and metric not in announced:
            announced.add(metric)
            on_problem(Problem(place.source, None, f"scores are the metric {metric}", note=True))
        answered = response(row)
        return Record(
            dataset=task,
            index=index,
            query=question(row),
            model=model,
            reference=fields.text(row.get("target")),
            response=answered,
            score=score,
            status=fields.status(answered, score),
            order=fields.order(index),
        )

    return make


def _metric(row: Row) -> str | None:
    """Return the name of the first metric that is one number: the task lists its main one first."""
    listed = row.get("metrics")
    names = [name for name in listed if name in row] if isinstance(listed, list) else []
    candidates = names or [name for name in row if name not in _NO_METRIC]
    return next((name for name in candidates if isinstance(row[name], int | float)), None)


def _model(samples: _Samples) -> str:
    """Return the model's name from the results of the same run, else any beside them, else the folder's name."""
    same_run = samples.path.with_name(f"results_{samples.time}.json")
    for path in (same_run, *sorted(samples.path.parent.glob("results*.json"), reverse=True)):
        try:
            results = json_file(path) if path.is_file() else None
        except Unusable:
            continue
        if isinstance(results, dict) and (name := _model_of(results)):
            return name
    # The harness names the folder after the model, with `__` for the slash.
    return samples.path.parent.name.replace("__", "/") or "unnamed"


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
