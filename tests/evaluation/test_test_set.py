"""Test sets from banks and from recorded answers: what is replayed, what it costs, what is unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.build import BuildOptions, write_bank
from jisi_cli.bank.sources import stage_records
from jisi_cli.bank.staging import Staging
from jisi_cli.bank.vectors import EmbeddedVectors
from jisi_cli.config import Price
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.errors import InputError
from jisi_cli.evaluation.one_question import Entry
from jisi_cli.evaluation.results import ResultFile
from jisi_cli.evaluation.runner import run_method
from jisi_cli.evaluation.test_set import TestSet, from_bank, from_records
from jisi_cli.formats.record import Record
from jisi_cli.methods.context import GivenRows, MethodContext
from jisi_cli.methods.registry import make_method
from jisi_cli.scoring import BankArrays
from jisi_cli.types import Answer, Request

EMBEDDER = load_embedder(EmbedderSpec("hashing:16"))
MODELS = ("ada", "bob")

ADA = Record("d", "0", "first?", "ada", response="The answer is 1", score=1.0, prompt_tokens=100, completion_tokens=50)
RECORDS = [
    ADA,
    replace(
        ADA, index="1", query="second?", response="The answer is 2", score=0.0, cost_usd=0.5, completion_tokens=None
    ),
    replace(ADA, index="2", query="third?", response=None, score=None, status="failed"),
    replace(ADA, index="3", query="fourth?", response="I wonder.", score=None, status="unscored"),
    Record("d", "0", "first?", "bob", response="7", score=0.5),
]
"""ada answered, answered wrongly, failed, and was not scored; bob answered the first question alone."""


def gathered(records: list[Record]) -> Staging:
    return stage_records([replace(record, split="test") for record in records])


def by_bank(path: Path, records: list[Record], models: tuple[str, ...], prices: Mapping[str, Price]) -> TestSet:
    write_bank(path / "bank", gathered(records), EmbeddedVectors(EMBEDDER), BuildOptions())
    bank = Bank(path / "bank")
    return from_bank(bank, models, bank.test_rows, prices)


def by_file(path: Path, records: list[Record], models: tuple[str, ...], prices: Mapping[str, Price]) -> TestSet:
    return from_records(gathered(records), models, EMBEDDER, "answers.jsonl", prices)


either_way = pytest.mark.parametrize("read", [by_bank, by_file])


def ask(tests: TestSet, model: str, question: str) -> Answer:
    return asyncio.run(tests.pool.ask(Request(model, [{"role": "user", "content": question}], "probe")))


@either_way
def test_questions_answers_and_scores_are_those_that_were_recorded(read, tmp_path: Path) -> None:
    tests = read(tmp_path, RECORDS, MODELS, {})
    assert [question.query for question in tests.questions] == ["first?", "second?", "third?", "fourth?"]
    assert np.array_equal(tests.scores, [[1.0, 0.5], [0.0, np.nan], [np.nan, np.nan], [np.nan, np.nan]], equal_nan=True)
    assert tests.label(0, "bob") == 0.5 and tests.label(1, "bob") is None and tests.label(0, "cyd") is None
    first = ask(tests, "ada", "first?")
    assert (first.text, first.prompt_tokens, first.completion_tokens) == ("The answer is 1", 100, 50)
    assert not ask(tests, "ada", "third?").ok
    # A gap is a model without an answer, not a call that nobody recorded.
    assert ask(tests, "bob", "second?").error == "recorded as missing"
    assert ask(tests, "bob", "another?").error == tests.pool.NOT_RECORDED
    for query in tests.queries:
        assert np.allclose(query.vector, EMBEDDER.embed([query.text])[0], atol=1e-6)


@either_way
def test_list_prices_fill_in_where_no_dollars_were_recorded_and_tokens_are_known(read, tmp_path: Path) -> None:
    tests = read(tmp_path, RECORDS, MODELS, {"ada": Price(1.0, 2.0), "bob": Price(1.0, 2.0)})
    assert ask(tests, "ada", "first?").cost_usd == pytest.approx(200 / 1e6)
    assert ask(tests, "ada", "second?").cost_usd == 0.5
    assert ask(tests, "bob", "first?").cost_usd is None
    bare = read(tmp_path / "bare", RECORDS, MODELS, {})
    assert ask(bare, "ada", "first?").cost_usd is None


@either_way
def test_a_model_without_any_answer_has_gaps_everywhere(read, tmp_path: Path) -> None:
    tests = read(tmp_path, RECORDS, (*MODELS, "eve"), {})
    assert tests.models == ("ada", "bob", "eve")
    assert np.isnan(tests.scores[:, 2]).all()
    assert ask(tests, "eve", "first?").error == "recorded as missing"


@either_way
def test_questions_of_one_text_keep_their_own_answers(read, tmp_path: Path) -> None:
    twin = replace(ADA, dataset="e", response="The answer is 9", score=0.0, completion_tokens=7)
    tests = read(tmp_path, [ADA, twin, *RECORDS[1:2]], ("ada",), {})
    context = MethodContext(bank=_train_bank(), rows=GivenRows(["d"], (), np.full((1, 1), np.nan)), embedder=EMBEDDER)
    entry = Entry("model:ada", make_method("model:ada", context), ())
    results, _ = asyncio.run(run_method(entry, tests, tests.pool, ResultFile(None)))
    assert [(result.dataset, result.index, result.score, result.tokens) for result in results] == [
        ("d", "0", 1.0, 50),
        ("d", "1", 0.0, None),
        ("e", "0", 0.0, 7),
    ]
    other = read(tmp_path / "other", [ADA, replace(twin, response="Nothing."), *RECORDS[1:2]], ("ada",), {})
    changed = [here != there for here, there in zip(tests.fingerprints, other.fingerprints, strict=True)]
    assert changed == [False, False, True]


def _train_bank() -> BankArrays:
    vectors = EMBEDDER.embed(["train?"])
    return BankArrays(vectors, [vectors], np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1), dtype=bool), ("ada",))


def test_a_bank_without_test_rows_says_how_to_set_some_aside(tmp_path: Path) -> None:
    write_bank(tmp_path / "bank", stage_records(RECORDS), EmbeddedVectors(EMBEDDER), BuildOptions())
    bank = Bank(tmp_path / "bank")
    with pytest.raises(InputError, match=r"no test rows; build it with --split 0\.7"):
        from_bank(bank, MODELS, bank.test_rows, {})
