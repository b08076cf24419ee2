"""Whose columns hold what: common names, `--map`, and what could be meant in two ways."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.errors import InputError
from jisi_cli.formats.column_map import ColumnMap
from jisi_cli.formats.issues import ImportIssue
from jisi_cli.formats.questions import read_questions
from jisi_cli.formats.record import Question, Record
from jisi_cli.formats.registry import QUESTIONS, detect, read_records

Rows = list[dict[str, Any]]


def written(path: Path, rows: Rows) -> Path:
    """Write rows as the suffix says."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def questions(path: Path, *maps: str) -> list[Question]:
    return list(read_questions(path, refuse, columns=ColumnMap.parse(maps)))


def records(path: Path, *maps: str) -> list[Record]:
    return list(read_records(path, on_issue=refuse, columns=ColumnMap.parse(maps) if maps else None))


def refuse(issue: ImportIssue) -> None:
    assert issue.note, issue


@pytest.mark.parametrize("query", ["query", "question", "origin_query", "prompt", "input"])
@pytest.mark.parametrize("answer", ["gt", "ground_truth", "reference", "answer", "target", "expected"])
def test_common_names_are_understood(tmp_path: Path, query: str, answer: str) -> None:
    path = written(tmp_path / "q.jsonl", [{query: "What is 2 + 2?", answer: "4"}])
    assert detect(path) == QUESTIONS
    assert questions(path) == [Question("q", "1", "What is 2 + 2?", "4", None, 1)]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_map_reads_any_table(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"id": "a1", "problem": "2 + 2?", "solution": "4", "kind": "sums"},
        {"id": "b", "problem": "1?", "solution": "1", "kind": "x"},
    ]
    path = written(tmp_path / f"q{suffix}", rows)
    assert questions(path, "query=problem,gt=solution", "index=id,dataset=kind") == [
        Question("sums", "a1", "2 + 2?", "4"),
        Question("x", "b", "1?", "1"),
    ]


def test_what_a_map_names_wins_over_every_usual_name(tmp_path: Path) -> None:
    row = {
        "query": "template",
        "question": "also",
        "raw": "What?",
        "gt": "0",
        "answer": "long",
        "short": "1",
        "index": 7,
        "n": 3,
    }
    path = written(tmp_path / "q.jsonl", [row])
    assert questions(path, "query=raw,gt=short,index=n") == [Question("q", "3", "What?", "1", None, 3)]
    assert questions(path, "query=question,gt=answer")[0].query == "also"


def test_two_columns_that_differ_and_may_both_be_meant_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "q.jsonl", [{"question": "a", "input": "b", "gt": "1"}])
    with pytest.raises(
        InputError, match=r"q.jsonl:1: `question` and `input` differ, .*--map query=question or --map query=input"
    ):
        questions(path)
    assert questions(path, "query=input")[0].query == "b"
    path = written(tmp_path / "q.jsonl", [{"query": "a", "answer": "because 4", "target": "4"}])
    with pytest.raises(InputError, match=r"`answer` and `target` differ, and either may be the right answer"):
        questions(path)
    assert questions(path, "gt=target")[0].reference == "4"


def test_columns_that_say_the_same_or_nothing_are_no_doubt(tmp_path: Path) -> None:
    rows: Rows = [{"question": "a", "prompt": "a ", "answer": "1", "target": 1, "input": ""}]
    assert questions(written(tmp_path / "q.jsonl", rows)) == [Question("q", "1", "a", "1", None, 1)]
    # jisi's own names leave no doubt.
    rows = [{"query": "a", "prompt": "User: a", "gt": "1", "answer": "one"}]
    assert questions(written(tmp_path / "q.jsonl", rows)) == [Question("q", "1", "a", "1", None, 1)]


def test_a_map_that_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "q.csv", [{"a": "1", "b": "2"}])
    with pytest.raises(InputError, match=r"q.csv: no column `c`, which --map names; its columns are `a`, `b`"):
        questions(path, "query=a,gt=c")
    for given, words in (
        ("query", "NAME=COLUMN"),
        ("query=", "NAME=COLUMN"),
        ("frage=a", "nothing called `frage` is read; the names are query, gt"),
        ("frage=query", r"nothing called `frage` is read \(the other way round, query=frage\?\)"),
        ("query=a,question=b", "`question` cannot be in 'a' and in 'b'"),
        ("qery=a", r"did you mean `query`\?"),
        ("query=a,query=b", "cannot be in 'a' and in 'b'"),
    ):
        with pytest.raises(InputError, match=words):
            ColumnMap.parse([given])
    assert ColumnMap.parse([r"query=a\,b,gt=c"]).columns == {"query": "a,b", "gt": "c"}


def test_a_map_takes_the_names_that_columns_may_have(tmp_path: Path) -> None:
    assert ColumnMap.parse(["question=frage,answer=loesung"]) == ColumnMap.parse(["query=frage,gt=loesung"])
    assert ColumnMap({"question": "frage"}).columns == {"query": "frage"}


def notes(path: Path, *maps: str) -> list[str]:
    """Return what is said of a file of questions that is read to its end."""
    said: list[ImportIssue] = []
    list(read_questions(path, said.append, columns=ColumnMap.parse(maps)))
    return [issue.message for issue in said if issue.note]


def test_a_column_that_a_map_names_is_not_called_unread(tmp_path: Path) -> None:
    row = {"frage": "2 + 2?", "loesung": "4", "model": "ada", "reply": "4", "page": 3}
    path = written(tmp_path / "q.csv", [row])
    assert notes(path, "query=frage,gt=loesung,index=page") == ["columns that are not read: `model`, `reply`"]
    said: list[ImportIssue] = []
    columns = ColumnMap.parse(["query=frage,gt=loesung,model=model,response=reply"])
    list(read_records(path, on_issue=said.append, columns=columns))
    assert [issue.message for issue in said] == ["columns that are not read: `page`"]


def test_a_table_without_a_question_says_how_to_name_its_column(tmp_path: Path) -> None:
    path = written(tmp_path / "q.csv", [{"frage": "2 + 2?", "loesung": "4"}])
    expected = "no column is called `question`; say which one is it with --map query=COLUMN: `frage`, `loesung`"
    assert notes(path) == [expected]


@pytest.mark.parametrize(("mark", "words"), [(";", "semicolons; save it with commas"), ("\t", "tabs; call it .tsv")])
def test_a_csv_whose_columns_another_mark_separates_is_refused(tmp_path: Path, mark: str, words: str) -> None:
    path = tmp_path / "q.csv"
    path.write_text(f"question{mark}answer\nWhat is 2 + 2?{mark}4\n", encoding="utf-8")
    with pytest.raises(InputError, match=words):
        questions(path)


def test_recorded_answers_are_read_by_a_map_too(tmp_path: Path) -> None:
    row = {"q": "2 + 2?", "truth": "4", "llm": "ada", "reply": "It is 4.", "ok": True, "usd": 0.5}
    path = written(tmp_path / "a.jsonl", [row])
    (found,) = records(path, "query=q,gt=truth,model=llm,response=reply,score=ok,cost=usd")
    assert (found.query, found.reference, found.model, found.response) == ("2 + 2?", "4", "ada", "It is 4.")
    assert (found.score, found.cost_usd, found.status) == (1.0, 0.5, "ok")


@pytest.mark.parametrize("name", ["correct", "is_correct", "label"])
@pytest.mark.parametrize(("value", "score"), [(True, 1.0), (0, 0.0), ("1", 1.0), ("False", 0.0)])
def test_common_names_of_a_score_are_understood(tmp_path: Path, name: str, value: object, score: float) -> None:
    row = {"question": "2 + 2?", "target": "4", "model": "ada", "response": "4", name: value}
    (found,) = records(written(tmp_path / "a.jsonl", [row]))
    assert (found.score, found.reference) == (score, "4")


def test_a_label_that_is_no_score_is_left_alone_and_two_scores_that_differ_are_refused(tmp_path: Path) -> None:
    row: dict[str, Any] = {"question": "2 + 2?", "model": "ada", "response": "4", "label": "entailment"}
    (found,) = records(written(tmp_path / "a.jsonl", [row]))
    assert (found.score, found.status) == (None, "unscored")
    row |= {"correct": 1, "is_correct": 0}
    with pytest.raises(InputError, match=r"`correct` and `is_correct` differ, .*--map score=correct"):
        records(written(tmp_path / "a.jsonl", [row]))


def test_an_answer_is_a_reference_only_beside_a_response(tmp_path: Path) -> None:
    row = {"question": "2 + 2?", "model": "ada", "answer": "4", "score": 1}
    assert records(written(tmp_path / "a.jsonl", [row]))[0].reference is None
    assert records(written(tmp_path / "a.jsonl", [row | {"response": "four"}]))[0].reference == "4"
