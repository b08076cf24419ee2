from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.errors import InputError
from jisi_cli.formats.jisi_release import release_vectors
from jisi_cli.formats.torch_file import TensorFile
from tests.formats.reading import FIXTURES, read_all

RELEASE = FIXTURES / "jisi_release"
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


def all_rows(file: TensorFile) -> np.ndarray:
    rows = file.rows(np.arange(int(np.prod(file.shape[:-1]))))
    return rows.reshape(file.shape)


def test_the_vectors_are_those_that_were_saved(release: Path):
    train = release_vectors(release)["train"]
    assert train.query_vectors is not None and train.response_vectors is not None
    np.testing.assert_array_equal(all_rows(train.query_vectors), np.arange(32, dtype=np.float32).reshape(4, 8))
    assert train.response_vectors.shape == (ROWS, MODELS, WIDTH)
    np.testing.assert_array_equal(train.response_vectors.rows(np.array([7, 0]))[:, 0], [56, 0])
    assert train.models == ("bob", "ada")


def test_a_line_that_cannot_be_read_still_has_its_row(release: Path):
    assert release_vectors(release)["train"].rows == {("sums", "10"): 0, ("sums", "9"): 1, ("sums", "3"): 3}


def test_test_vectors_are_found_in_the_folder_above_and_have_no_queries(release: Path):
    test = release_vectors(release / "example_data" / "seed42_split0.7")["test"]
    assert test.query_vectors is None
    assert test.response_vectors is not None
    np.testing.assert_array_equal(all_rows(test.response_vectors), np.arange(16).reshape(1, 2, 8))


def test_the_model_axis_of_both_sides_is_that_of_the_first_train_row(release: Path):
    path = release / "example_data" / "seed42_split0.7" / "test.jsonl"
    line = json.loads(path.read_text(encoding="utf-8"))
    line["raw_output"] = dict(reversed(line["raw_output"].items()))
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert release_vectors(release)["test"].models == ("bob", "ada")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_kind_of_real_number_is_read(tmp_path: Path, dtype: str):
    import torch

    saved = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    torch.save(saved, tmp_path / "x.tar")
    np.testing.assert_array_equal(all_rows(TensorFile(tmp_path / "x.tar")), saved.float().numpy())


def test_rows_of_a_part_of_a_larger_tensor_are_its_own(tmp_path: Path):
    import torch

    whole = torch.arange(20, dtype=torch.float32).reshape(5, 4)
    torch.save(whole[2:4], tmp_path / "x.tar")
    np.testing.assert_array_equal(all_rows(TensorFile(tmp_path / "x.tar")), whole[2:4].numpy())


def test_a_release_without_vectors_has_none():
    for side in release_vectors(RELEASE).values():
        assert (side.query_vectors, side.response_vectors) == (None, None)


def test_vectors_that_do_not_fit_the_questions_are_refused(release: Path):
    path = release / "example_data" / "seed42_split0.7" / "train.jsonl"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")
    with pytest.raises(InputError, match=r"shape \(4, 8\) does not fit \(3,\) rows"):
        release_vectors(release)


def test_vectors_of_different_widths_are_refused(release: Path):
    import torch

    path = release / "example_data" / "seed42_split0.7" / "train_query_embed.tar"
    torch.save(torch.zeros(ROWS, WIDTH + 1), path)
    with pytest.raises(InputError, match="8 and 9 wide"):
        release_vectors(release)


def save(path: Path, what: object) -> None:
    import torch

    torch.save(what, path)


def harmful(path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("this must never run",)

    save(path, Harmful())


def odd(name: str):
    """Return what writes a file that is no tensor to be read row by row."""
    import torch

    zeros = torch.zeros(ROWS, WIDTH)
    return {
        "code": harmful,
        "a dict": lambda path: save(path, {"a": zeros}),
        "two tensors": lambda path: save(path, [zeros, zeros.clone()]),
        "whole numbers": lambda path: save(path, zeros.int()),
        "a transposed view": lambda path: save(path, torch.zeros(WIDTH, ROWS).T),
        "one row many times": lambda path: save(path, torch.zeros(1, WIDTH).expand(ROWS, WIDTH)),
        "no axis": lambda path: save(path, torch.tensor(1.0)),
        "a sparse tensor": lambda path: save(path, zeros.to_sparse()),
        "the old format": lambda path: torch.save(zeros, path, _use_new_zipfile_serialization=False),
        "nothing": lambda path: path.write_bytes(b""),
        "words": lambda path: path.write_bytes(b"not a torch file"),
        "a broken archive": lambda path: path.write_bytes(b"PK\x03\x04 broken"),
        "a packed archive": packed,
        "half a file": lambda path: path.write_bytes(path.read_bytes()[:-300]),
    }[name]


def packed(path: Path) -> None:
    """Write the archive again, packed, as a bomb would be."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    "name",
    [
        *("code", "a dict", "two tensors", "whole numbers", "a transposed view", "one row many times", "no axis"),
        *("a sparse tensor", "the old format", "nothing", "words", "a broken archive", "a packed archive"),
        "half a file",
    ],
)
def test_a_file_that_is_no_tensor_in_one_piece_is_refused(
    release: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    odd(name)(release / "example_data" / "seed42_split0.7" / "train_query_embed.tar")
    with pytest.raises(InputError, match="cannot be read as a tensor") as refusal:
        release_vectors(release)
    assert "\n" not in str(refusal.value)
    assert capsys.readouterr().out == ""
