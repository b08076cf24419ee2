"""How each method is made from train data; imported when a method is first asked for."""

from __future__ import annotations

from jisi_cli.errors import InputError
from jisi_cli.methods.jisi import Aggregation, JiSi, JiSiQuery
from jisi_cli.methods.ranked import RankedMethod
from jisi_cli.methods.registry import MODEL_PREFIX, MethodContext, with_settings
from jisi_cli.methods.routers.constant import Chance, Fixed, PerDataset, best_first, best_per_dataset, cheapest_first
from jisi_cli.methods.routers.knn import Knn, KnnSettings
from jisi_cli.methods.tuning import tuned


def jisi(context: MethodContext, name: str) -> JiSi:
    """Make the whole of the paper's method, with the paper's switch."""
    return _jisi(context, "auto", switch="paper", probe_schedule="")


def jisi_router(context: MethodContext, name: str) -> JiSi:
    """Make the router: A_1 of step 11, never aggregates."""
    return _jisi(context, "never", switch="paper", probe_schedule="")


def jisi_static(context: MethodContext, name: str) -> JiSi:
    """Make the variant that always aggregates the top K."""
    return _jisi(context, "always", switch="paper", probe_schedule="")


def jisi_query(context: MethodContext, name: str) -> RankedMethod:
    """Make stage 1 alone."""
    ranker = JiSiQuery(context.bank, context.settings, context.dollars, context.coarse)
    return RankedMethod(ranker, "stage 1 ranks it first", context.sampling())


def jisi_vote(context: MethodContext, name: str) -> JiSi:
    """Make the vote of the candidates: no call beyond the probes."""
    return _jisi(context, "never", switch="consensus")


def jisi_consensus(context: MethodContext, name: str) -> JiSi:
    """Make consensus first, the paper's switch otherwise."""
    return _jisi(context, "auto", switch="consensus")


def _jisi(context: MethodContext, aggregation: Aggregation, **changes: object) -> JiSi:
    own = with_settings(context, **changes)
    return JiSi(own.bank, own.embedder, own.settings, aggregation, own.sampling(), own.dollars, own.coarse)


def best_single(context: MethodContext, name: str) -> RankedMethod:
    """Make the best model on train."""
    return RankedMethod(
        Fixed(best_first(context.bank, context.datasets)), "it has the best train average", context.sampling()
    )


def best_per_dataset_oracle(context: MethodContext, name: str) -> RankedMethod:
    """Make the best train model of each dataset."""
    rankings = best_per_dataset(context.bank, context.datasets)
    ranker = PerDataset(rankings, best_first(context.bank, context.datasets))
    return RankedMethod(ranker, "it is the best train model of the dataset", context.sampling())


def cheapest(context: MethodContext, name: str) -> RankedMethod:
    """Make the cheapest model."""
    return RankedMethod(
        Fixed(cheapest_first(context.bank, context.costs)), "its calls are the cheapest", context.sampling()
    )


def random(context: MethodContext, name: str) -> RankedMethod:
    """Make chance."""
    return RankedMethod(Chance(context.bank.model_names, context.seed), "chance", context.sampling())


def knn(context: MethodContext, name: str) -> RankedMethod:
    """Make the retrieval-based router."""
    ranker = Knn(context.bank, tuned(name, KnnSettings()))
    return RankedMethod(ranker, "the nearest questions favour it", context.sampling())


def one_model(context: MethodContext, name: str) -> RankedMethod:
    """Make the method that always asks one model.

    Raises:
        InputError: The bank has no such model.
    """
    model = name.removeprefix(MODEL_PREFIX)
    if model not in context.bank.model_names:
        raise InputError(f"{name}: the bank has no such model; it has {', '.join(context.bank.model_names)}")
    # No stand-ins: where it has no answer, this method has none either.
    return RankedMethod(Fixed((model,)), "it is the only one asked", context.sampling())
