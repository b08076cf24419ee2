"""How each rival router is made from train data; imported when one is first asked for."""

from __future__ import annotations

from jisi_cli.methods.avengers import Avengers, AvengersSettings
from jisi_cli.methods.avengers_pro import AvengersPro, AvengersProSettings
from jisi_cli.methods.embedllm_knn import EmbedLlmKnn, EmbedLlmKnnSettings
from jisi_cli.methods.examples import Examples, examples_of
from jisi_cli.methods.ranked import RankedMethod
from jisi_cli.methods.registry import MethodContext
from jisi_cli.methods.tuning import tuned


def embedllm_knn(context: MethodContext, name: str) -> RankedMethod:
    """Make EmbedLLM's nearest-neighbour router."""
    ranker = EmbedLlmKnn(context.bank, context.datasets, tuned(name, EmbedLlmKnnSettings()))
    return RankedMethod(ranker, "it scores best on the nearest questions", context.sampling())


def avengers(context: MethodContext, name: str) -> RankedMethod:
    """Make the router over clusters."""
    ranker = Avengers(_examples(context), context.seed, tuned(name, AvengersSettings()))
    return RankedMethod(ranker, "it ranks first in the question's cluster", context.sampling())


def avengers_pro(context: MethodContext, name: str) -> RankedMethod:
    """Make the router over clusters that weighs scores and prices.

    Raises:
        InputError: No price is known.
    """
    examples = _examples(context)
    settings = tuned(name, AvengersProSettings())
    ranker = AvengersPro(examples, context.costs[examples.columns], context.seed, settings)
    return RankedMethod(ranker, "it has the best mix of score and price in the question's clusters", context.sampling())


def _examples(context: MethodContext) -> Examples:
    return examples_of(context.bank, context.datasets)
