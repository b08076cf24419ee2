"""JSONL: one JSON object a line; a damaged line ends only itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from jisi_cli.bank.importers.files import open_file
from jisi_cli.bank.importers.protocol import Numbered, OnProblem, Place, Row, Unusable

LONGEST_LINE = 64 * 2**20
"""Bytes; a longer line is a damaged file rather than an answer."""

BOM = b"\xef\xbb\xbf"


def file_json_rows(source: Path, on_problem: OnProblem) -> Iterator[Numbered]:
    """Yield the objects of a JSONL file; see `json_rows`."""
    with open_file(source) as stream:
        yield from json_rows(bounded_lines(stream), str(source), on_problem)


def bounded_lines(stream: BinaryIO, longest: int = LONGEST_LINE) -> Iterator[bytes]:
    """Yield the lines of a stream; of one longer than `longest` bytes, only its first `longest` + 1."""
    while line := stream.readline(longest + 1):
        yield line
        rest = line
        while len(rest) > longest and not rest.endswith(b"\n"):
            rest = stream.readline(longest + 1)


def json_rows(lines: Iterable[bytes], source: str, on_problem: OnProblem) -> Iterator[Numbered]:
    """Yield each line that holds a JSON object, with its number from 1; blank lines are passed over."""
    for number, line in enumerate(lines, start=1):
        place = Place(source, number)
        line = line.removeprefix(BOM) if number == 1 else line
        if not line.strip():
            continue
        try:
            yield place, json_object(line)
        except Unusable as why:
            on_problem(place.problem(why))


def json_object(line: bytes) -> Row:
    """Parse one JSON object.

    Raises:
        Unusable: It is too long, not UTF-8, not JSON, nested too deeply, or not an object.
    """
    found = json_value(line.rstrip()) if len(line) <= LONGEST_LINE else _too_long()
    if not isinstance(found, dict):
        raise Unusable("not a JSON object ({…})")
    return found


def json_file(path: Path) -> object:
    """Parse a file that is one JSON document.

    Raises:
        InputError: It cannot be opened.
        Unusable: See `json_value`.
    """
    with open_file(path) as stream:
        return json_value(stream.read())


def json_value(data: bytes) -> object:
    """Parse one JSON document.

    Raises:
        Unusable: It is not UTF-8, not JSON, or nested too deeply.
    """
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Unusable(f"not UTF-8 (byte {error.start + 1})") from None
    except json.JSONDecodeError as error:
        where = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise Unusable(f"not JSON: {error.msg} ({where})") from None
    except RecursionError:
        raise Unusable("JSON nested too deeply") from None
    except ValueError:  # a whole number of more digits than Python converts
        raise Unusable("a number with too many digits") from None


def _too_long() -> object:
    raise Unusable(f"longer than {LONGEST_LINE // 2**20} MiB")
