"""Any sentence-transformers model, through torch; also one whose weights are trained."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.model_folder import ModelFolder
from jisi_cli.embed.protocol import EmbedderSpec, Reading, batches
from jisi_cli.embed.registry import load_module
from jisi_cli.embed.token_window import SpecialTokens, TokenWindow
from jisi_cli.errors import InputError
from jisi_cli.large_imports import uncollected

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from sentence_transformers import SentenceTransformer


_MOST = 256
"""Texts in a batch, unless the user says otherwise."""
_VOLUME_CPU = 2_048
"""Padded tokens in a batch: a core is fastest while what passes between two layers fits its cache."""
_VOLUME_ACCELERATOR = 65_536
_ENDLESS = 10**9
"""Tokenizers write "no limit" as a huge number."""


class SentenceTransformerEncoder:
    """An `Encoder` that loads a sentence-transformers model when it first reads a text.

    Args:
        folder: The model.
        spec: Its `max_tokens`, `truncation` and `prompt` apply.
        device: torch's name of where to compute; None for its choice.
        batch_size: Texts in a batch; None for batches of bounded size in tokens.
    """

    tokens = 0

    def __init__(self, folder: ModelFolder, spec: EmbedderSpec, device: str | None, batch_size: int | None) -> None:
        self._folder, self._spec = folder, spec
        self._device, self._batch_size = device, batch_size
        self._loading = threading.Lock()

    @property
    def revision(self) -> str | None:
        """The folder's."""
        return self._folder.revision

    @property
    def dimension(self) -> int | None:
        """What the folder's files say."""
        return self._folder.dimension

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return the tokens read of each text; the text itself for a model that has no tokenizer to ask."""
        if self._window is not None:
            return self._window.read(texts)
        return [Reading(length=len(text), truncated=False, text=text) for text in texts]

    def encode(self, readings: Sequence[Reading]) -> Iterator[NDArray[np.floating]]:
        """Yield raw row vectors, a batch at a time."""
        on_cpu = self._model.device.type == "cpu"
        volume = None if self._batch_size else _VOLUME_CPU if on_cpu else _VOLUME_ACCELERATOR
        cut = list(batches(readings, most=self._batch_size or _MOST, volume=volume))
        if self._window is None:
            yield from map(self._forward_texts, cut)
        elif on_cpu and len(cut) > 1:
            yield from self._side_by_side(cut)
        else:
            yield from map(self._forward, map(self._padded, cut))

    @property
    def network(self) -> SentenceTransformer:
        """The network itself, for training."""
        return self._model

    def features(self, texts: Sequence[str]) -> dict[str, Any] | None:
        """Return what the network takes for some texts; None for a model that only takes whole texts."""
        return None if self._window is None else self._padded(self.read(texts))

    @property
    def _model(self) -> SentenceTransformer:
        with self._loading:
            return self._loaded

    @cached_property
    def _loaded(self) -> SentenceTransformer:
        return load_quietly(self._folder.path, self._device)

    @cached_property
    def _window(self) -> TokenWindow | None:
        """The window over tokens; None for a model that only takes whole texts (no Transformer, a chat template)."""
        module: Any = self._model[0]
        tokenizer: Any = getattr(module, "tokenizer", None)
        takes_tokens = (
            type(module).__name__ == "Transformer"
            and hasattr(tokenizer, "pad")
            and not getattr(module, "do_lower_case", False)
            and "message" not in getattr(module, "modality_config", {})
        )
        if not takes_tokens:
            if self._spec.max_tokens is not None:
                raise InputError(f"{self._spec.name} reads whole texts and cannot be limited; leave max_tokens out")
            return None
        word = tokenizer("a", return_special_tokens_mask=True)
        special = SpecialTokens.around(word["input_ids"], word["special_tokens_mask"])
        longest = self._model.max_seq_length
        endless = longest is None or longest > _ENDLESS
        return TokenWindow(self._tokenize, special, None if endless else longest, self._spec)

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        options = {"add_special_tokens": False, "truncation": False, "padding": False, "verbose": False}
        tokenizer: Any = self._model.tokenizer
        read: list[list[int]] = tokenizer(list(texts), **options)["input_ids"]
        return read

    def _side_by_side(self, cut: Sequence[Sequence[Reading]]) -> Iterator[NDArray[np.floating]]:
        """Yield what the batches give, several computed at the same time with few threads each.

        torch would rather divide every matrix among all cores, whose threads then wait for the slowest of
        them hundreds of times a batch.
        """
        import torch

        threads = torch.get_num_threads()
        at_once = min(threads, len(cut))
        workers = ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(threads // at_once,))
        try:
            yield from workers.map(self._forward, map(self._padded, cut))
        finally:
            workers.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)

    def _padded(self, batch: Sequence[Reading]) -> dict[str, Any]:
        rows = {"input_ids": [list(reading.token_ids) for reading in batch]}
        tokenizer: Any = self._model.tokenizer
        with quiet():
            padded = tokenizer.pad(rows, padding=True, return_tensors="pt")
        features: dict[str, Any] = {name: part.to(self._model.device) for name, part in padded.items()}
        if self._window is not None and self._spec.prompt:
            # Some models leave the prompt out of the mean.
            features["prompt_length"] = self._window.prompt_length
        return features

    def _forward(self, features: dict[str, Any]) -> NDArray[np.floating]:
        import torch

        with torch.inference_mode():
            vectors = self._model(features)["sentence_embedding"]
        width = self._model.truncate_dim
        rows_out: NDArray[np.floating] = vectors[:, :width].float().cpu().numpy()
        return rows_out

    def _forward_texts(self, batch: Sequence[Reading]) -> NDArray[np.floating]:
        texts = [reading.text for reading in batch]
        # An empty prompt keeps a default prompt of the model's own out: the spec alone decides the vectors.
        vectors: NDArray[np.floating] = self._model.encode(
            texts, prompt=self._spec.prompt or "", batch_size=len(texts), show_progress_bar=False
        )
        return vectors


def load_quietly(path: Path, device: str | None) -> SentenceTransformer:
    """Load a model from a folder without a network, progress bars, log lines or warnings.

    Raises:
        InputError: It cannot be loaded.
    """
    with quiet():
        with uncollected():
            from safetensors import SafetensorError
            from sentence_transformers import SentenceTransformer

        unusable = (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ImportError)
        try:
            model = SentenceTransformer(str(path), device=device, local_files_only=True)
        except (*unusable, SafetensorError) as error:
            words = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(f"sentence-transformers cannot load {path}: {words}") from error
    return model.eval()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what model libraries like to say while loading off the terminal."""
    names = ("sentence_transformers", "transformers", "huggingface_hub", "torch")
    before: Mapping[str, int] = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            for name in names:
                logging.getLogger(name).setLevel(logging.CRITICAL)
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)


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
