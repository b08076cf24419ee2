"""BERT-like models on this machine: NumPy for a question and its answers, torch once there is much to embed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embedders.bert import Bert
from jisi_cli.embedders.bert_folder import BertFolder, NotThisShape
from jisi_cli.embedders.encoder import Reading, batches
from jisi_cli.embedders.model_folder import ModelFolder
from jisi_cli.embedders.protocol import EmbedderSpec
from jisi_cli.embedders.sentence_transformer import SentenceTransformerEncoder
from jisi_cli.embedders.token_window import SpecialTokens, TokenWindow

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

NUMPY_WORK = 3e11
"""Multiplications after which NumPy has taken about as long as importing torch takes (28,000 tokens of MiniLM).

Whoever rents until the rent has cost as much as buying, and then buys, never pays more than twice the least.
"""
_TEXTS = 16
"""Texts between two reports of progress."""


class BertEncoder:
    """An `Encoder` for a folder that `bert.py` computes; both ways give the same vectors to 1e-5.

    Args:
        folder: The model.
        shape: The folder as recognised.
        spec: Its `max_tokens`, `truncation` and `prompt` apply.
        torch: The same model through sentence-transformers.
        numpy_work: Multiplications after which torch takes over.
    """

    tokens = 0

    def __init__(
        self,
        folder: ModelFolder,
        shape: BertFolder,
        spec: EmbedderSpec,
        torch: SentenceTransformerEncoder,
        numpy_work: float = NUMPY_WORK,
    ) -> None:
        self._folder, self._shape, self._spec, self._torch = folder, shape, spec, torch
        self._numpy_work, self._spent = numpy_work, 0.0
        self._alone = threading.Lock()

    @property
    def revision(self) -> str | None:
        """The folder's."""
        return self._folder.revision

    @property
    def dimension(self) -> int | None:
        """What the folder's files say."""
        return self._folder.dimension

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return the tokens read of each text."""
        with self._alone:
            opened = self._opened
        return self._torch.read(texts) if opened is None else opened[1].read(texts)

    def encode(self, readings: Sequence[Reading]) -> Iterator[NDArray[np.floating]]:
        """Yield raw row vectors, a batch at a time."""
        bert = self._opened[0] if self._opened is not None else None
        work = self._spent + (bert.work * sum(reading.length for reading in readings) if bert is not None else 0)
        if bert is None or work > self._numpy_work:
            yield from self._torch.encode(readings)
            return
        self._spent = work
        for batch in batches(readings, most=_TEXTS, volume=None):
            yield self._forward(bert, batch)

    def _forward(self, bert: Bert, batch: Sequence[Reading]) -> NDArray[np.floating]:
        """Encode texts one by one, on one thread of the matrix library.

        Its threads wait for each other in busy loops, which on a machine with other work to do (local
        models, imports) makes matrices as small as a question's twenty times slower. The limit is the whole
        process's, so calls take turns.
        """
        with self._alone, self._blas.limit(limits=1, user_api="blas"), np.errstate(all="ignore"):
            return np.stack([bert.encode(reading.token_ids) for reading in batch])

    @cached_property
    def _blas(self) -> ThreadpoolController:
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController()

    @cached_property
    def _opened(self) -> tuple[Bert, TokenWindow] | None:
        """The weights and the tokenizer's window; None when a closer look shows another shape."""
        try:
            bert, tokenizer = self._shape.load(), self._shape.tokenizer()
        except NotThisShape:
            return None

        def tokenize(texts: Sequence[str]) -> list[list[int]]:
            encoded = tokenizer.encode_batch(list(texts), add_special_tokens=False)
            return [text.ids for text in encoded]

        word = tokenizer.encode("a")
        special = SpecialTokens.around(word.ids, word.special_tokens_mask)
        return bert, TokenWindow(tokenize, special, self._shape.longest, self._spec)
