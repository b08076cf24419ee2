"""The question, the reference and the response of one logged sample of lm-evaluation-harness.

`doc` is the row of the task's own data set, so its keys differ from task to task. Its question is
preferred to the prompt in `arguments`, whose few-shot examples are the same for every question.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from jisi_cli.bank.importers import fields
from jisi_cli.bank.importers.choices import Choices, choices_of, is_position
from jisi_cli.bank.importers.json_lines import json_value
from jisi_cli.bank.importers.protocol import Row, Unusable
from jisi_cli.bank.importers.questions import QUERY

_QUESTION = (*QUERY, "problem", "input", "question_stem", "goal", "text")


class Response(NamedTuple):
    """What a model answered to one sample.

    Attributes:
        text: The response; None when it was a log-likelihood of each choice.
        several: Whether the question was answered several times, differently.
        scored: Whether the sample's score is that of `text`.
    """

    text: str | None
    several: bool = False
    scored: bool = True


def question(sample: Row) -> str:
    """Return the question with its lettered choices; the prompt when the doc has no question jisi knows.

    Raises:
        Unusable: There is neither.
    """
    doc = sample.get("doc")
    if isinstance(doc, dict):
        try:
            stem = fields.question(doc, _QUESTION)
        except Unusable:
            return _prompt(sample)
        choices = _choices(doc)
        return stem if choices is None else choices.below(stem)
    return _prompt(sample)


def reference(sample: Row) -> str | None:
    """Return the right answer: of a choice between log-likelihoods, whose target is a position, its label."""
    target, doc = sample.get("target"), sample.get("doc")
    choices = _choices(doc) if isinstance(doc, dict) and _is_likelihood(sample.get("resps")) else None
    if choices is not None and is_position(fields.text(target) or ""):
        try:
            return choices.letter(int(fields.text(target) or ""))
        except Unusable:
            pass
    return fields.text(target)


def response(sample: Row) -> Response:
    """Return the generated text that the sample's score belongs to, as far as that can be told.

    Of a question that was answered several times, `filtered_resps` is what was scored: one of the responses, or what a
    response ends in. A score over all of them, such as a majority of extracted answers, may be no response's own.
    """
    resps = sample.get("resps")
    texts = [] if _is_likelihood(resps) else _texts(resps)
    if not texts:
        return Response(None)
    if len(set(texts)) == 1:
        return Response(texts[0])
    scored = _texts(sample.get("filtered_resps"))
    if len(scored) == 1 and scored[0].strip():
        ending = re.compile(rf"(?<!\w){re.escape(scored[0].strip())}\W*$")
        for found in ([text for text in texts if text == scored[0]], [text for text in texts if ending.search(text)]):
            if found:
                return Response(found[0], several=True)
    return Response(texts[0], several=True, scored=False)


def _choices(doc: Row) -> Choices | None:
    try:
        return choices_of(doc)
    except Unusable:
        return None


def _texts(found: object) -> list[str]:
    """Return all texts of nested lists."""
    if isinstance(found, list):
        return [text for item in found for text in _texts(item)]
    return [fields.text(found) or ""] if isinstance(found, str) else []


def _is_likelihood(resps: object) -> bool:
    """Tell pairs (log-likelihood, is greedy) from texts: the harness may write both as strings."""
    while isinstance(resps, list) and resps and isinstance(resps[0], list):
        resps = resps[0]
    if not isinstance(resps, list) or len(resps) != 2 or resps[1] not in ("True", "False", True, False):
        return False
    try:
        return fields.number(resps[0], "log-likelihood") is not None
    except Unusable:
        return str(resps[0]).strip().lower() == "-inf" or resps[0] == float("-inf")


def _prompt(sample: Row) -> str:
    """Return the text that was sent, from either way in which the harness has logged it."""
    arguments = sample.get("arguments")
    if isinstance(arguments, dict):  # {"gen_args_0": {"arg_0": prompt, "arg_1": …}}
        first = next(iter(arguments.values()), None)
        return fields.required(_said(first.get("arg_0") if isinstance(first, dict) else None), "question")
    first = arguments[0] if isinstance(arguments, list) and arguments else None  # [[prompt, …]]
    return fields.required(_said(first[0] if isinstance(first, list) and first else None), "question")


def _said(prompt: object) -> object:
    """Return the user's last words of a chat, which may be logged as a list with one JSON text; else the prompt."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    messages = prompt
    if isinstance(prompt, str) and prompt.lstrip().startswith(("[{", "[ {")):
        try:
            messages = json_value(prompt.encode("utf-8", "replace"))
        except Unusable:
            return prompt
    if not isinstance(messages, list) or not all(isinstance(item, dict) and "content" in item for item in messages):
        return prompt
    said = [message["content"] for message in messages if message.get("role") == "user"]
    return _content(said[-1]) if said else prompt


def _content(content: object) -> object:
    """Return the text of a message; where it is in parts, that of its texts."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str)) or None
    return content
