from __future__ import annotations

import json
from pathlib import Path

import pytest

from jisi_cli.errors import InputError
from jisi_cli.formats import registry as detection
from jisi_cli.formats.registry import QUESTIONS, built_in, detect, find_format
from tests.formats.reading import FIXTURES, read_all


@pytest.mark.parametrize(
    ("fixture", "format"),
    [
        ("jisi.jsonl", "jisi"),
        ("avengers_pro.jsonl", "jisi"),
        ("jisi_damaged.jsonl", "jisi"),
        ("long.csv", "long"),
        ("long.jsonl", "long"),
        ("questions.jsonl", QUESTIONS),
        ("llmrouter.jsonl", "llmrouter"),
        ("embedllm.csv", "embedllm"),
        ("routerbench.csv", "routerbench"),
        ("llmrouterbench", "llmrouterbench"),
        ("zeroeval", "zeroeval"),
        ("zeroeval/result_dirs/gsm/ada@host.json", "zeroeval"),
        ("lm_eval", "lm-eval"),
        ("lm_eval/org__bob/samples_gsm8k_2026-01-02T11-00-00.654321.jsonl", "lm-eval"),
        ("jisi_release", "jisi-release"),
        ("jisi_release/example_data/seed42_split0.7", "jisi-release"),
        ("jisi_release/example_data/seed42_split0.7/train.jsonl", "jisi"),
    ],
)
def test_each_fixture_is_recognised(fixture: str, format: str):
    assert detect(FIXTURES / fixture) == format


def test_questions_without_answers_say_how_to_get_answers():
    with pytest.raises(InputError, match="questions without recorded answers; `jisi bank build --call`"):
        read_all(FIXTURES / "questions.jsonl")


def test_damaged_first_lines_do_not_hide_the_format_of_the_rest(tmp_path: Path):
    source = tmp_path / "answers.jsonl"
    source.write_text(
        '{"query": "q1", "recrods": {"ada": 1}}\n{\n{"query": "q3", "records": {"ada": 1}}\n',
        encoding="utf-8",
    )
    assert detect(source) == "jisi"


@pytest.mark.parametrize(
    ("row", "format"),
    [
        ({"query": "q1", "raw_output": {"ada": "1"}}, "jisi"),
        ({"question": "q1", "raw_output": {"ada": "1"}, "usages": {}}, "jisi"),
        ({"query": "q1", "raw_output": "1", "model": "ada"}, "long"),
        ({"query": "q1", "gt": "1"}, QUESTIONS),
    ],
)
def test_answers_that_nobody_has_graded_are_recognised(row: dict[str, object], format: str, tmp_path: Path):
    source = tmp_path / "answers.jsonl"
    source.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert detect(source) == format


def test_json_lines_that_are_called_json_are_not_read_as_one_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = tmp_path / "answers.json"
    source.write_text('{"query": "q1", "records": {"ada": 1}}\n' * 2, encoding="utf-8")
    monkeypatch.setattr(detection, "json_file", lambda path: pytest.fail("as large as the file"))
    assert detect(source) == "jisi"


@pytest.mark.parametrize("indent", [None, 1])
def test_one_document_is_none_of_json_lines(tmp_path: Path, indent: int | None):
    run = {"model_name": "ada", "dataset_name": "sums", "records": [{"origin_query": "q", "score": 1}]}
    source = tmp_path / "run.json"
    source.write_text(json.dumps(run, indent=indent), encoding="utf-8")
    assert detect(source) == "llmrouterbench"


@pytest.mark.parametrize("name", ["routerbench_0shot.pkl", "a.pickle", "a.pkl.gz"])
def test_a_pickle_is_refused_with_the_remedy_whatever_format_is_named(tmp_path: Path, name: str):
    for format in (None, "routerbench"):
        with pytest.raises(InputError, match="convert it to Parquet in a sandbox"):
            read_all(tmp_path / name, format)


def test_an_unknown_format_lists_those_that_are_known(tmp_path: Path):
    source = tmp_path / "notes.txt"
    source.write_text("just\ntext\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"--format names one of embedllm, inspect, jisi, jisi-release, "):
        read_all(source)
    with pytest.raises(InputError, match=r"no format called `csv`; --format takes embedllm, "):
        find_format("csv")


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.csv"])
def test_an_empty_file_is_refused_as_empty(tmp_path: Path, name: str):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="the file is empty"):
        read_all(tmp_path / name)


def test_a_file_with_no_usable_answer_is_refused_after_its_problems(tmp_path: Path):
    source = tmp_path / "zeros.jsonl"
    source.write_text('{"query": "q", "records": {"ada": 7}}\n', encoding="utf-8")
    with pytest.raises(InputError, match="no usable answer in it, read as the format jisi"):
        read_all(source)


def test_a_missing_source_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"nowhere\.jsonl: no such file or folder"):
        read_all(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize("format", built_in())
def test_every_format_is_found_by_its_name(format: str):
    assert find_format(format) is built_in()[format]


def test_a_format_that_does_not_fit_is_refused_in_one_line():
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_all(FIXTURES / "zeroeval", "jisi")
    with pytest.raises(InputError, match=r"no \*\.json in it or below"):
        read_all(FIXTURES.parent / "formats", "zeroeval")
    with pytest.raises(InputError, match="no usable answer in it, read as the format zeroeval"):
        read_all(FIXTURES / "long.csv", "zeroeval")
