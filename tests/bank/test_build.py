"""Building and extending banks: order, appends, refusals, old readers, other readers of Parquet."""

from __future__ import annotations

import doctest
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.build import BuildOptions, build_bank, write_bank
from jisi_cli.bank.manifest import SplitSpec, read_manifest
from jisi_cli.bank.sources import stage_records
from jisi_cli.bank.vectors import EmbeddedVectors, Wanted
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.errors import BankError, InputError
from tests.bank.making import MODELS, WIDTH, build, data_of, everything, failed, files_of, record, records

ROOT = Path(__file__).resolve().parents[2]


def test_what_went_in_comes_out(tmp_path: Path) -> None:
    answers = records(6)
    answers[0] = replace(answers[0], score=None, status="unscored")
    answers[1] = failed(answers[1])
    del answers[2]
    report = build(tmp_path / "bank", answers)
    assert (report.questions, dict(report.answers)) == (6, {"ada": 6, "bob/7b": 6, "cyd@home": 5})
    bank = Bank(tmp_path / "bank")
    assert bank.models == MODELS
    assert [question.key for question in bank.questions] == [
        ("sums", "0"),
        ("sums", "2"),
        ("sums", "4"),
        ("words", "1"),
        ("words", "3"),
        ("words", "5"),
    ]
    assert [bank.answers(model).status[0] for model in MODELS] == ["unscored", "failed", "missing"]
    assert [bank.answers(model).present.sum() for model in MODELS] == [5, 5, 5]
    assert [bank.responses(model)[0] for model in MODELS] == ["ada thinks it is 0", None, None]
    embedder = load_embedder(EmbedderSpec(f"hashing:{WIDTH}"))
    texts = [question.query for question in bank.questions]
    np.testing.assert_array_equal(bank.query_vectors, embedder.embed(texts))
    known = np.any(bank.response_vectors("bob/7b") != 0, axis=1)
    assert known.tolist() == [False, True, True, True, True, True]


def test_equal_texts_are_embedded_once(tmp_path: Path) -> None:
    answers = [replace(record(index, model), response="I pass") for index in range(5) for model in MODELS]
    assert build(tmp_path / "bank", answers).embedded == 6


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_answers_never_changes_the_bank(tmp_path: Path, seed: int) -> None:
    answers = records(30)
    build(tmp_path / "sorted", answers, split=SplitSpec(0.7, 42))
    random.Random(seed).shuffle(answers)
    build(tmp_path / "shuffled", answers, split=SplitSpec(0.7, 42))
    assert files_of(tmp_path / "shuffled") == files_of(tmp_path / "sorted")


def test_a_question_keeps_its_row_for_ever(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    build(bank, records(8))
    before = [question.key for question in Bank(bank).questions]
    build(bank, [record(index, "ada", dataset="a-new-dataset") for index in range(3)], append=True)
    assert [question.key for question in Bank(bank).questions][:8] == before


def test_appended_questions_make_the_bank_that_a_single_build_makes(tmp_path: Path) -> None:
    answers = records(20)
    early = [answer for answer in answers if int(answer.index) < 12]
    build(tmp_path / "grown", early)
    report = build(tmp_path / "grown", answers, append=True)
    assert (report.questions, report.known) == (8, 36)
    assert dict(report.answers) == dict.fromkeys(MODELS, 8)
    assert report.embedded == 8 * 4
    build(tmp_path / "whole", answers)
    grown, whole = Bank(tmp_path / "grown"), Bank(tmp_path / "whole")
    places = {question: row for row, question in enumerate(grown.questions)}
    order = [places[question] for question in whole.questions]
    np.testing.assert_array_equal(grown.query_vectors[order], whole.query_vectors)
    for model in MODELS:
        ours, theirs = grown.answers(model), whole.answers(model)
        np.testing.assert_array_equal(ours.scores[order], theirs.scores)
        np.testing.assert_array_equal(ours.cost_usd[order], theirs.cost_usd)
        np.testing.assert_array_equal(grown.response_vectors(model)[order], whole.response_vectors(model))
        assert [grown.responses(model)[row] for row in order] == whole.responses(model)


def test_a_new_model_is_a_new_folder_and_leaves_every_file_that_is_there(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    build(bank, records(8, MODELS[:2]))
    before = files_of(bank)
    report = build(bank, records(8), append=True)
    after = files_of(bank)
    assert {name: after[name] for name in before} == before
    assert next(name for name in after if name not in before).startswith("responses/model=cyd%40home/")
    assert len(after) == len(before) + 1
    assert (report.questions, dict(report.answers), report.embedded) == (0, {"cyd@home": 8}, 8)
    assert Bank(bank).models == MODELS


def test_an_answer_that_had_failed_is_replaced_and_one_that_is_there_is_not(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    good = records(4, ("ada",))
    build(bank, [failed(good[0]), replace(good[1], score=None, status="unscored"), *good[2:]])
    assert Bank(bank).answers("ada").status.tolist() == ["failed", "ok", "unscored", "ok"]
    changed = [replace(answer, response="changed my mind") for answer in good]
    report = build(bank, changed, append=True)
    assert (dict(report.answers), report.known) == ({"ada": 1}, 3)
    now = Bank(bank)
    assert now.answers("ada").status.tolist() == ["ok", "ok", "unscored", "ok"]
    assert now.responses("ada")[0] == "changed my mind"
    assert now.responses("ada")[1:] == [good[2].response, good[1].response, good[3].response]
    assert now.answers("ada").present.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(
        now.response_vectors("ada")[0],
        load_embedder(EmbedderSpec(f"hashing:{WIDTH}")).embed(["changed my mind"])[0],
    )


def test_a_failure_that_fails_again_is_no_answer(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    good = records(4, ("ada",))
    build(bank, [failed(good[0]), *good[1:]])
    for _ in range(3):
        build(bank, [failed(good[0], "HTTP 500: worse")], append=True)
    assert Bank(bank).answers("ada").status.tolist() == ["failed", "ok", "ok", "ok"]
    assert len(read_manifest(bank).responses["ada"]) == 1


def test_appending_nothing_new_changes_nothing(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    build(bank, records(6))
    before = files_of(bank)
    report = build(bank, records(6), append=True)
    assert (report.questions, dict(report.answers), report.known, report.embedded) == (0, {}, 18, 0)
    assert files_of(bank) == before


def test_a_question_whose_text_changed_is_left_out_and_told(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    build(bank, records(4))
    before = everything(Bank(bank))
    other = [replace(record(0, "dee"), query="Something else?"), record(1, "dee")]
    report = build(bank, other, append=True)
    assert report.conflicts == ("sums/0: the bank has another text for it",)
    assert Bank(bank).answers("dee").status.tolist() == ["missing", "missing", "ok", "missing"]
    assert everything(Bank(bank))[0] == before[0]


def test_an_extended_bank_splits_new_questions_by_its_own_rule(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    build(bank, records(20), split=SplitSpec(0.7, 42))
    old = {question.key: question.split for question in Bank(bank).questions}
    build(bank, [record(index, "ada", dataset="late") for index in range(10)], append=True)
    questions = Bank(bank).questions
    assert {question.key: question.split for question in questions[:20]} == old
    late = [question.split for question in questions[20:]]
    assert (late.count("train"), late.count("test")) == (7, 3)


def test_marks_of_train_and_test_that_came_with_the_answers_are_kept(tmp_path: Path) -> None:
    answers = [replace(answer, split="test" if int(answer.index) % 4 == 0 else "train") for answer in records(8)]
    build(tmp_path / "bank", answers)
    bank = Bank(tmp_path / "bank")
    assert [bank.questions[row].index for row in bank.test_rows.tolist()] == ["0", "4"]
    assert len(bank.train_rows) == 6


def test_a_bank_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    build(bank, records(4))
    before = files_of(bank)
    with pytest.raises(InputError, match="is a bank already; extend it with --append or replace it with --force"):
        build(bank, records(6))
    assert files_of(bank) == before


def test_force_replaces_a_bank_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    build(bank, records(4))
    build(bank, records(6, ("dee",)), force=True)
    assert Bank(bank).models == ("dee",)
    named = {part.path for parts in read_manifest(bank).responses.values() for part in parts}
    named |= {part.path for part in read_manifest(bank).queries}
    assert set(files_of(bank)) == named
    assert sorted(entry.name for entry in (bank / "responses").iterdir()) == ["model=dee"]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    for name in ("thesis.tex", "queries.sql", "bank.db", ".git"):
        folder = tmp_path / f"with-{name}"
        folder.mkdir()
        (folder / name).write_text("mine")
        for options in ({}, {"force": True}):
            with pytest.raises(InputError, match=f"holds other files \\({name}\\)"):
                build(folder, records(4), **options)
        assert [entry.name for entry in folder.iterdir()] == [name]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        build(tmp_path / "file", records(4))


@pytest.mark.parametrize("name", ["queries.parquet", "queries-0123456789ab.parquet", "responses/model=a/0.parquet"])
def test_tables_that_no_build_has_begun_are_somebody_elses(tmp_path: Path, name: str) -> None:
    mine = tmp_path / "tables" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for options in ({}, {"force": True}):
        with pytest.raises(InputError, match="holds other files"):
            build(tmp_path / "tables", records(4), **options)
    assert [path for path in (tmp_path / "tables").rglob("*") if path.is_file()] == [mine]


def test_files_that_somebody_put_into_a_bank_survive_force_and_append(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    build(bank, records(4))
    for name in ("notes.txt", "queries_2024.parquet", "queries-mine.parquet"):
        (bank / name).write_text("mine")
    build(bank, records(6), append=True)
    build(bank, records(4), force=True)
    for name in ("notes.txt", "queries_2024.parquet", "queries-mine.parquet"):
        assert (bank / name).read_text() == "mine"


@pytest.mark.parametrize(
    "other",
    [
        EmbedderSpec("hashing:32"),
        EmbedderSpec(f"hashing:{WIDTH}", max_tokens=5),
        EmbedderSpec(f"hashing:{WIDTH}", prompt="query: "),
    ],
)
def test_a_bank_is_never_extended_by_another_embedder(tmp_path: Path, other: EmbedderSpec) -> None:
    bank = tmp_path / "bank"
    build(bank, records(4))
    before = files_of(bank)
    vectors = EmbeddedVectors(load_embedder(other))
    with pytest.raises(BankError, match="was embedded by hashing:64") as caught:
        write_bank(bank, stage_records(records(6)), vectors, BuildOptions(append=True))
    assert other.name in str(caught.value).partition("not by")[2]
    assert files_of(bank) == before


def test_there_is_nothing_to_extend_where_no_bank_is(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="no bank at"):
        build(tmp_path / "bank", records(4), append=True)
    assert not (tmp_path / "bank").exists()


def test_no_answers_make_no_bank(tmp_path: Path) -> None:
    for answers in ([], [replace(record(0), status="missing", response=None, score=None)]):
        with pytest.raises(InputError, match="no recorded answer"):
            build(tmp_path / "bank", answers)
        assert not (tmp_path / "bank" / "bank.json").exists()
    build(tmp_path / "bank", records(2))


def test_two_builds_at_once_do_not_mix(tmp_path: Path) -> None:
    """While one build embeds, another is refused; the first is not disturbed."""
    bank = tmp_path / "bank"
    refused = []

    class Meddling(EmbeddedVectors):
        def prepare(self, *arguments: object, **named: object) -> int:
            with pytest.raises(BankError, match="another build is at work") as caught:
                build(bank, records(9))
            refused.append(caught.value)
            return super().prepare(*arguments, **named)  # type: ignore[arg-type]

    vectors = Meddling(load_embedder(EmbedderSpec(f"hashing:{WIDTH}")))
    write_bank(bank, stage_records(records(4)), vectors, BuildOptions())
    assert len(refused) == 1
    assert len(Bank(bank).questions) == 4


def replaced(bank: Path) -> None:
    build(bank, [replace(answer, response="new", score=1.0) for answer in records(8)], force=True)


def replaced_twice(bank: Path) -> None:
    replaced(bank)
    build(bank, [replace(answer, query=f"New: {answer.query}") for answer in records(8)], force=True)


def replaced_thrice(bank: Path) -> None:
    replaced_twice(bank)
    build(bank, [replace(answer, query=f"Newer: {answer.query}") for answer in records(8)], force=True)


def extended(bank: Path) -> None:
    build(bank, records(16, (*MODELS, "dee")), append=True)


@pytest.mark.parametrize("change", [replaced, replaced_twice, replaced_thrice, extended])
@pytest.mark.parametrize("read_before", [False, True])
def test_a_reader_of_the_old_bank_gets_the_old_bank_or_an_error(
    tmp_path: Path, change: Callable[[Path], None], read_before: bool
) -> None:
    bank = tmp_path / "bank"
    build(bank, records(8))
    old = everything(Bank(bank))
    reader = Bank(bank)
    if read_before:
        assert len(reader.questions) == 8
    change(bank)
    try:
        found = everything(reader)
    except BankError as error:
        assert change is not extended
        assert "again" in str(error)
    else:
        assert found == old
    assert everything(Bank(bank)) != old


def test_a_killed_builds_leftovers_are_gone_after_the_next(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    folder = bank / "responses" / "model=zoe"
    folder.mkdir(parents=True)
    (bank / ".building").mkdir()
    for name in ("queries.parquet", "queries-0123456789ab.parquet", ".queries.77.part", ".bank.json.77", ".lock"):
        (bank / name).write_text("half")
    (bank / ".building" / "0123.vectors").write_text("half")
    (folder / "part-0123456789ab.parquet").write_text("half")
    (folder / ".part.77.part").write_text("half")
    with pytest.raises(BankError, match="no bank at"):
        Bank(bank)
    build(bank, records(4))
    left = {path.relative_to(bank).as_posix() for path in bank.rglob("*") if path.is_file()}
    assert {name for name in left if not name.endswith(".parquet")} == {"bank.json", ".lock"}
    assert len(left) == 2 + 1 + len(MODELS)
    build(tmp_path / "fresh", records(4))
    assert data_of(bank) == data_of(tmp_path / "fresh")


def test_want_of_memory_leaves_the_bank_as_it_was_and_the_next_build_goes_on(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    build(bank, records(4))
    before, manifest = everything(Bank(bank)), (bank / "bank.json").read_bytes()

    class Short(EmbeddedVectors):
        def responses(self, model: str, wanted: Wanted) -> NDArray[np.floating]:
            if model == "cyd@home":
                raise MemoryError
            return super().responses(model, wanted)

    vectors = Short(load_embedder(EmbedderSpec(f"hashing:{WIDTH}")))
    with pytest.raises(MemoryError):
        write_bank(bank, stage_records(records(9)), vectors, BuildOptions(append=True))
    assert (bank / "bank.json").read_bytes() == manifest
    assert everything(Bank(bank)) == before
    assert not list(bank.rglob("*.part"))
    assert build(bank, records(9), append=True).embedded == 0
    assert len(Bank(bank).questions) == 9


ODD_NAMES = ("org/model-7b", "model@2024-01", "two words", "größe 模型", "50%", "a=b", "plus+and&", "~home", "ä" * 150)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_duckdb_reads_a_bank_with_its_model_names(tmp_path: Path, dtype: str) -> None:
    bank = tmp_path / "bank"
    build(bank, records(6, ODD_NAMES), vector_dtype=dtype)
    database = duckdb.connect()
    questions = database.sql(f"SELECT * FROM '{bank}/queries*.parquet' ORDER BY row").fetchall()
    assert [row[0] for row in questions] == list(range(6))
    vectors = np.array([row[-1] for row in questions], dtype=np.float32)
    np.testing.assert_array_equal(vectors, Bank(bank).query_vectors)
    pattern = f"{bank}/responses/*/*.parquet"
    rows = database.sql(
        f"SELECT model, count(*), avg(score) FROM read_parquet('{pattern}', hive_partitioning=true) GROUP BY model"
    ).fetchall()
    assert {row[0] for row in rows} >= set(ODD_NAMES[:-1])
    assert (len(rows), {row[1] for row in rows}) == (len(ODD_NAMES), {6})


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_pandas_reads_a_bank_with_its_model_names(tmp_path: Path, dtype: str) -> None:
    bank = tmp_path / "bank"
    build(bank, records(6, ODD_NAMES), vector_dtype=dtype)
    questions = pd.read_parquet(bank / "queries.parquet")
    assert questions["query"].tolist() == [question.query for question in Bank(bank).questions]
    assert questions["vector"][0].dtype == np.dtype(dtype)
    answers = pd.read_parquet(bank / "responses")
    assert set(answers["model"].astype(str)) >= set(ODD_NAMES[:-1])
    assert len(answers) == 6 * len(ODD_NAMES)
    means = answers.groupby("model", observed=True)["score"].mean()
    for model in ODD_NAMES[:-1]:
        assert means[model] == pytest.approx(np.nanmean(Bank(bank).answers(model).scores))


def test_an_answer_without_a_response_has_a_vector_of_zeros(tmp_path: Path) -> None:
    """A null would make the file one that Arrow reads only from its release 26 on."""
    build(tmp_path / "b", [record(0), failed(record(1)), record(2)])
    (table,) = (pq.read_table(part) for part in (tmp_path / "b" / "responses").rglob("*.parquet"))
    assert (table["response"].null_count, table["vector"].null_count) == (1, 0)
    assert [any(vector) for vector in table["vector"].to_pylist()] == table["response"].is_valid().to_pylist()


def test_half_precision_is_stated_and_near(tmp_path: Path) -> None:
    build(tmp_path / "half", records(6), vector_dtype="float16")
    build(tmp_path / "full", records(6), vector_dtype="float32")
    half, full = Bank(tmp_path / "half"), Bank(tmp_path / "full")
    assert (half.manifest.vector_dtype, half.response_vectors("ada").dtype) == ("float16", np.float16)
    np.testing.assert_allclose(half.query_vectors, full.query_vectors, atol=1e-3)
    build(tmp_path / "half", records(9), append=True)
    for part in Bank(tmp_path / "half").manifest.queries:
        assert pq.read_schema(tmp_path / "half" / part.path).field("vector").type.value_type == "halffloat"


def test_a_bank_may_be_copied_and_moved(tmp_path: Path) -> None:
    build(tmp_path / "bank", records(6))
    expected = everything(Bank(tmp_path / "bank"))
    shutil.move(tmp_path / "bank", tmp_path / "elsewhere")
    assert everything(Bank(tmp_path / "elsewhere")) == expected


def test_the_example_of_build_bank_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    (example,) = doctest.DocTestFinder().find(build_bank, globs={"build_bank": build_bank})
    assert doctest.DocTestRunner().run(example) == (0, 2)
    assert len(Bank(tmp_path / "my-bank").questions) == 256
    with pytest.raises(InputError, match="is a bank already"):
        build_bank("sample_data/answers.jsonl", "my-bank", embedder="hashing")
    report = build_bank("sample_data/answers.jsonl", "my-bank", options=BuildOptions(append=True))
    assert (report.questions, report.known) == (0, 1023)
