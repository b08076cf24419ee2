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
from jisi_cli.formats.doubts import Doubts
from jisi_cli.formats.files import files_in
from jisi_cli.formats.questions import QUERY
from jisi_cli.formats.record import (
    Located,
    OnProblem,
    Place,
    Problem,
    Record,
    Row,
    Unusable,
    admitted,
    items_of,
    usable,
)
from jisi_cli.formats.rows import json_file

_TIME_OF_RUN = re.compile(r"-(\d{8}_\d{6})\.json$")
_FAILED = ("Generation failed", "Processing failed", "Unexpected error:")
"""How the raw output begins where the benchmark recorded an error instead of an answer."""


def read(source: Path, on_problem: OnProblem) -> Iterator[Record]:
    """Yield the records of the latest whole run of each (dataset, split, model); see `Importer`."""
    return admitted(_located(source, on_problem), on_problem)


def _located(source: Path, on_problem: OnProblem) -> Iterator[Located]:
    runs = _runs(source)
    splits = _splits(runs)
    read_files = 0
    for (folder, _), candidates in runs.items():
        found = _latest_whole(candidates, on_problem)
        if found is not None:
            read_files += 1
            several = len(splits[folder.parent.parent]) > 1
            yield from _records(*found, several, on_problem)
    files = sum(len(candidates) for candidates in runs.values())
    if read_files < files:
        which = "the latest run of each dataset, split and model that is whole and no demo"
        on_problem(Problem(str(source), None, f"{read_files} of {files} files are read: {which}", note=True))


def _latest_whole(candidates: list[Path], on_problem: OnProblem) -> tuple[str, Row] | None:
    for path in candidates:
        try:
            run = _run(path)
        except Unusable as why:
            on_problem(Place(str(path)).problem(why))
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
        raise Unusable("not a run of LLMRouterBench: no list of `records`")
    fields.required(run.get("dataset_name"), "dataset_name")
    fields.required(run.get("model_name"), "model_name")
    return run


def _records(source: str, run: Row, several_splits: bool, on_problem: OnProblem) -> Iterator[Located]:
    dataset = fields.required(run["dataset_name"], "dataset_name")
    if several_splits:
        dataset = f"{dataset}/{fields.name(run.get('split'), 'split', 'unnamed')}"
    model = fields.required(run["model_name"], "model_name")

    doubts = Doubts()

    def make(row: object, place: Place) -> Record:
        return _record(row, dataset, model, place, doubts)

    yield from usable(items_of(run["records"], source), make, on_problem)
    doubts.tell(on_problem)


def _record(row: object, dataset: str, model: str, place: Place, doubts: Doubts) -> Record:
    if not isinstance(row, dict):
        raise Unusable("not a JSON object ({…})")
    index = fields.name(row.get("index"), "index", str(place.line))
    response = fields.text(row.get("raw_output"))
    failed = response is not None and response.startswith(_FAILED)
    score = None if failed else doubts.score(row.get("score"), place)
    prompt_tokens = doubts.tokens(row.get("prompt_tokens"), "prompt_tokens", place)
    completion_tokens = doubts.tokens(row.get("completion_tokens"), "completion_tokens", place)
    cost = doubts.dollars(row.get("cost"), place)
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
