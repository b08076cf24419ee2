"""How the methods of several agents are made from train data; imported when one is first asked for."""

from __future__ import annotations

from jisi_cli.methods.calls import Panel
from jisi_cli.methods.ensembles.agent_forest import AgentForest, ForestSettings
from jisi_cli.methods.ensembles.majority_voting import MajorityVoting, VotingSettings
from jisi_cli.methods.ensembles.mixture_of_agents import MixtureOfAgents, MoaSettings, SelfMoaSettings, cheapest_of
from jisi_cli.methods.ensembles.self_consistency import SamplingSettings, SelfConsistency
from jisi_cli.methods.ensembles.smacs import Smacs, SmacsSettings
from jisi_cli.methods.ensembles.smoa import SmoaSettings, SparseMixture
from jisi_cli.methods.ensembles.symbolic_moe import SkillSettings, SymbolicMixture
from jisi_cli.methods.ensembles.universal_self_consistency import UniversalSelfConsistency, UniversalSettings
from jisi_cli.methods.registry import MethodContext
from jisi_cli.methods.routers.constant import best_first
from jisi_cli.methods.similarity import BleuSimilarity, CosineSimilarity, Similarity
from jisi_cli.methods.tuning import tuned


def majority_voting(context: MethodContext, name: str) -> MajorityVoting:
    """Make the vote of all models."""
    return _voting(context, tuned(name, VotingSettings()))


def majority_voting_of_3(context: MethodContext, name: str) -> MajorityVoting:
    """Make the vote of the three best on train."""
    return _voting(context, tuned(name, VotingSettings(top=3)))


def _voting(context: MethodContext, settings: VotingSettings) -> MajorityVoting:
    similarity = CosineSimilarity(context.embedder)
    return MajorityVoting(best_first(context.bank, context.datasets), similarity, settings, context.sampling())


def agent_forest(context: MethodContext, name: str) -> AgentForest:
    """Make the most typical response of all models.

    Raises:
        InputError: BLEU is asked for and sacrebleu is not installed.
    """
    settings = tuned(name, ForestSettings())
    bleu = settings.similarity == "bleu"
    similarity: Similarity = BleuSimilarity() if bleu else CosineSimilarity(context.embedder)
    return AgentForest(best_first(context.bank, context.datasets), similarity, settings, context.sampling())


def moa(context: MethodContext, name: str) -> MixtureOfAgents:
    """Make the mixture of the best models."""
    settings = tuned(name, MoaSettings())
    ranking = best_first(context.bank, context.datasets)
    panel = Panel.of_best(ranking, settings.proposers)
    return MixtureOfAgents(panel, ranking, settings.layers, context.sampling(), context.sampling())


def moa_lite(context: MethodContext, name: str) -> MixtureOfAgents:
    """Make the same mixture with a cheap aggregator."""
    settings = tuned(name, MoaSettings())
    ranking = best_first(context.bank, context.datasets)
    panel = Panel.of_best(ranking, settings.proposers)
    costs = dict(zip(context.bank.model_names, context.costs.tolist(), strict=True))
    writer = cheapest_of(ranking[: settings.proposers], costs)
    aggregators = dict.fromkeys((writer, *ranking))
    return MixtureOfAgents(panel, tuple(aggregators), settings.layers, context.sampling(), context.sampling())


def self_moa(context: MethodContext, name: str) -> MixtureOfAgents:
    """Make the mixture of one model's samples."""
    settings = tuned(name, SelfMoaSettings())
    ranking = best_first(context.bank, context.datasets)
    panel = Panel.of_samples(ranking, settings.samples)
    proposing = context.sampling(settings.temperature)
    return MixtureOfAgents(panel, ranking, settings.layers, proposing, context.sampling())


def self_consistency(context: MethodContext, name: str) -> SelfConsistency:
    """Make the vote of one model's samples."""
    settings = tuned(name, SamplingSettings())
    panel = Panel.of_samples(best_first(context.bank, context.datasets), settings.samples)
    return SelfConsistency(panel, CosineSimilarity(context.embedder), context.sampling(settings.temperature))


def universal_self_consistency(context: MethodContext, name: str) -> UniversalSelfConsistency:
    """Make the choice among one model's samples."""
    settings = tuned(name, UniversalSettings())
    panel = Panel.of_samples(best_first(context.bank, context.datasets), settings.samples)
    return UniversalSelfConsistency(panel, context.sampling(settings.temperature), context.sampling())


def smoa(context: MethodContext, name: str) -> SparseMixture:
    """Make the sparse mixture."""
    ranking = best_first(context.bank, context.datasets)
    return SparseMixture(ranking, tuned(name, SmoaSettings()), context.sampling())


def smacs(context: MethodContext, name: str) -> Smacs:
    """Make the aggregation of subsets."""
    similarity = CosineSimilarity(context.embedder)
    return Smacs(context.bank, similarity, tuned(name, SmacsSettings()), context.seed, context.sampling())


def symbolic_moe(context: MethodContext, name: str) -> SymbolicMixture:
    """Make the mixture of experts by skill."""
    ranking = best_first(context.bank, context.datasets)
    settings = tuned(name, SkillSettings())
    return SymbolicMixture(context.bank, context.texts, ranking, settings, context.sampling())
