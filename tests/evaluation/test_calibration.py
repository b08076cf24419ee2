"""Choosing settings: the same decisions as the methods', an honest gain, and the fewest calls of what is as good."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace

import numpy as np
import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.evaluation.calibration import calibrate, choose, grid, nested_choice, run_stages
from jisi_cli.evaluation.cascade_calibration import _ask_all, _decided, cascade_grid
from jisi_cli.evaluation.final_codes import AnswerCodes, answer_codes, without_reading
from jisi_cli.evaluation.held_out import Train
from jisi_cli.evaluation.one_question import Entry
from jisi_cli.evaluation.results import ResultFile
from jisi_cli.evaluation.runner import run_method
from jisi_cli.evaluation.test_set import from_bank
from jisi_cli.evaluation.validation import average_of, spread_folds, take_questions, take_rows, validate
from jisi_cli.formats.record import Record
from jisi_cli.hyperparameters import CascadeSettings, Hyperparameters
from jisi_cli.methods.context import BankRows, MethodContext
from jisi_cli.methods.registry import make_method, method_info
from jisi_cli.scoring import BankArrays
from jisi_cli.scoring.cascade import prior_weights
from tests.bank.making import build, failed, record
from tests.methods.synthetic import hashing_embedder

MODELS = ("ada", "bob", "cyd", "dee")
ROUTING = Hyperparameters(n_base=6, gamma=0.9)
VOTING = replace(ROUTING, switch="consensus")
SETTINGS = {
    "jisi-query": [ROUTING, replace(ROUTING, n_base=15, prior=4.0), replace(ROUTING, gamma=0.5)],
    "jisi-router": [ROUTING, replace(ROUTING, prior=4.0), replace(ROUTING, epsilon=0.4, sigma=0.6, delta=0.0, k=2)],
    "jisi-vote": [VOTING, replace(VOTING, probe_schedule="2,1", prior=4.0), replace(VOTING, k=4, n_base=15)],
}


def answers(rows: int = 60) -> list[Record]:
    """Return answers of which many agree, some fail, some are unscored and some say nothing that can be compared."""
    rng = np.random.default_rng(7)
    found = []
    for row in range(rows):
        for place, model in enumerate(MODELS):
            right = rng.random() < 0.35 + 0.1 * place
            text = f"The answer is {row if right else row + int(rng.integers(1, 3))}." if row % 7 else "Who can tell"
            fields = {"response": text, "score": float(right), "grader": "numeric", "reference": str(row)}
            given = record(row, model, **fields, completion_tokens=int(rng.integers(5, 300)))
            chance = rng.random()
            if chance < 0.08:
                given = failed(given)
            elif chance < 0.14:
                given = replace(given, score=None, status="unscored")
            found.append(given)
    return found


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    path = tmp_path_factory.mktemp("calibrated") / "bank"
    build(path, answers(), embedder="hashing:16")
    return Bank(path)


@pytest.mark.slow
@pytest.mark.parametrize("method", SETTINGS)
def test_all_settings_at_once_decide_as_the_method_does_one_by_one(method: str, bank: Bank) -> None:
    arrays, rows = bank.arrays(), BankRows(bank, bank.models, {})
    context = MethodContext(arrays, rows, hashing_embedder())
    folds = spread_folds(rows.datasets, 3)
    train = from_bank(bank, bank.models, bank.train_rows, {})
    expected = validate(method, SETTINGS[method], context, train, folds)
    finals = answer_codes(bank, bank.models)
    every = np.arange(len(folds))
    train_rows = Train(arrays, rows.datasets, finals, 3, bank.failed)
    found, _ = run_stages(method, SETTINGS[method], train_rows, every, None).without(None)
    assert np.isnan(expected).any()
    assert np.array_equal(found, expected, equal_nan=True)


def test_who_has_a_response_is_known_without_reading_it(bank: Bank) -> None:
    read, unread = answer_codes(bank, bank.models), without_reading(bank, bank.models)
    assert (read.answered == unread.answered).all()
    assert not read.answered.all()
    assert set(unread.codes.ravel().tolist()) == {-1}
    same = read.codes[:, :, np.newaxis] == read.codes[:, np.newaxis, :]
    assert (same & (read.codes >= 0)[:, :, np.newaxis]).sum() > (read.codes >= 0).sum()


def test_consensus_ends_at_its_share_and_pays_the_aggregator_elsewhere(bank: Bank) -> None:
    arrays = bank.arrays()
    datasets = [bank.keys[row][0] for row in bank.train_rows.tolist()]
    train = Train(arrays, datasets, answer_codes(bank, bank.models), 3, bank.failed)
    folds = train.folds
    settings = [replace(VOTING, u=u) for u in (0.0, 0.5, 1.0)]
    every = np.arange(len(folds))
    scores, calls = run_stages("jisi-consensus", settings, train, every, None).without(None)
    voted, _ = run_stages("jisi-vote", settings, train, every, None).without(None)
    routed, asked = run_stages("jisi-router", settings, train, every, None).without(None)
    assert np.array_equal(scores[0], voted[0], equal_nan=True)
    unanimous = calls[2] == 3
    assert 0 < unanimous.sum() < len(every)
    assert np.array_equal(scores[2][~unanimous], routed[2][~unanimous], equal_nan=True)
    assert (calls[2][~unanimous] == 4).all()
    assert (calls[0] <= calls[1]).all()
    assert (calls[1] <= calls[2]).all()
    assert asked.min() == 3


def test_in_rounds_consensus_asks_the_next_where_the_first_differ_and_routes_as_if_all_had_been_asked(
    bank: Bank,
) -> None:
    datasets = [bank.keys[row][0] for row in bank.train_rows.tolist()]
    train = Train(bank.arrays(), datasets, answer_codes(bank, bank.models), 3, bank.failed)
    every = np.arange(len(train.folds))
    at_once = replace(VOTING, k=4, u=0.999)
    settings = [at_once, replace(at_once, probe_schedule="2,2"), replace(at_once, probe_schedule="3,1", u=0.5)]
    scores, calls = run_stages("jisi-consensus", settings, train, every, None).without(None)
    for place, setting in enumerate(settings):
        alone, alone_calls = run_stages("jisi-consensus", [setting], train, every, None).without(None)
        assert np.array_equal(scores[place], alone[0], equal_nan=True)
        assert np.array_equal(calls[place], alone_calls[0])
    voted, asked = run_stages("jisi-vote", settings, train, every, None).without(None)
    routed, _ = run_stages("jisi-router", [at_once], train, every, None).without(None)
    assert set(asked[1].tolist()) == {2, 4}
    went_on = calls[1] > asked[1]
    assert 0 < went_on.sum() < len(every)
    assert np.array_equal(scores[1][~went_on], voted[1][~went_on], equal_nan=True)
    assert np.array_equal(scores[1][went_on], routed[0][went_on], equal_nan=True)


def noise(seed: int, rows: int = 80, models: int = 4) -> tuple[BankArrays, list[str], AnswerCodes]:
    """Return a bank of models that are equally good everywhere, with nothing near anything in particular."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    right = (rng.random((rows, models)) < 0.5).astype(float)
    everywhere = np.ones(right.shape, dtype=bool)
    names = tuple(f"m{place}" for place in range(models))
    bank = BankArrays(vectors, [vectors] * models, right, np.ones(right.shape), everywhere, names)
    codes = np.where(right > 0, 0, 1 + np.arange(models))
    return bank, ["one", "two"] * (rows // 2), AnswerCodes(codes, everywhere, np.ones(rows, dtype=bool))


@pytest.mark.slow
def test_on_noise_the_honest_gain_is_none_while_that_of_the_winner_is_large() -> None:
    found = [calibrate("jisi-query", Train(*noise(seed), seed), seed=seed) for seed in range(30)]
    honest = np.array([one.gain.average for one in found])
    of_the_winner = np.array([one.average - one.default_average for one in found])
    error = honest.std(ddof=1) / np.sqrt(len(honest))
    assert abs(honest.mean()) < 2.5 * error
    assert of_the_winner.mean() > honest.mean() + 3 * error
    assert sum(one.real for one in found) <= 3


def test_no_label_of_an_outer_fold_reaches_what_is_chosen_for_it() -> None:
    bank, datasets, finals = noise(1)
    folds = spread_folds(datasets, 5)
    turned = replace(bank, scores=np.where((folds == 2)[:, np.newaxis], 1 - bank.scores, bank.scores))
    settings, every = grid("jisi-vote")[::9], np.arange(len(folds))
    before, after = (
        run_stages("jisi-vote", settings, Train(one, datasets, finals, 5), every, None) for one in (bank, turned)
    )
    outside = folds != 2
    assert np.array_equal(before.scores[:, 2, outside], after.scores[:, 2, outside])
    assert np.array_equal(before.calls[:, 2, outside], after.calls[:, 2, outside])
    assert not np.array_equal(before.scores[:, 1, outside], after.scores[:, 1, outside])


def test_of_what_is_as_good_as_the_best_the_fewest_calls_are_chosen() -> None:
    datasets = ["one"] * 50 + ["two"] * 50
    base = np.tile([1.0, 0.0], 50)
    better = base.copy()
    better[1:40:2] = 1.0  # 20 of 100 questions more: far beyond the noise
    nearly = better.copy()
    nearly[[1, 3]], nearly[41] = 0.0, 1.0  # one question less in all: within it
    calls = np.array([3.0, 5.0, 2.3, 1.0])
    scores = np.stack([base, better, nearly, base])
    assert choose(scores, calls, datasets) == 2
    assert choose(scores[:2], calls[:2], datasets) == 1
    assert choose(np.stack([base, base]), np.array([3.0, 3.04]), datasets) == 0  # the same to one decimal: the earlier
    assert choose(np.stack([nearly, better]), np.array([3.0, 3.0]), datasets) == 1
    assert choose(np.full((3, 100), np.nan), np.ones(3), datasets) == 0


def test_unknown_scores_are_left_out_of_averages_and_of_their_errors() -> None:
    scores = np.array([[1.0, 0.0, np.nan, 1.0], [np.nan, 1.0, 1.0, 1.0]])
    assert average_of(scores[0], ["one", "one", "two", "two"]) == 0.75
    assert choose(scores, np.array([1.0, 1.0]), ["one", "one", "two", "two"]) == 1


@pytest.mark.slow
def test_the_cascade_is_decided_as_the_method_decides_it(bank: Bank) -> None:
    """With the weights of the prior, of which there is one way to fit, on every question by the others' fold."""
    arrays, rows = bank.arrays(), BankRows(bank, bank.models, {})
    settings = [CascadeSettings(), CascadeSettings(n_base=50, tau=0.6, max_calls=3)]
    train = Train(arrays, rows.datasets, answer_codes(bank, bank.models), 3, bank.failed)
    every, own = np.arange(len(train.folds)), train.folds
    asked = _ask_all(train, every, None)
    none = np.zeros(len(own), dtype=bool)
    scores, calls = _decided(asked, settings, own, none, own, train.silent)
    tests = from_bank(bank, bank.models, bank.train_rows, {})
    context = MethodContext(arrays, rows, hashing_embedder())
    for fold in range(5):
        inside, outside = np.flatnonzero(own == fold), np.flatnonzero(own != fold)
        rest = context.on_rows(take_rows(arrays, outside), outside)
        for place, setting in enumerate(settings):
            method = make_method("jisi-cascade", replace(rest, options=asdict(setting)))
            later = [prior_weights(n) for n in range(1, len(method.weights) + 1)]  # type: ignore[attr-defined]
            method.weights = np.stack(later)  # type: ignore[attr-defined]
            with ResultFile(None) as file:
                entry = Entry("cascade", method, (fold, place))
                results, _ = asyncio.run(run_method(entry, take_questions(tests, inside), tests.pool, file))
            expected = [np.nan if result.score is None else result.score for result in results]
            assert np.array_equal(scores[place, inside], expected, equal_nan=True)
            answered = [sum(call.error is None for call in result.bill) for result in results]
            closed = np.array([bank.questions[row].grader == "numeric" for row in bank.train_rows.tolist()])[inside]
            assert calls[place, inside][closed].tolist() == np.array(answered)[closed].tolist()


@pytest.mark.slow
def test_no_label_of_an_outer_fold_reaches_the_weights_or_scores_of_the_others() -> None:
    bank, datasets, finals = noise(1, rows=120)
    own = spread_folds(datasets, 5)
    turned = replace(bank, scores=np.where((own == 2)[:, np.newaxis], 1 - bank.scores, bank.scores))
    settings, outside = cascade_grid()[:2], own != 2

    def inner(one: BankArrays) -> tuple[np.ndarray, np.ndarray]:
        train = Train(one, datasets, finals, 5)
        asked = _ask_all(train, np.arange(len(own)), None)
        return _decided(asked, settings, np.full(len(own), 2), outside, own, train.silent)

    (scores, calls), (turned_scores, turned_calls) = inner(bank), inner(turned)
    assert np.array_equal(scores[:, outside], turned_scores[:, outside])
    assert np.array_equal(calls, turned_calls)
    assert np.array_equal(scores[:, ~outside], 1 - turned_scores[:, ~outside])


@pytest.mark.parametrize("method", ["jisi-router", "jisi-query", "jisi-vote", "jisi-consensus"])
def test_the_papers_settings_are_tried_first_and_every_one_is_heeded(method: str) -> None:
    settings = grid(method)
    assert settings[0] == replace(Hyperparameters(), switch=method_info(method).fixed["switch"])  # type: ignore[arg-type]
    assert len(set(settings)) == len(settings)
    assert {setting.prior for setting in settings} == {0.0, 10.0}
    varied = {name for name in settings[0].to_json() if len({getattr(s, name) for s in settings}) > 1}
    own = {
        "jisi-router": {"epsilon", "sigma", "delta"},
        "jisi-query": set(),
        "jisi-vote": {"k", "probe_schedule"},
        "jisi-consensus": {"k", "probe_schedule", "u"},
    }
    assert varied == {"n_base", "gamma", "prior"} | own[method]


class PlantedRuns:
    """Three settings on twelve rows in four folds: the default, one that is best on all, one that fold 0 speaks for.

    Without fold 0 the third setting scores nothing anywhere; without any other fold it is always right.
    """

    folds = np.arange(12) % 4
    calls = np.tile(np.array([[3], [2], [5]]), (1, 12))

    def without(self, fold: int | None) -> tuple[np.ndarray, np.ndarray]:
        scores = np.stack([np.arange(12) % 3 == 0, np.arange(12) % 3 != 1, np.ones(12)]).astype(float)
        if fold == 0:
            scores[2] = 0.0
        return scores, self.calls


def test_each_fold_is_judged_by_what_the_others_chose_and_the_defaults_on_the_same_rows() -> None:
    runs = PlantedRuns()
    settings = [Hyperparameters(k=k) for k in (3, 2, 5)]
    found = nested_choice("jisi-vote", settings, runs, runs.folds, ["one"] * 12, seed=1)
    # On all rows the third is right in 12 of 12, the second in 8, which is more than a standard error (0.14) less.
    assert (found.chosen, found.average, found.calls) == (settings[2], 1.0, 5.0)
    # Fold 0 (rows 0, 4, 8) is decided by the second: right on 0 and 8. The others by the third: right on all nine.
    assert found.held_out.average == pytest.approx(11 / 12)
    assert found.held_out.calls == pytest.approx((3 * 2 + 9 * 5) / 12)
    assert found.held_out_default.average == pytest.approx(4 / 12)
    assert found.held_out_default.calls == 3.0
    assert found.gain.average == pytest.approx(7 / 12)
    assert (found.agreement, found.tried) == (3 / 4, 3)


def test_nothing_is_supported_where_the_gain_may_be_none() -> None:
    runs = PlantedRuns()
    settings = [Hyperparameters(k=k) for k in (3, 2, 5)]
    found = nested_choice("jisi-vote", settings, runs, runs.folds, ["one"] * 12, seed=1)
    assert found.supported() == found.changes() == {"k": 5}
    chance = replace(found, gain=replace(found.gain, low=0.0))
    assert (chance.changes(), chance.supported()) == ({"k": 5}, {})
