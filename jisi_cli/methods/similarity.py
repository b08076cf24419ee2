"""How alike several responses to one question are: by their vectors, or by common words (BLEU)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.protocol import Embedder, embed_async
from jisi_cli.errors import missing_extra
from jisi_cli.types import Answer

# How alike are several responses to one question? The most typical one is most like the others.


class Similarity(Protocol):
    """A measure of how alike responses are."""

    async def to_others(self, answers: Sequence[Answer]) -> list[float]:
        """Return each response's mean similarity to the others (n); 0 for one that is alone."""
        ...


class CosineSimilarity:
    """The cosine of the responses' vectors.

    Args:
        embedder: The bank's own embedder, for responses that come without a vector.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def to_others(self, answers: Sequence[Answer]) -> list[float]:
        """Return each response's mean cosine to the others (n)."""
        missing = [answer.text for answer in answers if answer.vector is None]
        embedded = iter(await embed_async(self._embedder, missing) if missing else ())
        vectors = [next(embedded) if answer.vector is None else answer.vector for answer in answers]
        return mean_cosines(np.stack(vectors))


def mean_cosines(vectors: NDArray[np.floating]) -> list[float]:
    """Return the mean cosine of each unit row (n, d) to the other rows (n).

    Correctly rounded sums: neither the order of the rows nor their company changes a bit of it.
    """
    rows = vectors.astype(np.float64)
    cosines = [(row * rows).sum(axis=1).tolist() for row in rows]
    return [mean_of_others(similarities, place) for place, similarities in enumerate(cosines)]


def mean_of_others(similarities: Sequence[float], place: int) -> float:
    """Return the mean of all similarities but the one to oneself; 0 when there is no other."""
    others = [*similarities[:place], *similarities[place + 1 :]]
    return math.fsum(others) / len(others) if others else 0.0


async def most_typical(answers: Sequence[Answer], similarity: Similarity) -> Answer:
    """Return the response that is most like the others; ties go to the first."""
    means = await similarity.to_others(answers)
    return answers[means.index(max(means))]


class BleuSimilarity:
    """BLEU of each response with another one as its reference (Papineni et al. 2002), from 0 to 1.

    Raises:
        InputError: sacrebleu is not installed.
    """

    def __init__(self) -> None:
        try:
            from sacrebleu.metrics.bleu import BLEU
        except ImportError as error:
            raise missing_extra("similarity by BLEU", "bleu") from error
        # As a sentence has often no common 4-gram at all, orders without one are left out.
        self._bleu = BLEU(effective_order=True)

    async def to_others(self, answers: Sequence[Answer]) -> list[float]:
        """Return each response's mean BLEU against the others (n)."""
        return await asyncio.to_thread(self._means, [answer.text for answer in answers])

    def _means(self, texts: Sequence[str]) -> list[float]:
        scores = [[self._bleu.sentence_score(text, [other]).score / 100 for other in texts] for text in texts]
        return [mean_of_others(row, place) for place, row in enumerate(scores)]
