"""Small sentence-transformers folders with random weights, written file by file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

D, HEADS, LAYERS, INNER, LONGEST = 32, 4, 2, 64, 24
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
WORDS = [*NUMBERS, "query", "answer", "the", "a", "of", "and", "is", "what", "how"]
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)] + list("0123456789?!.,:-+()é你")
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *[x for x in LETTERS if x not in WORDS]]
VOCABULARY += [f"##{letter}" for letter in LETTERS]


def write_bert(
    folder: Path,
    *,
    pooling: str = "mean",
    activation: str = "gelu",
    dtype: type[np.floating] = np.float32,
    normalize: bool = True,
    pooling_more: dict[str, Any] | None = None,
    tokenizer_more: dict[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Write a BERT of 2 layers and width 32 that reads 24 tokens at most."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": activation,
        "hidden_size": D,
        "intermediate_size": INNER,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 2 * LONGEST,
        "type_vocab_size": 2,
        "vocab_size": len(VOCABULARY),
        "pad_token_id": 0,
    }
    save_file(_weights(np.random.default_rng(seed), dtype), folder / "model.safetensors")
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": place, "name": str(place), "path": paths[place], "type": f"sentence_transformers.models.{kind}"}
        for place, kind in enumerate(kinds)
    ]
    modes = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens"}
    pooled = {"word_embedding_dimension": D, **{mode: name == pooling for name, mode in modes.items()}}
    _json(folder / "config.json", config)
    _json(folder / "modules.json", modules)
    _json(folder / "sentence_bert_config.json", {"max_seq_length": LONGEST, "do_lower_case": False})
    _json(folder / "1_Pooling" / "config.json", {**pooled, **(pooling_more or {})})
    _write_tokenizer(folder, tokenizer_more or {})
    return folder


def _weights(rng: np.random.Generator, dtype: type[np.floating]) -> dict[str, np.ndarray]:
    def some(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.3, shape).astype(dtype)

    weights = {
        "embeddings.word_embeddings.weight": some(len(VOCABULARY), D),
        "embeddings.position_embeddings.weight": some(2 * LONGEST, D),
        "embeddings.token_type_embeddings.weight": some(2, D),
        "embeddings.LayerNorm.weight": 1 + some(D),
        "embeddings.LayerNorm.bias": some(D),
    }
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        for name, outputs, inputs in (
            ("attention.self.query", D, D),
            ("attention.self.key", D, D),
            ("attention.self.value", D, D),
            ("attention.output.dense", D, D),
            ("intermediate.dense", INNER, D),
            ("output.dense", D, INNER),
        ):
            weights[f"{layer}.{name}.weight"] = some(outputs, inputs)
            weights[f"{layer}.{name}.bias"] = some(outputs)
        for name in ("attention.output", "output"):
            weights[f"{layer}.{name}.LayerNorm.weight"] = 1 + some(D)
            weights[f"{layer}.{name}.LayerNorm.bias"] = some(D)
    return weights


def _write_tokenizer(folder: Path, more: dict[str, Any]) -> None:
    ids = {token: number for number, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    special = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    said = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 2 * LONGEST}
    _json(folder / "tokenizer_config.json", {**special, **said, **more})


def _json(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
