"""A sentence-transformers model whose weights are an argument, so that they can be trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embedders.protocol import EmbedderSpec
from jisi_cli.embedders.registry import load_module
from jisi_cli.embedders.sentence_transformer import SentenceTransformerEncoder
from jisi_cli.errors import InputError

if TYPE_CHECKING:
    import torch

_AT_ONCE = 64
"""Texts in one pass through the network."""
_PREFIX = "encoder."


class TrainableEncoder:
    """The network of an embedder, as a function of its weights; loaded on first use, and itself never changed.

    Args:
        spec: A sentence-transformers model; its `max_tokens`, `truncation` and `prompt` apply.
        device: torch's name of where to compute.

    Raises:
        InputError: The embedder is of another kind, or is not here.
    """

    def __init__(self, spec: EmbedderSpec, device: str) -> None:
        self.device = device
        self._spec = spec
        self._encoder: SentenceTransformerEncoder = load_module(spec, device)

    def weights(self) -> dict[str, NDArray[np.floating]]:
        """Return the embedder's own weights by name."""
        return {
            _PREFIX + name: value.detach().float().cpu().numpy() for name, value in self._network.named_parameters()
        }

    def forward(self, weights: Mapping[str, torch.Tensor], texts: Sequence[str]) -> torch.Tensor:
        """Return the vectors of some texts (n, d), not of unit length, as a function of the weights.

        Args:
            weights: As `weights` names them; others are left alone.
            texts: None of them blank.
        """
        import torch

        used = {name.removeprefix(_PREFIX): value for name, value in weights.items() if name.startswith(_PREFIX)}
        network: Any = self._network
        parts = []
        for start in range(0, len(texts), _AT_ONCE):
            features = self._encoder.features(texts[start : start + _AT_ONCE])
            if features is None:
                raise InputError(f"{self._spec.name} reads whole texts, not tokens, and cannot be trained here")
            parts.append(torch.func.functional_call(network, used, (features,))["sentence_embedding"].float())
        return torch.cat(parts)

    def vectors_under(self, weights: Mapping[str, NDArray[np.floating]], texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the vectors of some texts (n, d) under other weights, each computed without any company.

        Args:
            weights: As `weights` names them; others are left alone.
            texts: None of them blank.
        """
        import torch

        on_device = {
            name: torch.tensor(value, dtype=torch.float32, device=self.device)
            for name, value in weights.items()
            if name.startswith(_PREFIX)
        }

        def one_by_one() -> Iterator[NDArray[np.float64]]:
            for text in texts:
                yield self.forward(on_device, [text])[0].cpu().numpy().astype(np.float64)

        with torch.inference_mode():
            return np.stack(list(one_by_one()))

    @cached_property
    def _network(self) -> Any:  # noqa: ANN401 - a SentenceTransformer, which is imported late
        return self._encoder.network
