"""Files that a command is asked to write: never over anything that jisi did not write as a file of the same kind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from jisi_cli.cli.app import build_app
from jisi_cli.errors import InputError
from jisi_cli.evaluation.results import ResultFile
from jisi_cli.files import ANSWERS, PAGE, RESULTS, OutputKind, require_output, written
from tests.cli.commands import SCORES, jisi, recorded_answers, says_one_error, write_lines

CONTENTS = {
    PAGE: b'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    b'<meta name="generator" content="jisi">\n',
    ANSWERS: b'{"written_by": "jisi", "dataset": "a", "index": "1"}\n',
    RESULTS: b'{"key": "0123456789abcdef01234567", "dataset": "a", "index": "1", "method": "m", "status": "failed"}\n',
}
KINDS = pytest.mark.parametrize("kind", CONTENTS, ids=lambda kind: kind.name)

PRECIOUS = {
    "a thesis": b"my thesis",
    "a page of somebody else": b'<!doctype html>\n<html lang="en">\n<head>\n<title>written by jisi</title>',
    "recorded answers": b'{"dataset": "a", "index": 1, "query": "q", "gt": "1", "records": {}, "usages": {}}\n',
    "JSON without a line's end": b'{"key": "value"}',
    "a table": b"PAR1",
    "a pool file": b'bank = "bank"\n',
    "a space": b" ",
}


def write(path: Path, kind: OutputKind) -> None:
    """Write a file as the commands do."""
    if kind is RESULTS:
        ResultFile(path).__exit__()
        return
    with written(path, kind) as file:
        file.write(CONTENTS[kind])


@KINDS
def test_the_empty_lock_of_a_bank_is_no_file_to_write_over(kind: OutputKind, tmp_path: Path) -> None:
    (tmp_path / "bank.json").write_text("{}")
    lock = tmp_path / ".lock"
    lock.touch()
    with pytest.raises(InputError, match="jisi wrote"):
        require_output(lock, kind)


@KINDS
def test_a_new_file_an_empty_one_and_ones_own_can_be_written(kind: OutputKind, tmp_path: Path) -> None:
    path = tmp_path / "made"
    for before in (None, b"", CONTENTS[kind]):
        if before is not None:
            path.write_bytes(before)
        require_output(path, kind)
        write(path, kind)
        assert path.read_bytes() == (before or b"" if kind is RESULTS else CONTENTS[kind])
    assert list(tmp_path.iterdir()) == [path]


@KINDS
@pytest.mark.parametrize("what", PRECIOUS)
def test_what_jisi_did_not_write_is_refused_and_left(kind: OutputKind, what: str, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_bytes(PRECIOUS[what])
    hard_link = tmp_path / "another name"
    hard_link.hardlink_to(path)
    for place in (path, hard_link, tmp_path / "x" / ".." / "precious"):
        (tmp_path / "x").mkdir(exist_ok=True)
        for refuse in (require_output, write):
            with pytest.raises(InputError, match=r"precious|another name"):
                refuse(place, kind)
    assert path.read_bytes() == PRECIOUS[what]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["another name", "precious", "x"]


@KINDS
def test_one_kind_of_file_never_replaces_another(kind: OutputKind, tmp_path: Path) -> None:
    for other, content in CONTENTS.items():
        path = tmp_path / "made"
        path.write_bytes(content)
        if other is not kind:
            with pytest.raises(InputError):
                write(path, kind)
            assert path.read_bytes() == content


@KINDS
def test_links_folders_pipes_and_devices_are_refused(kind: OutputKind, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(CONTENTS[kind])
    (tmp_path / "link").symlink_to("mine")
    (tmp_path / "to nothing").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    places = [tmp_path / name for name in ("link", "to nothing", "loop", "pipe", "folder")]
    for place in (*places, Path("/dev/zero"), Path("/dev/full"), Path("/proc/self/mem"), tmp_path / "none" / "x"):
        with pytest.raises(InputError, match=r"cannot be written|not a result"):
            write(place, kind)
    assert not (tmp_path / "nothing").exists()
    assert (tmp_path / "mine").read_bytes() == CONTENTS[kind]


def test_what_appears_while_a_page_is_drawn_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    with pytest.raises(InputError, match="cannot be written"), written(path, PAGE) as file:
        file.write(CONTENTS[PAGE])
        path.write_bytes(b"somebody was faster")
    assert path.read_bytes() == b"somebody was faster"
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_can_go_to_a_stream_of_the_process(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with (tmp_path / "elsewhere").open("wb") as other:
        for place in ("/dev/stdout", f"/dev/fd/{other.fileno()}", os.devnull):
            write(Path(place), PAGE)
    assert capfdbinary.readouterr().out == (tmp_path / "elsewhere").read_bytes() == CONTENTS[PAGE]


def test_who_could_read_a_page_before_can_read_it_after(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(CONTENTS[PAGE])
    path.chmod(0o604)
    write(path, PAGE)
    assert path.stat().st_mode & 0o777 == 0o604


# The commands: each option that names a file to write, over each thing that a person may name by mistake.


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank with test rows, what it was made of, results, and other files that are precious."""
    folder = tmp_path_factory.mktemp("scene")
    source = write_lines(folder / "answers.jsonl", recorded_answers(SCORES))
    build = ("bank", "build", source, "-o", folder / "bank", "--embedder", "hashing:64", "--split", "0.7")
    assert jisi(*build).exit_code == 0
    keyless = [{name: value for name, value in line.items() if name != "records"} for line in recorded_answers(SCORES)]
    for line in keyless:
        line |= {"grader": "numeric", "raw_output": {m: f"The answer is {n}." for n, m in enumerate(SCORES)}}
    source = write_lines(folder / "keyless.jsonl", keyless)
    assert jisi("bank", "build", source, "-o", folder / "keyless", "--embedder", "hashing:64").exit_code == 0
    assert jisi("eval", folder / "bank", "--method", "best-single", "--out", folder / "results.jsonl").exit_code == 0
    (folder / "jisi.toml").write_text('bank = "bank"\n')
    (folder / "thesis.tex").write_text("mine")
    return folder


WRITING = {
    ("eval", "--out"): ("eval", "bank", "--method", "best-single", "--out"),
    ("eval", "--report"): ("eval", "bank", "--method", "best-single", "--report"),
    ("report", "--out"): ("report", "results.jsonl", "-o"),
    ("route", "--html"): ("route", "What is 3 plus 6?", "--bank", "bank", "--html"),
    ("bank build", "--save-answers"): (
        *("bank", "build", "answers.jsonl", "-o", "new", "--embedder", "hashing:64", "--save-answers"),
    ),
}
WRITING_ONCE = {
    ("bank label", "--export"): ("bank", "label", "keyless", "--export"),
    ("demo", "--copy"): ("demo", "--copy"),
    ("init", "--output"): ("init", "--providers", "openai", "--output"),
}
"""What may hold the work of people is not even replaced by what jisi would write again."""
ANSWERS = {("ask", "--out")}
"""The same file of lines as `eval --out`, but it takes calls to write it: tests/cli/test_ask_input.py."""
READING = {
    *(
        ("ask", "--bank"),
        ("ask", "--config"),
        ("ask", "--input"),
        ("route", "--bank"),
        ("route", "--config"),
        ("route", "--input"),
    ),
    *(("eval", "--bank"), ("eval", "--config"), ("eval", "--prices"), ("eval", "--grow")),
    *(("report", "results"), ("report", "--bank"), ("cost", "--bank"), ("cost", "--prices"), ("cost", "--config")),
    *(("bank build", "sources"), ("bank build", "--config"), ("bank build", "--vectors")),
    *((f"bank {name}", option) for name in ("grade", "inspect", "calibrate") for option in ("bank", "--config")),
    *(("bank label", "bank"), ("bank label", "--config"), ("bank label", "--import"), ("models", "--config")),
    *(("serve", "--bank"), ("serve", "--config"), ("chat", "--bank"), ("chat", "--config")),
    *(
        ("mcp", "--bank"),
        ("mcp", "--config"),
        ("ask", "--attach"),
        ("ask", "--schema"),
        ("chat", "--attach"),
        ("chat", "--schema"),
    ),
}
A_BANK = {("bank build", "--output")}
"""Checked by `bank.build.check_target`."""


def options_with_a_path() -> Iterator[tuple[str, str]]:
    """Yield (command, option) of everything on the command line that is a path."""
    pending = [("", get_command(build_app()))]
    while pending:
        name, command = pending.pop()
        pending += [(f"{name} {sub}".strip(), inner) for sub, inner in getattr(command, "commands", {}).items()]
        for parameter in command.params:
            if isinstance(parameter.type, type(typer.main.get_click_type(annotation=Path, parameter_info=_ANY))):
                names = [text for text in parameter.opts if text.startswith("--")]
                yield name, names[0] if names else str(parameter.name)


_ANY = typer.models.ParameterInfo()


def test_every_option_that_names_a_file_is_known_to_read_it_or_is_tried_here() -> None:
    """An option that is new has to be written down here, and one that writes a file is tried below."""
    assert set(options_with_a_path()) == {*WRITING, *WRITING_ONCE, *ANSWERS, *READING, *A_BANK}


@pytest.mark.parametrize("option", WRITING | WRITING_ONCE, ids=" ".join)
def test_no_command_writes_over_what_it_reads_or_what_is_somebody_elses(
    option: tuple[str, str], scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(scene, tmp_path / "scene"))
    monkeypatch.chdir(folder)
    (part,) = folder.glob("bank/queries*.parquet")
    (folder / "link.html").symlink_to("thesis.tex")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    victims = ["answers.jsonl", "jisi.toml", "thesis.tex", "link.html", "bank/bank.json", str(part), "bank"]
    for victim in [*victims, *(() if option == ("eval", "--out") else ("results.jsonl",))]:
        says_one_error(jisi(*(WRITING | WRITING_ONCE)[option], victim), 2, victim)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("option", WRITING, ids=" ".join)
def test_a_command_replaces_its_own_file_when_it_is_run_again(
    option: tuple[str, str], scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(scene, tmp_path / "scene"))
    monkeypatch.chdir(folder)
    for _ in range(2):
        run = jisi(*WRITING[option], "made")
        assert run.exit_code == 0, run
        shutil.rmtree(folder / "new", ignore_errors=True)
    assert (folder / "made").stat().st_size


def test_two_options_cannot_name_one_file(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scene)
    for name in ("both", "BOTH", "./both"):
        words = ("eval", "bank", "--method", "best-single", "--out", tmp_path / "both", "--report", tmp_path / name)
        says_one_error(jisi(*words), 2, "another option")
    words = ("bank", "build", "answers.jsonl", "--embedder", "hashing:64", "-o", tmp_path / "x")
    says_one_error(jisi(*words, "--save-answers", tmp_path / "x"), 2, "another option")
    assert list(tmp_path.iterdir()) == []


def test_answers_in_a_folder_that_is_read_are_not_replaced(scene: Path, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    saved = sources / "answers.jsonl"
    words = ("--embedder", "hashing:64", "--save-answers", saved)
    assert jisi("bank", "build", scene / "answers.jsonl", "-o", tmp_path / "one", *words).exit_code == 0
    before = saved.read_bytes()
    run = jisi("bank", "build", sources, "-o", tmp_path / "two", "--format", "jisi", *words)
    says_one_error(run, 2, str(saved), "reads")
    assert saved.read_bytes() == before


def test_force_replaces_only_a_bank(scene: Path, tmp_path: Path) -> None:
    other = tmp_path / "money"
    other.mkdir()
    (other / "bank.json").write_text('{"iban": "XX00"}')
    words = ("--embedder", "hashing:64", "--force")
    run = jisi("bank", "build", scene / "answers.jsonl", "-o", other, *words)
    says_one_error(run, 2, "not a manifest that jisi wrote")
    assert (other / "bank.json").read_text() == '{"iban": "XX00"}'
    bank = Path(shutil.copytree(scene / "bank", tmp_path / "bank"))
    mine = write_lines(bank / "answers.jsonl", recorded_answers())
    says_one_error(jisi("bank", "build", mine, "-o", bank, *words), 2, str(mine), "will be replaced")
    (bank / "bank.json").write_text((bank / "bank.json").read_text()[:40])
    assert jisi("bank", "build", scene / "answers.jsonl", "-o", bank, *words).exit_code == 0
