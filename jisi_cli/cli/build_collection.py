"""Asking the pool's models the questions of a bank, grading their answers, and a forecast of what that takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jisi_cli.background import run_calls
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.sources import ReadSources, Selection, stage_records
from jisi_cli.callees import endpoint_entry, judges_of, offer_the_offline_pool
from jisi_cli.cli.build import EmbedderFlags
from jisi_cli.cli.grading import note_grading
from jisi_cli.cli.output import Column, Output, count, dollars, one_line, paid
from jisi_cli.cli.progress import collection_bar, counted
from jisi_cli.collect.collect import (
    Batched,
    Collected,
    EmbeddingReserve,
    Pair,
    ask_by_batch,
    check_graders,
    chosen_models,
    chosen_questions,
    collect,
    known_answers,
    pairs_of,
    under_way,
)
from jisi_cli.collect.forecast import CollectionForecast, Forecast, Recall, forecast_collection
from jisi_cli.collect.question_sources import QuestionSources
from jisi_cli.embed.kinds.litellm import TEXTS_PER_REQUEST
from jisi_cli.errors import BudgetError, InputError, NoAnswerError
from jisi_cli.formats.record import Question
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import GradingOptions, compares_models
from jisi_cli.models.batch.terms import batch_share, require_batch
from jisi_cli.models.cache import AnswerCache
from jisi_cli.models.facts import missing_key
from jisi_cli.models.json_disk import open_cache
from jisi_cli.models.replay import ReplayPool
from jisi_cli.paths import cache_folder
from jisi_cli.spending import RunAccount
from jisi_cli.types import cut_off_words
from jisi_cli.user import ImportIssues

if TYPE_CHECKING:
    from jisi_cli.embed.account import EmbeddingAccount
    from jisi_cli.models.live import LivePool

_SHOWN_FAILURES = 5


@dataclass(frozen=True, slots=True)
class Collection:
    """Answers to collect: who is asked what, and what is known already.

    Attributes:
        asked: Where the questions come from.
        selection: Which models are asked which of them.
        grading: How answers are graded.
        bank: The bank's folder.
        append: Whether that bank is extended, so that its answers are known.
        retry_failed: Whether to ask again what the bank holds as failed.
        by_batch: Whether models are asked through their providers' batch endpoints.
        account: How models are called, and what that may cost.
        problems: Told of lines that cannot be used.
        out: Where notes go.
    """

    asked: QuestionSources
    selection: Selection
    grading: GradingOptions
    bank: Path
    append: bool
    retry_failed: bool
    by_batch: bool
    account: RunAccount
    problems: ImportIssues
    out: Output

    def run(self, embedding: EmbeddingAccount | None) -> tuple[ReadSources, str | None]:
        """Ask what the bank does not know yet; return the answers, and why a budget stopped the collection.

        Args:
            embedding: What pays for the vectors of the answers; None if they cost nothing.

        Raises:
            InputError: There are no questions, or an option cannot be used.
            BudgetError: A budget stopped it before the first answer.
            NoAnswerError: No model could be asked, or none answered.
        """
        models, questions, config = self._chosen_models(), self._questions(), self.account.config
        known = known_answers(Bank(self.bank), retry_failed=self.retry_failed) if self.append else set()
        callees = [*models, *judges_of(self.grading, config)]
        self.account.require_consent(callees)
        models = self._callable(models)
        reserve = EmbeddingReserve(self.account.budget, None if embedding is None else embedding.worst_case)
        pairs = pairs_of(questions, models, known)
        collected, told = run_calls(self._ask(pairs, callees, reserve))
        compared = any(compares_models(self.grading.spec_for(question)) for question in questions)
        _tell_collected(collected, self.out, unscored=0 if compared else _unscored(collected) - told)
        if collected.stopped is not None and not collected.records:
            raise BudgetError(collected.stopped)
        if collected.refused and not collected.records and not known:
            raise NoAnswerError("no model could be asked; nothing was built")
        if collected.records and all(record.status == "failed" for record in collected.records):
            error = NoAnswerError(f"none of {count(len(collected.records), 'call')} was answered; nothing was built")
            raise offer_the_offline_pool(error, config, sorted({record.model for record in collected.records}))
        sources = self.asked.described(len(collected.records))
        return ReadSources(stage_records(collected.records), sources, 0), collected.stopped

    def forecast(self, embedder: EmbedderFlags) -> CollectionForecast:
        """Work out what would be asked; no model is called.

        Args:
            embedder: What the command line says about the embedder.

        Raises:
            InputError: There are no questions, or an option cannot be used.
            BankError: The bank to extend cannot be opened.
        """
        config, models, questions = self.account.config, self._chosen_models(), self._questions()
        self.problems.summarise()
        # No grader is run; a judge only has to be in the pool.
        names = [entry.name for entry in config.models]
        check_graders(questions, GraderSet(self.grading, ReplayPool({}, names)))
        judges_of(self.grading, config)
        bank = Bank(self.bank) if self.append else None
        spec = embedder.allowed(config, self.bank, None if bank is None else bank.manifest.embedder)
        found = forecast_collection(
            questions,
            config.models,
            models,
            bank=bank,
            retry_failed=self.retry_failed,
            grading=self.grading,
            recall=_recall(self.account),
            embedder=None if embedder.vectors is not None else endpoint_entry(spec, config),
            per_request=embedder.batch_size or TEXTS_PER_REQUEST,
            share=batch_share if self.by_batch else None,
        )
        return replace(found, missing_keys=self.account.missing_keys([*models, *self.grading.judges()]))

    def _questions(self) -> list[Question]:
        """Return the questions of all sources, filtered, in the order of the sources.

        Raises:
            InputError: There is none.
        """
        found = self.asked.read(self.problems)
        questions = chosen_questions(found, self.selection.datasets, self.selection.limit)
        if not questions:
            raise InputError("the sources hold no question to ask; each row needs a `question`")
        return questions

    def _chosen_models(self) -> list[str]:
        """Return the models to ask.

        Raises:
            InputError: The pool lacks one, or one cannot be asked by batch.
        """
        models = chosen_models(self.selection.models, self.account.config.models)
        if self.by_batch:
            require_batch([entry for entry in self.account.config.models if entry.name in models])
        return models

    def _callable(self, models: Sequence[str]) -> list[str]:
        """Return the models that have a key, before any is paid.

        Raises:
            NoAnswerError: None has one.
            InputError: A judge has none, so that the answers that were paid for would stay without a score.
        """
        for entry in self.account.config.models:
            if entry.name in self.grading.judges() and (variable := missing_key(entry)) is not None:
                raise InputError(f"the judge `{entry.name}` has no key; set {variable} in the environment")
        return self.account.with_keys(models)

    async def _ask(
        self,
        pairs: Sequence[Pair],
        callees: Sequence[str],
        reserve: EmbeddingReserve,
    ) -> tuple[Collected, int]:
        """Ask, and say how grading went; also returns how many answers it said have no score, and why."""
        reserve.hold_back(question.query for question, _ in pairs)
        async with self.account.pool(callees) as pool:
            with GraderSet(self.grading, pool) as graders:
                if self.by_batch:
                    work = await self._batched(pairs, pool, graders)
                else:
                    work = Batched(pool, pairs)
                    self._warn_of_batches(await under_way(pairs, pool))
                with collection_bar(self.out, len(work.pairs)) as show:

                    def on_record(collected: Collected) -> None:
                        reserve.hold_back([collected.records[-1].response or ""])
                        if show is not None:
                            show(collected)

                    limit = self.account.concurrency
                    collected = await collect(
                        work.pairs, work.pool, concurrency=limit, graders=graders, on_record=on_record
                    )
        collected.stopped = collected.stopped or work.stopped
        collected.refused |= work.refused
        note_grading(graders, self.out)
        return collected, graders.unscored.total()

    def _warn_of_batches(self, requests: int) -> None:
        if requests:
            self.out.warn(
                f"{count(requests, 'answer')} will be paid for twice: a batch is under way for the same; to wait for "
                "it instead, press Ctrl-C and add --batch"
            )

    async def _batched(self, pairs: Sequence[Pair], pool: LivePool, graders: GraderSet) -> Batched:
        """Ask by batch, and wait for it, once it is sure that the answers can be graded."""
        check_graders({question.key: question for question, _ in pairs}.values(), graders)
        with counted(self.out, "waiting for batches") as on_progress:
            batches = self.account.batches(pool, on_progress)
            try:
                return await ask_by_batch(pairs, pool, batches)
            finally:
                await batches.close()


def _recall(account: RunAccount) -> Recall:
    """Return what finds a response in the cache; a cache that does not exist is not created."""
    folder = cache_folder() / "answers"
    if not folder.is_dir():
        return lambda key: None
    answers = AnswerCache(open_cache(folder, warn=account.user.warn), read=account.use_cache, write=False)

    def recall(key: str) -> str | None:
        stored = answers.get(key)
        return None if stored is None else stored.text

    return recall


def _unscored(collected: Collected) -> int:
    return sum(record.status == "unscored" for record in collected.records)


def _tell_collected(collected: Collected, out: Output, *, unscored: int) -> None:
    """Say how a collection went.

    Args:
        collected: What came of it.
        out: Told.
        unscored: Answers without a score of which nothing was said yet.
    """
    failures = sorted(collected.failures.items(), key=lambda item: -item[1])
    for reason, number in failures[:_SHOWN_FAILURES]:
        out.warn(f"{count(number, 'answer')} failed: {one_line(reason, 200)}")
    rest = sum(number for _, number in failures[_SHOWN_FAILURES:])
    if rest:
        out.warn(f"{count(rest, 'answer')} failed for {len(failures) - _SHOWN_FAILURES:,} other reasons; see the bank")
    for (model, how), number in sorted(collected.cut_off.items()):
        out.warn(f"{count(number, 'answer')} of {model} cut off {cut_off_words(how)}")
    if unscored > 0:
        out.note(f"{count(unscored, 'answer')} could not be graded and are unscored, not wrong")
    cost = paid(collected.spending.known_usd, collected.spending.unknown_costs)
    out.note(f"{count(len(collected.records), 'answer')} ({collected.cached:,} cached) for {cost}")
    if collected.stopped is not None:
        out.warn(f"stopped by the budget: {collected.stopped}")


_BASES = {"bank": "mean in the bank", "max_tokens": "max_tokens (worst case)", "model limit": "its limit (worst case)"}
_ROLES = {"expert": "answers", "judge": "grading", "embedding": "embedding"}


def show_forecast(found: CollectionForecast, max_cost: float | None, out: Output) -> None:
    """Show the calls, tokens and dollars to expect."""
    by_batch = any(model.batch_cost_usd is not None for model in found.models)
    titles = ("calls", "in bank", "in cache", "prompt", "completion", "cost", *(("by batch",) if by_batch else ()))
    columns = [Column("model"), Column("for"), *(Column(title, right=True) for title in titles)]
    columns.append(Column("length of an answer"))
    rows = [
        [model.model, _ROLES[model.role], *_cells(asdict(model), by_batch=by_batch), _basis(model)]
        for model in found.models
    ]
    total = found.total()
    if len(found.models) > 1:
        rows.append(["total", "", *_cells(total, by_batch=by_batch), ""])
    out.table(columns, rows)
    asked = count(found.questions, "question")
    out.note(f"{asked}, no model was called; prompt, completion: tokens expected, without retries")
    endless = [model.model for model in found.models if model.completion_tokens is None and model.role != "embedding"]
    if endless:
        names = ", ".join(dict.fromkeys(endless))
        out.note(
            f"how long the answers of {names} may get is not known, nor what they may cost; "
            "params = { max_tokens = … } in the pool file says it"
        )
    expected = total["batch_cost_usd"] if by_batch else total["cost_usd"]
    if max_cost is not None and expected is not None and expected > max_cost:
        out.note(f"--max-cost {max_cost:g} would stop it before the end")


def _basis(model: Forecast) -> str:
    return "" if model.role == "embedding" else _BASES.get(model.length_basis or "", "unknown")


def _cells(row: Mapping[str, Any], *, by_batch: bool) -> list[str]:
    counts = [f"{row[name]:,}" for name in ("calls", "in_bank", "in_cache")]
    tokens = [
        "unknown" if row[name] is None else f"{row[name]:,.0f}" for name in ("prompt_tokens", "completion_tokens")
    ]
    costs = ("cost_usd", *(("batch_cost_usd",) if by_batch else ()))
    return [*counts, *tokens, *(dollars(row[name]) for name in costs)]
