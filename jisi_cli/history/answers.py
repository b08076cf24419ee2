"""The last answers that were given, so that a person can say what they were worth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from jisi_cli.errors import InputError
from jisi_cli.history.table import Table, from_json
from jisi_cli.methods.protocol import Outcome
from jisi_cli.types import Answer, is_dollars, is_tokens, whole_characters

MOST = 1000
"""Answers that are remembered."""


class NotRememberedError(InputError):
    """An answer that is not among those that are remembered."""


@dataclass(frozen=True, slots=True)
class Response:
    """What one model answered. Unknown is None, never 0.

    Attributes:
        model: Its name.
        text: The response.
        is_answer: Whether it is the answer that was given, or one of those that agreed on it, so that what is said of
            the answer is said of it.
        is_own: Whether the model answered the question itself, not by aggregating what others said.
        prompt_tokens: Tokens of its prompt.
        completion_tokens: Tokens of its response.
        cost_usd: What it costs at list price.
        finish_reason: Why it ended, in the provider's word.
    """

    model: str
    text: str
    is_answer: bool
    is_own: bool = True
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A question and what was answered.

    Attributes:
        query: The words that it was routed by, which are what a bank compares.
        responses: What the models answered.
    """

    query: str
    responses: tuple[Response, ...]

    def to_text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))


class Answers:
    """The answers that are remembered."""

    def __init__(self) -> None:
        self._table = Table("answers", MOST)

    def add(self, name: str, query: str, outcome: Outcome, run: str | None = None) -> None:
        """Remember an answer, unless it or its question has no words.

        Args:
            name: Its own name.
            query: The words that its question was routed by.
            outcome: How it came about.
            run: The run that gave it; None for one of a server, whose last answer may be anybody's.

        Raises:
            InputError: It cannot be kept.
        """
        responses = _responses(outcome)
        if query.strip() and any(response.is_answer for response in responses):
            self._table.add({"name": name, "run": run, "said": Said(query, responses).to_text()})

    def find(self, name: str) -> tuple[str, str]:
        """Return an answer's own name, and what was said as JSON.

        Args:
            name: Its name, or that of its run; `last` for the last one of this machine's user.

        Raises:
            NotRememberedError: There is none.
            InputError: What is kept cannot be read.
        """
        where, values = ("run IS NOT NULL", ()) if name == "last" else ("name = ? OR run = ?", (name, name))
        found = self._table.select(["name", "said"], f"WHERE {where} ORDER BY id DESC LIMIT 1", values)
        if not found:
            which = "no answer" if name == "last" else f"no answer {name[:60]!r}"
            raise NotRememberedError(
                f"{which} is remembered: the last {MOST:,} are, and none with --no-store; ask first"
            )
        own, said = found[0]
        if own is None or read_said(said) is None:
            raise self._table.damaged("an answer says nothing")
        return str(own), str(said)

    def close(self) -> None:
        """Close the file."""
        self._table.close()


def read_said(text: object) -> Said | None:
    """Return what was said; None where it is not as `Said.to_text` writes it."""
    data = from_json(text) if isinstance(text, str) else None
    if not isinstance(data, dict) or not isinstance(data.get("query"), str) or not data["query"].strip():
        return None
    rows = data.get("responses")
    responses = [_read_response(row) for row in rows] if isinstance(rows, list) else []
    kept = tuple(response for response in responses if response is not None)
    return Said(whole_characters(data["query"]), kept) if kept and len(kept) == len(responses) else None


def _responses(outcome: Outcome) -> tuple[Response, ...]:
    """Return every model's response, and which of them what is said of the answer is said of.

    That is a routed answer, the answers that agree, where they decided, and of an aggregation what the aggregator
    wrote.
    """
    given, final = outcome.answers, outcome.answer
    agreed = {id(answer.call) for answer in given if answer.agrees} if outcome.mode == "consensus" else set()
    responses = [
        _response(answer.call, is_answer=id(answer.call) in agreed or _is_same(answer.call, final))
        for answer in given
        if answer.call.ok
    ]
    if final.ok and not any(_is_same(answer.call, final) for answer in given):
        responses.append(_response(final, is_answer=True, is_own=False))
    return tuple(responses)


def _is_same(call: Answer, final: Answer) -> bool:
    return (call.model, call.role, call.text) == (final.model, final.role, final.text)


def _response(call: Answer, *, is_answer: bool, is_own: bool = True) -> Response:
    tokens = call.prompt_tokens, call.completion_tokens
    return Response(call.model, call.text, is_answer, is_own, *tokens, call.list_cost_usd, call.finish_reason)


def _read_response(data: object) -> Response | None:
    if not isinstance(data, Mapping):
        return None
    try:
        found = Response(**{str(name): value for name, value in data.items()})
    except TypeError:
        return None
    texts: Sequence[Any] = (found.model, found.text)
    is_whole = all(isinstance(text, str) and text.strip() for text in texts)
    flags = isinstance(found.is_answer, bool) and isinstance(found.is_own, bool)
    counts = all(value is None or is_tokens(value) for value in (found.prompt_tokens, found.completion_tokens))
    money = found.cost_usd is None or is_dollars(found.cost_usd)
    found = replace(found, text=whole_characters(found.text)) if is_whole else found
    ended = found.finish_reason is None or isinstance(found.finish_reason, str)
    return found if is_whole and flags and counts and money and ended else None
