"""The last step of every mixture of agents: one model writes the answer, with the others' as references."""

from __future__ import annotations

from collections.abc import Sequence

from jisi_cli.llm.answer import Answer, Sampling
from jisi_cli.methods.asking import Asker
from jisi_cli.methods.protocol import Outcome, Query
from jisi_cli.methods.references_prompt import reference_messages


async def synthesise(
    asker: Asker, query: Query, references: Sequence[Answer], aggregators: Sequence[str], sampling: Sampling
) -> Outcome:
    """Let the first aggregator that answers write the final answer; where none does, the first reference is it.

    Args:
        asker: Makes the calls.
        query: The question.
        references: Responses to weigh, best first; at least one.
        aggregators: Who may write, in the order in which they are tried.
        sampling: Sampling parameters of the call.
    """
    answer = None
    if asker.stopped is None:
        messages = reference_messages(query.text, [reference.text for reference in references], query.system)
        answer = await asker.first_that_answers(aggregators, messages, "aggregator", sampling)
    if answer is None:
        why = "the budget left no room for the aggregator" if asker.stopped else "no aggregator answered"
        return asker.settle_on(references[0], "fallback", f"{why}; this is the first response")
    count = len(references)
    reason = f"it wrote with {count} {'response' if count == 1 else 'responses'} as references"
    if answer.model != aggregators[0]:
        reason += f"; {answer.model} stood in for {aggregators[0]}"
    return asker.outcome(answer, "aggregate", reason, references)
