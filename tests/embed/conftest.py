"""Small models that are written once, because torch takes seconds to import."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jisi_cli.embed.model_folder import packaged_minilm
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.embed.unit_embedder import UnitEmbedder
from jisi_cli.errors import InputError
from tests.embed.folders import write_bert
from tests.loopback import Loopback

Make = Callable[..., UnitEmbedder]


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that NumPy can compute."""
    return write_bert(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(scope="session")
def tanh_bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that only torch can compute: its GELU is the approximate one."""
    return write_bert(tmp_path_factory.mktemp("models") / "tanh", activation="gelu_new", pooling="cls")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The packaged MiniLM's folder."""
    try:
        return packaged_minilm()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["numpy", "torch", "tanh", "hashing", "hashing:256", "endpoint"])
def make(
    request: pytest.FixtureRequest, bert_folder: Path, tanh_bert_folder: Path, tmp_path: Path, loopback: Loopback
) -> Iterator[Make]:
    """Make an embedder of each kind; keyword arguments change its spec."""
    kind = request.param
    loopback.script("vectors")
    names = {
        "numpy": str(bert_folder),
        "torch": str(bert_folder),
        "tanh": str(tanh_bert_folder),
        "endpoint": "litellm:openai/vectors",
    }

    def build(**changes: object) -> UnitEmbedder:
        spec = replace(EmbedderSpec(names.get(kind, kind)), **changes)  # type: ignore[arg-type]
        return load_embedder(
            spec,
            device="cpu" if kind == "torch" else None,
            cache_folder=tmp_path,
            api_base=loopback.api_base if kind == "endpoint" else None,
        )

    yield build
