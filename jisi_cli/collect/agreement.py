"""Scores of a bank without an answer key: by a person's labels, and by what the models agree on."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import LONGEST_LABEL, Label
from jisi_cli.collect.collect import ends_early
from jisi_cli.collect.regrade import ModelGrades, Regraded
from jisi_cli.formats.record import STATUSES, Question, ScoreSource
from jisi_cli.grading.registry import grader_info
from jisi_cli.methods.final_answers import final_answer
from jisi_cli.scoring.agreement import ENOUGH_LABELS, NO_ANSWER, NONE_RIGHT, Codes, agree
from jisi_cli.scoring.exact_sums import Rows

_GIVEN = [STATUSES.index("ok"), STATUSES.index("unscored")]

OnRead = Callable[[int, int], None]
"""Called after every answer with (done, in all)."""


@dataclass(frozen=True, slots=True)
class KeylessAnswers:
    """What the models of a bank finally answer to some of its questions, n of them.

    Attributes:
        rows: Their rows of the bank, ascending (n,).
        questions: The questions (n).
        models: Names of the models (M).
        answered: Where a model gave words, so that its answer can have a score (n, M).
        codes: Place of each model's answer in `texts`, `NO_ANSWER` where none can be read (n, M).
        texts: The different final answers to each question, normalised (n).
    """

    rows: Rows
    questions: Sequence[Question]
    models: Sequence[str]
    answered: NDArray[np.bool_]
    codes: Codes
    texts: Sequence[Sequence[str]]

    def code(self, place: int, label: str | None) -> int:
        """Return the code of the answers that a label says are right; `NONE_RIGHT` where no model gave it."""
        texts = self.texts[place]
        if label is None:
            return NONE_RIGHT
        if label not in texts:
            label = normalised(label, self.questions[place])
        return texts.index(label) if label in texts else NONE_RIGHT


def normalised(answer: str, question: Question) -> str | None:
    """Return a final answer that a person wrote, read as models' are; None if it is none for such a question."""
    return final_answer(json.dumps({"answer": answer}, ensure_ascii=False), _kind(question))


def _kind(question: Question) -> str | None:
    """Return the grader that says how answers are read; one that only a package knows says nothing here."""
    return question.grader if question.grader is not None and grader_info(question.grader) is not None else None


def read_keyless_answers(bank: Bank, rows: Rows, on_read: OnRead | None = None) -> KeylessAnswers:
    """Read what the models finally answer.

    Args:
        bank: The bank.
        rows: Which questions, ascending.
        on_read: Told how far it is.
    """
    questions = [bank.questions[row] for row in rows.tolist()]
    texts: list[list[str]] = [[] for _ in questions]
    codes = np.full((len(questions), len(bank.models)), NO_ANSWER, dtype=np.intp)
    answered = np.zeros(codes.shape, dtype=bool)
    for column, model in enumerate(bank.models):
        responses, cut_off = bank.responses(model), bank.cut_off_responses(model)
        given = np.isin(bank.answers(model).status_codes, _GIVEN)
        for place, (row, question) in enumerate(zip(rows.tolist(), questions, strict=True)):
            response = responses[row] or ""
            answered[place, column] = given[row] and response.strip() != ""
            if answered[place, column] and not ends_early(response, cut_off[row]):
                final = final_answer(response, _kind(question))
                final = None if final is not None and len(final) > LONGEST_LABEL else final
                if final is not None and final not in texts[place]:
                    texts[place].append(final)
                codes[place, column] = NO_ANSWER if final is None else texts[place].index(final)
            if on_read is not None:
                on_read(column * len(rows) + place + 1, codes.size)
    return KeylessAnswers(rows, questions, bank.models, answered, codes, texts)


class Group(NamedTuple):
    """A final answer, and how many models gave it."""

    answer: str
    models: int


def groups_of(finals: KeylessAnswers, place: int) -> list[Group]:
    """Return the different final answers to a question, the most frequent first; equals in code-point order."""
    counts = Counter(code for code in finals.codes[place].tolist() if code != NO_ANSWER)
    groups = [Group(finals.texts[place][code], number) for code, number in counts.items()]
    return sorted(groups, key=lambda group: (-group.models, group.answer))


@dataclass(frozen=True, slots=True)
class KeylessScores:
    """By what the questions without an answer key are scored now.

    Attributes:
        agreement: Questions scored by what the models agree on.
        label: Questions scored by a label.
        unscored: Questions of which nothing is known: no final answers, or no two that agree.
        labels: Of those scored by a label, the train rows, which say whom to believe.
        graded: Questions left as they are, since graders have scored them.
    """

    agreement: int
    label: int
    unscored: int
    labels: int
    graded: int = 0

    @property
    def needs_labels(self) -> bool:
        """Whether agreement decides, and too few labels say whom to believe."""
        return self.agreement > 0 and self.labels < ENOUGH_LABELS

    def to_json(self) -> dict[str, int]:
        """Return the counts as plain data."""
        return asdict(self)


def agree_on(bank: Bank, finals: KeylessAnswers, found: Regraded) -> KeylessScores:
    """Score questions without an answer key by the bank's labels, and by agreement where it has none.

    An answer is right if it equals the label, or the answer that wins the vote (`scoring.agreement`); one that cannot
    be read is unscored. Only train rows teach how good the models are. Nothing is written (see `update_scores`).

    Args:
        bank: The bank.
        finals: The final answers to the questions on which no grader has scored an answer.
        found: Where the new scores go.
    """
    labels = _labelled(bank, finals)
    teaches = np.isin(finals.rows, bank.train_rows)
    right = agree(finals.codes, finals.models, labels, teaches).right
    for column, model in enumerate(finals.models):
        grades = found.models.setdefault(model, ModelGrades())
        columns = bank.answers(model)
        by_label, by_agreement = columns.scored_by("label"), columns.scored_by("agreement")
        for place, row in enumerate(finals.rows.tolist()):
            if not finals.answered[place, column]:
                continue
            code, old = int(finals.codes[place, column]), float(columns.scores[row])
            new = None if NO_ANSWER in (code, right[place]) else float(code == right[place])
            is_same = bool((by_label if place in labels else by_agreement)[row])
            grades.add(row, None if math.isnan(old) else old, new, same_source=is_same)
    sources: dict[int, ScoreSource] = {
        row: "label" if place in labels else "agreement" for place, row in enumerate(finals.rows.tolist())
    }
    found.sources.update(sources)
    voted = int((right != NO_ANSWER).sum()) - len(labels)
    return KeylessScores(
        agreement=voted,
        label=len(labels),
        unscored=len(finals.rows) - voted - len(labels),
        labels=sum(bool(teaches[place]) for place in labels),
    )


def _labelled(bank: Bank, finals: KeylessAnswers) -> dict[int, int]:
    """Return the code of what is right by place among the final answers, where a label says so."""
    places: Mapping[tuple[str, str], int] = {question.key: place for place, question in enumerate(finals.questions)}
    said: Sequence[Label] = [label for label in bank.manifest.labels if not label.skipped and label.key in places]
    return {places[label.key]: finals.code(places[label.key], label.answer) for label in said}
