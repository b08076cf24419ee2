"""Letting a model choose among responses: the prompt, and how its words are read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from jisi_cli.llm.answer import Answer, Message, Sampling
from jisi_cli.methods.asking import Asker
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.references_prompt import numbered

_INSTRUCTIONS = """\
You compare {count} responses to one question.
{fences}
{task}
Think as long as you need, then end with a line of this form, and write nothing after it:
{form}"""

_CHOICE = re.compile(r"\bchoices?\b\W{0,9}(\d[\d, and]{0,200})", re.IGNORECASE)
_BARE = re.compile(r"\W{0,9}\d[\d, and]{0,200}\W{0,9}")


def choice_messages(query: Query, responses: Sequence[str], task: str, form: str) -> list[Message]:
    """Return the conversation in which a model judges responses.

    Args:
        query: The question; its system message is quoted, since the responses had to follow it.
        responses: What is judged, numbered from 1.
        task: What to judge them by, in whole sentences.
        form: The line with which the reply is to end.
    """
    fences, listed = numbered(query.text, responses)
    instructions = _INSTRUCTIONS.format(count=len(responses), fences=fences, task=task, form=form)
    demanded = f"Instructions that came with it:\n{query.system}\n\n" if query.system else ""
    content = f"Question:\n{query.text}\n\n{demanded}Responses:\n\n{listed}"
    return [{"role": "system", "content": instructions}, {"role": "user", "content": content}]


async def choose(
    asker: Asker, judge: str, query: Query, answers: Sequence[Answer], task: str, size: int, sampling: Sampling
) -> list[Answer]:
    """Let a judge choose responses, the best first; none when it fails or names no response.

    Args:
        asker: Makes the call.
        judge: Who chooses.
        query: The question.
        answers: To choose from.
        task: What to choose by.
        size: How many to choose.
        sampling: Sampling parameters of the call.
    """
    form = "Choice: N" if size == 1 else f"Choices: {', '.join('N' * size)}"
    messages = choice_messages(query, [answer.text for answer in answers], task, form)
    reply = await asker.ask(judge, messages, "judge", sampling)
    places = [] if reply is None else read_choices(reply.text, len(answers))
    return [answers[place] for place in places[:size]]


def read_choices(reply: str, count: int) -> list[int]:
    """Return the places (from 0) that a reply chooses, in its order; none when it names no response.

    Read is the last line `Choice: ...`, or a reply of numbers alone. A number that no response has counts not.

    Args:
        reply: The judge's words.
        count: How many responses there are.
    """
    found = _CHOICE.findall(reply)
    text = found[-1] if found else reply if _BARE.fullmatch(reply.strip()) else ""
    numbers = (int(number) for number in re.findall(r"\d{1,9}", text))
    return list(dict.fromkeys(number - 1 for number in numbers if 1 <= number <= count))
