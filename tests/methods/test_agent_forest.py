"""The most typical response: against a slow version on random vectors and on BLEU."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from jisi_cli.errors import InputError
from jisi_cli.methods.protocol import Outcome, Silent
from jisi_cli.methods.rankings import best_first
from jisi_cli.methods.registry import make_method
from jisi_cli.methods.similarity import BleuSimilarity, CosineSimilarity, mean_cosines
from jisi_cli.types import Answer
from tests.methods.synthetic import Setting, ToldPool, WritingPool, hashing_embedder, setting, unit_rows


def answer(name: str, given: Setting, pool: object, row: int = 0) -> Outcome:
    method, query = make_method(name, given.context), given.tests.queries[row]
    (plan,) = method.plan([query])
    return asyncio.run(method.answer(query, plan, pool, Silent()))  # type: ignore[arg-type]


def slow_means(vectors: list[list[float]]) -> list[float]:
    means = []
    for i, one in enumerate(vectors):
        total = 0.0
        for j, other in enumerate(vectors):
            if i != j:
                total += sum(x * y for x, y in zip(one, other, strict=True))
        means.append(total / (len(vectors) - 1))
    return means


def test_the_chosen_response_is_a_slow_versions() -> None:
    for seed in range(40):
        given = setting(seed, models="abcde", rows=12, tests=1)
        ranking = best_first(given.context.bank, given.context.datasets)
        recorded = dict(given.tests.pool.recorded(given.tests.questions[0].query))
        means = slow_means([np.asarray(recorded[model].vector, dtype=float).tolist() for model in ranking])
        outcome = answer("agent-forest", given, given.tests.pool)
        assert (outcome.mode, outcome.answer.model) == ("consensus", ranking[means.index(max(means))])
        assert len(outcome.calls) == 5


def test_mean_cosines_do_not_depend_on_order_or_company_by_a_single_bit() -> None:
    vectors = unit_rows(np.random.default_rng(3), 9)
    order = np.random.default_rng(4).permutation(9)
    straight = mean_cosines(vectors)
    assert mean_cosines(vectors[order]) == [straight[place] for place in order]
    assert mean_cosines(vectors[:1]) == [0.0]
    assert straight == pytest.approx(slow_means(vectors.astype(float).tolist()))


def test_a_response_without_a_vector_is_embedded() -> None:
    texts = ["a cat sat here", "a cat sat there", "prices rose by a third"]
    vectors = hashing_embedder().embed(texts)
    bare = [Answer("m", text) for text in texts]
    mixed = [Answer("m", texts[0]), Answer("m", texts[1], vector=vectors[1]), Answer("m", texts[2])]
    cosine = CosineSimilarity(hashing_embedder())
    assert asyncio.run(cosine.to_others(mixed)) == asyncio.run(cosine.to_others(bare)) == mean_cosines(vectors)


def test_of_equals_the_better_model_on_train_wins() -> None:
    given = setting()
    told = ToldPool(dict.fromkeys("abcd", lambda call: Answer(call.model, "the same words")))
    assert answer("agent-forest", given, told).answer.model == best_first(given.context.bank, given.context.datasets)[0]


def test_bleu_is_a_setting() -> None:
    given = setting()
    words = {
        "a": "the cat sat on the mat today",
        "b": "the cat sat on the mat again",
        "c": "the cat sat on the red mat again",
        "d": "stocks fell sharply in early trading",
    }
    told = ToldPool({model: lambda call: Answer(call.model, words[call.model]) for model in words})
    assert answer("agent-forest:similarity=bleu", given, told).answer.model == "b"
    with pytest.raises(InputError, match="similarity is cosine or bleu, not 'rouge'"):
        make_method("agent-forest:similarity=rouge", given.context)


def test_bleu_is_1_among_equals_and_0_without_a_common_word() -> None:
    def means(*texts: str) -> list[float]:
        return asyncio.run(BleuSimilarity().to_others([Answer("m", text) for text in texts]))

    assert means("one two three four five", "one two three four five") == pytest.approx([1, 1])
    assert means("one two three four five", "six seven eight nine ten") == pytest.approx([0, 0], abs=1e-6)
    assert means("alone") == [0.0]


def test_fewer_models_can_be_asked() -> None:
    given = setting()
    pool = WritingPool(given.tests.pool)
    answer("agent-forest:top=2", given, pool)
    assert [given.model for given in pool.given] == list(best_first(given.context.bank, given.context.datasets)[:2])
