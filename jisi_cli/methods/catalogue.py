"""The methods by name: what each does, what it needs, where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from jisi_cli.errors import InputError
from jisi_cli.methods.departures import DEPARTURES

Needs = Literal["recorded", "live", "recorded; live to aggregate", "labels"]
"""What an evaluation must have: recorded answers, live calls, or (for a bound) the test labels."""

MODEL_PREFIX = "model:"


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """One line of `--list-methods`.

    Attributes:
        name: Its name.
        description: What it does, in one sentence.
        needs: What an evaluation must have.
        source: Where it comes from.
        factory: `module:function` that makes it from a `MethodContext`.
        tunable: Whether settings may stand behind its name, as in `moa:layers=2`.
        training_seconds: About how much processor time training takes on 2,000 questions and 10 models, with vectors
            of 384 numbers; None where nothing is trained.
    """

    name: str
    description: str
    needs: Needs
    source: str
    factory: str
    tunable: bool = False
    training_seconds: float | None = None

    @property
    def departures(self) -> str:
        """In what it differs from what its authors published; empty where it does not, or is ours."""
        return DEPARTURES.get(self.name.partition(":")[0], "")

    @property
    def trains(self) -> bool:
        """Whether it learns something that is kept."""
        return self.training_seconds is not None


_JISI = "JiSi, arXiv 2601.01330"
_LLMROUTER = "LLMRouter, github.com/ulab-uiuc"
_OURS = "jisi, beyond the paper"
_FRAME = "frame of the comparison"
_HERE = "jisi_cli.methods.factories:"
_AGENTS = "jisi_cli.methods.agent_factories:"
_ROUTER = "jisi_cli.methods.router_factories:"

METHODS: dict[str, MethodInfo] = {
    info.name: info
    for info in (
        MethodInfo(
            "jisi",
            "mixed routing, adaptive switch, chosen aggregator",
            "recorded; live to aggregate",
            _JISI,
            _HERE + "jisi",
        ),
        MethodInfo(
            "jisi-router", "mixed routing; the best aggregatee answers", "recorded", _JISI, _HERE + "jisi_router"
        ),
        MethodInfo("jisi-static", "mixed routing; always aggregates the top K", "live", _JISI, _HERE + "jisi_static"),
        MethodInfo("jisi-query", "stage 1 alone: one call, no probes", "recorded", _JISI, _HERE + "jisi_query"),
        MethodInfo("jisi-vote", "the candidates' heaviest final answer", "recorded", _OURS, _HERE + "jisi_vote"),
        MethodInfo(
            "jisi-consensus",
            "agreement ends it, else the paper's switch",
            "recorded; live to aggregate",
            _OURS,
            _HERE + "jisi_consensus",
        ),
        MethodInfo("best-single", "the model with the best train average", "recorded", _FRAME, _HERE + "best_single"),
        MethodInfo(
            "best-per-dataset-oracle",
            "the best train model of the question's dataset",
            "recorded",
            _FRAME,
            _HERE + "best_per_dataset_oracle",
        ),
        MethodInfo("cheapest", "the model with the cheapest calls", "recorded", _FRAME, _HERE + "cheapest"),
        MethodInfo("random", "any model with equal probability", "recorded", _FRAME, _HERE + "random"),
        MethodInfo(
            "knn",
            "similarity-weighted scores of the nearest 50",
            "recorded",
            "SMACS, arXiv 2507.14200",
            _HERE + "knn",
            tunable=True,
        ),
        MethodInfo(
            "majority-voting",
            "the final answer that most models give",
            "recorded",
            "Chen et al., arXiv 2403.02419",
            _AGENTS + "majority_voting",
            tunable=True,
        ),
        MethodInfo(
            "majority-voting-3",
            "the final answer that most of the 3 best models give",
            "recorded",
            "Chen et al., arXiv 2403.02419",
            _AGENTS + "majority_voting_of_3",
            tunable=True,
        ),
        MethodInfo(
            "agent-forest",
            "the response most like those of all other models",
            "recorded",
            "More Agents, arXiv 2402.05120",
            _AGENTS + "agent_forest",
            tunable=True,
        ),
        MethodInfo(
            "embedllm-knn",
            "mean score on the nearest 131",
            "recorded",
            "EmbedLLM, arXiv 2410.02223",
            _ROUTER + "embedllm_knn",
            tunable=True,
        ),
        MethodInfo(
            "avengers",
            "ranking of the question's cluster; settings ours or the original's, whichever is better on train",
            "recorded",
            "The Avengers, arXiv 2505.19797",
            _ROUTER + "avengers",
            tunable=True,
            training_seconds=3,
        ),
        MethodInfo(
            "avengers-pro",
            "score against price in the question's clusters; weight=1 is score alone",
            "recorded",
            "Avengers-Pro, arXiv 2508.12631",
            _ROUTER + "avengers_pro",
            tunable=True,
            training_seconds=0.2,
        ),
        MethodInfo(
            "embedllm",
            "matrix factorisation of who is right; settings ours or the original's, whichever is better on train",
            "recorded",
            "EmbedLLM, arXiv 2410.02223",
            _ROUTER + "embedllm",
            tunable=True,
            training_seconds=20,
        ),
        MethodInfo(
            "zooter",
            "softmax regression distilled from scores; trained",
            "recorded",
            "Zooter, arXiv 2311.08692",
            _ROUTER + "zooter",
            tunable=True,
            training_seconds=0.4,
        ),
        MethodInfo(
            "model-sat",
            "regression on the question and each model's capabilities; trained",
            "recorded",
            "Model-SAT, arXiv 2502.17282",
            _ROUTER + "model_sat",
            tunable=True,
            training_seconds=12,
        ),
        MethodInfo(
            "routerdc",
            "contrastive linear map over frozen vectors, or with finetune=yes the encoder; trained",
            "recorded",
            "RouterDC, arXiv 2409.19886",
            _ROUTER + "routerdc",
            tunable=True,
            training_seconds=1,
        ),
        MethodInfo(
            "routellm",
            "the best model where it is likely to win, else the cheapest; trained",
            "recorded",
            "RouteLLM, arXiv 2406.18665",
            _ROUTER + "routellm",
            tunable=True,
            training_seconds=0.2,
        ),
        MethodInfo(
            "graphrouter",
            "edges of a graph of questions and models; trained",
            "recorded",
            "GraphRouter, arXiv 2410.03834",
            _ROUTER + "graphrouter",
            tunable=True,
            training_seconds=1,
        ),
        MethodInfo(
            "graphrouter-oracle",
            "graphrouter, told each question's dataset; trained",
            "recorded",
            "GraphRouter, arXiv 2410.03834",
            _ROUTER + "graphrouter",
            tunable=True,
            training_seconds=1.4,
        ),
        MethodInfo(
            "svm",
            "a support vector machine names the best model; trained",
            "recorded",
            _LLMROUTER,
            _ROUTER + "svm",
            tunable=True,
            training_seconds=2,
        ),
        MethodInfo(
            "mlp",
            "a neural network names the best model; trained",
            "recorded",
            _LLMROUTER,
            _ROUTER + "mlp",
            tunable=True,
            training_seconds=10,
        ),
        MethodInfo(
            "elo",
            "the model with the highest Elo rating; trained",
            "recorded",
            _LLMROUTER,
            _ROUTER + "elo",
            training_seconds=0.2,
        ),
        MethodInfo(
            "hybridllm",
            "the cheapest model where it likely does as well as the best, else the best; trained",
            "recorded",
            "HybridLLM, arXiv 2404.14618",
            _ROUTER + "hybridllm",
            tunable=True,
            training_seconds=5,
        ),
        MethodInfo(
            "frugalgpt",
            "a cascade from cheap to dear that ends at the first trusted answer; trained",
            "recorded",
            "FrugalGPT, arXiv 2305.05176",
            _ROUTER + "frugalgpt",
            tunable=True,
            training_seconds=30,
        ),
        MethodInfo(
            "automix",
            "the cheapest model answers and checks itself 8 times; where it doubts, the best answers",
            "live",
            "AutoMix, arXiv 2310.12963",
            _ROUTER + "automix",
            tunable=True,
        ),
        MethodInfo(
            "self-consistency",
            "the final answer that most of 4 samples of the best model give",
            "live",
            "Self-Consistency, arXiv 2203.11171",
            _AGENTS + "self_consistency",
            tunable=True,
        ),
        MethodInfo(
            "universal-self-consistency",
            "8 samples of the best model, of which it chooses the most consistent",
            "live",
            "Universal Self-Consistency, arXiv 2311.17311",
            _AGENTS + "universal_self_consistency",
            tunable=True,
        ),
        MethodInfo(
            "moa",
            "the 3 best models propose, the best of them aggregates",
            "live",
            "Mixture-of-Agents, arXiv 2406.04692",
            _AGENTS + "moa",
            tunable=True,
        ),
        MethodInfo(
            "moa-lite",
            "the 3 best models propose, the cheapest of them aggregates",
            "live",
            "Mixture-of-Agents, arXiv 2406.04692",
            _AGENTS + "moa_lite",
            tunable=True,
        ),
        MethodInfo(
            "self-moa",
            "6 samples of the best model, aggregated by it",
            "live",
            "Self-MoA, arXiv 2502.00674",
            _AGENTS + "self_moa",
            tunable=True,
        ),
        MethodInfo(
            "smoa",
            "a mixture whose judge passes on 2 of 4 responses and whose moderator ends it early",
            "live",
            "SMoA, arXiv 2411.03284",
            _AGENTS + "smoa",
            tunable=True,
        ),
        MethodInfo(
            "symbolic-moe",
            "the 3 experts of the question's keywords answer, the best model aggregates",
            "live",
            "Symbolic-MoE, arXiv 2503.05641",
            _AGENTS + "symbolic_moe",
            tunable=True,
        ),
        MethodInfo(
            "smacs",
            "the 7 best nearby, subsets aggregated, the most typical kept (perplexity=yes: and the surest)",
            "live",
            "SMACS, arXiv 2507.14200",
            _AGENTS + "smacs",
            tunable=True,
        ),
        MethodInfo("oracle", "the best answer of each question: a bound, no method", "labels", _FRAME, ""),
    )
}


def method_info(name: str) -> MethodInfo:
    """Return what a method is.

    Raises:
        InputError: There is no such method.
    """
    if name.startswith(MODEL_PREFIX) and len(name) > len(MODEL_PREFIX):
        return MethodInfo(name, "always this model", "recorded", _FRAME, _HERE + "one_model")
    base = METHODS.get(name.partition(":")[0])
    if base is not None and base.tunable and base.name != name:
        return replace(base, name=name)
    if name not in METHODS:
        raise InputError(f"no method is called `{name}`; --list-methods names them: {', '.join(METHODS)}, model:NAME")
    return METHODS[name]
