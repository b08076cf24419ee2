"""What `jisi bank build` does: read or collect answers, embed them, write the bank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
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
from jisi_cli.bank.sources import ReadSources, Selection, read_sources, release_with_vectors
from jisi_cli.bank.staging import write_jisi
from jisi_cli.bank.vectors import EmbeddedVectors, VectorSource, read_given_vectors, read_released_vectors
from jisi_cli.callees import endpoint_entry, require_models
from jisi_cli.cli.output import Output, count
from jisi_cli.cli.progress import embedding_bar
from jisi_cli.config import Config
from jisi_cli.embed.protocol import LONGEST_PROMPT, EmbedderSpec
from jisi_cli.embed.registry import PinError, load_embedder, pinned
from jisi_cli.errors import BankError, BudgetError, InputError
from jisi_cli.files import ANSWERS, require_output
from jisi_cli.formats.column_map import ColumnMap
from jisi_cli.grading.registry import GradingOptions
from jisi_cli.spending import RunAccount
from jisi_cli.user import EmbedderChoice, ImportIssues, require_consent

# Imported where they are used: they load graders and what calls models; a build of recorded answers needs neither.
if TYPE_CHECKING:
    from jisi_cli.cli.build_collection import Collection
    from jisi_cli.collect.forecast import CollectionForecast
    from jisi_cli.embed.account import EmbeddingAccount


_SHOWN_CONFLICTS = 10


@dataclass(frozen=True, slots=True)
class Build:
    """One build: its command line in parts that belong together, and what it works with.

    Attributes:
        sources: Files and folders of answers, or of questions.
        columns: Which columns of them hold what.
        format: Format of recorded answers; None detects it.
        selection: Which records enter.
        collection: Answers to collect from models; None reads recorded ones.
        feedback: Whether what people said of answers is taken in, instead of sources.
        bank: The bank's folder.
        options: How it is written.
        embedder: What the command line says about the embedder.
        grading: How collected answers are graded; of recorded ones, by agreement alone.
        save_answers: Where the answers are written as JSONL, too.
        account: How models are called, and what that may cost.
        problems: Told of lines that cannot be used.
        out: Where notes go.
    """

    sources: Sequence[Path]
    columns: ColumnMap
    format: str | None
    selection: Selection
    collection: Collection | None
    feedback: bool
    bank: Path
    options: BuildOptions
    embedder: EmbedderFlags
    grading: GradingOptions
    save_answers: Path | None
    account: RunAccount
    problems: ImportIssues
    out: Output

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
            recorded = read_manifest(self.bank).embedder if self.options.append else None
            vectors, paid = open_vectors(self.embedder, self.bank, recorded, self._release(), self.account, self.out)
            if self.feedback:
                return self._take_feedback(vectors)
            found, stopped = (self._read(vectors), None) if self.collection is None else self.collection.run(paid)
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
        if self.collection is None:
            raise InputError("--dry-run shows what --call would ask; give both, or leave it out")
        require_models(self.account.config)
        self.check()
        return self.collection.forecast(self.embedder)

    def _release(self) -> Path | None:
        """Return recorded answers that come with vectors; None for none, or where they are not needed."""
        if self.collection is not None or self.embedder.vectors is not None:
            return None
        return release_with_vectors(self.sources, self.format)

    def _read(self, vectors: VectorSource) -> ReadSources:
        """Read recorded answers; no model is called, and what given vectors do not cover is left out."""
        found = read_sources(
            self.sources,
            format=self.format,
            columns=self.columns,
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
        from jisi_cli.history.to_bank import correct, take

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
            correct(self.bank, taken.records, self._wait)
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
        chosen = self.grading if self.collection is not None else self.grading.only_comparing()
        if self.collection is None and chosen == GradingOptions():
            return report
        from jisi_cli.bank.update import update_scores
        from jisi_cli.cli.grading import agreed, note_agreement
        from jisi_cli.collect.regrade import Regraded

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
        EmbedderChoice().mention(report.manifest.embedder, self.account.config, self.out)


# Where its vectors come from: an embedder, a file, or a release that comes with its own.

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


def open_vectors(
    flags: EmbedderFlags,
    bank: Path,
    recorded: EmbedderSpec | None,
    release: Path | None,
    account: RunAccount,
    out: Output,
) -> tuple[VectorSource, EmbeddingAccount | None]:
    """Return where vectors come from, and what pays for them if an endpoint makes them.

    Args:
        flags: What the command line says about the embedder.
        bank: The bank's folder.
        recorded: The embedder of the bank that is extended; None for a new bank.
        release: Recorded answers that come with vectors; None for none.
        account: What an endpoint may cost.
        out: Where notes go.

    Raises:
        InputError: The vectors or the embedder cannot be used.
        BankError: The embedder is not the bank's, or was not allowed.
    """
    try:
        paid = None
        vectors = _precomputed(flags, account.config, recorded, release)
        if vectors is None:
            vectors, paid = _embedded(flags, bank, recorded, account, out)
    except PinError as error:
        if recorded is None:
            raise
        raise BankError(f"{bank}: {error}; install that one, or build the bank again with --force") from error
    if recorded is not None:
        require_embedder(bank, recorded, vectors.spec)
    if paid is not None and isinstance(vectors, EmbeddedVectors):
        # An address or a key that is wrong costs one word now instead of a collection without vectors.
        vectors.embedder.embed([_WORD])
    return vectors, paid


def _embedded(
    flags: EmbedderFlags, bank: Path, recorded: EmbedderSpec | None, account: RunAccount, out: Output
) -> tuple[EmbeddedVectors, EmbeddingAccount | None]:
    config = account.config
    spec = flags.allowed(config, bank, recorded)
    entry = endpoint_entry(spec, config)
    if entry is not None:
        require_consent(config, [entry], out)
    paid = None if entry is None else account.embedding_account(entry)
    embedder = load_embedder(
        spec,
        device=flags.device,
        batch_size=flags.batch_size,
        api_base=config.endpoint.api_base,
        api_key_env=config.endpoint.api_key_env,
        account=paid,
    )
    elsewhere = account.embedding(embedder.spec, flags.device, flags.batch_size) if entry is None else None
    return EmbeddedVectors(embedder, elsewhere), paid


def _precomputed(
    flags: EmbedderFlags, config: Config, recorded: EmbedderSpec | None, release: Path | None
) -> VectorSource | None:
    """Return vectors that come with the answers, so that no embedder is loaded or called; None for none."""
    if flags.vectors is not None:
        return read_given_vectors(flags.vectors, pinned(flags.named(config, recorded)))
    if release is None:
        return None
    if recorded is None and not (flags.spec.get("name") or config.embedder.get("name")):
        raise InputError(
            f"{release}: it does not say which embedder made its vectors; name it with --embedder (the paper's is "
            "Alibaba-NLP/gte-Qwen2-7B-instruct), or move the .tar files away to embed the texts again"
        )
    return read_released_vectors(release, pinned(flags.named(config, recorded)))
