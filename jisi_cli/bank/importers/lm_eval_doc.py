"""The question and the response of one logged sample of lm-evaluation-harness.

`doc` is the row of the task's own data set, so its keys differ from task to task. Its question is
preferred to the prompt in `arguments`, whose few-shot examples are the same for every question.
"""

from __future__ import annotations

from jisi_cli.bank.importers import fields
from jisi_cli.bank.importers.protocol import Row, Unusable
from jisi_cli.bank.importers.questions import QUERY, with_choices

_QUESTION = (*QUERY, "problem", "input", "question_stem", "goal", "text")
_CHOICES = ("choices", "options", "endings")


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
        return with_choices(stem, fields.first(doc, _CHOICES))
    return _prompt(sample)


def response(sample: Row) -> str | None:
    """Return the first generated text; None when the model's answer was a log-likelihood of each choice."""
    found = sample.get("resps")
    while isinstance(found, list) and found:
        found = found[0]
    generated = isinstance(found, str) and not _is_likelihood(sample.get("resps"))
    return fields.text(found) if generated else None


def _is_likelihood(resps: object) -> bool:
    """Tell pairs (log-likelihood, is greedy) from texts: the harness may write both as strings."""
    while isinstance(resps, list) and resps and isinstance(resps[0], list):
        resps = resps[0]
    return isinstance(resps, list) and len(resps) == 2 and resps[1] in ("True", "False", True, False)


def _prompt(sample: Row) -> str:
    """Return the text that was sent, from either way in which the harness has logged it."""
    arguments = sample.get("arguments")
    if isinstance(arguments, dict):  # {"gen_args_0": {"arg_0": prompt, "arg_1": …}}
        first = next(iter(arguments.values()), None)
        return fields.required(first.get("arg_0") if isinstance(first, dict) else None, "question")
    first = arguments[0] if isinstance(arguments, list) and arguments else None  # [[prompt, …]]
    return fields.required(first[0] if isinstance(first, list) and first else None, "question")
