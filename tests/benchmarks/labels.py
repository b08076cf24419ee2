"""Banks without an answer key: what agreement and a few labels are worth beside a full key.

    python -m tests.benchmarks.labels BANK [--models NAMES] [--sizes 200,100,50] [--draws 3] [--labels 30]

BANK has recorded answers, graded, with test rows. Of its train rows some are drawn; the key of these is taken away, and
a bank of them and the test rows is scored by `jisi bank grade --grader agreement`, or by labels of the questions that
`jisi bank label` would ask about, taken from the key. Prints the mean difference on the test rows, in points of Avg, to
the best single model chosen with the full key.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

import jisi_cli as jisi
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.build import BuildOptions, write_bank
from jisi_cli.bank.labels import change_labels
from jisi_cli.bank.manifest import Label
from jisi_cli.bank.score_sources import rows_without_key
from jisi_cli.bank.sources import stage_records
from jisi_cli.bank.update import update_scores
from jisi_cli.bank.vectors import given_vectors
from jisi_cli.collect.agreement import KeylessAnswers, agree_on, read_keyless_answers
from jisi_cli.collect.labelling import most_telling
from jisi_cli.collect.regrade import Regraded
from jisi_cli.formats.record import STATUSES, Key, Record

WIDE = {"n_base": 100, "gamma": 0.7}
Truth = dict[Key, NDArray[np.float64]]


def small_bank(source: Bank, models: Sequence[str], rows: NDArray[np.intp], path: Path, *, keyed: bool) -> None:
    """Build a bank of some train rows and all test rows, with or without the scores of the former."""
    chosen = np.concatenate([rows, source.test_rows])
    vectors = source.vectors_of(chosen), np.stack([source.response_vectors(m)[chosen] for m in models], axis=1)
    places = {source.keys[row]: place for place, row in enumerate(chosen.tolist())}
    held = given_vectors(source.manifest.embedder, *vectors, places, models)
    records = _records(source, models, chosen, frozenset(() if keyed else rows.tolist()))
    write_bank(path, stage_records(records), held, BuildOptions(force=True))


def _records(source: Bank, models: Sequence[str], rows: NDArray[np.intp], hidden: frozenset[int]) -> Iterator[Record]:
    for model in models:
        columns, texts = source.answers(model), source.responses(model)
        for row in rows.tolist():
            question, score = source.questions[row], float(columns.scores[row])
            is_known = not np.isnan(score) and row not in hidden
            status = STATUSES[columns.status_codes[row]]
            yield Record(
                dataset=question.dataset,
                index=question.index,
                query=question.query,
                model=model,
                response=texts[row],
                completion_tokens=int(columns.completion_tokens[row]),
                score=score if is_known else None,
                status="unscored" if status == "ok" and not is_known else status,
                split=question.split or "train",
                grader=question.grader,
                order=question.order,
            )


def truth(source: Bank, models: Sequence[str]) -> Truth:
    """Return what the key says of each question's answers (M,)."""
    scores = np.stack([source.verdicts(model) for model in models], axis=1)
    return dict(zip(source.keys, scores, strict=True))


def label_by_key(finals: KeylessAnswers, place: int, known: Truth) -> Label:
    """Return what somebody who has the key would say: the answer most of whose models are right, or none."""
    question = finals.questions[place]
    scores: dict[int, list[float]] = defaultdict(list)
    for code, score in zip(finals.codes[place].tolist(), known[question.key].tolist(), strict=True):
        if code >= 0 and not np.isnan(score):
            scores[code].append(score)
    best = max(scores, key=lambda code: fmean(scores[code]), default=None)
    is_right = best is not None and fmean(scores[best]) >= 0.5
    return Label(*question.key, finals.texts[place][best] if best is not None and is_right else None)


def score_without_key(path: Path, labels: int, known: Truth) -> float:
    """Score a bank by labels and agreement; return the share of the scores that differ from the key's."""
    bank = Bank(path)
    finals = read_keyless_answers(bank, rows_without_key(bank))
    told = [label_by_key(finals, place, known) for place in most_telling(bank, finals, {})[:labels]]
    change_labels(path, {label.key: label for label in told})
    bank, found = Bank(path), Regraded()
    agree_on(bank, finals, found)
    update_scores(bank, {model: grades.scores for model, grades in found.models.items()}, {}, found.sources)
    after = Bank(path)
    verdicts = np.stack([after.verdicts(model) for model in after.models], axis=1)[finals.rows]
    return float(np.nanmean(np.abs(verdicts - np.stack([known[question.key] for question in finals.questions]))))


def averages(path: Path, methods: Sequence[str]) -> dict[str, float]:
    """Return each method's Avg on the test rows, in percent."""
    rows = jisi.evaluate(path, ["best-single", *methods], **WIDE).methods
    return {row.name: 100 * (row.averages.average or 0.0) for row in rows}


def compare(
    source: Bank, models: Sequence[str], size: int, draws: int, labels: int, methods: Sequence[str], folder: Path
) -> dict[str, list[dict[str, float]]]:
    """Return the differences of each kind of bank, draw by draw."""
    known = truth(source, models)
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for draw in range(draws):
        rows = np.sort(np.random.default_rng(draw).choice(source.train_rows, size, replace=False))
        small_bank(source, models, rows, folder / "full", keyed=True)
        full = averages(folder / "full", methods)
        base = full.pop("best-single")
        found["full key"].append({name: value - base for name, value in full.items()} | {"scores wrong, %": 0.0})
        for kind, number in (("agreement", 0), (f"{labels} labels", labels)):
            small_bank(source, models, rows, folder / "keyless", keyed=False)
            wrong = score_without_key(folder / "keyless", number, known)
            differences = {name: value - base for name, value in averages(folder / "keyless", methods).items()}
            found[kind].append(differences | {"scores wrong, %": 100 * wrong})
            shutil.rmtree(folder / "keyless")
        shutil.rmtree(folder / "full")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("--models", help="only these, separated by commas")
    parser.add_argument("--sizes", default="200,100,50")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--labels", type=int, default=30)
    parser.add_argument("--methods", default="jisi-vote,jisi-cascade")
    options = parser.parse_args(arguments)
    source, methods = Bank(options.bank), options.methods.split(",")
    models = options.models.split(",") if options.models else source.models
    for size in map(int, options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            found = compare(source, sorted(models), size, options.draws, options.labels, methods, Path(folder))
        print(f"{size} questions, {len(models)} models, {options.draws} draws: mean (least)", flush=True)
        for kind, rows in found.items():
            cells = [
                f"{name} {fmean(r[name] for r in rows):+.2f} ({min(r[name] for r in rows):+.2f})" for name in rows[0]
            ]
            print(f"  {kind:12}", *cells, sep="  ", flush=True)


if __name__ == "__main__":
    main()
