"""Rows that wait in a file come back as they were, and leave nothing behind."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.bank import row_file
from jisi_cli.bank.row_file import (
    AnswerColumns,
    RowFile,
    UnwrittenAnswers,
    pack_question,
    response_of,
    unpack_answer,
    unpack_question,
)
from jisi_cli.bank.sources import stage_records
from jisi_cli.formats.answer_block import AnswerBlock
from jisi_cli.formats.issues import Location
from jisi_cli.formats.record import Record
from tests.bank.making import records

TEXTS = st.text(st.characters(exclude_categories=[]))
COUNTS = st.none() | st.integers(0, 2**53)
AMOUNTS = st.none() | st.floats(0, 1) | st.just(-0.0)


@given(st.lists(st.binary(max_size=40), max_size=12), st.sampled_from([0, 50, 10_000]), st.randoms())
def test_rows_come_back_as_they_were_in_any_order(rows: list[bytes], kept: int, chance: random.Random) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_file, "_IN_MEMORY", kept)
        file = RowFile()
        places = [(file.append(row), row) for row in rows]
        chance.shuffle(places)
        for start, row in places:
            assert file.read(start, len(row)) == row
        told = [(start, row) for start, row in places if row]
        starts = np.array([start for start, _ in told], dtype=np.int64)
        sizes = np.array([len(row) for _, row in told], dtype=np.int64)
        found, begins = file.read_rows(starts, sizes)
        pairs = zip(begins.tolist(), sizes.tolist(), strict=True)
        assert [found[begin : begin + size] for begin, size in pairs] == [row for _, row in told]


@given(TEXTS, st.none() | TEXTS, st.none() | TEXTS)
def test_a_question_comes_back_as_it_was(query: str, reference: str | None, grader: str | None) -> None:
    """Half of a surrogate pair, which UTF-8 cannot hold, too."""
    assert unpack_question(pack_question(query, reference, grader)) == [query, reference, grader]


@given(st.lists(st.tuples(COUNTS, COUNTS, AMOUNTS, AMOUNTS, *[st.none() | TEXTS] * 3), max_size=5))
def test_answers_come_back_as_they_were_alone_and_by_column(answers: list[tuple[Any, ...]]) -> None:
    names = ("prompt_tokens", "completion_tokens", "cost_usd", "score", "response", "error", "finish_reason")
    told = [Record("d", "1", "q", "ada", **dict(zip(names, answer, strict=True))) for answer in answers]
    unwritten = UnwrittenAnswers()
    for half in (told[: len(told) // 2], told[len(told) // 2 :]):
        unwritten.add(AnswerBlock.of([(Location("a.csv"), record) for record in half]))
    packed, sizes = unwritten.packed(np.arange(len(told)))
    assert sizes.sum() == unwritten.size
    ends = np.cumsum(sizes).tolist()
    rows = [packed[end - size : end] for end, size in zip(ends, sizes.tolist(), strict=True)]
    assert b"".join(rows) == packed
    assert [repr(unpack_answer(row)[:-1]) for row in rows] == [repr(answer) for answer in answers]
    assert [response_of(row) for row in rows] == [record.response or "" for record in told]
    columns = AnswerColumns(packed, np.cumsum(sizes) - sizes)
    for place, name in enumerate(names):
        if name in ("response", "error", "finish_reason"):
            assert columns.text(name).decoded() == [answer[place] for answer in answers]
        else:
            values, is_unknown = columns.number(name)
            pairs = zip(values.tolist(), is_unknown.tolist(), strict=True)
            assert [repr(None if unknown else value) for value, unknown in pairs] == [
                repr(answer[place]) for answer in answers
            ]


def test_the_file_has_no_name_and_its_folder_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_file, "_IN_MEMORY", 0)
    folder = tmp_path / "bank" / ".building"
    staging = stage_records(records(6), folder=folder)
    assert not folder.exists()
    assert staging == stage_records(records(6))
    assert list((tmp_path / "bank").iterdir()) == []


def test_a_folder_that_is_in_use_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_file, "_IN_MEMORY", 0)
    (tmp_path / "a.vectors").write_text("a journal")
    assert stage_records(records(6), folder=tmp_path).records == 18
    assert [file.name for file in tmp_path.iterdir()] == ["a.vectors"]


@pytest.mark.slow
def test_a_disk_that_takes_only_a_part_is_an_error_and_no_row_is_lost_in_silence() -> None:
    """The limit falls into the middle of a write, of which the system takes the first half without a word."""
    script = (
        "import resource\n"
        "from jisi_cli.bank import row_file\n"
        "row_file._IN_MEMORY = 10_000\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, 15_000))\n"
        "file = row_file.RowFile()\n"
        "places = [file.append(b'x' * 1000) for _ in range(30)]\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "OSError: [Errno 27]" in done.stderr
