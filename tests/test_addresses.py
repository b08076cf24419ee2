"""Addresses of banks: what names a place, and what holds a secret and is not repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from jisi_cli.addresses import is_address, read_address
from jisi_cli.errors import InputError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("s3://bucket/bank", "s3://bucket/bank"),
        ("s3a://my.bucket/a/b c@v1/", "s3://my.bucket/a/b c@v1"),
        ("gs://bucket/bank", "gs://bucket/bank"),
        ("abfs://box@account.dfs.core.windows.net/a/b", "abfs://box@account.dfs.core.windows.net/a/b"),
        ("S3://bucket//a///b", None),
    ],
)
def test_an_address_means_the_same_as_text_and_as_the_path_that_a_command_line_makes_of_it(
    written: str, meant: str | None
) -> None:
    if meant is not None:
        assert str(read_address(written)) == meant
    assert str(read_address(Path(written))) == (meant or "s3://bucket/a/b")


@pytest.mark.parametrize("path", ["bank", "/srv/banks/s3", "C:/banks/x", r"C:\banks\x", "s3", "run:1/bank", "./s3/b"])
def test_a_path_is_no_address(path: str) -> None:
    assert read_address(path) is None and not is_address(Path(path))


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIA1:hidden/x@bucket/bank",
        "s3://hidden@bucket/bank",
        "s3://user:hidden@bucket/bank",
        "gs://bucket/bank?X-Goog-Signature=hidden",
        "abfs://box:hidden@account.dfs.core.windows.net/bank",
        "abfs://box@account.dfs.core.windows.net/bank?sig=hidden",
        "s3://bucket/bank#hidden",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(address: str) -> None:
    for written in (address, Path(address)):
        with pytest.raises(InputError, match="holds a key") as caught:
            read_address(written)
        assert "hidden" not in str(caught.value) and "AKIA1" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://hidden@host/bank", "a bank cannot be at https://"),
        ("file:///srv/bank", "or the path of a folder"),
        ("s3://b/bank", "names a bucket that there cannot be, 'b': such names have 3 to 63"),
        ("abfs://b_c/bank", "names a container that there cannot be, 'b_c'"),
        ("hdfs://host/bank", "a bank cannot be at hdfs://"),
        ("s3://bucket", "names no folder"),
        ("s3://bucket/", "names no folder"),
        ("s3:///bank", "names no"),
        ("s3://", "names no bucket"),
        (str(Path("gs://")), "names no bucket"),
        ("s3://bucket/../other", "names no folder"),
        ("s3://bucket/a\x1b[2J", "names no folder"),
        ("s3://-/bank", "names a bucket that there cannot be, '-'"),
    ],
)
def test_an_address_that_names_no_bank_is_refused_in_words(address: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_address(address)
    assert "hidden" not in str(caught.value)
