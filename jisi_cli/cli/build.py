"""What `jisi bank build` does: read or collect answers, embed them, write the bank."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jisi_cli.background import run_calls
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.build import BUILDING, BuildOptions, BuildReport, check_target, reserved, write_bank
from jisi_cli.bank.lock import exclusive
from jisi_cli.bank.manifest import read_manifest
from jisi_cli.bank.sources import ReadSources, Selection, read_sources, release_with_vectors
from jisi_cli.bank.staging import write_jisi
from jisi_cli.bank.vectors import VectorSource
from jisi_cli.callees import require_models
from jisi_cli.cli.build_vectors import EmbedderFlags, open_vectors
from jisi_cli.cli.output import Output, count
from jisi_cli.cli.progress import embedding_bar
from jisi_cli.errors import BudgetError, InputError
from jisi_cli.files import ANSWERS, require_output
from jisi_cli.formats.column_map import ColumnMap
from jisi_cli.grading.registry import GradingOptions
from jisi_cli.spending import RunAccount
from jisi_cli.user import EmbedderChoice, ImportIssues

# Imported where they are used: they load graders and what calls models, which a build of recorded answers does without.
if TYPE_CHECKING:
    from jisi_cli.cli.build_collection import Collection
    from jisi_cli.collect.forecast import CollectionForecast

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
