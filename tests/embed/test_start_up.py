"""What a question costs in imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, sys
from pathlib import Path
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.embed.vector_cache import cache_vectors
embedder = cache_vectors(load_embedder(EmbedderSpec(sys.argv[1])), Path(sys.argv[2]), warn=print)
embedder.embed(["what is one and two?"])
print(json.dumps(sorted(sys.modules)))
"""
HEAVY = {"torch", "transformers", "sentence_transformers", "huggingface_hub", "sklearn", "scipy", "litellm"}


def modules_after_embedding(folder: Path, cache: Path) -> set[str]:
    command = [sys.executable, "-c", SCRIPT, str(folder), str(cache)]
    return set(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def test_a_question_is_embedded_without_torch(bert_folder: Path, tmp_path: Path) -> None:
    loaded = modules_after_embedding(bert_folder, tmp_path)
    assert "tokenizers" in loaded
    assert not loaded & HEAVY


def test_a_question_that_comes_again_needs_no_model_at_all(bert_folder: Path, tmp_path: Path) -> None:
    modules_after_embedding(bert_folder, tmp_path)
    assert not modules_after_embedding(bert_folder, tmp_path) & {"tokenizers", "threadpoolctl", "diskcache", *HEAVY}
