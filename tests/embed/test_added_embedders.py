"""An embedder that another package adds: one class, named by an entry point and used when the user names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.errors import InputError
from tests.cli.commands import jisi
from tests.formats.test_added_formats import SUMS

LETTERS = '''"""letters: a vector of how often each letter is in a text."""

import numpy as np

from jisi_cli.embed.protocol import Reading


class Letters:
    revision, dimension, tokens = "1", 26, 0

    def __init__(self, spec, argument, options):
        self.prompt = spec.prompt or ""

    def read(self, texts):
        return [Reading(length=len(text), truncated=False, text=self.prompt + text) for text in texts]

    def encode(self, readings):
        yield np.array([[1.0 + reading.text.count(chr(97 + n)) for n in range(26)] for reading in readings])
'''
IMPORTED = "import os, pathlib\n\npathlib.Path(os.environ['SEEN']).write_text('imported')\n\n" + LETTERS

Install = Callable[..., None]


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_text("\n".join(map(json.dumps, SUMS)), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["letters", "letters:english"])
def test_it_builds_a_bank_and_embeds_the_questions_to_it(
    install_package: Install, sums: Path, tmp_path: Path, name: str
) -> None:
    install_package("jisi_letters", LETTERS, embedders={"letters": "jisi_letters:Letters"})
    bank = tmp_path / "bank"
    built = jisi("bank", "build", sums, "--output", bank, "--embedder", name)
    assert built.exit_code == 0, built.stderr
    assert f"need the embedder {name}" in " ".join(built.stderr.split())
    routed = jisi("route", "What is 3 + 3?", "--bank", bank, "--embedder", name, "--json")
    assert routed.exit_code == 0, routed.stderr
    assert load_embedder(EmbedderSpec(name)).spec == EmbedderSpec(name, "1", 26)


def test_a_bank_alone_neither_imports_nor_uses_it(
    install_package: Install, sums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    install_package("jisi_letters", IMPORTED, embedders={"letters": "jisi_letters:Letters"})
    bank = tmp_path / "bank"
    assert jisi("bank", "build", sums, "--output", bank, "--embedder", "letters").exit_code == 0
    (tmp_path / "seen").unlink()
    refused = jisi("route", "What is 3 + 3?", "--bank", bank)
    assert refused.exit_code == 3
    assert "names the embedder `letters`, which you do not name" in " ".join(refused.stderr.split())
    assert not (tmp_path / "seen").exists()
    assert jisi("route", "What is 3 + 3?", "--bank", bank, "--trust-embedder").exit_code == 0
    assert jisi("route", "What is 4 + 3?", "--bank", bank).exit_code == 0


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import not_there\n", "the embedder `letters` of the package jisi_letters 1.0 cannot be loaded"),
        ("Letters = 1\n", "the embedder `letters` of an installed package is no class and no function"),
    ],
)
def test_a_broken_one_is_one_line(install_package: Install, sums: Path, tmp_path: Path, source: str, says: str) -> None:
    install_package("jisi_letters", source, embedders={"letters": "jisi_letters:Letters"})
    done = jisi("bank", "build", sums, "--output", tmp_path / "bank", "--embedder", "letters")
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_packages_cannot_replace_jisis_own(install_package: Install) -> None:
    install_package("jisi_letters", LETTERS, embedders={"hashing": "jisi_letters:Letters"})
    assert load_embedder(EmbedderSpec("hashing")).spec.dimension == 1024
    with pytest.raises(InputError, match="adds the embedder `hashing`, a name of jisi's own"):
        load_embedder(EmbedderSpec("letters"))
