"""inspect: `.eval` and `.json` logs of inspect_ai, read through its own reader (the extra `inspect`)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

from jisi_cli.errors import missing_extra
from jisi_cli.formats import fields
from jisi_cli.formats.files import Preview, files_in
from jisi_cli.formats.issues import ImportIssue, Located, Location, OnIssue, UnusableError, usable
from jisi_cli.formats.questions import with_choices
from jisi_cli.formats.record import Record

_GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""inspect_ai's letters: correct, partially correct, incorrect, no answer."""

_DAMAGED = (OSError, ValueError, KeyError, IndexError, EOFError, BadZipFile, zlib.error)


class _Log(NamedTuple):
    path: Path
    created: tuple[str, int]  # logs tell the second; the file's own time tells runs within it apart
    task: str
    model: str


RANK = 1
"""Asked after the formats whose folders may hold such logs, too."""


def matches(preview: Preview) -> bool:
    """Whether a file or a folder has logs of inspect_ai."""
    if preview.path.is_dir():
        return any(preview.path.rglob("*.eval"))
    match preview.document:
        case {"eval": {"task": _, "model": _}}:
            return True
    return preview.path.suffix.lower() == ".eval"


def read(source: Path, on_issue: OnIssue) -> Iterator[Located]:
    """Yield a record per sample of the latest log of each (task, model); see `Format`.

    Raises:
        InputError: inspect_ai is not installed.
    """
    _require_inspect(source)
    latest: dict[tuple[str, str], _Log] = {}
    earlier = 0
    for path in files_in(source, "*.eval", "*.json"):
        try:
            log = _header(path)
        except UnusableError as why:
            on_issue(Location(str(path)).issue(why))
            continue
        earlier += (log.task, log.model) in latest
        other = latest.get((log.task, log.model), log)
        latest[log.task, log.model] = max(log, other, key=lambda found: found.created)
    for log in latest.values():
        yield from _samples(log, on_issue)
    if earlier:
        on_issue(ImportIssue(str(source), None, f"logs of earlier runs that are not read: {earlier}", note=True))


def _require_inspect(source: Path) -> None:
    try:
        import inspect_ai.log  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
    except ImportError as error:
        raise missing_extra(f"{source}: a log of inspect_ai", "inspect") from error


def _header(path: Path) -> _Log:
    from inspect_ai.log import read_eval_log

    try:
        spec = read_eval_log(str(path), header_only=True).eval
    except _DAMAGED as error:
        raise _damage(error) from error
    return _Log(path, (str(spec.created), path.stat().st_mtime_ns), str(spec.task), str(spec.model))


def _damage(error: Exception) -> UnusableError:
    return UnusableError(f"not a log that inspect_ai reads: {fields.shown(str(error) or type(error).__name__)}")


def _samples(log: _Log, on_issue: OnIssue) -> Iterator[Located]:
    location = Location(str(log.path))
    later_epochs = 0
    scorers: dict[str, None] = {}
    numbers = fields.Numbers()

    def numbered() -> Iterator[tuple[Location, Any]]:
        nonlocal later_epochs
        for number, sample in enumerate(_read_samples(log.path, location, on_issue), start=1):
            later_epochs += sample.epoch > 1
            if sample.epoch == 1:
                scorers.update(dict.fromkeys(sample.scores or {}))
                yield Location(location.source, number), sample

    yield from usable(numbered(), lambda sample, here: _record(sample, log, here, numbers), on_issue, numbers)
    if later_epochs:
        message = f"samples of later epochs that are not read: {later_epochs}"
        on_issue(ImportIssue(location.source, None, message, note=True))
    if len(scorers) > 1:
        read_one, *others = scorers
        message = f"scores are those of {read_one}; not read: {', '.join(others)}"
        on_issue(ImportIssue(location.source, None, message, note=True))


def _read_samples(path: Path, location: Location, on_issue: OnIssue) -> Iterator[Any]:
    """Yield the samples one at a time; a log that breaks off gives what comes before the break."""
    from inspect_ai.log import read_eval_log_samples

    samples = read_eval_log_samples(str(path), all_samples_required=False)
    while True:
        try:
            sample = next(samples, None)
        except _DAMAGED as error:
            on_issue(location.issue(_damage(error)))
            return
        if sample is None:
            return
        yield sample


def _record(sample: Any, log: _Log, location: Location, numbers: fields.Numbers) -> Record:  # noqa: ANN401 - inspect_ai's types are there only with the extra
    index = fields.name(sample.id, "id", "")
    usage = (sample.model_usage or {}).get(log.model) or sample.output.usage
    failed = sample.error is not None or sample.output.error is not None
    response = None if failed else fields.text(sample.output.completion)
    score = None if failed else _score(sample, location, numbers)
    return Record(
        dataset=log.task,
        index=fields.required(index, "id"),
        query=_query(sample),
        model=log.model,
        reference=_reference(sample.target),
        response=response,
        prompt_tokens=numbers.tokens(getattr(usage, "input_tokens", None), "input_tokens", location),
        completion_tokens=numbers.tokens(getattr(usage, "output_tokens", None), "output_tokens", location),
        cost_usd=numbers.dollars(getattr(usage, "total_cost", None), location),
        score=score,
        status="failed" if failed else fields.status(response, score),
        order=fields.order(index),
    )


def _query(sample: Any) -> str:  # noqa: ANN401
    if isinstance(sample.input, str):
        stem = sample.input
    else:
        stem = "\n\n".join(message.text for message in sample.input if message.role == "user")
    return with_choices(fields.required(stem, "question"), sample.choices)


def _score(sample: Any, location: Location, numbers: fields.Numbers) -> float | None:  # noqa: ANN401
    first = next(iter((sample.scores or {}).values()), None)
    if first is None:
        return None
    letter = first.value if isinstance(first.value, str) else ""
    return _GRADES[letter] if letter in _GRADES else numbers.score(first.value, location)


def _reference(target: object) -> str | None:
    match target:
        case [only]:
            return fields.text(only)
        case "" | []:
            return None
        case _:
            return fields.text(target)
