"""What clients say of a server's answers, which are remembered for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jisi_cli.conversation import Conversation
from jisi_cli.errors import InputError, JisiError
from jisi_cli.history.answers import Answers, NotRememberedError
from jisi_cli.history.feedback import LONGEST, Inbox, read_score
from jisi_cli.methods.protocol import Outcome
from jisi_cli.serve.requests import RequestError
from jisi_cli.user import User

_KEYS = frozenset({"id", "score", "reference", "note"})


class Desk:
    """Remembers answers and takes feedback, on one thread and in order: what is said finds the answer it is about.

    Args:
        user: Told once where answers cannot be remembered.
        store: False remembers nothing.
    """

    def __init__(self, user: User, *, store: bool) -> None:
        self._user, self._store, self._has_failed = user, store, False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feedback")
        self._answers, self._inbox = Answers(), Inbox()

    def remember(self, name: str, asked: Conversation, outcome: Outcome) -> None:
        """Remember an answer, soon.

        Args:
            name: The completion's id.
            asked: The question.
            outcome: The answer.
        """
        if self._store:
            self._thread.submit(self._remember, name, asked, outcome)

    async def take(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Put what a client says into the inbox.

        Args:
            body: `id`, and `score` or `reference`; `note` beside them.

        Raises:
            RequestError: The answer is not remembered, or something is missing, unknown or out of bounds.
            JisiError: The inbox cannot be used.
        """
        name, score, texts = _read(body)
        if not self._store:
            raise RequestError("this server remembers no answers (--no-store)", "id", status=404, code="not_found")
        work = self._thread.submit(self._inbox.add, self._answers, name, score, **texts)
        try:
            await asyncio.wrap_future(work)
        except NotRememberedError as error:
            raise RequestError(str(error), "id", status=404, code="not_found") from None
        except InputError as error:
            # Where it is does not concern a client.
            self._user.warn(f"feedback is not kept: {error}")
            raise JisiError("feedback cannot be kept; the server's own output says why") from None
        return {"object": "feedback", "id": name, "score": score, "reference": texts["reference"]}

    def close(self) -> None:
        """Write what is still to be remembered, and close the files."""
        self._thread.shutdown()
        self._answers.close()
        self._inbox.close()

    def _remember(self, name: str, asked: Conversation, outcome: Outcome) -> None:
        try:
            self._answers.add(name, asked.routed_text, outcome)
        except InputError as error:
            if not self._has_failed:
                self._user.warn(f"answers are not remembered, so nothing can be said of them: {error}")
            self._has_failed = True


def _read(body: Mapping[str, Any]) -> tuple[str, float | None, dict[str, str | None]]:
    unknown = sorted(set(body) - _KEYS)
    if unknown:
        raise RequestError(f"`{unknown[0][:80]}` is unknown", unknown[0][:80])
    name = body.get("id")
    # The words for the machine's own user name no completion.
    if not isinstance(name, str) or not 0 < len(name) <= 100 or name == "last":
        raise RequestError("`id` must be the id of a completion", "id")
    texts = {what: _text(body.get(what), what) for what in ("reference", "note")}
    if (body.get("score") is None) == (texts["reference"] is None):
        raise RequestError("give either `score` (good, bad, 0 to 1) or `reference`, the right answer", "score")
    try:
        return name, None if body.get("score") is None else read_score(body["score"]), texts
    except InputError as error:
        raise RequestError(str(error), "score") from None


def _text(value: object, what: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
        raise RequestError(f"`{what}` must be a text of up to {LONGEST:,} characters", what)
    return value
