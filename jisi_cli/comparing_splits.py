"""Comparing methods on several splits of one bank: each is fitted and tested again on other rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.resplit import PAPER_FRACTION, ResplitBank
from jisi_cli.comparing import made_of, open_for, refuse_unused, settings_of
from jisi_cli.errors import InputError
from jisi_cli.evaluation.entries import BASELINE, BOUND, DEFAULT, make_entries, variants
from jisi_cli.evaluation.one_question import Entry
from jisi_cli.evaluation.runner import Ran, run_entries
from jisi_cli.evaluation.sources import TestReader
from jisi_cli.evaluation.splits import Split, SplitComparison, summarise
from jisi_cli.evaluation.test_set import TestSet
from jisi_cli.jisi import Jisi
from jisi_cli.methods.context import BankRows
from jisi_cli.types import LARGEST_SEED
from jisi_cli.user import ImportIssues, OnProgress, ShowProgress
from jisi_cli.workers import Workers

"""Shows how far a split is, as long as the context is open."""


def evaluate_splits(
    splits: int = 5,
    methods: Sequence[str] | str | None = None,
    *,
    jisi: Jisi | None = None,
    versus: Sequence[str] | str = (),
    out: Path | str | None = None,
    datasets: Sequence[str] | None = None,
    limit: int | None = None,
    **options: Any,  # noqa: ANN401 - as `Jisi` takes them
) -> SplitComparison:
    """Compare methods on several splits of a bank's recorded answers.

    All questions of the bank take part, whatever split it was built with. Each split draws train and test rows again by
    the paper's rule, the first with `seed` (by default 42), the next ones with the numbers that follow; methods are
    made from its train rows alone.

    Example:
        >>> import jisi_cli as jisi
        >>> comparison = jisi.evaluate_splits(5, ["jisi-vote"], bank="sample_data/bank")
        >>> [(row.overall.name, row.overall.averages.average, row.spread) for row in comparison.methods]

    Args:
        splits: How many, at least 2.
        methods: Methods by name, or `all`; None for a usual choice.
        jisi: What is open already; None opens it with `options`, and closes it.
        versus: Methods that all are compared with, besides `best-single`.
        out: A file with one line per split, question and method, which a later run resumes.
        datasets: Test only questions of these data sets.
        limit: Test questions per data set and split.
        **options: Of `Jisi`.

    Raises:
        InputError: A method or an option cannot be used, or test rows have no recorded answers.
        BankError: The bank cannot be used.
    """
    with nullcontext(jisi) if jisi is not None else open_for(None, live=False, **options) as opened:
        run = SplitRun(
            opened,
            splits,
            usual_methods(methods),
            versus=(versus,) if isinstance(versus, str) else versus,
            out=None if out is None else Path(out),
            datasets=datasets,
            limit=limit,
        )
        return run.summary(list(run.finished()))


def usual_methods(methods: Sequence[str] | str | None) -> Sequence[str]:
    """Return the methods that were asked for; those of every replay where none was."""
    return (*DEFAULT, BOUND) if methods is None else (methods,) if isinstance(methods, str) else methods


@dataclass(frozen=True)
class SplitRun:
    """A comparison on several splits, one after another, of which the finished ones can be summarised at any time.

    Attributes:
        jisi: What is open.
        splits: How many.
        methods: Methods by name, or `all`.
        versus: Methods that all are compared with, besides `best-single`.
        out: The file of results; None keeps them in memory.
        datasets: Test only questions of these data sets.
        limit: Test questions per data set and split.
        on_entries: Told the names of the rows of each split before anything is run.
        progress: Shows how many methods of a split are done.
    """

    jisi: Jisi
    splits: int
    methods: Sequence[str]
    versus: Sequence[str] = ()
    out: Path | None = None
    datasets: Sequence[str] | None = None
    limit: int | None = None
    on_entries: Callable[[Sequence[str]], object] | None = None
    progress: ShowProgress = lambda what: nullcontext()

    @property
    def seeds(self) -> range:
        """Seeds of the splits.

        Raises:
            InputError: There are fewer than two, or no such seeds.
        """
        first, end = self.jisi.seed, self.jisi.seed + self.splits
        if self.splits < 2:
            raise InputError(f"--splits compares 2 splits or more, not {self.splits}; leave it out for the bank's own")
        if end - 1 > LARGEST_SEED:
            raise InputError(f"--splits {self.splits} from --seed {first} goes beyond the largest seed {LARGEST_SEED}")
        return range(first, end)

    @property
    def fraction(self) -> float:
        """Share of train rows: that of the bank's own split, the paper's where it has none."""
        rule = self.jisi.bank.manifest.split
        return PAPER_FRACTION if rule is None else rule.fraction

    def finished(self) -> Iterator[Split]:
        """Run the methods and yield each split when it is finished.

        Raises:
            InputError: The splits or a method cannot be made, or test rows have no recorded answers.
            BankError: A split leaves no train row.
        """
        bank, user, seeds = self.jisi.bank, self.jisi.user, self.seeds
        if len(bank.test_rows):
            self._require_answers(bank)
        if bank.manifest.hyperparameters:
            user.warn(
                f"{bank.path}: its settings were calibrated on rows that some splits test on; they flatter the methods "
                "that use them"
            )
        with self.jisi.account.workers() as workers:
            for number, seed in enumerate(seeds, start=1):
                split = self._run(ResplitBank(bank, self.fraction, seed), number, workers)
                rows = f"{split.train:,} train and {split.test:,} test questions"
                user.note(f"split {number} of {len(seeds)}, seed {seed}: {rows}")
                yield split

    def summary(self, finished: Sequence[Split]) -> SplitComparison:
        """Summarise finished splits, one or more."""
        others = tuple(dict.fromkeys((BASELINE, *self.versus)))
        rows = summarise(finished, others, np.random.default_rng(self.jisi.seed))
        tested = {(row.dataset, row.index) for split in finished for row in split.rows}
        made = made_of(self.jisi, len(tested), str(self.jisi.bank.path))
        made["split"] = {"fraction": self.fraction, "seeds": [split.seed for split in finished]}
        made["splits"] = [{"seed": split.seed, "train": split.train, "test": split.test} for split in finished]
        return SplitComparison(rows, finished, made)

    def _run(self, bank: ResplitBank, number: int, workers: Workers | None) -> Split:
        self._require_train(bank)
        self._require_answers(bank)
        jisi, tests = self.jisi, self._tests(bank, number)
        rows = BankRows(bank, jisi.models, jisi.opened.prices)
        context = replace(jisi.configured.context, bank=bank.arrays(jisi.models), rows=rows)
        compared = variants(context, bank, self.methods, self.versus)
        refuse_unused(jisi.configured.stated, [variant.method for variant in compared])
        entries = make_entries(
            compared,
            bank,
            jisi.models,
            "replay",
            live=False,
            required=lambda name: "all" not in self.methods or name in {*self.methods, *self.versus},
            training=jisi.user.training,
            on_left_out=_first_time(jisi.user.note, number),
        )
        if self.on_entries is not None:
            self.on_entries([entry.name for entry in entries])
        with self.progress(f"split {number} of {self.splits}") as on_progress:
            ran = jisi.account.background.run(self._replay(bank, entries, tests, on_progress, workers))
        settings = {entry.name: settings_of(jisi, entry) for entry in entries}
        return Split(bank.seed, ran.results, ran.timings, len(bank.train_rows), settings)

    def _tests(self, bank: ResplitBank, number: int) -> TestSet:
        jisi = self.jisi
        embedder = lambda: jisi.opened.query_embedder  # noqa: E731 - never loaded: all questions have vectors
        warn = _first_time(jisi.user.warn, number)
        reader = TestReader(bank, jisi.models, embedder, jisi.opened.prices, warn, self.datasets, self.limit)
        tests = reader.read(None, None, ImportIssues(jisi.user, strict=False), live=False)
        return replace(tests, split=bank.seed)

    async def _replay(
        self,
        bank: ResplitBank,
        entries: Sequence[Entry],
        tests: TestSet,
        on_progress: OnProgress | None,
        workers: Workers | None,
    ) -> Ran:
        train = [bank.keys[row] for row in bank.train_rows.tolist()]
        total, done = sum(not entry.needs_live for entry in entries), count(1)

        def on_ran(words: str) -> None:
            self.jisi.user.detail(words)
            if on_progress is not None:
                on_progress(next(done), total)

        if on_progress is not None:
            on_progress(0, total)
        return await run_entries(entries, tests, tests.pool, out=self.out, train=train, on_ran=on_ran, workers=workers)

    def _require_train(self, bank: Bank) -> None:
        """Refuse a split without train rows: of each data set it takes a share, rounded down.

        Raises:
            InputError: Every data set is too small.
        """
        if not len(bank.train_rows):
            least = next(size for size in count(1) if int(self.fraction * size))
            raise InputError(
                f"{bank.path}: a split of {self.fraction:g} leaves no train question, since every data set has fewer "
                f"than {least}; add questions with `jisi bank build --append`, or build the bank again with one "
                "`dataset` for questions that belong together"
            )

    def _require_answers(self, bank: Bank) -> None:
        """Refuse to test on rows that no recorded answer scores.

        Raises:
            InputError: The test rows of a bank are such, or there are none.
        """
        models, rows = self.jisi.models, bank.test_rows
        if not len(rows):
            raise InputError(f"{bank.path}: a split leaves no test rows; it holds too few questions")
        if all(np.isnan(bank.verdicts(model)[rows]).all() for model in models):
            raise InputError(
                f"{bank.path}: its test rows have no recorded answers with a score, so that no split can be tested; "
                "grade them with `jisi bank grade`, or add answers with `jisi bank build --append`"
            )


def _first_time(tell: Callable[[str], None], number: int) -> Callable[[str], None]:
    """Return what tells something of the first split alone: it is true of the others, too."""
    return tell if number == 1 else lambda text: None
