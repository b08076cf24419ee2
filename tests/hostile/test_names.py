"""Names of models, datasets and questions that would be paths, or that a file system takes for one another."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import model_folder
from tests.bank.making import build, record
from tests.hostile.surfaces import watched

TRICKS = [
    *("../../x", "a/b", "a\\b", "/etc/passwd", "..", ".", "~", "C:\\x", "a\x00b", "\u202eadb", "a\u200bb"),
    *(
        "Ada",
        "ada",
        "ADA",
        "caf\u00e9",
        "cafe\u0301",
        "\ufb01n",
        "fin",
        "CON",
        "con.txt",
        "NUL",
        "COM1",
        "ada.",
        "ada ",
    ),
    *("n" * 300, "n" * 301, "\U0001f600" * 80, "%2e%2e", "%", "model=ada", "part.parquet", "-rf", "a\nb", "bank.json"),
]
names = st.sampled_from(TRICKS) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@settings(max_examples=40, deadline=None)
@given(st.lists(names, min_size=1, max_size=6, unique=True))
@example(TRICKS)
def test_names_of_all_kinds_come_back_and_nothing_is_written_elsewhere(found: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bank = Path(folder) / "deep" / "er" / "bank"
        answers = [
            replace(record(row), model=model, dataset=name, index=name, query=f"q {row}", response=f"{model}: {row}")
            for row, name in enumerate(found)
            for model in found
        ]
        build(Path(folder) / "warm", [record(0)], "hashing:8")
        with watched(Path(folder)):
            build(bank, answers, "hashing:8")
        opened = Bank(bank)
        assert opened.models == tuple(sorted(found))
        assert sorted((one.dataset, one.index) for one in opened.questions) == sorted(zip(found, found, strict=True))
        rows = {question.index: int(question.query.removeprefix("q ")) for question in opened.questions}
        for model in found:
            expected = [f"{model}: {rows[question.index]}" for question in opened.questions]
            assert opened.responses(model) == expected
        outside = [path for path in Path(folder).rglob("*") if path.is_file() and not path.is_relative_to(bank)]
        assert all(path.is_relative_to(Path(folder) / "warm") for path in outside)
        assert all(path.resolve().is_relative_to(bank.resolve()) for path in bank.rglob("*"))


@given(names)
def test_a_models_folder_is_one_folder_with_a_name_that_every_system_takes(name: str) -> None:
    parent, folder = model_folder(name).split("/")
    assert parent == "responses"
    assert folder.isascii()
    assert len(folder) <= 255
    assert not set('<>:"|?*\\/\0') & set(folder)


def test_models_that_share_a_folder_where_case_counts_for_nothing_keep_their_own_files(tmp_path: Path) -> None:
    build(tmp_path / "bank", [record(0, model) for model in ("Ada", "ada")], "hashing:8")
    parts = [
        part.path.lower() for model in ("Ada", "ada") for part in Bank(tmp_path / "bank").manifest.responses[model]
    ]
    assert len(set(parts)) == 2
