"""What `jisi bank build` does: read or collect answers, embed them, write the bank; and its forecast."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jisi_cli.background import run_calls
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.build import (
    BUILDING,
    BuildOptions,
    BuildReport,
    check_target,
    require_embedder,
    reserved,
    write_bank,
)
from jisi_cli.bank.lock import exclusive
from jisi_cli.bank.manifest import read_manifest
from jisi_cli.bank.sources import (
    ReadSources,
    Selection,
    read_sources,
    release_with_vectors,
    stage_records,
)
from jisi_cli.bank.staging import write_jisi
from jisi_cli.bank.update import update_scores
from jisi_cli.bank.vectors import EmbeddedVectors, VectorSource, read_given_vectors, read_released_vectors
from jisi_cli.cli.grading import agreed, note_agreement, note_grading
from jisi_cli.cli.output import Column, Output, count, dollars, one_line, paid
from jisi_cli.cli.progress import collection_bar, counted, embedding_bar
from jisi_cli.collect.batched import Batched, ask_by_batch, under_way
from jisi_cli.collect.collect import (
    Collected,
    EmbeddingReserve,
    Pair,
    check_graders,
    chosen_models,
    chosen_questions,
    collect,
    known_answers,
    pairs_of,
)
from jisi_cli.collect.forecast import CollectionForecast, Forecast, Recall, forecast_collection
from jisi_cli.collect.question_sources import QuestionSources
from jisi_cli.collect.regrade import Regraded
from jisi_cli.config import Config
from jisi_cli.embed.kinds.litellm import TEXTS_PER_REQUEST
from jisi_cli.embed.protocol import LONGEST_PROMPT, EmbedderSpec
from jisi_cli.embed.registry import PinError, load_embedder, pinned
from jisi_cli.errors import BankError, BudgetError, InputError, NoAnswerError
from jisi_cli.files import ANSWERS, require_output
from jisi_cli.formats.record import Question, Record, ScoreSource
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import GradingOptions, compares_models
from jisi_cli.models.batch.terms import batch_share, require_batch
from jisi_cli.models.cache import AnswerCache
from jisi_cli.models.json_disk import open_cache
from jisi_cli.models.keys import missing_key
from jisi_cli.models.replay import ReplayPool
from jisi_cli.paths import cache_folder
from jisi_cli.spending import RunAccount, endpoint_entry, judges_of, offer_the_offline_pool, require_models
from jisi_cli.types import cut_off_words
from jisi_cli.user import EmbedderChoice, ImportIssues, require_consent

if TYPE_CHECKING:
    from jisi_cli.embed.account import EmbeddingAccount
    from jisi_cli.models.live import LivePool

_SHOWN_CONFLICTS = 10
_SHOWN_FAILURES = 5
_WORD = "a"


@dataclass(frozen=True, slots=True)
class EmbedderFlags:
    """What the command line says about the embedder of a build.

    Attributes:
        spec: name, max_tokens, truncation and prompt; None where a flag was not given.
        trust: `--trust-embedder`.
        vectors: A file of vectors, so that nothing is embedded.
        device: Where to embed.
        batch_size: Texts embedded at once.
    """

    spec: Mapping[str, Any]
    trust: bool = False
    vectors: Path | None = None
    device: str | None = None
    batch_size: int | None = None

    def named(self, config: Config, recorded: EmbedderSpec | None) -> EmbedderSpec:
        """Return the embedder that the flags name, else that of the extended bank or the configuration, or `minilm`.

        Raises:
            InputError: A value is not of its kind.
        """
        given = {key: value for key, value in self.spec.items() if value is not None}
        if recorded is not None and not given:
            # An extended bank keeps its embedder; what the command line names must agree with it.
            return recorded
        chosen = {"name": "minilm", **config.embedder, **given}
        if chosen.get("truncation", "head") not in ("head", "tail"):
            raise InputError(f"the truncation of the embedder must be head or tail, not {chosen['truncation']!r}")
        if len(chosen.get("prompt") or "") > LONGEST_PROMPT:
            raise InputError(f"the prompt of the embedder is longer than {LONGEST_PROMPT:,} characters; shorten it")
        return EmbedderSpec(**chosen)

    def allowed(self, config: Config, bank: Path, recorded: EmbedderSpec | None) -> EmbedderSpec:
        """Return the same embedder, which the user must have named or allowed.

        Raises:
            BankError: Neither is so.
        """
        spec = self.named(config, recorded)
        source = bank if spec is recorded else config.path or bank
        EmbedderChoice(self.spec.get("name"), self.trust).consent(config).require(spec, source)
        return spec


@dataclass(frozen=True, slots=True)
class Build:
    """One build: its command line in parts that belong together, and what it works with.

    Attributes:
        sources: Files and folders of answers, or with `call` of questions.
        asked: With `call`, where all questions come from.
        bank: The bank's folder.
        options: How it is written.
        selection: Which records enter; of a collection, which models are asked which questions.
        embedder: What the command line says about the embedder.
        format: Format of recorded answers; None detects it.
        grading: How collected answers are graded; of recorded ones, by agreement alone.
        call: Whether models are asked, instead of recorded answers being read.
        retry_failed: Ask again what the bank holds as failed.
        save_answers: Where the answers are written as JSONL, too.
        account: How models are called, and what that may cost.
        problems: Told of lines that cannot be used.
        out: Where notes go.
        feedback: Whether what people said of answers is taken in, instead of sources.
        by_batch: Whether models are asked through their providers' batch endpoints.
    """

    sources: Sequence[Path]
    asked: QuestionSources
    bank: Path
    options: BuildOptions
    selection: Selection
    embedder: EmbedderFlags
    format: str | None
    grading: GradingOptions
    call: bool
    retry_failed: bool
    save_answers: Path | None
    account: RunAccount
    problems: ImportIssues
    out: Output
    feedback: bool = False
    by_batch: bool = False

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.account.config

    def check(self) -> None:
        """Refuse what cannot be built, before any work is done.

        Raises:
            InputError: Another file is in the way, or a source would be replaced.
            BankError: There is no bank to extend.
        """
        check_target(self.bank, self.options, self.sources)
        if self.save_answers is not None:
            require_output(self.save_answers, ANSWERS, self.sources, (self.bank,))

    def run(self) -> BuildReport:
        """Read or collect the answers and write the bank.

        Raises:
            InputError: A source or an option cannot be used.
            BankError: The bank to extend is missing, broken or of another embedder, or another build is at work.
            BudgetError: A budget stopped it; what was answered is in the bank or the cache.
        """
        self.check()
        with reserved(self.bank, self.options):
            # A cluster that cannot be joined, an embedder that is missing, or is not the bank's, must show before calls
            # are paid for.
            _ = self.account.cluster
            vectors, account = self._vectors()
            if self.feedback:
                return self._take_feedback(vectors)
            found, stopped = self._collected(account) if self.call else (self._read(vectors), None)
            self.problems.summarise()
            if self.save_answers is not None:
                write_jisi(self.save_answers, found.staging, self.sources)
            if self.account.budget is not None:
                self.account.budget.release_held()
            report = self._write(found, vectors)
            report = self._agree(report)
        self._tell(report)
        if stopped is not None:
            raise BudgetError(f"{self.bank} holds what the budget allowed; extend it with --append --call: {stopped}")
        self.account.check()
        return report

    def forecast(self) -> CollectionForecast:
        """Work out what a build would ask; no model is called and nothing is written.

        Raises:
            InputError: There are no questions to ask, or an option cannot be used.
            BankError: The bank to extend cannot be opened.
        """
        if not self.call:
            raise InputError("--dry-run tells what --call would ask; give both, or leave it out")
        require_models(self.config)
        self.check()
        models = self._chosen_models()
        questions = self._questions()
        self.problems.summarise()
        # No grader is run; a judge only has to be in the pool.
        names = [entry.name for entry in self.config.models]
        check_graders(questions, GraderSet(self.grading, ReplayPool({}, names)))
        judges_of(self.grading, self.config)
        bank = Bank(self.bank) if self.options.append else None
        spec = self.embedder.allowed(self.config, self.bank, None if bank is None else bank.manifest.embedder)
        found = forecast_collection(
            questions,
            self.config.models,
            models,
            bank=bank,
            retry_failed=self.retry_failed,
            grading=self.grading,
            recall=_recall(self.account),
            embedder=None if self.embedder.vectors is not None else endpoint_entry(spec, self.config),
            per_request=self.embedder.batch_size or TEXTS_PER_REQUEST,
            share=batch_share if self.by_batch else None,
        )
        return replace(found, missing_keys=self.account.missing_keys([*models, *self.grading.judges()]))

    def _vectors(self) -> tuple[VectorSource, EmbeddingAccount | None]:
        """Return where vectors come from, and what pays for them where an endpoint makes them."""
        recorded = read_manifest(self.bank).embedder if self.options.append else None
        try:
            account = None
            vectors = self._precomputed(recorded)
            if vectors is None:
                vectors, account = self._embedded(recorded)
        except PinError as error:
            if recorded is None:
                raise
            raise BankError(f"{self.bank}: {error}; install that one, or build the bank again with --force") from error
        if recorded is not None:
            require_embedder(self.bank, recorded, vectors.spec)
        if account is not None and isinstance(vectors, EmbeddedVectors):
            # An address or a key that is wrong costs one word now instead of a collection without vectors.
            vectors.embedder.embed([_WORD])
        return vectors, account

    def _embedded(self, recorded: EmbedderSpec | None) -> tuple[EmbeddedVectors, EmbeddingAccount | None]:
        spec = self.embedder.allowed(self.config, self.bank, recorded)
        entry = endpoint_entry(spec, self.config)
        if entry is not None:
            require_consent(self.config, [entry], self.out)
        account = None if entry is None else self.account.embedding_account(entry)
        embedder = load_embedder(
            spec,
            device=self.embedder.device,
            batch_size=self.embedder.batch_size,
            api_base=self.config.endpoint.api_base,
            api_key_env=self.config.endpoint.api_key_env,
            account=account,
        )
        elsewhere = None
        if entry is None:
            elsewhere = self.account.embedding(embedder.spec, self.embedder.device, self.embedder.batch_size)
        return EmbeddedVectors(embedder, elsewhere), account

    def _precomputed(self, recorded: EmbedderSpec | None) -> VectorSource | None:
        """Return vectors that come with the answers, so that no embedder is loaded or called; None for none."""
        if self.embedder.vectors is not None:
            return read_given_vectors(self.embedder.vectors, pinned(self.embedder.named(self.config, recorded)))
        release = None if self.call else release_with_vectors(self.sources, self.format)
        if release is None:
            return None
        if recorded is None and not (self.embedder.spec.get("name") or self.config.embedder.get("name")):
            raise InputError(
                f"{release}: it does not say which embedder made its vectors; name it with --embedder (the paper's is "
                "Alibaba-NLP/gte-Qwen2-7B-instruct), or move the .tar files away to embed the texts anew"
            )
        return read_released_vectors(release, pinned(self.embedder.named(self.config, recorded)))

    def _read(self, vectors: VectorSource) -> ReadSources:
        """Read recorded answers; no model is called, and what given vectors do not cover is left out."""
        found = read_sources(
            self.sources,
            format=self.format,
            columns=self.asked.columns,
            selection=self.selection,
            covers=vectors.covers,
            on_issue=self.problems,
            folder=self.bank / BUILDING,
        )
        for source, plain in zip(found.described, found.plain, strict=True):
            self.out.detail(f"{source.name}: {plain:,} of {count(source.records, 'answer')} read a column at a time")
        if found.left_out:
            self.out.warn(
                f"{count(found.left_out, 'test question')} left out: the release has no vectors of them "
                "(test_query_embed.tar); `jisi eval …/test.jsonl --bank` embeds them when it tests with them"
            )
        return found

    def _take_feedback(self, vectors: VectorSource) -> BuildReport:
        """Move what people said of answers from the inbox into the bank.

        Raises:
            InputError: Nothing is waiting that the bank could learn from.
        """
        from jisi_cli.history.feedback import Inbox
        from jisi_cli.history.to_bank import take

        inbox = Inbox()
        try:
            waiting, models = inbox.waiting(), read_manifest(self.bank).models
            taken = run_calls(take(waiting, models))
            if not taken.pieces:
                about = f", and {len(waiting):,} are about models that {self.bank} lacks" if waiting else ""
                raise InputError(
                    f"no feedback is waiting{about}; `jisi feedback last good` says what an answer was worth"
                )
            report = self._write(taken.sources, vectors)
            self._correct(taken.records)
            # Only now: after a kill in between, the same rows are known already, and nothing is there twice.
            inbox.remove(taken.pieces)
        finally:
            inbox.close()
        if taken.left:
            self.out.note(f"{taken.left:,} about models that {self.bank} lacks stay in the inbox")
        unscored = sum(record.score is None for record in taken.records)
        if unscored:
            self.out.note(
                f"{count(unscored, 'answer')} could not be graded by their reference; jisi bank grade --grader"
            )
        self._tell(report)
        return report

    def _correct(self, said: Sequence[Record]) -> None:
        """Give rows that the bank had already what was said last of their answers."""
        with exclusive(self.bank, self._wait):
            bank = Bank(self.bank)
            rows = {key: row for row, key in enumerate(bank.keys)}
            changed: dict[str, dict[int, float | None]] = defaultdict(dict)
            sources: dict[int, ScoreSource] = {}
            for record in said:
                row = rows.get((record.dataset, record.index))
                if row is not None and record.score not in (None, bank.answers(record.model).scores[row]):
                    changed[record.model][row], sources[row] = record.score, record.scored_by
            if changed:
                update_scores(bank, changed, {}, sources)

    def _questions(self) -> list[Question]:
        """Return the questions of all sources, filtered, in the order of the sources.

        Raises:
            InputError: There is none.
        """
        found = self.asked.read(self.problems)
        questions = chosen_questions(found, self.selection.datasets, self.selection.limit)
        if not questions:
            raise InputError("the sources hold no question to ask; each line needs `query`")
        return questions

    def _collected(self, account: EmbeddingAccount | None) -> tuple[ReadSources, str | None]:
        """Ask the pool what the bank does not know yet; return it, and why a budget stopped the collection."""
        models = self._chosen_models()
        grading, questions = self.grading, self._questions()
        known = known_answers(Bank(self.bank), retry_failed=self.retry_failed) if self.options.append else set()
        callees = [*models, *judges_of(grading, self.config)]
        self.account.require_consent(callees)
        models = self._callable(models)
        reserve = EmbeddingReserve(self.account.budget, None if account is None else account.worst_case)
        pairs = pairs_of(questions, models, known)
        collected, told = run_calls(self._ask(pairs, callees, grading, reserve))
        compared = any(compares_models(grading.spec_for(question)) for question in questions)
        _tell_collected(collected, self.out, unscored=0 if compared else _unscored(collected) - told)
        if collected.stopped is not None and not collected.records:
            raise BudgetError(collected.stopped)
        if collected.refused and not collected.records and not known:
            raise NoAnswerError("no model could be asked; nothing was built")
        if collected.records and all(record.status == "failed" for record in collected.records):
            error = NoAnswerError(f"none of {count(len(collected.records), 'call')} was answered; nothing was built")
            raise offer_the_offline_pool(error, self.config, sorted({record.model for record in collected.records}))
        sources = self.asked.described(len(collected.records))
        return ReadSources(stage_records(collected.records), sources, 0), collected.stopped

    def _chosen_models(self) -> list[str]:
        """Return the models to ask.

        Raises:
            InputError: The pool lacks one, or one cannot be asked by batch.
        """
        models = chosen_models(self.selection.models, self.config.models)
        if self.by_batch:
            require_batch([entry for entry in self.config.models if entry.name in models])
        return models

    def _callable(self, models: Sequence[str]) -> list[str]:
        """Return the models that have a key, before any is paid.

        Raises:
            NoAnswerError: None has one.
            InputError: A judge has none, so that the answers that were paid for would stay without a score.
        """
        for entry in self.config.models:
            if entry.name in self.grading.judges() and (variable := missing_key(entry)) is not None:
                raise InputError(f"the judge `{entry.name}` has no key; set {variable} in the environment")
        return self.account.with_keys(models)

    async def _ask(
        self,
        pairs: Sequence[Pair],
        callees: Sequence[str],
        grading: GradingOptions,
        reserve: EmbeddingReserve,
    ) -> tuple[Collected, int]:
        """Ask, and say how grading went; also returns how many answers it said have no score, and why."""
        reserve.hold_back(question.query for question, _ in pairs)
        async with self.account.pool(callees) as pool:
            with GraderSet(grading, pool) as graders:
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

    def _write(self, found: ReadSources, vectors: VectorSource) -> BuildReport:
        try:
            with embedding_bar(self.out) as on_progress:
                return write_bank(
                    self.bank,
                    found.staging,
                    vectors,
                    self.options,
                    found.described,
                    on_progress,
                    on_wait=self._wait,
                    is_reserved=not self.options.append,
                )
        except BudgetError as error:
            raise BudgetError(
                f"{self.bank} was not written: embedding stopped, and what was embedded and answered is kept; "
                f"run the same command with a higher --max-cost: {error}"
            ) from error

    def _agree(self, report: BuildReport) -> BuildReport:
        """Score what is to be scored by agreement, now that all answers are in the bank."""
        chosen = self.grading if self.call else self.grading.only_comparing()
        if not self.call and chosen == GradingOptions():
            return report
        with nullcontext() if not self.options.append else exclusive(self.bank, self._wait):
            bank, found = Bank(self.bank), Regraded()
            scores = agreed(bank, chosen, found, self.out)
            if scores is None:
                return report
            changed = {model: grades.scores for model, grades in found.models.items()}
            manifest = update_scores(bank, changed, {}, found.sources) if found.changed else bank.manifest
        note_agreement(self.bank, scores, self.out)
        return replace(report, manifest=manifest, agreement=scores.to_json())

    def _wait(self) -> None:
        self.out.note(f"another build is at work on {self.bank}; waiting for it")

    def _tell(self, report: BuildReport) -> None:
        for conflict in report.conflicts[:_SHOWN_CONFLICTS]:
            self.out.warn(f"left out: {conflict}")
        if len(report.conflicts) > _SHOWN_CONFLICTS:
            more = count(len(report.conflicts) - _SHOWN_CONFLICTS, "more record")
            self.out.warn(f"left out: {more} for such reasons")
        EmbedderChoice().mention(report.manifest.embedder, self.config, self.out)


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
