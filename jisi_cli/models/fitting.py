"""Whether an answer has the form that its question asked for: one that has not is none."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from jisi_cli.answer_format import AnswerFormat, UnfitError
from jisi_cli.types import Answer, cut_off_words


async def fitted(answer: Answer, wanted: AnswerFormat | None) -> Answer:
    """Return an answer as it was asked for: its JSON alone, or an error where it does not fit.

    Args:
        answer: The answer; one that failed, or calls tools, is returned as it is.
        wanted: The form; None for any.
    """
    if wanted is None or not answer.ok or answer.tool_calls:
        return answer
    try:
        # In a thread: a long answer to an intricate schema takes a while.
        return replace(answer, text=await asyncio.to_thread(wanted.fit, answer.text))
    except UnfitError as reason:
        why = f"its answer has not the form that was asked for: {reason}"
        if answer.cut_off is not None:
            why += f" (it was cut off {cut_off_words(answer.cut_off)})"
        return replace(answer, text="", error=why, unfit=True)
