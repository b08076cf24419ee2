"""What every answer counts in a mean: its score, 0 where a graded question got no words, or nothing.

A benchmark counts an answer that failed or came back empty as wrong. A model that was never asked stays a gap, and so
does an answer that no grader could read: it is there, and nobody knows whether it is right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Truth = NDArray[np.bool_]


def graded_questions(scored: Truth, waiting: Truth, referenced: Truth, datasets: NDArray[np.intp]) -> Truth:
    """Return which questions are graded (R,): to which a failed answer is a wrong one.

    A question is graded where some answer to it has a score. So is one with a reference, unless no answer of its whole
    dataset has a score while some still wait for one: that dataset has not been graded yet.

    Args:
        scored: Where some answer has a score (R,).
        waiting: Where some answer has words and no score (R,).
        referenced: Where the right answer is known (R,).
        datasets: Number of each question's dataset (R,).
    """
    count = int(datasets.max(initial=-1)) + 1
    begun = np.bincount(datasets, weights=scored, minlength=count) > 0
    pending = np.bincount(datasets, weights=waiting, minlength=count) > 0
    found: Truth = scored | (referenced & (begun | ~pending)[datasets])
    return found
