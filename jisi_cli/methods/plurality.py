"""Which final answer do most responses give?"""

from __future__ import annotations

from collections.abc import Sequence

from jisi_cli.grading.final_answer import extract_any
from jisi_cli.llm.answer import Answer
from jisi_cli.methods.asking import Asker
from jisi_cli.methods.consensus import Consensus, heaviest_group
from jisi_cli.methods.protocol import Outcome, Query
from jisi_cli.methods.similarity import Similarity, most_typical


def most_frequent(answers: Sequence[Answer], grader: str | None) -> Consensus | None:
    """Return the largest group of equal final answers; None when no response has one.

    A response without a final answer has no vote. Ties go to the group whose first member is earlier.

    Args:
        answers: The responses, best first.
        grader: The kind of answer that is wanted, where it is known.
    """
    finals = {place: extract_any(answer.text, grader) for place, answer in enumerate(answers)}
    return heaviest_group(range(len(answers)), [1.0] * len(answers), finals)


async def vote(asker: Asker, query: Query, answers: Sequence[Answer], similarity: Similarity, of: str) -> Outcome:
    """Settle on the most frequent final answer, in the words of the best response that has it.

    Args:
        asker: Knows the calls that were made.
        query: The question.
        answers: The responses, best first.
        similarity: Chooses among responses of which none has a final answer.
        of: What the responses are called.
    """
    group = most_frequent(answers, query.grader)
    if group is None:
        typical = await most_typical(answers, similarity)
        reason = f"no {of} has a final answer to count; this one is most like the others"
        return asker.settle_on(typical, "consensus", reason)
    reason = f"{len(group.members)} of {len(answers)} responses agree"
    return asker.settle_on(answers[group.members[0]], "consensus", reason)
