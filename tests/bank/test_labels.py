"""Labels in a bank's manifest, and which questions are worth one."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jisi_cli.bank import labels as labels_module
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.labels import change_labels
from jisi_cli.bank.manifest import Label, read_manifest
from jisi_cli.bank.score_sources import rows_without_key
from jisi_cli.collect.agreement import groups_of, normalised, read_keyless_answers
from jisi_cli.collect.labelling import most_telling
from jisi_cli.errors import BankError, InputError
from jisi_cli.formats.record import Question
from tests.bank.making import build, record

ONE, TWO, NONE = Label("sums", "0", "4"), Label("words", "1", skipped=True), Label("sums", "2")


def keyless(path: Path, answers: list[list[str]], **fields: Any) -> Bank:
    """Build a bank without scores, of one answer of each model to each question."""
    names = [f"model-{place}" for place in range(len(answers[0]))]
    said = [
        record(row, name, response=text, score=None, status="unscored", **fields)
        for row, texts in enumerate(answers)
        for name, text in zip(names, texts, strict=True)
    ]
    build(path, said)
    return Bank(path)


def test_labels_are_kept_changed_and_taken_back_and_nothing_else_changes(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    build(path, [record(0)])
    before = (path / "bank.json").read_bytes()
    assert b"labels" not in before
    change_labels(path, {label.key: label for label in (TWO, NONE, ONE)})
    assert read_manifest(path).labels == (ONE, NONE, TWO)
    change_labels(path, {ONE.key: None, TWO.key: Label("words", "1", "x"), ("not", "there"): None})
    assert read_manifest(path).labels == (NONE, Label("words", "1", "x"))
    change_labels(path, {NONE.key: None, TWO.key: None})
    assert (path / "bank.json").read_bytes() == before


def test_what_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    build(path, [record(0)])
    change_labels(path, {ONE.key: ONE})
    when = (path / "bank.json").stat().st_ino
    change_labels(path, {ONE.key: ONE})
    assert (path / "bank.json").stat().st_ino == when


def test_labels_that_would_make_the_manifest_unreadable_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bank"
    build(path, [record(0)])
    monkeypatch.setattr(labels_module, "_MOST_BYTES", 1 << 20)
    many = [Label("sums", str(number), "x" * 20_000) for number in range(60)]
    with pytest.raises(InputError, match="more than 1 MiB"):
        change_labels(path, {label.key: label for label in many})
    assert read_manifest(path).labels == ()


@pytest.mark.parametrize(
    "labels",
    [
        "none",
        ["none"],
        [{"dataset": "sums"}],
        [{"dataset": "sums", "index": 1}],
        [{"dataset": "sums", "index": "1", "answer": 4}],
        [{"dataset": "sums", "index": "1", "answer": "x" * 20_001}],
        [{"dataset": "sums", "index": "1", "skipped": "yes"}],
        [{"dataset": "sums", "index": "1"}, {"dataset": "sums", "index": "1", "answer": "4"}],
    ],
)
def test_a_manifest_with_labels_that_are_none_is_refused(tmp_path: Path, labels: Any) -> None:
    path = tmp_path / "bank"
    build(path, [record(0)])
    manifest = json.loads((path / "bank.json").read_text())
    (path / "bank.json").write_text(json.dumps({**manifest, "labels": labels}))
    with pytest.raises(BankError, match="is not a bank manifest"):
        read_manifest(path)


def test_the_order_is_by_entropy_then_by_nearness_to_all(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    answers = [[f"The answer is {generator.integers(3)}." for _ in range(5)] for _ in range(24)]
    bank = keyless(tmp_path / "bank", answers)
    change_labels(bank.path, {TWO.key: TWO, ONE.key: ONE})
    bank = Bank(bank.path)
    finals = read_keyless_answers(bank, rows_without_key(bank))
    order = most_telling(bank, finals, {label.key: label for label in bank.manifest.labels})

    def key(place: int) -> tuple[bool, float, float]:
        sizes = [group.models / 5 for group in groups_of(finals, place)]
        vectors = bank.query_vectors.astype(np.float64)
        near = float(np.mean(vectors @ vectors[finals.rows[place]]))
        return finals.questions[place].key == TWO.key, sum(p * math.log(p) for p in sizes), -near

    keys = [key(place) for place in order]
    assert len(order) == 23 and keys[-1][0]
    rounded = [(skipped, round(entropy, 9), round(distance, 6)) for skipped, entropy, distance in keys]
    assert rounded == sorted(rounded)


def test_groups_are_the_different_answers_the_most_frequent_first(tmp_path: Path) -> None:
    said = ["The answer is 0.5.", "Hm.", "\\boxed{\\frac{1}{2}}", "The answer is b.", "The answer is a."]
    bank = keyless(tmp_path / "bank", [said])
    finals = read_keyless_answers(bank, rows_without_key(bank))
    assert groups_of(finals, 0) == [("0.5", 2), ("A", 1), ("B", 1)]


@pytest.mark.parametrize(
    ("grader", "typed", "read"),
    [
        (None, "Paris", "paris"),
        (None, "\\frac{1}{2}", "0.5"),
        (None, "b", "B"),
        (None, 'a "quoted" \\ word', 'a "quoted" \\ word'),
        ("numeric", "1,000", "1000"),
        ("choice", "b", "B"),
        ("choice", "neither", None),
        ("exact", "Paris", "Paris"),
        ("math", "1/2", "0.5"),
        ("zeroeval-text", "[1, 2]", "[1, 2]"),
        ("contains", "Paris", "paris"),
        ("somebody-elses", "Paris", "paris"),
        ("agreement", "7.0", "7"),
    ],
)
def test_a_label_is_read_as_an_answer_to_its_question_is(grader: str | None, typed: str, read: str | None) -> None:
    assert normalised(typed, Question("d", "1", "q", grader=grader)) == read


def test_labels_that_replace_others_say_which(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    build(path, [record(0)])
    change_labels(path, {ONE.key: ONE, TWO.key: TWO})
    other = replace(ONE, answer="another")
    manifest, replaced = change_labels(path, {ONE.key: other, TWO.key: TWO})
    assert replaced == {ONE.key: ONE}
    assert set(manifest.labels) == {other, TWO}
    manifest, others = change_labels(path, {ONE.key: ONE}, known={})
    assert others == {ONE.key: other} and set(manifest.labels) == {other, TWO}
