"""llmrouterbench: one JSON file per (dataset, split, model) and run, of LLMRouterBench or OpenRouterBench.

`results/bench/<dataset>/<split>/<model>/<dataset>-<split>-<model>-<YYYYmmdd_HHMMSS>.json`:
`{model_name, dataset_name, split, demo, records: [{index, origin_query, prompt, prompt_tokens,
completion_tokens, cost, score, prediction, ground_truth, raw_output}], …}`. The authors of JiSi
publish their `benchmark_bank` in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from jisi_cli.formats import fields
from jisi_cli.formats.column_map import QUERY
from jisi_cli.formats.files import Preview, files_in
from jisi_cli.formats.issues import ImportIssue, Located, Location, OnIssue, Row, UnusableError, items_of, usable
from jisi_cli.formats.record import Record
from jisi_cli.formats.rows import json_file

_TIME_OF_RUN = re.compile(r"-(\d{8}_\d{6})\.json$")
_FAILED = ("Generation failed", "Processing failed", "Unexpected error:")
"""How the raw output begins where the benchmark recorded an error instead of an answer."""


def matches(preview: Preview) -> bool:
    """Whether a document is a run of LLMRouterBench."""
    match preview.document:
        case {"records": [*_], "model_name": _, "dataset_name": _}:
            return True
    return False


def read(source: Path, on_issue: OnIssue) -> Iterator[Located]:
    """Yield the records of the latest whole run of each (dataset, split, model); see `Format`."""
    runs = _runs(source)
    splits = _splits(runs)
    read_files = 0
    for (folder, _), candidates in runs.items():
        found = _latest_whole(candidates, on_issue)
        if found is not None:
            read_files += 1
            several = len(splits[folder.parent.parent]) > 1
            yield from _records(*found, several, on_issue)
    files = sum(len(candidates) for candidates in runs.values())
    if read_files < files:
        which = "the latest run of each dataset, split and model that is whole and no demo"
        on_issue(ImportIssue(str(source), None, f"{read_files} of {files} files are read: {which}", note=True))


def _latest_whole(candidates: list[Path], on_issue: OnIssue) -> tuple[str, Row] | None:
    for path in candidates:
        try:
            run = _run(path)
        except UnusableError as why:
            on_issue(Location(str(path)).issue(why))
        else:
            if run.get("demo") is not True:
                return str(path), run
    return None


def _runs(source: Path) -> dict[tuple[Path, str], list[Path]]:
    """Return the files of each (dataset, split, model), the latest run first by the time in its name."""
    runs: dict[tuple[Path, str], list[tuple[str, Path]]] = {}
    for path in files_in(source, "*.json"):
        time = _TIME_OF_RUN.search(path.name)
        what = path.name[: time.start()] if time else ""
        runs.setdefault((path.parent, what), []).append((time[1] if time else "", path))
    return {what: [path for _, path in sorted(found, reverse=True)] for what, found in runs.items()}


def _splits(runs: Iterable[tuple[Path, str]]) -> dict[Path, set[str]]:
    """Return the names of the splits in each dataset's folder; several of them share their indices."""
    splits: dict[Path, set[str]] = {}
    for folder, _ in runs:
        splits.setdefault(folder.parent.parent, set()).add(folder.parent.name)
    return splits


def _run(path: Path) -> Row:
    run = json_file(path)
    if not isinstance(run, dict) or not isinstance(run.get("records"), list):
        raise UnusableError("not a run of LLMRouterBench: no list of `records`")
    fields.required(run.get("dataset_name"), "dataset_name")
    fields.required(run.get("model_name"), "model_name")
    return run


def _records(source: str, run: Row, several_splits: bool, on_issue: OnIssue) -> Iterator[Located]:
    dataset = fields.required(run["dataset_name"], "dataset_name")
    if several_splits:
        dataset = f"{dataset}/{fields.name(run.get('split'), 'split', 'unnamed')}"
    model = fields.required(run["model_name"], "model_name")
    numbers = fields.Numbers()

    def make(row: object, location: Location) -> Record:
        return _record(row, dataset, model, location, numbers)

    return usable(items_of(run["records"], source), make, on_issue, numbers)


def _record(row: object, dataset: str, model: str, location: Location, numbers: fields.Numbers) -> Record:
    if not isinstance(row, dict):
        raise UnusableError("not a JSON object ({…})")
    index = fields.name(row.get("index"), "index", str(location.line))
    response = fields.text(row.get("raw_output"))
    failed = response is not None and response.startswith(_FAILED)
    score = None if failed else numbers.score(row.get("score"), location)
    prompt_tokens = numbers.tokens(row.get("prompt_tokens"), "prompt_tokens", location)
    completion_tokens = numbers.tokens(row.get("completion_tokens"), "completion_tokens", location)
    cost = numbers.dollars(row.get("cost"), location)
    return Record(
        dataset=dataset,
        index=index,
        query=fields.question(row, QUERY),
        model=model,
        reference=fields.text(row.get("ground_truth")),
        response=None if failed else response,
        # The benchmark writes 0 for what it does not know of a failed call.
        prompt_tokens=prompt_tokens or None if failed else prompt_tokens,
        completion_tokens=completion_tokens or None if failed else completion_tokens,
        cost_usd=cost or None if failed else cost,
        score=score,
        status="failed" if failed else fields.status(response, score),
        order=fields.order(index),
    )
