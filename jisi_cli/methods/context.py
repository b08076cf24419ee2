"""What a method is made from: train data, hyperparameters, and the work that several methods share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.protocol import Embedder
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.final_answers import BankAnswers, FinalAnswers, SomeAnswers
from jisi_cli.methods.protocol import Aggregation
from jisi_cli.methods.rankings import Ranking, best_first, cheapest_first
from jisi_cli.methods.shared_stages import SharedCoarse, SharedFine
from jisi_cli.methods.training import Training, TrainingData, training_data
from jisi_cli.scoring import BankArrays, Floats, Rows
from jisi_cli.types import Sampling

if TYPE_CHECKING:
    from jisi_cli.bank.bank import Bank
    from jisi_cli.config import Price
    from jisi_cli.formats.record import ScoreSource


class TrainRows(Protocol):
    """What is known of a bank's train rows besides the arrays of the equations."""

    @property
    def datasets(self) -> Sequence[str]:
        """Dataset of each row (N,)."""
        ...

    @property
    def texts(self) -> Sequence[str]:
        """Text of each query (N,)."""
        ...

    @property
    def dollars(self) -> Floats:
        """Dollars of every answer (N, M), NaN where unknown."""
        ...

    @property
    def answers(self) -> FinalAnswers | None:
        """The final answers of all responses (N, M); None where there are no responses to read them from."""
        ...

    @property
    def unrepresentative(self) -> NDArray[np.bool_] | None:
        """Whose scores cannot say how often answers that agree are right (N,); None for no row.

        Those that agreement gave, where that is always so, and beside them those of labels, which are given where
        models differ most, so that it is seldom so.
        """
        ...


@dataclass(frozen=True)
class GivenRows:
    """Train rows that are in memory; see `TrainRows`."""

    datasets: Sequence[str]
    texts: Sequence[str]
    dollars: Floats
    answers: FinalAnswers | None = None
    unrepresentative: NDArray[np.bool_] | None = None


class BankRows:
    """Train rows of a bank, each part read when it is first used: most methods need none of them.

    Args:
        bank: The bank.
        models: M of its models.
        prices: List prices, for models without any recorded dollars.
    """

    def __init__(self, bank: Bank, models: Sequence[str], prices: Mapping[str, Price]) -> None:
        self._bank, self._models, self._prices = bank, models, prices

    @cached_property
    def datasets(self) -> Sequence[str]:
        """Dataset of each row (N,)."""
        questions = self._bank.questions
        return [questions[row].dataset for row in self._bank.train_rows.tolist()]

    @cached_property
    def texts(self) -> Sequence[str]:
        """Text of each query (N,)."""
        questions = self._bank.questions
        return [questions[row].query for row in self._bank.train_rows.tolist()]

    @cached_property
    def dollars(self) -> Floats:
        """Dollars of every answer (N, M), NaN where neither dollars nor a price are known."""
        return row_dollars(self._bank, self._models, self._prices)

    @cached_property
    def answers(self) -> FinalAnswers:
        """The final answers of all responses (N, M)."""
        return BankAnswers(self._bank, self._models)

    @cached_property
    def unrepresentative(self) -> NDArray[np.bool_] | None:
        """Whose scores rest on what the models agree on, or on labels beside that (N,)."""
        agreed = scored_by(self._bank, "agreement", self._models)
        return agreed | scored_by(self._bank, "label", self._models) if agreed.any() else None


def scored_by(bank: Bank, source: ScoreSource, models: Sequence[str]) -> NDArray[np.bool_]:
    """Return on which train rows an answer has a score from a source (N,).

    Args:
        bank: The bank.
        source: A grader, agreement, or labels.
        models: M of its models.
    """
    by = [bank.answers(model).scored_by(source)[bank.train_rows] for model in models]
    found: NDArray[np.bool_] = np.logical_or.reduce(by)
    return found


def row_dollars(bank: Bank, models: Sequence[str], prices: Mapping[str, Price]) -> Floats:
    """Return dollars of every answer on the train rows (N, M); NaN where neither dollars nor a price are known.

    Args:
        bank: The bank.
        models: M of its models.
        prices: List prices, for models without any recorded dollars.
    """
    found = []
    for model in models:
        columns = bank.answers(model)
        recorded = columns.cost_usd[bank.train_rows]
        price = prices.get(model)
        if np.isnan(recorded).all() and price is not None:
            prompt, completion = columns.prompt_tokens[bank.train_rows], columns.completion_tokens[bank.train_rows]
            recorded = (prompt * price.input + completion * price.output) / 1e6
        found.append(recorded)
    return np.stack(found, axis=1)


def mean_costs(dollars: Floats) -> Floats:
    """Return mean dollars of a call (M,) from those of single answers (N, M); NaN where none is known."""
    costs = []
    for column in dollars.T:
        known = column[~np.isnan(column)]
        costs.append(math.fsum(known.tolist()) / len(known) if len(known) else math.nan)
    return np.array(costs)


class SharedTrainingData:
    """Puts a bank's train rows in order once for all methods that learn from them; those of one bank at a time."""

    def __init__(self) -> None:
        self._made: tuple[BankArrays, TrainRows, TrainingData] | None = None

    def of(self, bank: BankArrays, rows: TrainRows) -> TrainingData:
        """Return what `training_data` does."""
        if self._made is None or self._made[0] is not bank or self._made[1] is not rows:
            self._made = bank, rows, training_data(bank, rows.datasets)
        return self._made[2]


@dataclass(frozen=True)
class MethodContext:
    """What a method may be made from: train data only.

    Attributes:
        bank: The bank's arrays (N train queries, M models).
        rows: What else is known of the train queries.
        embedder: The bank's own embedder.
        hyperparameters: Those of JiSi, as the bank, the configuration and the command line say.
        aggregation: Whether JiSi aggregates responses; None leaves it to the method.
        seed: Seed of everything random.
        temperature: Sampling temperature of every call; None for each method's own.
        max_tokens: Length of an answer at most.
        training: Told how a method's training goes, where it has one.
        shared_data: Orders the train rows, once for all methods made from contexts that share it.
        coarse: Computes stage 1, once for all of these in the same way.
        fine: Computes stages 2 and 3, likewise.
        options: Settings that were given as options or in the pool file, for whichever method has them.
        own: Hyperparameters of the methods that the bank holds some of their own for, by name; see `for_method`.
    """

    bank: BankArrays
    rows: TrainRows
    embedder: Embedder
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    aggregation: Aggregation | None = None
    seed: int = 42
    temperature: float | None = None
    max_tokens: int | None = None
    training: Training = field(default_factory=Training)
    shared_data: SharedTrainingData = field(default_factory=SharedTrainingData)
    coarse: SharedCoarse = field(default_factory=SharedCoarse)
    fine: SharedFine = field(default_factory=SharedFine)
    options: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Hyperparameters] = field(default_factory=dict)

    def for_method(self, name: str) -> MethodContext:
        """Return the context of one method, whose hyperparameters are those that are in force for it."""
        own = self.own.get(name)
        return self if own is None else replace(self, hyperparameters=own)

    @property
    def datasets(self) -> Sequence[str]:
        """Dataset of each train query (N,)."""
        return self.rows.datasets

    @property
    def texts(self) -> Sequence[str]:
        """Text of each train query (N,)."""
        return self.rows.texts

    @property
    def dollars(self) -> Floats:
        """Dollars of every train answer (N, M), NaN where unknown."""
        return self.rows.dollars

    @cached_property
    def costs(self) -> Floats:
        """Mean dollars of a call per model (M,), NaN where unknown."""
        return mean_costs(self.dollars)

    @property
    def data(self) -> TrainingData:
        """The train rows in an order that is their own."""
        return self.shared_data.of(self.bank, self.rows)

    def best_first(self) -> Ranking:
        """Rank the models by their mean score over datasets on train."""
        return best_first(self.bank, self.datasets)

    def cheapest_first(self, method: str) -> Ranking:
        """Rank the models by what a call costs.

        Args:
            method: Who asks, for the error message.

        Raises:
            InputError: No price is known.
        """
        return cheapest_first(self.bank, self.costs, method)

    def best_then_cheapest(self, method: str) -> Ranking:
        """Return the best model on train, the cheapest other one, then the rest, best first.

        Args:
            method: Who asks, for the error message.

        Raises:
            InputError: No price is known.
        """
        cheapest = self.cheapest_first(method)
        best, *others = self.best_first()
        return tuple(dict.fromkeys((best, *[model for model in cheapest if model != best][:1], *others)))

    def sampling(self, temperature: float = Sampling().temperature) -> Sampling:
        """Return the sampling parameters of a method's calls.

        Args:
            temperature: The method's own, where the user gave none.
        """
        return Sampling(temperature if self.temperature is None else self.temperature, max_tokens=self.max_tokens)

    def on_rows(self, bank: BankArrays, rows: Rows) -> MethodContext:
        """Return the context of some train rows.

        Args:
            bank: The bank's arrays of these rows.
            rows: Their places among all, in the same order.
        """
        places = rows.tolist()
        texts = self.texts
        some = GivenRows(
            datasets=[self.datasets[place] for place in places],
            texts=[texts[place] for place in places] if texts else (),
            dollars=self.dollars[rows],
            answers=None if self.rows.answers is None else SomeAnswers(self.rows.answers, rows=rows),
            unrepresentative=None if self.rows.unrepresentative is None else self.rows.unrepresentative[rows],
        )
        return replace(self, bank=bank, rows=some)

    def on_models(self, bank: BankArrays, models: Sequence[int]) -> MethodContext:
        """Return the context of some models.

        Args:
            bank: The bank's arrays of these models.
            models: Their places among all, in the same order.
        """
        answers = None if self.rows.answers is None else SomeAnswers(self.rows.answers, models=models)
        rows = GivenRows(self.datasets, self.texts, self.dollars[:, list(models)], answers, self.rows.unrepresentative)
        return replace(self, bank=bank, rows=rows)
