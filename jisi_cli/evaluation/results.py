"""One line per (question, method), written as it happens and found again after an interruption."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from jisi_cli.errors import InputError
from jisi_cli.evaluation.line_file import LineFile, LineKind, known_fields
from jisi_cli.files import RESULTS, open_plain
from jisi_cli.types import CallRecord

if TYPE_CHECKING:
    from jisi_cli.methods.decision import Evidence

ResultStatus = Literal["scored", "unscored", "needs-live", "failed"]
"""`unscored`: answered, but not known whether correctly. `needs-live`: the replay lacks a call that
the method wanted. `failed`: no model answered; counts as wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledCall(CallRecord):
    """A call as a result keeps it: without its time, its attempts and the words of its error.

    Attributes:
        is_answer: Whether it is the final answer.
    """

    FAILED: ClassVar[str] = "failed"

    is_answer: bool = False


_BILLED = (
    *("role", "model", "prompt_tokens", "completion_tokens", "cost_usd", "list_cost_usd", "price_source", "cached"),
    *("failed", "is_answer"),
)
"""What a line says of each call."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one method made of one question.

    Attributes:
        key: Content key: what must be equal for the line to be used again.
        dataset: Where the question comes from.
        index: Its name there.
        method: Name of the method, as the report calls it.
        status: Whether there is a score, and why not.
        score: In [0, 1]; None without one.
        model: Who wrote the final answer.
        mode: route, aggregate, consensus or fallback.
        calls: Calls that were made.
        cost_usd: Dollars of all calls; None when one is unknown.
        winner_cost_usd: Dollars of the call that wrote the answer.
        tokens: Completion tokens of all calls; None when one is unknown.
        support_size: Queries in the support set; None for methods without one.
        error: Why there is no answer.
        answer: The final answer, in a live run; None in a replay.
        query_hash: SHA-256 of the question, in hexadecimal, as in the ledger.
        bill: Every call; None where they were not kept apart.
        evidence: What the decision rested on; None for methods that compute nothing of the kind.
        confidence: Probability that the answer is right, as the method says; None for methods that do not know.
        split: Seed of the split whose test row it is, where a comparison draws several; else None.
    """

    key: str
    dataset: str
    index: str
    method: str
    status: ResultStatus
    score: float | None = None
    model: str | None = None
    mode: str | None = None
    calls: int = 0
    cost_usd: float | None = None
    winner_cost_usd: float | None = None
    tokens: int | None = None
    support_size: int | None = None
    error: str | None = None
    answer: str | None = None
    query_hash: str | None = None
    bill: tuple[BilledCall, ...] | None = None
    evidence: Evidence | None = None
    confidence: float | None = None
    split: int | None = None


_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=str)


def content_key(*parts: object) -> str:
    """Return a key that is the same exactly when all parts are."""
    text = _CANONICAL.encode(parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


class ResultFile(LineFile[Result]):
    """The file behind `eval --out`; see `LineFile`.

    Args:
        path: The file; None keeps results in memory alone.

    Raises:
        InputError: The file cannot be read or written, or holds something else.
    """

    def __init__(self, path: Path | None) -> None:
        super().__init__(_KIND, path)


def read_results(path: Path) -> Iterator[Result]:
    """Yield the results of a file, without changing it; a half-written last line is left out.

    Raises:
        InputError: The file cannot be read, or holds something else.
    """
    try:
        with open_plain(path) as file:
            content = file.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    lines = content.splitlines()
    if lines and not content.endswith(b"\n") and lines[-1].startswith(b'{"key": "'):
        lines.pop()
    for number, line in enumerate(lines, start=1):
        yield _KIND.read(line, path, number)


def _data(result: Result) -> dict[str, Any]:
    data = asdict(result)
    if result.bill is not None:
        data["bill"] = [{name: getattr(call, name) for name in _BILLED} for call in result.bill]
    return data


def _result(data: Mapping[str, Any]) -> Result:
    kept = known_fields(Result, data)
    if kept.get("bill") is not None:
        kept["bill"] = tuple(map(_billed, kept["bill"]))
    if kept.get("evidence") is not None:
        from jisi_cli.methods.decision import parse_evidence

        kept["evidence"] = parse_evidence(kept["evidence"])
    return Result(**kept)


def _billed(data: Mapping[str, Any]) -> BilledCall:
    kept = {name: data[name] for name in _BILLED if name in data}
    failed = kept.pop("failed", False)
    if not isinstance(failed, bool):
        raise TypeError("failed is not bool")
    return BilledCall(**known_fields(BilledCall, kept), error=BilledCall.FAILED if failed else None)


_KIND = LineKind(RESULTS, "dataset", "jisi eval", _result, _data)
