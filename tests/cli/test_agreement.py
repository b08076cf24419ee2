"""`--grader agreement` in `bank build` and `bank grade`, and what `bank inspect` says of where scores come from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import read_manifest
from tests.cli.commands import ROOT, jisi, pool_file, says_one_error, write_lines
from tests.loopback import Loopback

MODELS = ("ada", "bob", "cyd", "dee")

ANSWERS = [
    ("I say: the answer is 4.", "The answer is 4", "\\boxed{4}", "The answer is 5."),  # three of four
    ("The answer is 1.", "The answer is 1.", "The answer is 2.", "The answer is 3."),
    ("The answer is 1.", "The answer is 2.", "The answer is 3.", "The answer is 4."),  # no two
    ("Once there was a king.", "Once there was a queen.", "No.", "Why?"),  # nothing to read
    ("The answer is 7.", "The answer is 7.", "Well, it depends.", ""),
]


def lines(answers: Any = ANSWERS, **more: Any) -> list[dict[str, Any]]:
    return [
        {"dataset": "riddles", "index": number, "query": f"What is riddle number {number}?", **more}
        | {"records": dict.fromkeys(MODELS), "raw_output": dict(zip(MODELS, said, strict=True))}
        for number, said in enumerate(answers)
    ]


def build(folder: Path, *options: str | Path, answers: Any = None) -> Path:
    source = write_lines(folder / "answers.jsonl", answers or lines())
    run = jisi("bank", "build", source, "-o", folder / "bank", "--embedder", "hashing:32", *options)
    assert run.exit_code == 0, run
    return folder / "bank"


def scores(bank: Path) -> list[list[float | None]]:
    """Return the score of each model's answer, question by question."""
    opened = Bank(bank)
    columns = [opened.answers(model).scores.tolist() for model in opened.models]
    return [[None if np.isnan(score) else score for score in row] for row in zip(*columns, strict=True)]


AGREED = [[1, 1, 1, 0], [1, 1, 0, 0], [None] * 4, [None] * 4, [1, 1, None, None]]


def sources(bank: Path) -> set[tuple[float | None, str | None]]:
    files = [pq.ParquetFile(file) for file in bank.glob("responses/*/*.parquet")]
    rows = [row for file in files for row in file.read(["score", "score_source"]).to_pylist()]
    return {(row["score"], row["score_source"]) for row in rows}


def test_recorded_answers_without_a_key_are_scored_by_what_the_models_agree_on(tmp_path: Path) -> None:
    run = jisi(
        *("bank", "build", write_lines(tmp_path / "answers.jsonl", lines()), "-o", tmp_path / "bank"),
        *("--embedder", "hashing:32", "--grader", "agreement", "--json"),
    )
    assert run.exit_code == 0
    assert run.json["agreement"] == {"agreement": 3, "label": 0, "unscored": 2, "labels": 0, "graded": 0}
    assert "cannot see a model that is right alone" in run.warnings[0]
    assert f"on 5 questions: jisi bank label {tmp_path / 'bank'} --n 5" in run.warnings[0]
    assert scores(tmp_path / "bank") == AGREED
    assert sources(tmp_path / "bank") == {(1.0, "agreement"), (0.0, "agreement"), (None, None)}
    found = jisi("bank", "inspect", tmp_path / "bank", "--json")
    assert found.json["score_source"] == {"grader": 0.0, "agreement": 1.0, "label": 0.0, "feedback": 0.0}
    assert any("cannot see a model that is right alone" in warning for warning in found.json["warnings"])
    assert "scores by: agreement 100.0 %" in jisi("bank", "inspect", tmp_path / "bank").stdout


def test_a_bank_that_has_no_scores_says_how_to_get_some_and_is_scored_without_a_call(tmp_path: Path) -> None:
    bank = build(tmp_path)
    assert scores(bank) == [[None] * 4] * 5
    found = jisi("bank", "inspect", bank, "--json").json
    assert found["score_source"] is None
    assert any("--grader agreement" in warning for warning in found["warnings"])
    dry = jisi("bank", "grade", bank, "--grader", "agreement", "--dry-run", "--json")
    assert dry.json["written"] is False and scores(bank) == [[None] * 4] * 5
    run = jisi("bank", "grade", bank, "--grader", "agreement", "--json")
    assert {**run.json, "written": False} == dry.json
    assert run.json["agreement"]["agreement"] == 3 and scores(bank) == AGREED
    manifest = read_manifest(bank)
    again = jisi("bank", "grade", bank, "--grader", "agreement", "--json")
    assert again.json["changed"] == 0 and again.json["written"] is False and read_manifest(bank) == manifest


def test_agreement_never_touches_what_a_grader_has_scored(tmp_path: Path) -> None:
    keyed = lines(ANSWERS[:2], gt="5", grader="numeric")
    bank = build(tmp_path, answers=[*keyed, *lines()[2:]])
    assert jisi("bank", "grade", bank).exit_code == 0
    before = scores(bank)
    assert before[0] == [0, 0, 0, 1]
    run = jisi("bank", "grade", bank, "--grader", "agreement")
    assert "2 questions left as graders scored them" in run.stderr
    assert scores(bank) == [*before[:2], *AGREED[2:]]
    shares = jisi("bank", "inspect", bank, "--json").json["score_source"]
    assert shares == {"grader": 0.8, "agreement": 0.2, "label": 0.0, "feedback": 0.0}


def test_a_grader_takes_over_from_agreement_even_where_the_score_stays_the_same(tmp_path: Path) -> None:
    bank = build(tmp_path, "--grader", "agreement", answers=lines(gt="4", grader="numeric"))
    assert scores(bank) == AGREED
    assert jisi("bank", "grade", bank).exit_code == 0
    assert scores(bank)[0] == AGREED[0] and scores(bank)[2] == [0, 0, 0, 1]
    assert {source for _, source in sources(bank)} == {"grader", None}
    assert jisi("bank", "grade", bank, "--json").json["changed"] == 0


def test_agreement_for_one_data_set_alone(tmp_path: Path) -> None:
    answers = [*lines(), *({**line, "dataset": "puzzles"} for line in lines())]
    bank = build(tmp_path, "--grader", "puzzles=agreement", answers=answers)
    assert scores(bank) == [*AGREED, *[[None] * 4] * 5]
    other = jisi("bank", "grade", bank, "--grader", "agreement", "--datasets", "riddles")
    assert other.exit_code == 0 and scores(bank) == AGREED * 2


def test_an_extended_bank_is_scored_as_a_whole(tmp_path: Path) -> None:
    bank = build(tmp_path, "--grader", "agreement", answers=lines(ANSWERS[:3]))
    assert scores(bank) == AGREED[:3]
    build(tmp_path, "--grader", "agreement", "--append")
    assert scores(bank) == AGREED


def test_what_agreement_cannot_do_is_one_line(tmp_path: Path, loopback: Loopback) -> None:
    source = write_lines(tmp_path / "answers.jsonl", lines())
    bank = build(tmp_path)
    models = jisi("bank", "grade", bank, "--grader", "agreement", "--models", "ada")
    says_one_error(models, 2, "agreement needs the answers of all models")
    build_again = ("bank", "build", source, "-o", tmp_path / "other", "--embedder", "hashing:32")
    says_one_error(jisi(*build_again, "--grader", "numeric"), 2, "--grader", "--call")
    says_one_error(jisi(*build_again, "--grader", "agreement", "--allow-code"), 2, "--call")
    assert not (tmp_path / "other").exists()


def test_collected_answers_need_no_reference(tmp_path: Path, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, text="The answer is 4." if model != "dee" else "The answer is 5.")
    pool = pool_file(tmp_path / "jisi.toml", loopback, MODELS)
    questions = write_lines(tmp_path / "questions.jsonl", [{"query": "What is 2 + 2?", "grader": "numeric"}])
    call = ("--call", "--config", pool, "--embedder", "hashing:32", "-o", tmp_path / "bank", "--grader", "agreement")
    run = jisi("bank", "build", questions, *call)
    assert run.exit_code == 0 and "1 question scored by agreement" in run.stderr
    assert "could not be graded" not in run.stderr
    assert f"next: jisi ask --bank {tmp_path / 'bank'} " in run.stderr
    assert f'bank = "bank" at the top of {pool}' in run.stderr
    assert scores(tmp_path / "bank") == [[1, 1, 1, 0]]
    assert Bank(tmp_path / "bank").questions[0].grader == "numeric"  # how its answers are read
    pool.write_text('bank = "bank"\n' + pool.read_text())
    assert "next:" not in jisi("bank", "build", questions, *call, "--force").stderr


def test_a_file_may_name_the_grader_itself(tmp_path: Path, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, text="The answer is 4.")
    pool = pool_file(tmp_path / "jisi.toml", loopback, MODELS)
    questions = write_lines(tmp_path / "questions.jsonl", [{"query": "What is 2 + 2?", "grader": "agreement"}])
    call = ("--call", "--config", pool, "--embedder", "hashing:32", "-o", tmp_path / "bank")
    assert jisi("bank", "build", questions, *call).exit_code == 0
    assert scores(tmp_path / "bank") == [[1, 1, 1, 1]]


def test_an_answer_that_was_cut_off_has_no_vote(tmp_path: Path) -> None:
    answers = lines([("The answer is 4.", "The answer is 4", "The answer is 4", "The answer is 4.")])
    answers[0]["finish_reasons"] = {"bob": "length", "cyd": "length", "dee": "stop"}
    assert scores(build(tmp_path, "--grader", "agreement", answers=answers)) == [[1, None, None, 1]]


def test_a_bank_from_before_there_were_sources_is_graded_by_graders(tmp_path: Path) -> None:
    old = Path(shutil.copytree(ROOT / "sample_data" / "bank", tmp_path / "bank"))
    part = next(old.glob("responses/*/*.parquet"))
    assert "score_source" not in pq.ParquetFile(part).schema_arrow.names
    before = [Bank(old).answers(model).scores.tolist() for model in Bank(old).models]
    assert jisi("bank", "inspect", old, "--json").json["score_source"] == {
        "grader": 1.0,
        "agreement": 0,
        "label": 0,
        "feedback": 0,
    }
    run = jisi("bank", "grade", old, "--grader", "agreement", "--json")
    assert run.json["agreement"]["graded"] > 200
    after = Bank(old)
    for model, scored in zip(after.models, before, strict=True):
        known = ~np.isnan(scored)
        np.testing.assert_array_equal(after.answers(model).scores[known], np.array(scored)[known])


def test_a_source_that_this_version_does_not_know_is_told(tmp_path: Path) -> None:
    from dataclasses import replace

    from jisi_cli.bank.manifest import write_manifest
    from jisi_cli.bank.tables import file_sha256

    bank = build(tmp_path, "--grader", "agreement")
    manifest = read_manifest(bank)
    part = manifest.responses["ada"][0]
    table = pq.ParquetFile(bank / part.path).read()
    column = table.column_names.index("score_source")
    pq.write_table(table.set_column(column, "score_source", [["oracle"] * len(table)]), bank / part.path)
    whole = replace(part, sha256=file_sha256(bank / part.path))
    write_manifest(bank, replace(manifest, responses={**manifest.responses, "ada": (whole,)}))
    says_one_error(jisi("bank", "inspect", bank), 3, "oracle", "upgrade jisi")


@pytest.mark.parametrize("answer", ["x" * 100_000, "The answer is " + "9" * 50_000, "\x1b[2J The answer is \x1b[31m4"])
def test_giant_answers_and_control_sequences_vote_like_any_other(tmp_path: Path, answer: str) -> None:
    bank = build(tmp_path, "--grader", "agreement", answers=lines([(answer, answer, "The answer is 3.", "…")]))
    assert json.dumps(scores(bank)) in ("[[1.0, 1.0, 0.0, null]]", "[[null, null, null, null]]")


def test_an_evaluation_on_questions_that_agreement_scored_says_so(tmp_path: Path) -> None:
    bank = build(tmp_path, "--grader", "agreement", "--split", "0.5", answers=lines(ANSWERS * 2))
    run = jisi("eval", bank, "--method", "best-single")
    assert run.exit_code == 0 and "are scored by the models' agreement, not by a key" in run.stderr


def test_scores_by_agreement_are_no_key_to_calibrate_or_to_draw_a_curve_by(tmp_path: Path) -> None:
    bank = build(tmp_path, "--grader", "agreement")
    before = (bank / "bank.json").read_bytes()
    run = jisi("bank", "calibrate", bank, "-m", "jisi-vote")
    says_one_error(run, 2, "nothing was calibrated", "right by definition")
    assert (bank / "bank.json").read_bytes() == before
    curve = jisi("bank", "inspect", bank, "--curve")
    assert curve.exit_code == 0 and "no learning curve" in curve.stderr


def test_a_bank_without_scores_is_not_calibrated(tmp_path: Path) -> None:
    bank = build(tmp_path)
    says_one_error(jisi("bank", "calibrate", bank, "-m", "jisi-query"), 2, "has a score", "jisi bank grade")
    assert "nan" not in jisi("bank", "inspect", bank, "--curve").stdout
