"""Decisions on real recorded answers: block, single and slow reference agree (needs the shared data set).

Every eighth test question by default; JISI_ALL_QUESTIONS=1 takes all of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.build import BuildOptions, write_bank
from jisi_cli.bank.manifest import SplitSpec
from jisi_cli.bank.sources import stage_records
from jisi_cli.bank.vectors import read_given_vectors
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.formats.registry import read_records
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import Probes, coarse, coarse_block, fine
from tests.cli.commands import jisi
from tests.grading.agreement import ZEROEVAL, compare
from tests.scoring.reference import decide
from tests.scoring.released import Released, decide_released

DATA = Path(os.environ.get("JISI_SHARED_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
ANSWERS, VECTORS = DATA / "zeroeval-open10.parquet", DATA / "zeroeval-open10-minilm.npz"
STEP = 1 if os.environ.get("JISI_ALL_QUESTIONS") else 8

pytestmark = pytest.mark.skipif(not ANSWERS.exists(), reason=f"the recorded answers are not at {DATA}")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    path = tmp_path_factory.mktemp("recorded") / "bank"
    gathered = stage_records(read_records(ANSWERS, "long", on_issue=lambda problem: None))
    vectors = read_given_vectors(VECTORS, EmbedderSpec("minilm", "given"))
    write_bank(path, gathered, vectors, BuildOptions(split=SplitSpec(0.7, 42), vector_dtype="float16"))
    return Bank(path)


def test_the_papers_split_gives_the_known_sizes(bank: Bank) -> None:
    assert (len(bank.train_rows), len(bank.test_rows)) == (1987, 853)


def macro(bank: Bank, chosen: dict[int, str]) -> float:
    scores = {model: bank.answers(model).scores for model in bank.models}
    by_dataset: dict[str, list[float]] = {}
    for row, model in chosen.items():
        by_dataset.setdefault(bank.questions[row].dataset, []).append(scores[model][row])
    return 100 * float(np.mean([np.mean(values) for values in by_dataset.values()]))


def decisions(bank: Bank, settings: Hyperparameters) -> tuple[dict[int, str], dict[int, str], list[int], float]:
    arrays = bank.arrays()
    responses = np.stack([bank.response_vectors(model) for model in bank.models], axis=1)
    tokens = np.stack([bank.answers(model).completion_tokens for model in bank.models], axis=1)
    by_query, by_router, sizes, all_three = {}, {}, [], 0
    for row, first in zip(
        bank.test_rows, coarse_block(arrays, bank.query_vectors[bank.test_rows], settings), strict=True
    ):
        chosen = list(first.candidates)
        second = fine(arrays, first, Probes(first.candidates, responses[row, chosen], tokens[row, chosen]), settings)
        by_query[int(row)] = bank.models[first.ranking[0]]
        by_router[int(row)] = bank.models[second.aggregatees[0]]
        sizes.append(len(first.rows))
        all_three += len(second.aggregatees) == 3
    return by_query, by_router, sizes, all_three / len(bank.test_rows)


def test_the_figures_of_an_independent_implementation_are_reached(bank: Bank) -> None:
    # The figures stand in the data set's own README, computed by another program.
    by_query, by_router, sizes, all_three = decisions(bank, Hyperparameters())
    assert round(macro(bank, by_query), 2) == 74.92
    assert round(macro(bank, by_router), 2) == 73.61
    assert np.median(sizes) == 88
    # Its "93 % would go to aggregation" are the questions that keep all three; 98 % keep two or three.
    assert round(all_three, 2) == 0.93


@pytest.mark.parametrize("compat", ["paper", "openjisi"])
def test_block_single_and_slow_reference_agree(bank: Bank, compat: str) -> None:
    settings = Hyperparameters().with_changes({"compat": compat}, "test")
    arrays = bank.arrays()
    rows = bank.test_rows[::STEP]
    responses = np.stack([bank.response_vectors(model) for model in bank.models], axis=1)
    tokens = np.stack([bank.answers(model).completion_tokens for model in bank.models], axis=1)
    reference_bank = (
        arrays.query_vectors.tolist(),
        responses[bank.train_rows].tolist(),
        arrays.scores.tolist(),
        arrays.completion_tokens.tolist(),
        arrays.present.tolist(),
        bank.models,
    )
    for row, seen in zip(rows, coarse_block(arrays, bank.query_vectors[rows], settings), strict=True):
        query, answers, costs = bank.query_vectors[row], responses[row], tokens[row]
        alone = coarse(arrays, query, settings)
        assert alone.rows.tobytes() == seen.rows.tobytes()
        assert alone.scores.tobytes() == seen.scores.tobytes()
        chosen = list(alone.candidates)
        second = fine(arrays, alone, Probes(alone.candidates, answers[chosen], costs[chosen]), settings)
        slow = decide(
            *reference_bank,
            query.tolist(),
            lambda model, answers=answers, costs=costs: (answers[model].tolist(), float(costs[model])),
            compat=compat,
        )
        if min(slow["margins"].values(), default=1) < 1e-9:
            continue
        assert alone.rows.tolist() == slow["support"]
        assert list(alone.candidates) == slow["candidates"]
        assert alone.aggregator == slow["aggregator"]
        assert alone.rows[second.kept].tolist() == slow["filtered"]
        assert list(second.aggregatees) == slow["aggregatees"]


def evaluate(bank: Bank, *arguments: str | Path) -> dict[str, Any]:
    run = jisi("eval", bank.path, "--json", *arguments)
    assert run.exit_code == 0, run
    return {method["name"]: method for method in run.json["methods"]}


def test_the_eval_command_reaches_the_same_figures(bank: Bank) -> None:
    found = evaluate(bank, "--method", "best-single,best-per-dataset-oracle,oracle,jisi-query,jisi-router")
    averages = {name: round(100 * method["averages"]["average"], 2) for name, method in found.items()}
    assert averages == {
        "best-single": 73.61,
        # Two models tie on gsm's train rows, at 889 of 923. The better one at large is taken, Mistral-Large-2;
        # the other, which that program took, gives its 74.03.
        "best-per-dataset-oracle": 73.61,
        "oracle": 88.61,
        "jisi-query": 74.92,
        "jisi-router": 73.61,
    }
    assert found["best-single"]["selection"]["*"] == {"Mistral-Large-2": 1.0}


@pytest.mark.parametrize("wide", [(), ("--n-base", "100", "--gamma", "0.7")], ids=["paper", "wide"])
def test_the_vote_beats_the_best_single_model_with_its_interval_above_zero(bank: Bank, wide: Sequence[str]) -> None:
    (versus,) = evaluate(bank, "--method", "best-single,jisi-vote", *wide)["jisi-vote"]["versus"]
    assert versus["versus"] == "best-single"
    assert 0 < versus["low"] < versus["average"] < versus["high"]
    assert versus["wins"] > versus["losses"]


def released_decisions(bank: Bank) -> list[Released]:
    """What the released code decides on every test question, computed from the table of known differences."""
    arrays = bank.arrays()
    queries = np.asarray(bank.query_vectors, dtype=np.float64)
    responses = np.stack([bank.response_vectors(model) for model in bank.models], axis=1).astype(np.float64)
    tokens = np.stack([bank.answers(model).completion_tokens for model in bank.models], axis=1)
    texts = [bank.responses(model) for model in bank.models]
    train = bank.train_rows
    known = (queries[train], responses[train], arrays.scores, tokens[train], tuple(bank.models))
    found = []
    for row in bank.test_rows.tolist():
        answerable = [bool((answers[row] or "").strip()) for answers in texts]
        found.append(decide_released(*known, queries[row], responses[row], tokens[row], answerable))
    return found


def test_all_questions_are_decided_as_by_the_released_code(bank: Bank) -> None:
    settings = Hyperparameters(compat="openjisi")
    arrays = bank.arrays()
    responses = np.stack([bank.response_vectors(model) for model in bank.models], axis=1)
    tokens = np.stack([bank.answers(model).completion_tokens for model in bank.models], axis=1)
    texts = [bank.responses(model) for model in bank.models]
    blocks = coarse_block(arrays, bank.query_vectors[bank.test_rows], settings)
    agreeing = 0
    for row, first, wanted in zip(bank.test_rows.tolist(), blocks, released_decisions(bank), strict=True):
        answerable = np.array([bool((answers[row] or "").strip()) for answers in texts])
        answered = [model for model in first.candidates if answerable[model]]
        probes = Probes(tuple(answered), responses[row, answered], tokens[row, answered])
        second = fine(arrays, first, probes, settings, answerable)
        assert tuple(first.rows.tolist()) == wanted.support
        assert tuple(bank.models[model] for model in first.candidates) == wanted.candidates
        assert bank.models[first.aggregator] == wanted.aggregator
        assert tuple(bank.models[model] for model in second.aggregatees) == wanted.aggregatees
        agreeing += 1
    assert agreeing == 853


def test_the_eval_command_routes_all_questions_like_the_released_code(bank: Bank, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    evaluate(bank, "--method", "jisi-router", "--compat", "openjisi", "--out", path)
    lines = map(json.loads, path.read_text().splitlines())
    results = [line for line in lines if line["method"] == "jisi-router"]
    assert len(results) == len(bank.test_rows) == 853
    for row, result, wanted in zip(bank.test_rows.tolist(), results, released_decisions(bank), strict=True):
        assert (result["dataset"], result["index"]) == bank.questions[row].key
        assert (result["mode"], result["model"]) == ("route", wanted.router)
        assert result["support_size"] == len(wanted.support)


def test_zeroevals_verdicts_come_out_exactly_of_its_answers() -> None:
    found = compare(ANSWERS, ZEROEVAL)
    assert {name: agreement.same for name, agreement in found.items()} == {"crux": 8000, "gsm": 13190, "math-l5": 7210}


def test_graders_agree_with_the_given_verdicts() -> None:
    """What differs was looked at, kind by kind: `python -m tests.grading.agreement`."""
    found = compare(ANSWERS)
    assert {name: agreement.rows for name, agreement in found.items()} == {"crux": 8000, "gsm": 13190, "math-l5": 7210}
    assert found["gsm"].share > 0.995
    assert found["math-l5"].share > 0.99
    # The given verdicts on crux compare text; Python literals that are equal are right here.
    equal = sum(len(rows) for kind, rows in found["crux"].differing.items() if "Python literals" in kind)
    assert (found["crux"].same + equal) / found["crux"].rows > 0.99
