"""What stands in for a bank where there is none yet: one without a question, for the models of a pool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jisi_cli.bank.answer_table import AnswerColumns
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import Manifest
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.formats.record import Question
from jisi_cli.scoring import BankArrays
from jisi_cli.scoring.exact_sums import Rows


class NoBank(Bank):
    """A bank without a question, whose models are a pool's, in the order of the pool file.

    Whatever is asked of it has the shape that a bank's has, and nothing in it.

    Args:
        models: M names.
    """

    def __init__(self, models: Sequence[str]) -> None:
        self.path = Path("(no bank)")
        self.manifest = Manifest(EmbedderSpec("none", dimension=0), "float32", (), dict.fromkeys(models, ()))
        self.failed = "wrong"
        self.dimension = 0
        self._is_test = np.zeros(0, dtype=bool)
        self.questions = []

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the M models, in the order of the pool file."""
        return tuple(self.manifest.responses)

    def some_questions(self, rows: Rows) -> list[Question]:
        """Return no question."""
        return []

    def answers(self, model: str) -> AnswerColumns:
        """Return no answer."""
        codes, numbers = np.zeros(0, dtype=np.int8), np.zeros(0)
        return AnswerColumns(codes, codes, numbers, numbers, numbers, numbers)

    def arrays(self, models: Sequence[str] | None = None, rows: Rows | None = None) -> BankArrays:
        """Return arrays of no row (N = 0)."""
        names = self.models if models is None else tuple(models)
        nothing = np.zeros((0, len(names)))
        return BankArrays(np.zeros((0, 0), np.float32), (), nothing, nothing, nothing.astype(bool), names)
