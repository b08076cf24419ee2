"""Similarity of two responses by their common words: BLEU, through sacrebleu."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from jisi_cli.errors import InputError
from jisi_cli.llm.answer import Answer
from jisi_cli.methods.similarity import mean_of_others


class BleuSimilarity:
    """BLEU of each response with another one as its reference (Papineni et al. 2002), from 0 to 1.

    Raises:
        InputError: sacrebleu is not installed.
    """

    def __init__(self) -> None:
        try:
            from sacrebleu.metrics.bleu import BLEU
        except ImportError as error:
            raise InputError("similarity by BLEU needs sacrebleu: pip install 'jisi[bleu]'") from error
        # As a sentence has often no common 4-gram at all, orders without one are left out.
        self._bleu = BLEU(effective_order=True)

    async def to_others(self, answers: Sequence[Answer]) -> list[float]:
        """Return each response's mean BLEU against the others (n)."""
        return await asyncio.to_thread(self._means, [answer.text for answer in answers])

    def _means(self, texts: Sequence[str]) -> list[float]:
        scores = [[self._bleu.sentence_score(text, [other]).score / 100 for other in texts] for text in texts]
        return [mean_of_others(row, place) for place, row in enumerate(scores)]
