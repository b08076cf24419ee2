"""`smacs`: the best models nearby answer, several subsets of them are aggregated, the most typical result wins.

Tang et al. 2025, SMACS (arXiv 2507.14200). Retrieval-based prior selection: the `prior` models with the best
similarity-weighted scores among the 400 nearest train queries. Posterior enhancement: `subsets` times one of
their responses is left out, with probability proportional to exp((max - s) / (max - min)) of its model's score
s, and the rest aggregated; of the results the one with the highest mean cosine to the others is kept. The
paper adds 1 - perplexity to that cosine, which `perplexity=yes` does where the provider gives log-probabilities for
all results; it is off at first, because some servers refuse a request that asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jisi_cli.errors import InputError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.calls import Asker, Panel
from jisi_cli.methods.prompts import reference_messages
from jisi_cli.methods.protocol import ContextMethod, Listener, Outcome, Query
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.similarity import CosineSimilarity
from jisi_cli.scoring import coarse_block, rank
from jisi_cli.types import Answer, Pool

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext


@dataclass(frozen=True, slots=True)
class SmacsSettings:
    """Settings of `smacs`.

    Attributes:
        prior: How many models answer.
        neighbours: Train queries that choose them.
        subsets: How many subsets of their responses are aggregated.
        perplexity: `yes` asks for log-probabilities of the results and counts how sure the aggregator was; `no`.
    """

    prior: int = 7
    neighbours: int = 400
    subsets: int = 4
    perplexity: str = "no"

    def __post_init__(self) -> None:
        if self.perplexity not in ("no", "yes"):
            raise InputError(f"smacs: perplexity is no or yes, not {self.perplexity!r}")


@dataclass(frozen=True, slots=True)
class Prior:
    """What the nearest train queries say.

    Attributes:
        ranking: All models, best first.
        scores: Their similarity-weighted scores by name.
    """

    ranking: tuple[str, ...]
    scores: dict[str, float]


@register_method(
    "smacs",
    "the 7 best nearby, subsets aggregated, the most typical kept (perplexity=yes: and the surest)",
    "live",
    "SMACS, arXiv 2507.14200",
    settings=SmacsSettings(),
)
class Smacs(ContextMethod[SmacsSettings]):
    """Selects models by the neighbours, aggregates subsets of their responses, keeps the most typical result."""

    def __init__(self, context: MethodContext, settings: SmacsSettings) -> None:
        super().__init__(context, settings)
        self._bank, self._similarity, self._seed = context.bank, CosineSimilarity(context.embedder), context.seed
        # The released code's support set holds similarities strictly above the threshold: stage 1 as `openjisi`.
        self._nearest = Hyperparameters(compat="openjisi", n_base=settings.neighbours, k=1)
        self._writing = replace(self.sampling, logprobs=settings.perplexity == "yes")

    def plan(self, queries: Sequence[Query]) -> Iterator[Prior]:
        """Yield the prior of each query; the similarities of a block are matrix products."""
        names = self._bank.model_names
        for found in coarse_block(self._bank, np.stack([query.vector for query in queries]), self._nearest):
            ranking = tuple(names[model] for model in rank(self._bank, found.scores, "paper"))
            yield Prior(ranking, dict(zip(names, found.scores.tolist(), strict=True)))

    async def answer(self, query: Query, plan: Prior, pool: Pool, listener: Listener) -> Outcome:
        """Ask the prior's models and aggregate subsets of their responses.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        asker = Asker(pool, listener, query)
        panel = Panel.of_best(plan.ranking, self.settings.prior)
        answers = await panel.ask(asker, query.messages(), self.sampling)
        if not answers:
            return await panel.stand_in(asker, query, self.sampling)
        if len(answers) == 1:
            return asker.settle_on(answers[0], "fallback", "it is the only response, so there was nothing to aggregate")
        written = await self._aggregate(asker, query, plan, answers)
        if not written:
            why = "the budget left no room for the aggregator" if asker.stopped else "no aggregator answered"
            return asker.settle_on(answers[0], "fallback", f"{why}; this is the response of the best model nearby")
        chosen, reason = await self._keep(written)
        return asker.settle_on(chosen, "aggregate", reason, answers)

    async def _keep(self, written: Sequence[Answer]) -> tuple[Answer, str]:
        """The result to keep, and why: by likeness, and by perplexity where it is asked for and known of all."""
        means = await self._similarity.to_others(written)
        reason = f"it is most like the others, of {len(written)} aggregations"
        sure = [1.0 - answer.perplexity for answer in written if answer.perplexity is not None]
        if self.settings.perplexity == "yes":
            known = len(sure) == len(written)
            means = [mean + bonus for mean, bonus in zip(means, sure, strict=True)] if known else means
            reason += ", and the surest" if known else "; log-probabilities did not come for all of them"
        return written[means.index(max(means))], reason

    async def _aggregate(self, asker: Asker, query: Query, prior: Prior, answers: Sequence[Answer]) -> list[Answer]:
        """All subsets aggregated by the best model nearby; where it writes nothing, by the next one."""
        scores = [prior.scores[answer.model] for answer in answers]
        requests = []
        for dropped in self._left_out(query, scores):
            texts = [answer.text for place, answer in enumerate(answers) if place != dropped]
            requests.append(reference_messages(query, texts))
        for model in prior.ranking:
            if asker.stopped is not None:
                break
            calls = (asker.ask(model, messages, "aggregator", self._writing) for messages in requests)
            written = [answer for answer in await asker.together(calls) if answer is not None]
            if written:
                return written
        return []

    def _left_out(self, query: Query, scores: Sequence[float]) -> list[int]:
        """Which response each subset lacks: another one each time, since equal subsets are the same request."""
        # Seeded by the text, so that neither the order of questions nor a resumed run changes it.
        rng = np.random.default_rng([self._seed, *query.text.encode("utf-8", "surrogatepass")])
        size = min(self.settings.subsets, len(scores))
        chosen = rng.choice(len(scores), size=size, replace=False, p=drop_chances(scores))
        return sorted(chosen.tolist())


def drop_chances(scores: Sequence[float]) -> NDArray[np.float64]:
    """Return the probability that a response is left out (n): the further its model is behind, the higher."""
    values = np.array(scores, dtype=np.float64)
    spread = values.max() - values.min()
    gaps = (values.max() - values) / spread if spread > 0 else np.zeros(len(values))
    weights = np.exp(gaps)
    chances: NDArray[np.float64] = weights / weights.sum()
    return chances
