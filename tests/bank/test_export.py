"""Answers written as JSONL are the same answers when they are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.bank.sources import stage_records
from jisi_cli.bank.staging import write_jisi
from jisi_cli.errors import InputError
from jisi_cli.formats.issues import ImportIssue
from jisi_cli.formats.record import Record
from jisi_cli.formats.registry import detect, read_records
from tests.bank.making import MODELS, failed, record, records


def read_back(path: Path) -> list[Record]:
    problems: list[ImportIssue] = []
    found = list(read_records(path, on_issue=problems.append))
    assert problems == []
    return found


def test_a_round_trip_changes_nothing(tmp_path: Path) -> None:
    answers = records(12)
    answers[0] = replace(answers[0], score=None, status="unscored")
    answers[1] = failed(answers[1], "HTTP 503:\nbusy \u2028 \x1b[31m")
    answers[2] = failed(answers[2], "")
    answers[3] = replace(answers[3], cost_usd=None, prompt_tokens=None, completion_tokens=None)
    answers[6:9] = [replace(answer, grader="numeric", split="test") for answer in answers[6:9]]
    answers[9:12] = [replace(answer, reference=None) for answer in answers[9:12]]
    path = tmp_path / "answers.jsonl"
    write_jisi(path, stage_records(answers))
    assert detect(path) == "jisi"
    found = stage_records(read_back(path))
    expected = stage_records([replace(answer, error=answer.error or None) for answer in answers])
    # A reader learns a question's reference, grader and split from its line, not answer by answer.
    assert found == expected


def test_answers_that_were_never_asked_for_stay_away(tmp_path: Path) -> None:
    answers = [record(0, "ada"), record(1, "bob/7b")]
    write_jisi(tmp_path / "answers.jsonl", stage_records(answers))
    assert stage_records(read_back(tmp_path / "answers.jsonl")) == stage_records(answers)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAME = TEXT.filter(lambda text: bool(text.strip()))


@given(
    st.lists(
        st.tuples(
            NAME,
            TEXT.filter(str.strip),
            NAME,
            TEXT,
            st.floats(0, 1) | st.none(),
            st.integers(0, 2**31 - 1) | st.none(),
            st.floats(0, 1e6) | st.none(),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_text_and_any_number_survive(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str, str, float | None, int | None, float | None]],
) -> None:
    answers = [
        Record(
            dataset=dataset,
            index=f"q{number}",
            query=query,
            model=model,
            response=response,
            prompt_tokens=tokens,
            completion_tokens=tokens,
            cost_usd=cost,
            score=score,
            status="unscored" if score is None else "ok",
        )
        for number, (dataset, query, model, response, score, tokens, cost) in enumerate(rows)
    ]
    path = tmp_path_factory.mktemp("export") / "answers.jsonl"
    write_jisi(path, stage_records(answers))
    assert stage_records(read_back(path)) == stage_records(answers)


def test_the_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    write_jisi(path, stage_records(records(1)))
    before = path.read_text()
    with pytest.raises(ValueError, match="JSON"):
        write_jisi(path, stage_records([record(0), record(1, score=float("nan"))]))
    assert path.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["answers.jsonl"]
    write_jisi(path, stage_records(records(2)))
    assert [entry.name for entry in tmp_path.iterdir()] == ["answers.jsonl"]


def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "nowhere" / "answers.jsonl", tmp_path / "file" / "answers.jsonl"):
        with pytest.raises(InputError, match="cannot be written"):
            write_jisi(place, stage_records(records(2, MODELS)))
