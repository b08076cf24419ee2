"""`jisi ask --schema`: answers that fit, those that do not, and files that are no schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import jisi_cli
from jisi_cli.errors import NoAnswerError
from tests.cli.commands import build_small_bank, jisi, pool_file, says_one_error
from tests.loopback import Loopback

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.fixture
def given(tmp_path: Path, loopback: Loopback) -> list[str | Path]:
    for model in ("ada", "bob", "cyd", "dee"):
        loopback.script(model, text='{"n": 4}')
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    bank, pool = build_small_bank(tmp_path), pool_file(tmp_path / "jisi.toml", loopback)
    return ["--bank", bank, "--config", pool, "--schema", tmp_path / "schema.json"]


def test_the_answer_is_json_that_fits(given: list[str | Path], loopback: Loopback) -> None:
    run = jisi("ask", "What is 2 + 2?", *given)
    assert (run.exit_code, json.loads(run.stdout)) == (0, {"n": 4})
    assert loopback.requests[0].body["response_format"]["json_schema"]["schema"] == SCHEMA


def test_answers_that_are_the_same_json_agree_however_they_are_written(
    given: list[str | Path], loopback: Loopback
) -> None:
    loopback.script("ada", text='{"n": 4, "unit": "m"}')
    loopback.script("bob", text='{"unit":"m",  "n": 4.0}')
    loopback.script("cyd", text='{"n": 5, "unit": "m"}')
    for choice in (["--method", "jisi-cascade", "--tau", "1", "--max-calls", "3"], ["--method", "jisi-vote"]):
        found = jisi("ask", "What is 2 + 2?", *given, *choice, "--json").json
        assert found["answer"] == '{"n": 4, "unit": "m"}'
        assert {said["model"]: said["agrees"] for said in found["answers"]} == {"ada": True, "bob": True, "cyd": False}
    assert found["mode"] == "consensus"
    plain = jisi("ask", "What is 2 + 2?", *given[:4], "--method", "jisi-vote", "--json").json
    assert all(said["final_answer"] is None for said in plain["answers"])  # what was not asked for is read as before


def test_no_answer_that_fits_is_exit_4_with_the_reason(given: list[str | Path], loopback: Loopback) -> None:
    for model in ("ada", "bob", "cyd", "dee"):
        loopback.script(model, text="four")
    line = says_one_error(
        jisi("ask", "What is 2 + 2?", *given), 4, "ada: its answer does not have the form", "it is not JSON"
    )
    assert "dee" in line


def test_json_that_was_cut_off_is_said_to_be(given: list[str | Path], loopback: Loopback) -> None:
    for model in ("ada", "bob", "cyd", "dee"):
        loopback.script(model, text='{"n": ', finish_reason="length")
    says_one_error(jisi("ask", "What is 2 + 2?", *given), 4, "it is not JSON (it was cut off at its longest length")


def test_the_questions_of_a_file_are_asked_for_it_and_another_schema_asks_anew(
    given: list[str | Path], tmp_path: Path, loopback: Loopback
) -> None:
    questions, out = tmp_path / "questions.jsonl", tmp_path / "out.jsonl"
    questions.write_text('{"query": "What is 1 + 3?"}\n{"query": "What is 2 + 2?"}\n')
    assert jisi("ask", "--input", questions, "--out", out, *given).exit_code == 0
    assert [json.loads(line)["answer"] for line in out.read_text().splitlines()[-2:]] == ['{"n": 4}'] * 2
    calls = loopback.count()
    assert jisi("ask", "--input", questions, "--out", out, *given).exit_code == 0
    assert loopback.count() == calls
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    assert jisi("ask", "--input", questions, "--out", out, *given).exit_code == 0
    assert loopback.count() > calls


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"type": "whole"}', "is not a JSON schema: $.type"),
        (b'{"$ref": "http://127.0.0.1:9/a"}', "nothing is fetched"),
        (None, "No such file"),
        (b" " * (2**20 + 1), "more than 1 MiB"),
    ],
)
def test_a_file_that_is_no_schema_is_exit_2_before_anything_is_asked(
    content: bytes | None, words: str, given: list[str | Path], tmp_path: Path, loopback: Loopback
) -> None:
    path = tmp_path / "schema.json"
    path.unlink() if content is None else path.write_bytes(content)
    says_one_error(jisi("ask", "What is 2 + 2?", *given), 2, "--schema: ", str(path), words)
    assert loopback.count() == 0


def test_the_library_takes_a_schema(given: list[str | Path], loopback: Loopback) -> None:
    with jisi_cli.open(given[1], config=given[3]) as pool:
        assert json.loads(pool.ask("What is 3 + 1?", schema=SCHEMA).answer.text) == {"n": 4}
        with pytest.raises(NoAnswerError, match="'m' is a required property"):
            pool.ask("What is 3 + 1?", schema={"required": ["m"]})
