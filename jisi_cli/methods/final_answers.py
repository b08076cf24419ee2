"""The final answers of a bank's train rows: read where they are needed, and kept, since each takes about a millisecond.

An answer is kept as a number that equal answers share, under the hash of the responses that it was read from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jisi_cli.methods.training import read_state, state_path, write_state
from jisi_cli.scoring import Rows
from jisi_cli.types import whole_characters

if TYPE_CHECKING:
    from jisi_cli.bank.bank import Bank

_VERSION = 3
"""Raised whenever answers are kept in another form."""

NO_TEXT, NO_ANSWER = 1, 2
"""What stands for a response without words, and for one without a final answer."""
_UNREAD = 0
_FIRST = 3

Codes = NDArray[np.int64]

_MOST_WORDS = 4
"""Words of an answer that is compared; what is said in more can be said in others."""
_LARGEST = 2**53
"""Beyond it a float stands for several whole numbers."""


@cache
def reader_hash() -> str:
    """Return a hash of the code that reads final answers: what another version of it read is not found again."""
    from jisi_cli import grading, printable
    from jisi_cli.models import reasoning

    files = [Path(reasoning.__file__), Path(printable.__file__), *sorted(Path(grading.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


_MOST_KNOWN = 1 << 16
_known: dict[tuple[bytes, str | None, bool], str | None] = {}


def final_answer(text: str, grader: str | None, *, is_json: bool = False) -> str | None:
    """Return the normalised final answer of a response, as `extract_any` does, and remember it.

    A comparison reads the same responses for every method, and a millisecond each adds up.

    Args:
        text: The response.
        grader: The question's grader; None when the kind of answer is unknown.
        is_json: Whether JSON was asked for, which is compared as such.

    Raises:
        InputError: There is no such grader.
    """
    key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(), grader, is_json
    if key not in _known:
        from jisi_cli.grading.final_answer import extract_any

        found = extract_any(text, grader)
        if is_json:
            found = json_answer(text, found)
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[key] = found
        return found
    return _known[key]


def later_readings_of(bank: Bank, models: Sequence[str]) -> frozenset[str]:
    """Return what an earlier version read otherwise in the responses to a bank's train rows; see `later_readings`."""
    from jisi_cli.grading.final_answer import later_readings

    graders = {row: _own_reading(bank.questions[row].grader) for row in bank.train_rows.tolist()}
    found: set[str] = set()
    for model in models:
        texts = bank.responses(model)
        found |= set(later_readings((texts[row] or "", grader) for row, grader in graders.items()))
    return frozenset(found)


def _own_reading(grader: str | None) -> str | None:
    """Return the grader whose reading is taken; one that needs more than texts has no say."""
    from jisi_cli.grading.registry import reads_texts_alone

    return grader if reads_texts_alone(grader) else None


class FinalAnswers(Protocol):
    """The final answers of some train rows (N) and models (M), by their places.

    Attributes:
        identity: Is the same only where the answers are.
    """

    @property
    def identity(self) -> str:
        """What tells these answers from others."""
        ...

    def code(self, row: int, model: int) -> int:
        """Return `NO_TEXT`, `NO_ANSWER`, or a number that only equal final answers share."""
        ...

    def is_closed(self, row: int) -> bool:
        """Whether the grader of a question reads final answers."""
        ...

    def keep(self) -> None:
        """Keep what was read, for the next run."""
        ...


def answer_code(text: str | None, grader: str | None) -> int:
    """Return the code of one response.

    Args:
        text: The response; None where there is none.
        grader: The question's grader, where its own reading is to be taken.
    """
    if text is None or not text.strip():
        return NO_TEXT
    found = final_answer(text, grader)
    if found is None:
        return NO_ANSWER
    return _FIRST + int.from_bytes(hashlib.blake2b(found.encode("utf-8", "surrogatepass"), digest_size=7).digest())


class BankAnswers:
    """The final answers of a bank's train rows; responses are read from disk a model at a time, when they are needed.

    Args:
        bank: The bank.
        models: M of its models.
    """

    def __init__(self, bank: Bank, models: Sequence[str]) -> None:
        self._bank, self._models = bank, tuple(models)
        self._codes: dict[int, Codes] = {}
        self._texts: dict[int, list[str | None]] = {}
        self._read: set[int] = set()

    @cached_property
    def identity(self) -> str:
        """The hashes of all responses, and which of them are to train rows."""
        rows = hashlib.sha256(self._bank.train_rows.astype(np.int64).tobytes()).hexdigest()
        return repr((rows, [self._key(model) for model in range(len(self._models))]))

    def code(self, row: int, model: int) -> int:
        """Return the code of one answer, read now unless it was read before."""
        # By row of the bank, so that other splits of the same bank find the same answers.
        place = int(self._bank.train_rows[row])
        codes = self._of(model)
        if codes[place] == _UNREAD:
            if model not in self._texts:
                self._texts[model] = self._bank.responses(self._models[model])
            codes[place] = answer_code(self._texts[model][place], self._graders[place])
            self._read.add(model)
        return int(codes[place])

    def is_read(self, model: int) -> bool:
        """Whether all answers of a model were read, now or in an earlier run."""
        return bool((self._of(model)[self._bank.train_rows] != _UNREAD).all())

    def take(self, model: int, codes: Codes) -> None:
        """Take in what another process read of a model's answers (N,)."""
        self._of(model)[self._bank.train_rows] = codes
        self._read.add(model)

    def is_closed(self, row: int) -> bool:
        """Whether the grader of a question reads final answers."""
        from jisi_cli.grading.registry import reader_of

        return reader_of(self._graders[int(self._bank.train_rows[row])]) is not None

    def keep(self) -> None:
        """Keep what was read since the last time; without a place to keep it, the next run reads it again."""
        for model in self._read:
            write_state(self._path(model), {"codes": self._codes[model]})
        self._read.clear()
        self._texts.clear()

    @cached_property
    def _graders(self) -> list[str | None]:
        return [_own_reading(question.grader) for question in self._bank.questions]

    def _of(self, model: int) -> Codes:
        if model not in self._codes:
            self._codes[model] = self._kept(model)
        return self._codes[model]

    def _kept(self, model: int) -> Codes:
        count = self._bank.rows
        codes = (read_state(self._path(model)) or {}).get("codes")
        if codes is None or codes.dtype != np.int64 or codes.shape != (count,) or codes.min(initial=0) < 0:
            return np.full(count, _UNREAD, dtype=np.int64)
        return codes

    def _key(self, model: int) -> str:
        manifest = self._bank.manifest
        parts = (*manifest.queries, *manifest.responses[self._models[model]])
        return hashlib.sha256(repr((_VERSION, reader_hash(), [part.sha256 for part in parts])).encode()).hexdigest()

    def _path(self, model: int) -> Path:
        return state_path("answers", self._key(model))


class SomeAnswers:
    """The final answers of some rows and models of others.

    Args:
        answers: The others.
        rows: Places of the rows among theirs (N,); None for all.
        models: Places of the models (M,); None for all.
    """

    def __init__(self, answers: FinalAnswers, rows: Rows | None = None, models: Sequence[int] | None = None) -> None:
        self._answers, self._rows = answers, rows
        self._models = None if models is None else list(models)

    @property
    def identity(self) -> str:
        """The identity of the others, and which of them these are."""
        rows = None if self._rows is None else hashlib.sha256(self._rows.astype(np.int64).tobytes()).hexdigest()
        return repr((self._answers.identity, rows, self._models))

    def code(self, row: int, model: int) -> int:
        """Return the code of one answer."""
        return self._answers.code(self._row(row), model if self._models is None else self._models[model])

    def is_closed(self, row: int) -> bool:
        """Whether the grader of a question reads final answers."""
        return self._answers.is_closed(self._row(row))

    def keep(self) -> None:
        """Keep what was read."""
        self._answers.keep()

    def _row(self, row: int) -> int:
        return row if self._rows is None else int(self._rows[row])


def json_answer(text: str, marked: str | None) -> str | None:
    """Return the answer that JSON is, in the one form that all equal JSON has.

    Numbers are equal by value, as in JSON Schema. Open text can say the same in other words, so that beside it only
    what is marked as the answer is compared.

    Args:
        text: What a model answered.
        marked: The answer that is marked in it, as in a field `answer`; None without one.

    Returns:
        The form; `marked` where there is open text, or nothing but the marked answer; None where neither is known.
    """
    try:
        value = json.loads(text, parse_float=_number, parse_constant=_refuse)
        if _has_open_text(value) or (marked is not None and isinstance(value, dict) and len(value) == 1):
            return marked
        return whole_characters(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    except (ValueError, RecursionError):
        return marked


def _number(digits: str) -> float | int:
    found = float(digits)
    return int(found) if abs(found) < _LARGEST and found.is_integer() else found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _has_open_text(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return len(value.split()) > _MOST_WORDS
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_has_open_text, parts))
