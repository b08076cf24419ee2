"""How each rival router is made from train data; imported when one is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from jisi_cli.embed.protocol import loaded
from jisi_cli.errors import InputError
from jisi_cli.methods.cross_validation import wanted, without_wish
from jisi_cli.methods.ranked import RankedMethod, Ranker
from jisi_cli.methods.registry import MethodContext
from jisi_cli.methods.routers.automix import AutoMix, AutoMixSettings
from jisi_cli.methods.routers.avengers import Avengers, AvengersSettings
from jisi_cli.methods.routers.avengers_pro import AvengersPro, AvengersProSettings
from jisi_cli.methods.routers.constant import best_first, cheapest_first
from jisi_cli.methods.routers.elo import Elo
from jisi_cli.methods.routers.embedllm import EmbedLlm, EmbedLlmKnn, EmbedLlmKnnSettings, EmbedLlmSettings
from jisi_cli.methods.routers.frugalgpt import FrugalGpt, FrugalGptSettings
from jisi_cli.methods.routers.graphrouter import GraphRouter, GraphRouterSettings
from jisi_cli.methods.routers.hybridllm import HybridLlm, HybridLlmSettings
from jisi_cli.methods.routers.mlp import Mlp, MlpSettings
from jisi_cli.methods.routers.model_sat import ModelSat, ModelSatSettings
from jisi_cli.methods.routers.routellm import RouteLlm, RouteLlmSettings
from jisi_cli.methods.routers.routerdc import FinetunedRouterDc, RouterDc, RouterDcSettings
from jisi_cli.methods.routers.svm import Svm, SvmSettings
from jisi_cli.methods.routers.zooter import Zooter, ZooterSettings
from jisi_cli.methods.training import Examples
from jisi_cli.methods.tuning import tuned

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Settings = TypeVar("Settings", bound=DataclassInstance)


def embedllm_knn(context: MethodContext, name: str) -> RankedMethod:
    """Make EmbedLLM's nearest-neighbour router."""
    ranker = EmbedLlmKnn(context.bank, _examples(context), tuned(name, EmbedLlmKnnSettings()))
    return _router(context, ranker, "it scores best on the nearest questions")


def avengers(context: MethodContext, name: str) -> RankedMethod:
    """Make the router over clusters."""
    choices = _choices(name, AvengersSettings(), AvengersSettings.original())
    ranker = Avengers(_examples(context), context.seed, choices, context.training)
    return _router(context, ranker, "it ranks first in the question's cluster")


def avengers_pro(context: MethodContext, name: str) -> RankedMethod:
    """Make the router over clusters that weighs scores and prices.

    Raises:
        InputError: No price is known.
    """
    examples = _examples(context)
    settings = tuned(name, AvengersProSettings())
    ranker = AvengersPro(examples, context.costs[examples.columns], context.seed, settings, context.training)
    return _router(context, ranker, "it has the best mix of score and price in the question's clusters")


def embedllm(context: MethodContext, name: str) -> RankedMethod:
    """Make the matrix factorisation."""
    choices = _choices(name, EmbedLlmSettings(), EmbedLlmSettings.original())
    ranker = EmbedLlm(_examples(context), context.seed, choices, context.training)
    return _router(context, ranker, "its vector fits the question best")


def zooter(context: MethodContext, name: str) -> RankedMethod:
    """Make the distilled distribution over models."""
    ranker = Zooter(_examples(context), context.seed, tuned(name, ZooterSettings()), context.training)
    return _router(context, ranker, "it has the largest share of the rewards expected here")


def model_sat(context: MethodContext, name: str) -> RankedMethod:
    """Make the regression over capabilities."""
    ranker = ModelSat(_examples(context), context.seed, tuned(name, ModelSatSettings()), context.training)
    return _router(context, ranker, "its capabilities fit the question best")


def routerdc(context: MethodContext, name: str) -> RankedMethod:
    """Make the router of two contrasts: over frozen vectors, or with the bank's embedder trained.

    Raises:
        InputError: The embedder is to be trained and cannot be.
    """
    examples, settings = _examples(context), tuned(name, RouterDcSettings())
    if settings.finetune == "no":
        ranker: Ranker = RouterDc(examples, context.seed, settings, context.training)
        return _router(context, ranker, "its vector is nearest to the mapped question")
    settings = tuned(name, RouterDcSettings.finetuned())
    texts = [context.texts[row] for row in examples.rows.tolist()]
    embedder = loaded(context.embedder).spec
    ranker = FinetunedRouterDc(examples, texts, embedder, context.seed, settings, context.training)
    return _router(context, ranker, "its vector is nearest to the question's")


def routellm(context: MethodContext, name: str) -> RankedMethod:
    """Make the choice between the best model on train and the cheapest other one.

    Raises:
        InputError: No price is known.
    """
    settings = tuned(name, RouteLlmSettings())
    strong, weak, others = _large_and_small(context, "routellm")
    order = (strong, *weak, *others)
    ranker = RouteLlm(_examples(context), order, context.seed, settings, context.training)
    return _router(context, ranker, "it is worth its price here")


def graphrouter(context: MethodContext, name: str) -> RankedMethod:
    """Make the router over a graph; under its oracle's name it is told each question's dataset."""
    examples, settings = _examples(context), tuned(name, GraphRouterSettings())
    oracle = name.startswith("graphrouter-oracle")
    costs = context.costs[examples.columns]
    ranker = GraphRouter(examples, costs, context.seed, settings, oracle=oracle, training=context.training)
    return _router(context, ranker, "the graph predicts its edge to the question first")


def _router(context: MethodContext, ranker: Ranker, reason: str) -> RankedMethod:
    return RankedMethod(ranker, reason, context.sampling())


def svm(context: MethodContext, name: str) -> RankedMethod:
    """Make the support vector machine."""
    return _router(
        context, Svm(_examples(context), tuned(name, SvmSettings()), context.training), "it is likely the best"
    )


def mlp(context: MethodContext, name: str) -> RankedMethod:
    """Make the neural network."""
    return _router(
        context, Mlp(_examples(context), tuned(name, MlpSettings()), context.training), "it is likely the best"
    )


def elo(context: MethodContext, name: str) -> RankedMethod:
    """Make the ratings."""
    return _router(context, Elo(_examples(context), context.training), "it has the highest rating")


def hybridllm(context: MethodContext, name: str) -> RankedMethod:
    """Make the choice between the best model on train and the cheapest other one, by a network.

    Raises:
        InputError: No price is known.
    """
    large, small, others = _large_and_small(context, "hybridllm")
    order = (large, *small, *others)
    ranker = HybridLlm(_examples(context), order, tuned(name, HybridLlmSettings()), context.training)
    return _router(context, ranker, "it is likely to do as well, or the other is not")


def frugalgpt(context: MethodContext, name: str) -> FrugalGpt:
    """Make the cascade.

    Raises:
        InputError: No price is known.
    """
    _require_prices(context, "frugalgpt")
    examples, settings = _examples(context), tuned(name, FrugalGptSettings())
    ranking = best_first(context.bank, context.datasets)
    costs = context.costs[examples.columns]
    how = (settings, context.sampling(), context.training)
    return FrugalGpt(context.bank, examples, costs, ranking, context.embedder, *how)


def automix(context: MethodContext, name: str) -> AutoMix:
    """Make the small model that checks itself.

    Raises:
        InputError: No price is known.
    """
    large, small, others = _large_and_small(context, "automix")
    settings = tuned(name, AutoMixSettings())
    order = (*small, large, *others)
    return AutoMix(order, settings, context.sampling(), context.sampling(settings.temperature))


def _require_prices(context: MethodContext, name: str) -> None:
    if np.isnan(context.costs).all():
        raise InputError(f"`{name}` needs prices; add `price` to the models in the pool file, or pass --prices")


def _large_and_small(context: MethodContext, name: str) -> tuple[str, list[str], list[str]]:
    """The best model on train, the cheapest other one (none where there is no other), and the rest, best first."""
    _require_prices(context, name)
    large, *others = best_first(context.bank, context.datasets)
    small = [model for model in cheapest_first(context.bank, context.costs) if model != large][:1]
    return large, small, [model for model in others if model not in small]


def _choices(name: str, ours: Settings, original: Settings) -> tuple[Settings, ...]:
    """The settings to choose from: ours and the original's, or the one that the method's name asks for."""
    wish, plain = wanted(name), without_wish(name)
    if wish == "auto":
        return tuned(plain, ours), tuned(plain, original)
    return (tuned(plain, original if wish == "yes" else ours),)


def _examples(context: MethodContext) -> Examples:
    return context.examples.of(context.bank, context.datasets)
