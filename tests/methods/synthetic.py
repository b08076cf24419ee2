"""Small random banks with test questions, and a pool that answers as it is told; for tests of methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.protocol import Embedder, EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.evaluation.test_set import TestSet
from jisi_cli.formats.record import Question
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.context import GivenRows, MethodContext
from jisi_cli.methods.protocol import Query
from jisi_cli.models.replay import RecordedAnswer, ReplayPool
from jisi_cli.scoring import BankArrays
from jisi_cli.types import Answer, Request, Role

WIDTH = 16
DATASETS = ("gsm", "law", "zoo")


def hashing_embedder() -> Embedder:
    return load_embedder(EmbedderSpec(f"hashing:{WIDTH}"))


def plain_query(text: str, system: str | None = None) -> Query:
    """A question without a vector, for what reads its words alone."""
    return Query(text, np.zeros(0, np.float32), system)


def unit_rows(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    rows = rng.normal(size=(*shape, WIDTH))
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Setting:
    """What a method is made from, and questions to try it on."""

    context: MethodContext
    tests: TestSet

    @property
    def models(self) -> tuple[str, ...]:
        return self.context.bank.model_names

    def with_settings(self, **changes: object) -> Setting:
        changed = self.context.hyperparameters.with_changes(changes, "test")
        return replace(self, context=replace(self.context, hyperparameters=changed))

    def with_rows(self, order: Sequence[int]) -> Setting:
        """Return the same bank with other rows, or its rows in another order."""
        bank, rows = self.context.bank, np.array(order)
        taken = BankArrays(
            bank.query_vectors[rows],
            [vectors[rows] for vectors in bank.response_vectors],
            bank.scores[rows],
            bank.completion_tokens[rows],
            bank.present[rows],
            bank.model_names,
        )
        return replace(self, context=self.context.on_rows(taken, rows))

    def with_models(self, order: Sequence[int]) -> Setting:
        """Return the same bank with fewer models, or its models in another order."""
        bank, columns = self.context.bank, np.array(order)
        taken = BankArrays(
            bank.query_vectors,
            [bank.response_vectors[model] for model in order],
            bank.scores[:, columns],
            bank.completion_tokens[:, columns],
            bank.present[:, columns],
            tuple(bank.model_names[model] for model in order),
        )
        return replace(self, context=self.context.on_models(taken, order))


def changed(context: MethodContext, **changes: Any) -> MethodContext:
    """Return a context with changes of its own or of its rows (texts, datasets, dollars); `costs` are all answers'."""
    if "costs" in changes:
        changes["dollars"] = np.tile(changes.pop("costs"), (len(context.datasets), 1))
    names = ("datasets", "texts", "dollars")
    given = {name: changes.pop(name, getattr(context, name)) for name in names}
    more = {name: changes.pop(name, getattr(context.rows, name)) for name in ("answers", "unrepresentative")}
    rows = GivenRows(**given, **more)
    return replace(context, rows=rows, **changes)


def setting(
    seed: int = 0, *, rows: int = 40, models: Sequence[str] = "abcd", tests: int = 24, gaps: float = 0.0
) -> Setting:
    """Return a random bank and random test questions over three datasets.

    Args:
        seed: Of everything random.
        rows: Train questions.
        models: Names; the later ones are better, each on average.
        tests: Test questions.
        gaps: Share of answers, of train and of test, that are not there.
    """
    rng = np.random.default_rng(seed)
    skill = np.linspace(0.3, 0.7, len(models))
    present = rng.random((rows, len(models))) >= gaps
    scores = (rng.random((rows, len(models))) < skill).astype(float)
    responses = unit_rows(rng, rows, len(models)) * present[:, :, np.newaxis]
    bank = BankArrays(
        query_vectors=unit_rows(rng, rows),
        response_vectors=[responses[:, model] for model in range(len(models))],
        scores=np.where(present, scores, 0.0),
        completion_tokens=np.where(present, rng.integers(5, 300, size=(rows, len(models))), np.nan),
        present=present,
        model_names=tuple(models),
    )
    datasets = [DATASETS[number] for number in rng.integers(len(DATASETS), size=rows)]
    context = MethodContext(
        bank=bank,
        rows=GivenRows(
            datasets=datasets,
            texts=[f"train question {row % 9} of {name}?" for row, name in enumerate(datasets)],
            dollars=np.tile(rng.random(len(models)), (rows, 1)),
        ),
        embedder=hashing_embedder(),
        hyperparameters=Hyperparameters(n_base=8),
    )
    return Setting(context, _tests(rng, models, skill, tests, gaps))


def _tests(
    rng: np.random.Generator, models: Sequence[str], skill: NDArray[np.float64], count: int, gaps: float
) -> TestSet:
    questions = [
        Question(DATASETS[n % len(DATASETS)], str(n), f"question {n}?", reference="1", grader="numeric")
        for n in range(count)
    ]
    vectors = unit_rows(rng, count)
    queries = [
        Query(q.query, vector, dataset=q.dataset, grader=q.grader) for q, vector in zip(questions, vectors, strict=True)
    ]
    scores = (rng.random((count, len(models))) < skill).astype(float)
    recorded = {}
    for place, model in enumerate(models):
        for row, question in enumerate(questions):
            if rng.random() < gaps:
                scores[row, place] = np.nan
                recorded[question.query, model] = RecordedAnswer("", error="recorded as missing")
                continue
            final = 1 if scores[row, place] else int(rng.integers(2, 4))
            recorded[question.query, model] = RecordedAnswer(
                text=f"{model} thinks about {row}. The answer is {final}",
                prompt_tokens=10,
                completion_tokens=int(rng.integers(5, 300)),
                cost_usd=float(rng.random()),
                vector=unit_rows(rng, 1)[0],
            )
    return TestSet(questions, queries, tuple(models), scores, ReplayPool(recorded, models), "made up")


Respond = Callable[[Request], Answer]


@dataclass
class ToldPool:
    """A pool whose answers are functions of the call, by model; it remembers every call and every answer.

    A function may raise a `BudgetError`, as a live pool does.
    """

    respond: Mapping[str, Respond]
    asked: list[Request] = field(default_factory=list)
    given: list[Answer] = field(default_factory=list)

    @property
    def models(self) -> Sequence[str]:
        return tuple(self.respond)

    @property
    def live(self) -> bool:
        return True

    def can_answer(self, request: Request) -> bool:
        return request.model in self.respond

    async def ask(self, request: Request) -> Answer:
        self.asked.append(request)
        answer = replace(self.respond[request.model](request), role=request.role)
        if request.on_text is not None and answer.text:
            request.on_text(answer.text)
        self.given.append(answer)
        return answer

    def count(self, role: Role) -> int:
        return sum(call.role == role for call in self.asked)


@dataclass
class WritingPool:
    """A pool that gives recorded answers, and writes one where it is asked anything else.

    A model that cannot answer a question cannot in another sample either.
    """

    replay: ReplayPool
    given: list[Answer] = field(default_factory=list)

    @property
    def models(self) -> Sequence[str]:
        return self.replay.models

    @property
    def live(self) -> bool:
        return True

    def can_answer(self, request: Request) -> bool:
        return self.replay.can_answer(request)

    async def ask(self, request: Request) -> Answer:
        answer = await self.replay.ask(request)
        first = await self.replay.ask(replace(request, sample=0, on_text=None))
        if answer.error == ReplayPool.NOT_RECORDED and first.error in (None, ReplayPool.NOT_RECORDED):
            answer = Answer(
                request.model, f"{request.model} writes after {len(request.messages[-1]['content'])} characters"
            )
        self.given.append(answer)
        return answer
