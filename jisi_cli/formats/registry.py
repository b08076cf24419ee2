"""The formats by name, how a file's format is found out, and the one way in: `read_records`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import cast

from jisi_cli.errors import InputError
from jisi_cli.formats.choices import CHOICES
from jisi_cli.formats.files import kind_of, open_text
from jisi_cli.formats.long import COLUMNS
from jisi_cli.formats.parquet_rows import parquet_columns
from jisi_cli.formats.questions import QUERY, STEMS
from jisi_cli.formats.record import Importer, OnProblem, Record, Unusable
from jisi_cli.formats.rows import begins_a_list, bounded_lines, csv_header, json_file, json_object

# Which format a file or folder is in, from its layout, its extension and its first row.


QUESTIONS = "questions"
"""What `detect` calls a file of questions without answers; `read_questions` reads it."""

_KEYS: dict[str, frozenset[str]] = {
    "lm-eval": frozenset({"doc_id", "doc", "resps"}),
    "llmrouter": frozenset({"task_name", "query", "model_name", "performance"}),
    "embedllm": frozenset({"prompt_id", "model_id", "label"}),
    "routerbench": frozenset({"sample_id", "prompt", "eval_name"}),
    "jisi": frozenset({"records"}),
}
"""Keys or columns that together only one format has; the first that fits wins."""

_TRIED = 50
"""Lines of a file, or files of a folder, that are looked at before giving up."""


def detect(source: Path) -> str:
    """Return the name of the format of a file or folder, or `QUESTIONS`.

    Raises:
        InputError: It is not there, cannot be read, is a pickle, or is of no known format.
    """
    refuse_pickle(source)
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; check the path")
    found = _folder_format(source) if source.is_dir() else _file_format(source)
    if found is None:
        raise InputError(f"{source}: not a format that jisi recognises; --format names one of {', '.join(IMPORTERS)}")
    return found


def refuse_pickle(source: Path) -> None:
    """Refuse Python pickles, which run code when they are read.

    Raises:
        InputError: The name ends in `.pkl` or `.pickle`, compressed or not.
    """
    if {".pkl", ".pickle"} & {suffix.lower() for suffix in source.suffixes[-2:]}:
        raise InputError(
            f"{source}: a pickle can run any code when it is opened, so jisi never does; "
            "convert it to Parquet in a sandbox (pandas: read_pickle, then to_parquet)"
        )


def _folder_format(folder: Path) -> str | None:
    if any(folder.glob("train.jsonl")) or any(folder.glob("example_data/*/train.jsonl")):
        return "jisi-release"
    if any(any(folder.rglob(f"samples_*.{ending}")) for ending in ("jsonl", "json", "jsonl.gz", "parquet")):
        return "lm-eval"
    if any(folder.rglob("*.eval")):
        return "inspect"
    documents = (_document_format(path) for path in islice(folder.rglob("*.json"), _TRIED))
    return next((found for found in documents if found), None)


def _file_format(path: Path) -> str | None:
    if path.suffix.lower() == ".eval":
        return "inspect"
    match kind_of(path):
        case "parquet":
            return _row_format(parquet_columns(path))
        case "csv":
            return _row_format(csv_header(path))
        case "json" if begins_a_list(path) or (path.suffix.lower() == ".json" and not _is_lines(path)):
            return _document_format(path) or _lines_format(path)
        case "json":
            return _lines_format(path)


def _is_lines(path: Path) -> bool:
    """Whether a file begins with two JSON objects, a line each: no document does, and lines need not fit in memory."""
    with open_text(path) as stream:
        lines = list(islice((line for line in bounded_lines(stream) if line.strip()), 2))
    try:
        return len([json_object(line) for line in lines]) == 2
    except Unusable:
        return False


def _lines_format(path: Path) -> str | None:
    """Return the format of the first line with answers; a damaged one before it may look like a question."""
    empty, questions = True, None
    with open_text(path) as stream:
        for line in islice(bounded_lines(stream), _TRIED):
            empty = empty and not line.strip()
            try:
                found = _row_format(json_object(line))
            except Unusable:
                continue
            if found not in (None, QUESTIONS):
                return found
            questions = questions or found
    if empty:
        raise InputError(f"{path}: the file is empty; it should hold one JSON object a line")
    return questions


def _row_format(columns: Iterable[str]) -> str | None:
    names = set(columns)
    found = next((format for format, keys in _KEYS.items() if keys <= names), None)
    if found is not None or not (names & set(QUERY) or (names & set(STEMS) and names & set(CHOICES))):
        return found
    return "long" if names.intersection(COLUMNS["model"]) else QUESTIONS


def _document_format(path: Path) -> str | None:
    """Return the format of a file that is one JSON document."""
    try:
        document = json_file(path)
    except Unusable:
        return None
    match document:
        case [{"output": _, **rest}, *_] if {"session_id", "id"} & set(rest):
            return "zeroeval"
        case {"records": [*_], "model_name": _, "dataset_name": _}:
            return "llmrouterbench"
        case {"eval": {"task": _, "model": _}}:
            return "inspect"
        case [{**first}, *_]:
            return _row_format(map(str, first))
    return None


# The formats by name, each importer resolved when it is first used, and the one way in: `read_records`.


IMPORTERS: dict[str, str] = {
    "jisi": "jisi_cli.formats.jisi:read",
    "jisi-release": "jisi_cli.formats.jisi_release:read",
    "long": "jisi_cli.formats.long:read",
    "llmrouterbench": "jisi_cli.formats.llmrouterbench:read",
    "zeroeval": "jisi_cli.formats.zeroeval:read",
    "llmrouter": "jisi_cli.formats.llmrouter:read",
    "embedllm": "jisi_cli.formats.embedllm:read",
    "routerbench": "jisi_cli.formats.routerbench:read",
    "lm-eval": "jisi_cli.formats.lm_eval:read",
    "inspect": "jisi_cli.formats.inspect_logs:read",
}


def importer(format: str) -> Importer:
    """Return the importer of a format.

    Raises:
        InputError: There is no such format.
    """
    if format not in IMPORTERS:
        raise InputError(f"no format called `{format}`; --format takes {', '.join(IMPORTERS)}")
    module, _, function = IMPORTERS[format].partition(":")
    return cast(Importer, getattr(import_module(module), function))


def read_records(source: Path, format: str | None = None, *, on_problem: OnProblem) -> Iterator[Record]:
    """Return the recorded answers of a file or folder, one at a time; the format is found at once.

    Args:
        source: The file or folder.
        format: A key of `IMPORTERS`; None to find out.
        on_problem: Told of everything that is skipped; it may raise to stop at the first.

    Raises:
        InputError: The source cannot be read, is of no known format, or holds no usable answer.
    """
    refuse_pickle(source)
    found = format or detect(source)
    if found == QUESTIONS:
        raise InputError(f"{source}: questions without recorded answers; `jisi bank build --call` asks the pool")
    return _some(importer(found)(source, on_problem), source, found)


def _some(records: Iterator[Record], source: Path, format: str) -> Iterator[Record]:
    empty = True
    for record in records:
        empty = empty and record.status == "missing"
        yield record
    if empty:
        raise InputError(f"{source}: no usable answer in it, read as the format {format}; --format names another")
