"""The formats by name, how the format of a source is detected, and the one way in: `read_answers`.

A format is one module of this package, or what the entry point `jisi.formats` of an installed package names: see
`Format`. Nothing else knows its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib import import_module
from itertools import chain, islice
from pathlib import Path
from pkgutil import iter_modules
from typing import Protocol, cast

from jisi_cli import formats, plugins
from jisi_cli.errors import InputError, did_you_mean
from jisi_cli.formats.answer_block import AnswerBlock, deduplicated, in_answer_blocks
from jisi_cli.formats.column_map import ColumnMap
from jisi_cli.formats.files import Preview, kind_of, open_text
from jisi_cli.formats.hub_dataset import first_file, is_hub_dataset
from jisi_cli.formats.issues import Located, OnIssue, UnusableError
from jisi_cli.formats.parquet import parquet_columns
from jisi_cli.formats.questions import MESSAGES, poses_question
from jisi_cli.formats.record import Record
from jisi_cli.formats.rows import begins_a_list, bounded_lines, csv_header, json_file, json_object

QUESTIONS = "questions"
"""What `detect` calls a file of questions without answers; `read_questions` reads it."""

MAPPED = "long"
"""The format whose columns `--map` names."""

_LOOKED_AT = 50
"""Lines of a file, or files of a folder, that are looked at before giving up."""


class Format(Protocol):
    """A format of recorded answers: a module with these two functions, named after the format (`lm_eval`: `lm-eval`).

    An optional constant `RANK` says when it is asked whether a source is its own: formats whose signs are less telling
    have a higher one, and 0 goes without saying. Other packages' formats are asked before `GENERAL`. An optional
    constant `TABLE` says that a source is one table, which `read_rows` reads, so that it may lie on the hub. A format
    of jisi's own may also have a function `read_answers`, which yields the same by column.
    """

    def matches(self, preview: Preview) -> bool:
        """Whether a source is in this format."""
        ...

    def read(self, source: Path, on_issue: OnIssue) -> Iterator[Located]:
        """Yield the records of a source in its own order, each with where it was read.

        Args:
            source: The file or folder.
            on_issue: Told of everything that is skipped.

        Raises:
            InputError: The source as a whole cannot be read.
        """
        ...


GENERAL = 9
"""The `RANK` from which on a format takes whatever no other claims."""


def built_in() -> dict[str, Format]:
    """Return jisi's own formats by name, in the order in which they are asked."""
    modules = (import_module(f"{formats.__name__}.{found.name}") for found in iter_modules(formats.__path__))
    found = {
        module.__name__.rpartition(".")[2].replace("_", "-"): cast(Format, module)
        for module in modules
        if _is_format(module)
    }
    return dict(sorted(found.items(), key=lambda item: (_rank(item[1]), item[0])))


def find_format(name: str) -> Format:
    """Return a format: jisi's own, or that of an installed package.

    Raises:
        InputError: There is no such format, or the package that adds it is broken.
    """
    own = built_in()
    if name in own:
        return own[name]
    added = plugins.load("formats", name, own)
    if added is None:
        names = sorted((*own, *plugins.installed("formats", own)))
        raise InputError(f"no format called `{name}`{did_you_mean(name, names)}; --format takes {', '.join(names)}")
    if not _is_format(added):
        raise InputError(f"the format `{name}` of an installed package has no functions `matches` and `read`")
    return cast(Format, added)


def read_records(
    source: Path, format: str | None = None, *, on_issue: OnIssue, columns: ColumnMap | None = None
) -> Iterator[Record]:
    """Return the recorded answers of a file or folder, one at a time; see `read_answers`."""
    blocks = read_answers(source, format, on_issue=on_issue, columns=columns)
    return chain.from_iterable(block.records() for block in blocks)


def read_answers(
    source: Path, format: str | None = None, *, on_issue: OnIssue, columns: ColumnMap | None = None
) -> Iterator[AnswerBlock]:
    """Return the recorded answers of a file or folder by column, some hundred at a time; the format is found at once.

    Args:
        source: The file or folder.
        format: The name of its format; None to detect it.
        on_issue: Told of everything that is skipped; it may raise to stop at the first.
        columns: Which columns of a table hold what, as the user says it.

    Raises:
        InputError: The source cannot be read, is of no known format, or holds no usable answer.
    """
    refuse_pickle(source)
    if columns:
        _require_table(source, format)
        found = MAPPED
        blocks = import_module(f"{formats.__name__}.{MAPPED}").read_answers(source, on_issue, columns)
    else:
        found = format or detect(source)
        if found == QUESTIONS:
            raise InputError(f"{source}: questions without recorded answers; `jisi bank build --call` asks the pool")
        blocks = _answers_of(source, found, on_issue)
    return _require_answers(deduplicated(blocks, on_issue), source, found)


def _answers_of(source: Path, format: str, on_issue: OnIssue) -> Iterator[AnswerBlock]:
    found = find_format(format)
    if format in built_in():
        by_column = getattr(found, "read_answers", None)
        if by_column is not None:
            return cast("Iterator[AnswerBlock]", by_column(source, on_issue))
        return in_answer_blocks(lambda told: found.read(source, told), on_issue)
    return in_answer_blocks(lambda told: _reading(found.read(source, told), source, format), on_issue)


def _require_table(source: Path, format: str | None) -> None:
    if format not in (None, MAPPED):
        raise InputError(f"--map is for tables, and the format {format} has columns of its own; leave out one of them")
    if not is_hub_dataset(source):
        require_file(source)


def _reading(located: Iterator[Located], source: Path, format: str) -> Iterator[Located]:
    """Yield what a format of another package reads; a mistake in its code ends the reading in words."""
    where = str(source)
    try:
        for location, record in located:
            where = str(location.issue("the last that could be read"))
            yield location, record
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, UnusableError) as error:
        raise InputError(
            f"{source}: the format `{format}` of an installed package failed ({type(error).__name__}: {error}); {where}"
        ) from error


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


def require_file(source: Path) -> None:
    """Refuse a path at which there is nothing.

    Raises:
        InputError: There is nothing.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; check the path")


def detect(source: Path) -> str:
    """Return the name of the format of a file or folder, or `QUESTIONS`.

    Raises:
        InputError: It does not exist, cannot be read, is a pickle, or is of no known format.
    """
    refuse_pickle(source)
    if is_hub_dataset(source):
        return _hub_format(source)
    require_file(source)
    detector = _Detector()
    found = detector.format_of(Preview(source))
    if found is None:
        found = detector.folder(source) if source.is_dir() else detector.file(source)
    if found is None:
        names = ", ".join(sorted(detector.names))
        raise InputError(f"{source}: not a format that jisi recognises; --format names one of {names}")
    return found


def _hub_format(source: Path) -> str:
    """Return the format of a data set on the hub, by its first table.

    Raises:
        InputError: It is of no known format, or of one that is more than a table.
    """
    found = _Detector().file(first_file(source))
    if found == QUESTIONS or (found is not None and getattr(find_format(found), "TABLE", False)):
        return found
    remedy = "--map says which columns hold what" if found is None else "download it and name the file or folder"
    what = "not a format that jisi recognises" if found is None else f"the format {found} is not read from the hub"
    raise InputError(f"{source}: {what}; {remedy}")


class _Detector:
    """Asks the formats, the most specific first, whether a source is theirs."""

    def __init__(self) -> None:
        self._own = built_in()

    @cached_property
    def _added(self) -> dict[str, Format]:
        return {name: find_format(name) for name in plugins.installed("formats", self._own)}

    @property
    def names(self) -> Iterable[str]:
        """The names of all formats."""
        return (*self._own, *self._added)

    def format_of(self, preview: Preview) -> str | None:
        """Return the format of a path, a row or a document."""
        found = next((name for name, format in self._asked() if format.matches(preview)), None)
        if found is None and (poses_question(preview.columns) or MESSAGES in preview.columns):
            return QUESTIONS
        return found

    def _asked(self) -> Iterator[tuple[str, Format]]:
        yield from ((name, own) for name, own in self._own.items() if _rank(own) < GENERAL)
        yield from self._added.items()
        yield from ((name, own) for name, own in self._own.items() if _rank(own) >= GENERAL)

    def folder(self, folder: Path) -> str | None:
        """Return the format of the first JSON document in a folder that has one."""
        documents = (self._document(path) for path in islice(folder.rglob("*.json"), _LOOKED_AT))
        return next((found for found in documents if found), None)

    def file(self, path: Path) -> str | None:
        """Return the format of a file by what it holds."""
        match kind_of(path):
            case "parquet":
                return self._row(path, parquet_columns(path))
            case "csv":
                return self._row(path, csv_header(path))
            case "json" if begins_a_list(path) or (path.suffix.lower() == ".json" and not _is_lines(path)):
                return self._document(path) or self._lines(path)
            case "json":
                return self._lines(path)

    def _row(self, path: Path, columns: Iterable[str], document: object = None) -> str | None:
        return self.format_of(Preview(path, frozenset(columns), document))

    def _document(self, path: Path) -> str | None:
        """Return the format of a file that is one JSON document."""
        try:
            document = json_file(path)
        except UnusableError:
            return None
        match document:
            case [{**first}, *_]:
                return self._row(path, map(str, first), document)
            case {}:
                return self._row(path, (), document)
        return None

    def _lines(self, path: Path) -> str | None:
        """Return the format of the first line with answers; a damaged one before it may look like a question."""
        empty, questions = True, None
        with open_text(path) as stream:
            for line in islice(bounded_lines(stream), _LOOKED_AT):
                empty = empty and not line.strip()
                try:
                    found = self._row(path, json_object(line))
                except UnusableError:
                    continue
                if found not in (None, QUESTIONS):
                    return found
                questions = questions or found
        if empty:
            raise InputError(f"{path}: the file is empty; it should hold one JSON object a line")
        return questions


def _is_lines(path: Path) -> bool:
    """Whether a file begins with two JSON objects, a line each: no document does, and lines need not fit in memory."""
    with open_text(path) as stream:
        lines = list(islice((line for line in bounded_lines(stream) if line.strip()), 2))
    try:
        return len([json_object(line) for line in lines]) == 2
    except UnusableError:
        return False


def _is_format(found: object) -> bool:
    return callable(getattr(found, "matches", None)) and callable(getattr(found, "read", None))


def _rank(format: Format) -> int:
    return int(getattr(format, "RANK", 0))


def _require_answers(blocks: Iterator[AnswerBlock], source: Path, format: str) -> Iterator[AnswerBlock]:
    empty = True
    for block in blocks:
        empty = empty and all(status == "missing" for status in block["status"])
        yield block
    if empty:
        raise InputError(f"{source}: no usable answer in it, read as the format {format}; --format names another")
