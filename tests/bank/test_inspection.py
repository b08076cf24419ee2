"""`bank inspect`: every number checked by hand on a bank of five questions and three models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.build import BuildOptions, write_bank
from jisi_cli.bank.inspect import Inspection, inspect_bank
from jisi_cli.bank.sources import stage_records
from jisi_cli.bank.vectors import given_vectors
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.errors import BankError
from jisi_cli.formats.record import Record
from jisi_cli.hyperparameters import Hyperparameters
from tests.bank.making import build, failed, record, records


def answer(index: str, model: str, score: float | None, tokens: int | None = None, **fields: object) -> Record:
    dataset = "sums" if index.startswith("s") else "words"
    texts = {"s2": "What is one plus one?", "s3": "what IS  one\nplus one?"}
    given = Record(
        dataset=dataset,
        index=index,
        query=texts.get(index, f"Question {index}?"),
        model=model,
        response=f"{model} on {index}",
        completion_tokens=tokens,
        score=score,
        status="ok" if score is not None else "unscored",
        split="test" if index in ("s3", "w2") else "train",
    )
    return replace(given, **fields)  # type: ignore[arg-type]


ANSWERS = [
    answer("s1", "a", 1, 10, cost_usd=0.5),
    answer("s2", "a", 0, 20, cost_usd=0.25),
    answer("s3", "a", 1, 30),
    answer("w1", "a", 1, 40),
    answer("w2", "a", 0),
    answer("s1", "b", 1),
    answer("s2", "b", 1),
    answer("s3", "b", 0.5),
    answer("w1", "b", 0),
    failed(answer("s1", "c", 0)),
    answer("s2", "c", None),
    answer("s3", "c", 0, response=" \n"),
    answer("w1", "c", 1),
    answer("w2", "c", 0.25),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    path = tmp_path_factory.mktemp("inspected") / "bank"
    build(path, ANSWERS)
    return inspect_bank(Bank(path), Hyperparameters())


def test_accuracy_is_the_mean_over_scored_answers_and_avg_the_mean_over_datasets(found: Inspection) -> None:
    models = {summary.model: summary for summary in found.models}
    assert models["a"].accuracy == {"sums": pytest.approx(2 / 3), "words": 0.5}
    assert models["b"].accuracy == {"sums": pytest.approx(2.5 / 3), "words": 0}
    assert models["c"].accuracy == {"sums": 0, "words": 0.625}
    averages = [summary.average for summary in found.models]
    assert averages == pytest.approx([(2 / 3 + 0.5) / 2, 2.5 / 6, 0.625 / 2])
    assert [summary.model for summary in found.models] == ["a", "b", "c"]


def test_the_best_single_model_the_best_per_dataset_and_the_oracle(found: Inspection) -> None:
    assert found.best_single == "a"
    assert found.best_per_dataset == {"sums": "b", "words": "c"}
    assert found.oracle == {"sums": 1, "words": 0.625, "average": pytest.approx(1.625 / 2)}


def test_gaps_failures_empty_and_unscored_answers_are_counted(found: Inspection) -> None:
    counts = {s.model: (s.answers, s.missing, s.failed, s.empty, s.unscored) for s in found.models}
    assert counts == {"a": (5, 0, 0, 0, 0), "b": (4, 1, 0, 0, 0), "c": (3, 0, 1, 1, 1)}
    warnings = " / ".join(found.warnings)
    for words in (
        "1 answer is missing, of b",
        "1 answer failed, of c",
        "1 answer is empty, of c",
        "1 answer is unscored, of c",
    ):
        assert words in warnings


def test_tokens_are_a_mean_dollars_a_sum_and_unknown_is_unknown(found: Inspection) -> None:
    assert {s.model: (s.completion_tokens, s.cost_usd) for s in found.models} == {
        "a": (25, 0.75),
        "b": (None, None),
        "c": (None, None),
    }


def test_repeated_questions_and_leaks_from_train_to_test_are_counted(found: Inspection) -> None:
    assert (found.duplicates, found.leaks) == (1, 1)
    assert found.datasets == {"sums": {"train": 2, "test": 1}, "words": {"train": 1, "test": 1}}
    assert any("1 test questions are also train questions" in warning for warning in found.warnings)


def test_a_bank_smaller_than_the_neighbourhood_says_so(found: Inspection) -> None:
    assert found.support.quantiles == (2, 2, 2, 2, 2)
    assert (found.support.sampled, found.support.train) == (3, 3)
    assert any("n_base=50 is the whole bank of 3 train rows" in warning for warning in found.warnings)


def test_the_hashing_embedder_is_named_as_a_toy(found: Inspection) -> None:
    assert any("hashing embedder" in warning for warning in found.warnings)


def test_everything_is_plain_data(found: Inspection) -> None:
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["best_single"] == "a"
    assert data["models"][1]["completion_tokens"] is None


def on_a_cone(path: Path, spread: float, count: int = 40) -> Bank:
    """Build a bank whose question vectors all lie within some distance of one direction."""
    chance = np.random.default_rng(0)
    vectors = np.array([1.0, 0, 0, 0]) + spread * chance.normal(size=(count, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    answers = [record(index, dataset="d") for index in range(count)]
    rows = {("d", str(index)): index for index in range(count)}
    given = given_vectors(EmbedderSpec("given"), vectors, vectors[:, None, :], rows, ["ada"])  # type: ignore[arg-type]
    write_bank(path, stage_records(answers), given, BuildOptions())
    return Bank(path)


@pytest.mark.parametrize(("spread", "n_base", "gamma"), [(0.7, 5, 0.95), (0.3, 8, 0.9), (2.0, 3, 1.0), (0.7, 39, 0.5)])
def test_support_sizes_are_those_of_each_question_left_out(
    tmp_path: Path, spread: float, n_base: int, gamma: float
) -> None:
    bank = on_a_cone(tmp_path / "bank", spread)
    sizes = []
    for row, own in enumerate(bank.query_vectors):
        similarities = sorted((float(own @ other) for place, other in enumerate(bank.query_vectors) if place != row))
        kth = similarities[-n_base]
        sizes.append(sum(similarity >= min(gamma * kth, kth) for similarity in similarities))
    found = inspect_bank(bank, Hyperparameters(n_base=n_base, gamma=gamma)).support
    assert (found.sampled, found.train) == (40, 40)
    assert found.quantiles == tuple(np.quantile(sizes, [0, 0.25, 0.5, 0.75, 1], method="nearest"))
    assert found.whole_bank == pytest.approx(sum(size > 0.9 * 39 for size in sizes) / 40)


def test_an_embedder_whose_similarities_lie_close_together_is_warned_about(tmp_path: Path) -> None:
    settings = Hyperparameters(n_base=5)
    near = inspect_bank(on_a_cone(tmp_path / "near", 0.05), settings)
    assert any("nearly the whole bank for 100% of questions" in warning for warning in near.warnings)
    apart = inspect_bank(on_a_cone(tmp_path / "apart", 3.0), settings)
    assert not any("whole bank" in warning for warning in apart.warnings)


def test_a_healthy_bank_has_no_warnings(tmp_path: Path) -> None:
    assert inspect_bank(on_a_cone(tmp_path / "bank", 3.0), Hyperparameters(n_base=5)).warnings == ()


def test_a_dataset_without_scores_has_no_accuracy_and_no_best_model(tmp_path: Path) -> None:
    unscored = [replace(record(index), score=None, status="unscored") for index in (1, 3)]
    build(tmp_path / "bank", [record(0), record(2), *unscored])
    found = inspect_bank(Bank(tmp_path / "bank"), Hyperparameters())
    assert found.models[0].accuracy == {"sums": 0.5, "words": None}
    assert found.models[0].average == 0.5
    assert found.oracle == {"sums": 0.5, "words": None, "average": 0.5}
    assert found.best_per_dataset == {"sums": "ada", "words": None}


def test_a_bank_of_test_rows_alone_is_inspected_and_warned_about(tmp_path: Path) -> None:
    build(tmp_path / "bank", [replace(answer, split="test") for answer in records(6)])
    found = inspect_bank(Bank(tmp_path / "bank"), Hyperparameters())
    assert (found.support.train, found.support.sampled, found.leaks) == (0, 0, 0)
    assert any("no train rows" in warning for warning in found.warnings)


def test_a_bank_of_one_question_is_inspected(tmp_path: Path) -> None:
    build(tmp_path / "bank", [record(0)])
    found = inspect_bank(Bank(tmp_path / "bank"), Hyperparameters())
    assert found.support.train == 1


def test_a_file_that_changed_since_it_was_written_is_a_bank_error(tmp_path: Path) -> None:
    build(tmp_path / "bank", records(6))
    for victim in ("queries.parquet", "responses/model=ada/*.parquet"):
        (part,) = (tmp_path / "bank").glob(victim)
        data = part.read_bytes()
        part.write_bytes(data.replace(b"What", b"Whom", 1) if b"What" in data else data[:-9] + b"x" + data[-8:])
        with pytest.raises(BankError, match=f"{part.name} has changed since it was written"):
            inspect_bank(Bank(tmp_path / "bank"), Hyperparameters())
        part.write_bytes(data)
    inspect_bank(Bank(tmp_path / "bank"), Hyperparameters())
