"""BERT-like models on this machine: which folders NumPy computes exactly, and torch once there is much to embed."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.bert import Affine, Bert, Floats, Layer, LayerNorm, Pooling, encode_all
from jisi_cli.embed.model_folder import ModelFolder, read_json, read_object
from jisi_cli.embed.protocol import EmbedderSpec, Reading, batches
from jisi_cli.embed.sentence_transformer import SentenceTransformerEncoder
from jisi_cli.embed.token_window import SpecialTokens, TokenWindow

if TYPE_CHECKING:
    from tokenizers import Tokenizer


# Recognises a sentence-transformers folder that `bert.py` computes exactly, and maps its weights.
#
# The shape: BERT with exact GELU and absolute positions, mean or first-token pooling, at most a normalisation
# after it, float32 safetensors, a lower-casing rule that its two tokenizer files agree on. all-MiniLM-L6-v2 and the
# many models made after it are like that. Anything else, or anything unknown, is left to sentence-transformers.


_MODULES = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
# What `sentence_bert_config.json` may say; later versions write the last three.
_KNOWN = {
    "do_lower_case": False,
    "transformer_task": "feature-extraction",
    "module_output_name": "token_embeddings",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
}


class NotThisShape(Exception):
    """The folder holds another kind of model."""


@dataclass(frozen=True, slots=True)
class BertFolder:
    """A folder of that shape.

    Attributes:
        path: The folder.
        longest: Tokens the model takes at most, special tokens included.
        pooling: How it pools.
        config: Its `config.json`.
    """

    path: Path
    longest: int
    pooling: Pooling
    config: Mapping[str, Any]

    def load(self) -> Bert:
        """Map the weights; pages are read from the disk when they are used.

        Raises:
            NotThisShape: The weights are not those of such a model.
        """
        return _bert(map_safetensors(self.path / "model.safetensors"), self.config, self.pooling)

    def tokenizer(self) -> Tokenizer:
        """Load the tokenizer, without its own padding and truncation.

        Raises:
            NotThisShape: Its lower-casing is not what `tokenizer_config.json` says, so that the tokenizer
                file alone does not decide.
        """
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.path / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        said = read_object(self.path / "tokenizer_config.json")
        rules = {"do_lower_case": "lowercase", "strip_accents": "strip_accents"}
        rules["tokenize_chinese_chars"] = "handle_chinese_chars"
        for key, attribute in rules.items():
            if key in said and said[key] != getattr(tokenizer.normalizer, attribute, None):
                raise NotThisShape(f"the tokenizer files disagree about {key}")
        return tokenizer


def recognise(path: Path) -> BertFolder | None:
    """Return the folder if it is of the shape that `bert.py` computes; None if it is not."""
    try:
        config = read_object(path / "config.json")
        modules = read_json(path / "modules.json")
        window = read_object(path / "sentence_bert_config.json")
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        pooling = _pooling(read_object(path / modules[1]["path"] / "config.json"))
        longest = window.pop("max_seq_length", None)
        if longest is None:
            longest = read_object(path / "tokenizer_config.json")["model_max_length"]
        fits = (
            kinds in _MODULES
            and modules[0]["path"] == ""
            and _is_plain_bert(config)
            and all(value == _KNOWN[key] for key, value in window.items())
            and not read_object(path / "config_sentence_transformers.json").get("truncate_dim")
            and 2 < longest <= config["max_position_embeddings"]
            and (path / "tokenizer.json").is_file()
            and (path / "model.safetensors").is_file()
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        # What cannot be read here is left to sentence-transformers.
        return None
    return BertFolder(path, int(longest), pooling, config) if fits and pooling is not None else None


def _is_plain_bert(config: Mapping[str, Any]) -> bool:
    sizes = ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size", "type_vocab_size")
    return (
        all(isinstance(config[name], int) for name in sizes)
        and isinstance(config["layer_norm_eps"], float)
        and config["model_type"] == "bert"
        and config["hidden_act"] == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
        and config["hidden_size"] % config["num_attention_heads"] == 0
    )


def _pooling(config: Mapping[str, Any]) -> Pooling | None:
    """Return how a folder pools, from the old or the new words of its configuration; None for other ways."""
    modes = {key.removeprefix("pooling_mode_") for key, value in config.items() if "mode_" in key and value}
    said = config.get("pooling_mode")
    modes |= {said} if isinstance(said, str) else set(said or ())
    if not config.get("include_prompt", True):
        return None
    if modes in ({"mean_tokens"}, {"mean"}):
        return "mean"
    return "cls" if modes in ({"cls_token"}, {"cls"}) else None


def map_safetensors(path: Path) -> dict[str, Floats]:
    """Map the tensors of a safetensors file into memory, copying nothing.

    The file is a length (8 bytes, little-endian), a JSON header of that length that gives each tensor's
    type, shape and place, and the tensors (https://github.com/huggingface/safetensors). Reading it through
    the library would copy 90 MB of which one question needs half.

    Raises:
        NotThisShape: The file is damaged, or holds a floating-point type other than float32.
    """
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        begin = 8 + int.from_bytes(data[:8].tobytes(), "little")
        header = json.loads(data[8:begin].tobytes())
        described = [(name, about) for name, about in header.items() if name != "__metadata__"]
        return {name: _tensor(data[begin:], about) for name, about in described if about["dtype"] != "I64"}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise NotThisShape(f"{path} cannot be mapped: {error}") from error


def _tensor(data: NDArray[np.uint8], about: Mapping[str, Any]) -> Floats:
    first, last = about["data_offsets"]
    part = np.asarray(data[first:last])
    if about["dtype"] != "F32" or len(part) != 4 * math.prod(about["shape"]):
        raise ValueError("not the float32 tensor that its header describes")
    tensor: Floats = part.view("<f4").reshape(about["shape"])
    if not tensor.flags.aligned:
        raise ValueError("tensors do not begin at multiples of four bytes")
    return tensor


class _Named:
    """The tensors by name, each checked against the shape that the configuration promises."""

    def __init__(self, tensors: Mapping[str, Floats], eps: float) -> None:
        self._tensors, self._eps = tensors, eps

    def tensor(self, name: str, *shape: int) -> Floats:
        found = self._tensors.get(name)
        if found is None or found.shape != shape:
            raise NotThisShape(f"no tensor {name} of shape {shape}")
        return found

    def affine(self, name: str, outputs: int, inputs: int) -> Affine:
        return Affine(self.tensor(f"{name}.weight", outputs, inputs), self.tensor(f"{name}.bias", outputs))

    def norm(self, name: str, width: int) -> LayerNorm:
        name = f"{name}.LayerNorm"
        return LayerNorm(self.tensor(f"{name}.weight", width), self.tensor(f"{name}.bias", width), self._eps)


def _bert(tensors: Mapping[str, Floats], config: Mapping[str, Any], pooling: Pooling) -> Bert:
    named = _Named(tensors, float(config["layer_norm_eps"]))
    d, inner = config["hidden_size"], config["intermediate_size"]
    layers = []
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        layers.append(
            Layer(
                query=named.affine(f"{layer}.attention.self.query", d, d),
                key=named.affine(f"{layer}.attention.self.key", d, d),
                value=named.affine(f"{layer}.attention.self.value", d, d),
                attention_output=named.affine(f"{layer}.attention.output.dense", d, d),
                attention_norm=named.norm(f"{layer}.attention.output", d),
                expand=named.affine(f"{layer}.intermediate.dense", inner, d),
                contract=named.affine(f"{layer}.output.dense", d, inner),
                output_norm=named.norm(f"{layer}.output", d),
            )
        )
    return Bert(
        word=named.tensor("embeddings.word_embeddings.weight", config["vocab_size"], d),
        position=named.tensor("embeddings.position_embeddings.weight", config["max_position_embeddings"], d),
        segment=named.tensor("embeddings.token_type_embeddings.weight", config["type_vocab_size"], d)[0],
        norm=named.norm("embeddings", d),
        layers=tuple(layers),
        heads=int(config["num_attention_heads"]),
        pooling=pooling,
    )


NUMPY_WORK = 3e11
"""Multiplications after which NumPy has taken about as long as importing torch takes (28,000 tokens of MiniLM).

Renting until the rent has cost as much as buying, and then buying, never costs more than twice the least. A few texts
at a time, as answers come, are not counted: torch takes longer for one text than NumPy, and many texts in one batch,
which it is quick with, change each other's last bits.
"""
_TEXTS = 16
"""Texts between two reports of progress, and the most that are a few."""


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
        self._opening = threading.Lock()

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
        with self._opening:
            opened = self._opened
        return self._torch.read(texts) if opened is None else opened[1].read(texts)

    def encode(self, readings: Sequence[Reading]) -> Iterator[NDArray[np.floating]]:
        """Yield raw row vectors, a batch at a time."""
        bert = self._opened[0] if self._opened is not None else None
        work = self._spent + (bert.work * sum(reading.length for reading in readings) if bert is not None else 0)
        if bert is None or work > self._numpy_work:
            yield from self._torch.encode(readings)
            return
        if len(readings) > _TEXTS:
            self._spent = work
        for batch in batches(readings, most=_TEXTS, volume=None):
            yield encode_all(bert, [reading.token_ids for reading in batch])

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
