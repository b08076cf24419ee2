"""What the user has allowed is remembered by content, for its owner alone, and nothing else is allowed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from jisi_cli import trust
from jisi_cli.config import Config, ModelEntry
from jisi_cli.paths import config_folder
from jisi_cli.user import Log, require_consent


def test_nothing_is_trusted_before_the_user_says_so() -> None:
    assert not trust.is_trusted("embedders", "a" * 64)
    assert trust.trusted("pool_files") == {}


def test_trust_is_kept_by_kind_and_content_and_can_be_taken_back(tmp_path: Path) -> None:
    file = tmp_path / "jisi.toml"
    identity = trust.file_identity(file, b"one")
    trust.trust("pool_files", identity, str(file))

    assert trust.is_trusted("pool_files", identity)
    assert not trust.is_trusted("embedders", identity)
    assert not trust.is_trusted("pool_files", trust.file_identity(file, b"two"))
    assert not trust.is_trusted("pool_files", trust.file_identity(tmp_path / "other" / "jisi.toml", b"one"))

    assert trust.distrust("pool_files", str(file)) == 1
    assert not trust.is_trusted("pool_files", identity)
    assert trust.distrust("pool_files", str(file)) == 0


def test_the_record_is_readable_by_its_owner_alone() -> None:
    trust.trust("embedders", "a" * 64, "org/model")

    assert stat.S_IMODE((config_folder() / "trusted.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "[]", '{"embedders": ["a"]}', '{"embedders": {"a": 1}}', "[" * 100_000, "\xff"])
def test_a_damaged_record_allows_nothing(text: str) -> None:
    config_folder().mkdir(parents=True, exist_ok=True)
    (config_folder() / "trusted.json").write_text(text, encoding="latin-1")

    assert not trust.is_trusted("embedders", "a")
    trust.trust("embedders", "b", "model")
    assert trust.is_trusted("embedders", "b")


class _Person(Log):
    """Allows whatever it is asked, and keeps the questions."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def confirmed(self, question: str) -> bool | None:
        self.asked.append(question)
        return True


def test_one_question_is_asked_once_and_allows_nothing_that_it_did_not_name(tmp_path: Path) -> None:
    file = tmp_path / "jisi.toml"
    config = Config(path=file, identity=trust.file_identity(file, b"pool"), found_here=True, trusted=False)
    one, other = (ModelEntry(name, f"openai/{name}", api_base=f"http://{name}.example/v1") for name in ("one", "other"))
    person = _Person()

    for entries in ([one], [one], [one, other], [other, one]):
        require_consent(config, entries, person)

    first, second = person.asked
    assert "sends questions to http://one.example" in first
    assert "http://other.example" in second
    assert "http://one.example" not in second
