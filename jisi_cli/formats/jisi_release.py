"""jisi-release: the folder that the authors of JiSi published (`aisfuture/jisi_data`), with its vectors.

`example_data/seed42_split0.7/{train,test}.jsonl` in the format jisi, and beside it
`train_query_embed.tar` [N, 3584], `train_response_embed.tar` and `test_response_embed.tar`
[N, M, 3584]: files of `torch.save` despite their name, rows in file order, the model axis in the key
order of `raw_output` in the first row.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from jisi_cli.errors import InputError
from jisi_cli.formats.files import Preview, open_file
from jisi_cli.formats.issues import Located, Location, OnIssue, Row, UnusableError
from jisi_cli.formats.jisi import records_of
from jisi_cli.formats.questions import question_of
from jisi_cli.formats.record import Split
from jisi_cli.formats.rows import BOM, bounded_lines, file_json_rows, json_object
from jisi_cli.formats.torch_file import TensorFile

_SIDES: tuple[Split, Split] = ("train", "test")


class ReleaseVectors(NamedTuple):
    """The authors' vectors of one side of the split, in their files.

    Attributes:
        query_vectors: (N, d); None where the release has none (it has none of the test side).
        response_vectors: (N, M, d); None where the release has none.
        models: The M names of the model axis.
        rows: Row of each (dataset, index) on the first axis; a line that cannot be read has none.
    """

    query_vectors: TensorFile | None
    response_vectors: TensorFile | None
    models: tuple[str, ...]
    rows: dict[tuple[str, str], int]


def matches(preview: Preview) -> bool:
    """Whether a folder is the release, or the part of it that holds train.jsonl."""
    return preview.path.is_dir() and any(
        any(preview.path.glob(pattern)) for pattern in ("train.jsonl", "example_data/*/train.jsonl")
    )


def read(source: Path, on_issue: OnIssue) -> Iterator[Located]:
    """Yield the records of train.jsonl and test.jsonl, each marked with its side; see `Format`."""
    folder = _split_folder(source)
    return chain.from_iterable(_side(folder, side, on_issue) for side in _SIDES)


def has_vectors(source: Path) -> bool:
    """Whether a release comes with vectors of its train side."""
    folder = _split_folder(source)
    return any(_vector_file(folder, f"train_{what}_embed.tar") is not None for what in ("query", "response"))


def release_vectors(source: Path) -> dict[Split, ReleaseVectors]:
    """Open the vectors that the authors published, without reading them.

    Args:
        source: The release, or its folder that holds train.jsonl.

    Returns:
        By side of the split; the model axis of both is that of the first train row, as the authors have it.

    Raises:
        InputError: A file is missing, is no torch file of one tensor, or does not fit the questions.
    """
    folder = _split_folder(source)
    found: dict[Split, ReleaseVectors] = {}
    models: tuple[str, ...] = ()
    for side in _SIDES:
        path = folder / f"{side}.jsonl"
        if not path.is_file():
            continue
        own, rows, count = _axes(path, side)
        models = models or own
        queries = _opened(folder, f"{side}_query_embed.tar", (count,))
        responses = _opened(folder, f"{side}_response_embed.tar", (count, len(models)))
        found[side] = ReleaseVectors(queries, responses, models, rows)
    widths = {vectors.shape[-1] for side in found.values() for vectors in side[:2] if isinstance(vectors, TensorFile)}
    if len(widths) > 1:
        some = " and ".join(map(str, sorted(widths)))
        raise InputError(f"{folder}: its vectors are {some} wide; they come from different embedders")
    return found


def _split_folder(source: Path) -> Path:
    if (source / "train.jsonl").is_file():
        return source
    found = sorted(path.parent for path in source.glob("example_data/*/train.jsonl"))
    if len(found) != 1:
        what = ", ".join(path.name for path in found) or "no train.jsonl in it or in example_data/*/"
        raise InputError(f"{source}: {what}; name the folder that holds one train.jsonl")
    return found[0]


def _side(folder: Path, side: Split, on_issue: OnIssue) -> Iterator[Located]:
    path = folder / f"{side}.jsonl"
    if path.is_file():
        rows = file_json_rows(path, on_issue)
        # A line's own `split` is the benchmark's; which side it is on is told by its file.
        yield from records_of(((location, {**row, "split": side}) for location, row in rows), side, on_issue)


def _axes(path: Path, side: Split) -> tuple[tuple[str, ...], dict[tuple[str, str], int], int]:
    """Return the model axis, the row of each question, and the number of rows of a JSONL file."""
    models: tuple[str, ...] = ()
    rows: dict[tuple[str, str], int] = {}
    count = 0
    with open_file(path) as stream:
        for number, line in enumerate(bounded_lines(stream), start=1):
            if not line.removeprefix(BOM).strip():
                continue
            try:
                row = json_object(line)
                question = question_of(row, side, Location(str(path), number))
            except UnusableError:
                pass  # `read` reports it; here it only takes its row
            else:
                rows.setdefault((question.dataset, question.index), count)
                models = models or _model_axis(row)
            count += 1
    return models, rows, count


def _model_axis(row: Row) -> tuple[str, ...]:
    responses = row.get("raw_output")
    return tuple(responses) if isinstance(responses, dict) else ()


def _vector_file(folder: Path, name: str) -> Path | None:
    """Return a file of vectors, which the authors keep beside the split or one folder above it."""
    return next((parent / name for parent in (folder, *folder.parents[:2]) if (parent / name).is_file()), None)


def _opened(folder: Path, name: str, axes: tuple[int, ...]) -> TensorFile | None:
    """Open one file; its tensor must begin with the axes that the questions have."""
    path = _vector_file(folder, name)
    if path is None:
        return None
    found = TensorFile(path)
    if len(found.shape) != len(axes) + 1 or found.shape[:-1] != axes:
        raise InputError(f"{path}: shape {found.shape} does not fit {axes} rows and models; is it of this split?")
    return found
