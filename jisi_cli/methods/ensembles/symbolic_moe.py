"""`symbolic-moe`: experts chosen by the skills that a question's keywords name, and an aggregator.

Chen et al. 2025, "Symbolic Mixture-of-Experts: Adaptive Skill-based Routing for Heterogeneous Reasoning" (arXiv
2503.05641). There a model names the skills of every question; here they are its keywords by TF-IDF, so that
nothing is called to make the profiles; `named_by=model` lets the best model name those of the new question. A
model's profile counts, for each keyword, the train questions with it that the model got right, less those it got
wrong. Experts are the models whose profiles add up to most over the new question's keywords. The paper tries out
aggregators on a task made for it; here the best on train writes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jisi_cli.errors import InputError
from jisi_cli.methods.calls import Asker, Panel
from jisi_cli.methods.prompts import keyword_messages, synthesise
from jisi_cli.methods.protocol import ContextMethod, Listener, Outcome, Query
from jisi_cli.methods.registry import register_method
from jisi_cli.scoring import BankArrays
from jisi_cli.types import Pool

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext


@dataclass(frozen=True, slots=True)
class SkillSettings:
    """Settings of `symbolic-moe`.

    Attributes:
        experts: How many models answer.
        keywords: How many keywords a question has at most.
        named_by: Who names the new question's: `tfidf`, or `model` in a call to the best model on train.
    """

    experts: int = 3
    keywords: int = 5
    named_by: str = "tfidf"

    def __post_init__(self) -> None:
        if self.named_by not in ("tfidf", "model"):
            raise InputError(f"symbolic-moe: named_by is tfidf or model, not {self.named_by!r}")


class Keywords:
    """The words of a text with the highest TF-IDF weights.

    Args:
        texts: The train queries, which say how rare a word is.
        count: Keywords of a text at most.
    """

    def __init__(self, texts: Sequence[str], count: int) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._count = count
        vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True)
        self._analyse = vectorizer.build_analyzer()
        # Without a single word there is nothing to learn, and scikit-learn refuses.
        self._vectorizer: Any = vectorizer.fit(texts) if any(map(self._analyse, texts)) else None
        self._words = [] if self._vectorizer is None else self._vectorizer.get_feature_names_out().tolist()

    def of(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the keywords of each text, the weightiest first, ties in alphabetical order."""
        if self._vectorizer is None:
            return [[] for _ in texts]
        weights = self._vectorizer.transform(texts)
        return [self._heaviest(row.indices.tolist(), row.data.tolist()) for row in weights]

    def read(self, text: str) -> list[str]:
        """Return the words of a list that someone else wrote, without stop words, each once, in its order."""
        return list(dict.fromkeys(self._analyse(text)))

    def _heaviest(self, columns: Sequence[int], weights: Sequence[float]) -> list[str]:
        ranked = sorted((-weight, self._words[column]) for column, weight in zip(columns, weights, strict=True))
        return [word for _, word in ranked[: self._count]]


@register_method(
    "symbolic-moe",
    "the 3 experts of the question's keywords answer, the best model aggregates",
    "live",
    "Symbolic-MoE, arXiv 2503.05641",
    settings=SkillSettings(),
)
class SymbolicMixture(ContextMethod[SkillSettings]):
    """Asks the experts of a question's skills and aggregates what they say.

    Ties go to the better model on train; the first that can aggregates.
    """

    def __init__(self, context: MethodContext, settings: SkillSettings) -> None:
        super().__init__(context, settings)
        self._ranking = context.best_first()
        self._keywords = Keywords(context.texts, settings.keywords)
        self._profiles = _profiles(context.bank, self._keywords.of(context.texts))

    def plan(self, queries: Sequence[Query]) -> Iterator[Panel]:
        """Yield the experts of each query."""
        for keywords in self._keywords.of([query.text for query in queries]):
            yield Panel.of_best(self._by_skill(keywords), self.settings.experts)

    async def answer(self, query: Query, plan: Panel, pool: Pool, listener: Listener) -> Outcome:
        """Ask the experts and aggregate.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        asker = Asker(pool, listener, query)
        if self.settings.named_by == "model":
            plan = await self._named(asker, query) or plan
        answers = await plan.ask(asker, query.messages(), self.sampling)
        if not answers:
            return await plan.stand_in(asker, query, self.sampling)
        return await synthesise(asker, query, answers, self._ranking, self.sampling)

    async def _named(self, asker: Asker, query: Query) -> Panel | None:
        """Let the best model name the keywords; None where it names none that a train question has."""
        asked = keyword_messages(query.text, self.settings.keywords)
        reply = await asker.ask(self._ranking[0], asked, "judge", self.sampling)
        if reply is None:
            return None
        # Whatever is thought aloud before it, the list is the last line.
        named = self._keywords.read(reply.text.strip().splitlines()[-1])
        keywords = [word for word in named if word in self._profiles][: self.settings.keywords]
        return Panel.of_best(self._by_skill(keywords), self.settings.experts) if keywords else None

    def _by_skill(self, keywords: Sequence[str]) -> tuple[str, ...]:
        known = [self._profiles[word] for word in keywords if word in self._profiles]
        strengths = {model: math.fsum(profile[model] for profile in known) for model in self._ranking}
        # The sort is stable, so that equals stay in the order of the ranking.
        return tuple(sorted(self._ranking, key=lambda model: -strengths[model]))


def _profiles(bank: BankArrays, keywords: Sequence[Sequence[str]]) -> dict[str, dict[str, float]]:
    """For each keyword and model: what is right less what is wrong; an answer that is half right counts as nothing."""
    rows: dict[str, list[int]] = {}
    for row, words in enumerate(keywords):
        for word in words:
            rows.setdefault(word, []).append(row)
    balance = (2 * bank.scores - 1) * bank.present
    return {
        word: {
            model: math.fsum(column) for model, column in zip(bank.model_names, balance[places].T.tolist(), strict=True)
        }
        for word, places in rows.items()
    }
