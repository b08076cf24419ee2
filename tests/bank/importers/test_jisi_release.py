from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.bank.importers.jisi_release import release_vectors
from jisi_cli.errors import InputError
from tests.bank.importers.reading import FIXTURES, read_all

RELEASE = FIXTURES / "jisi_release"
MAPS = Path("/proc/self/maps")
ROWS, MODELS, WIDTH = 4, 2, 8


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The release with vectors of its own, written as the authors wrote theirs."""
    import torch

    root = tmp_path / "release"
    shutil.copytree(RELEASE, root)
    folder = root / "example_data" / "seed42_split0.7"
    torch.save(torch.arange(ROWS * WIDTH, dtype=torch.float32).reshape(ROWS, WIDTH), folder / "train_query_embed.tar")
    responses = torch.arange(ROWS * MODELS * WIDTH, dtype=torch.float32).reshape(ROWS, MODELS, WIDTH)
    torch.save(responses, folder / "train_response_embed.tar")
    torch.save(responses[:1].half(), folder.parent / "test_response_embed.tar")
    return root


def test_the_side_of_the_split_is_the_file_s_and_not_the_benchmark_s():
    records, problems = read_all(RELEASE)
    assert [(record.index, record.model, record.split) for record in records] == [
        ("10", "bob", "train"),
        ("10", "ada", "train"),
        ("9", "bob", "train"),
        ("9", "ada", "train"),
        ("3", "bob", "train"),
        ("3", "ada", "train"),
        ("4", "bob", "test"),
        ("4", "ada", "test"),
    ]
    assert [(Path(problem.source).name, problem.line) for problem in problems] == [("train.jsonl", 3)]


def test_the_vectors_are_those_that_were_saved(release: Path):
    vectors = release_vectors(release)
    assert vectors.query_vectors is not None and vectors.response_vectors is not None
    np.testing.assert_array_equal(vectors.query_vectors, np.arange(32, dtype=np.float32).reshape(4, 8))
    assert vectors.response_vectors.shape == (ROWS, MODELS, WIDTH)
    assert vectors.models == ("bob", "ada")


def test_a_line_that_cannot_be_read_still_has_its_row(release: Path):
    assert release_vectors(release).rows == {("sums", "10"): 0, ("sums", "9"): 1, ("sums", "3"): 3}


def test_test_vectors_are_found_in_the_folder_above_and_have_no_queries(release: Path):
    vectors = release_vectors(release / "example_data" / "seed42_split0.7", "test")
    assert vectors.query_vectors is None
    assert vectors.response_vectors is not None and vectors.response_vectors.dtype == np.float16


def test_vectors_cannot_be_written(release: Path):
    vectors = release_vectors(release)
    assert vectors.query_vectors is not None
    with pytest.raises(ValueError, match="read-only"):
        vectors.query_vectors[0, 0] = 1.0


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux lists what a process has mapped")
def test_vectors_are_mapped_from_disk(release: Path):
    vectors = release_vectors(release)
    assert vectors.query_vectors is not None
    assert "train_query_embed.tar" in MAPS.read_text(encoding="utf-8")


def test_a_release_without_vectors_has_none():
    vectors = release_vectors(RELEASE)
    assert (vectors.query_vectors, vectors.response_vectors) == (None, None)


def test_vectors_that_do_not_fit_the_questions_are_refused(release: Path):
    path = release / "example_data" / "seed42_split0.7" / "train.jsonl"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")
    with pytest.raises(InputError, match=r"shape \(4, 8\) does not fit \(3,\) rows"):
        release_vectors(release)


def test_a_file_that_would_run_code_is_refused(release: Path):
    import torch

    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("this must never run",)

    path = release / "example_data" / "seed42_split0.7" / "train_query_embed.tar"
    torch.save(Harmful(), path)
    with pytest.raises(InputError, match="cannot be mapped as a tensor") as refusal:
        release_vectors(release)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"not a torch file", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_tensor_is_refused(release: Path, content: bytes):
    (release / "example_data" / "seed42_split0.7" / "train_query_embed.tar").write_bytes(content)
    with pytest.raises(InputError, match="cannot be mapped as a tensor"):
        release_vectors(release)
