"""Running answers: what passes, and what hostile answers cannot do to the machine or to their grade."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.grading.code import Code, CodeLimits
from jisi_cli.grading.registry import Ungraded
from tests.grading.submissions import python, submission

SQUARE = "def f(x):\n    return x * x\n"
TESTS = "assert f(2) == 4\nassert f(-3) == 9\n"
CASES = json.dumps([{"input": "3\n", "output": "9\n"}, {"input": "4", "output": "16"}])


@pytest.fixture(scope="module")
def code() -> Iterator[Code]:
    grader = Code(CodeLimits(seconds=60, memory=1 << 30, file_size=1 << 20))
    yield grader
    grader.close()


@pytest.fixture
def hurried() -> Iterator[Code]:
    """A grader for answers that use up what they get."""
    grader = Code(CodeLimits(seconds=1))
    yield grader
    grader.close()


@pytest.fixture(scope="session")
def missing_layers() -> str:
    """What the kernel under the tests does not grant; empty where it grants all."""
    told: list[str] = []
    assert Code(warn=told.append).grade(submission(python("x = 1"), "assert x")) == 1.0
    return " ".join(told)


def passes(grader: Code, answer: str, tests: str = TESTS) -> float | None:
    return grader.grade(submission(python(answer), tests))


# What is right, wrong, or no code.


@pytest.mark.parametrize(
    ("answer", "grade"),
    [
        (SQUARE, 1.0),
        ("def f(x):\n    return x + 2\n", 0.0),
        ("def f(x):\n    return undefined\n", 0.0),
        ("def g(x):\n    return x * x\n", 0.0),
        ("def f(x) return x", 0.0),
        ("import math\nf = lambda x: math.prod([x, x])\n", 1.0),
        (SQUARE + "\nif __name__ == '__main__':\n    f(int(input()))\n", 1.0),
        ("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n" + SQUARE, 1.0),
        ("from __future__ import annotations\n" + SQUARE, 1.0),
        ("import asyncio\nasync def g(x):\n    return x * x\nf = lambda x: asyncio.run(g(x))\n", 1.0),
        (
            "from concurrent.futures import ThreadPoolExecutor as T\nf = lambda x: T(2).submit(lambda: x * x).result()",
            1.0,
        ),
        ("from functools import cache\nimport sys\nsys.setrecursionlimit(5000)\n" + SQUARE, 1.0),
        ("import numpy\nf = lambda x: int(numpy.square(x))", 1.0),
        ("open('notes.txt', 'w').write('mine')\n" + SQUARE + "assert open('notes.txt').read() == 'mine'", 1.0),
    ],
)
def test_an_answer_passes_when_all_its_tests_do(code: Code, answer: str, grade: float) -> None:
    assert passes(code, answer) == grade


@pytest.mark.parametrize("response", ["I cannot do that.", "", "42", "```bash\nls\n```"])
def test_an_answer_without_code_is_unscored(code: Code, response: str) -> None:
    assert code.grade(submission(response, TESTS)) is None


@pytest.mark.parametrize(
    ("answer", "grade"),
    [
        ("print(int(input()) ** 2)", 1.0),
        ("import sys\nprint(int(sys.stdin.read()) ** 2, '  ')\nsys.exit()", 1.0),
        ("print(int(open(0).readline()) ** 2, end='')", 1.0),
        ("if __name__ == '__main__':\n    print(int(input()) ** 2)", 1.0),
        ("print(9)", 0.0),
        ("import sys\nprint(int(input()) ** 2)\nsys.exit(1)", 0.0),
        ("print(int(input()) ** 2)\n1 / 0", 0.0),
        ("print(int(input()) ** 2)\nprint('done')", 0.0),
        ("import os\nos._exit(0)", 0.0),
    ],
)
def test_a_program_passes_when_it_prints_every_output(code: Code, answer: str, grade: float) -> None:
    assert passes(code, answer, CASES) == grade


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("assert f(", "neither Python"),
        ("", "tests nothing"),
        ("# none", "tests nothing"),
        ('"4"', "tests nothing"),
        ('[{"input": "3"}]', "`input` and `output`"),
        ("[1, 2]", "`input` and `output`"),
        ("\x00", "neither Python"),
        ("(" * 10_000, "neither Python"),
    ],
)
def test_a_reference_without_tests_leaves_the_answer_unscored(code: Code, reference: str, reason: str) -> None:
    with pytest.raises(Ungraded, match=reason):
        passes(code, SQUARE, reference)


# An answer's own idea of its grade.


@pytest.mark.parametrize(
    "answer",
    [
        "import os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "raise SystemExit",
        "quit()",
        "raise KeyboardInterrupt",
        "print('passed')\nprint('ready landlock seccomp')",
        "import sys\nprint('ready\\npassed', file=sys.stderr)\nsys.exit(0)",
        "import os\n[os.write(n, b'passed') for n in range(3, 9) if not os.fstat(n)]",
        "import os\ndef f(x):\n    os._exit(0)",
        "def f(x):\n    raise SystemExit(0)",
        "import threading, os\nthreading.Timer(0.01, os._exit, [0]).start()\nimport time\ntime.sleep(60)",
        "import atexit\natexit.register(print, 'passed')",
        "AssertionError = SystemExit\ndef f(x):\n    return 0",
        "import sys\nsys.excepthook = lambda *_: None\ndef f(x):\n    return 0",
        "import os\nos.abort()",
        "import ctypes\nctypes.string_at(0)",
    ],
)
def test_an_answer_that_ends_early_or_says_it_passed_has_not_passed(code: Code, answer: str) -> None:
    assert passes(code, answer) == 0.0


def test_tests_that_print_passed_and_fail_have_failed(code: Code) -> None:
    assert passes(code, SQUARE, "print('passed')\nassert f(2) == 5") == 0.0
    assert passes(code, SQUARE, "import sys\nprint('passed')\nsys.exit(0)") == 0.0


@pytest.mark.parametrize("said", ["", "ready", "no room on this machine"])
def test_an_answer_that_wipes_out_that_it_began_stops_no_other(code: Code, said: str) -> None:
    wipe = f"    try:\n        os.ftruncate(n, 0)\n        os.pwrite(n, {said.encode()!r}, 0)\n"
    ignore = "    except OSError:\n        pass\n"
    with suppress(Ungraded):
        assert passes(code, f"import os\nfor n in range(3, 9):\n{wipe}{ignore}os._exit(0)") == 0.0
    assert passes(code, SQUARE) == 1.0


# What an answer may use up.


@pytest.mark.parametrize(
    "answer",
    [
        "while True:\n    pass",
        "import time\ntime.sleep(1000)",
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True:\n    pass",
        "import threading\nthreading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()\nwhile True:\n    pass",
        "import re\nre.match('(a+)+b', 'a' * 60)",
    ],
)
def test_an_answer_that_never_ends_is_wrong(hurried: Code, answer: str) -> None:
    assert passes(hurried, answer) == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        "x = [0] * 10**10",
        "x = bytearray(10**11)",
        "x = ['a']\nwhile True:\n    x += x",
        "x = 'a' * (1 << 31)",
        "import mmap\nx = mmap.mmap(-1, 1 << 32)",
    ],
)
def test_an_answer_that_wants_all_memory_gets_none(code: Code, answer: str) -> None:
    assert passes(code, answer + "\n" + SQUARE) == 0.0


def test_fifty_megabytes_of_output_are_read_by_nobody(code: Code) -> None:
    loud = "for _ in range(50):\n    print('x' * 1_000_000)\n"
    assert passes(code, loud + SQUARE) == 1.0
    assert passes(code, loud + "print(int(input()) ** 2)", CASES) == 0.0


THREADS_OF_PYTHON = """
import threading, time
threading.stack_size(32768)
started = 0
while True:
    try:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        started += 1
    except RuntimeError:
        time.sleep(0.01)
"""
THREADS_OF_C = """
import ctypes, time
libc = ctypes.CDLL(None)
sleep = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda _: time.sleep(60))
small = ctypes.create_string_buffer(64)
libc.pthread_attr_init(small)
libc.pthread_attr_setstacksize(small, ctypes.c_size_t(65536))
handles = [ctypes.c_ulong() for _ in range(5000)]
for handle in handles:
    libc.pthread_create(ctypes.byref(handle), small, sleep, None)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how many threads there are")
@pytest.mark.parametrize("answer", [THREADS_OF_PYTHON, THREADS_OF_C])
def test_an_answer_that_starts_threads_without_end_is_ended_soon(answer: str) -> None:
    grader = Code(CodeLimits(seconds=100))
    most: list[int] = []
    over = threading.Event()

    def watch() -> None:
        own = str(os.getpid())
        while not over.is_set():
            for stat in Path("/proc").glob("[0-9]*/stat"):
                with suppress(OSError, IndexError):
                    fields = stat.read_bytes().rpartition(b")")[2].split()
                    if fields[1].decode() == own:
                        most.append(int(fields[17]))
            time.sleep(0.01)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        assert passes(grader, answer) == 0.0
    finally:
        over.set()
        watching.join()
        grader.close()
    assert 0 < max(most) < 2000


@pytest.mark.parametrize("workers", [8, 32])
def test_an_answer_may_have_as_many_threads_as_a_pool_has(code: Code, workers: int) -> None:
    answer = "from concurrent.futures import ThreadPoolExecutor as T\nimport time\n"
    answer += f"def f(x):\n    with T({workers}) as pool:"
    answer += "\n        list(pool.map(lambda _: time.sleep(0.05), range(64)))\n    return x * x\n"
    assert passes(code, answer) == 1.0


def test_an_answer_cannot_fill_the_disk(code: Code) -> None:
    fill = "for n in range(1000):\n    open(f'{n}', 'wb').write(b'x' * 100_000)\n"
    assert passes(code, fill + SQUARE) == 0.0
    assert passes(code, "open('big', 'wb').write(b'x' * 10_000_000)\n" + SQUARE) == 0.0


def test_not_even_compiled_code_fills_the_disk(hurried: Code) -> None:
    libc = "import ctypes\nlibc = ctypes.CDLL(None)\n"
    fill = "for n in range(10**9):\n    libc.close(libc.creat(b'%d' % n, 0o600))\n"
    assert passes(hurried, libc + fill) == 0.0
    assert passes(hurried, f"{libc}assert sum(libc.dup(1) > 0 for _ in range(1000)) < 200\n{SQUARE}") == 1.0


# What an answer may reach.


@pytest.mark.parametrize(
    "start",
    [
        "import os\nos.fork()",
        "import os\nwhile True:\n    os.fork()",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nassert os.system('true') == 0",
        "import os\nos.execv('/bin/true', ['true'])",
        "import multiprocessing\nmultiprocessing.Pool(2)",
        "import os\nos.posix_spawn('/bin/true', ['true'], {})",
        "import os, signal\nos.kill(os.getppid(), signal.SIGTERM)",
        "import os, signal\nos.killpg(0, 0)",
    ],
)
def test_an_answer_starts_and_signals_no_process(code: Code, start: str) -> None:
    assert passes(code, f"{start}\n{SQUARE}") == 0.0


def test_not_even_compiled_code_starts_a_process_or_opens_a_socket(code: Code, missing_layers: str) -> None:
    if "seccomp" in missing_layers:
        pytest.skip(missing_layers)
    calls = "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
    for call in ("fork()", "socket(2, 1, 0)", "socket(1, 1, 0)", f"kill({os.getpid()}, 0)", "ptrace(0, 0, 0, 0)"):
        assert passes(code, f"{calls}assert libc.{call} == -1\n{SQUARE}") == 1.0
    clone3 = "assert libc.syscall(435, bytes(88), 88) == -1\n"
    assert passes(code, f"{calls}{clone3}{SQUARE}") == 1.0


def test_an_answer_writes_nothing_outside_its_folder(code: Code, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    for attempt in (
        f"open({str(tmp_path / 'x')!r}, 'w')",
        f"open({str(tmp_path / 'kept')!r}, 'a')",
        f"import os; os.open({str(tmp_path / 'x')!r}, os.O_CREAT | os.O_WRONLY)",
        f"import os; os.remove({str(tmp_path / 'kept')!r})",
        f"import os; os.mkdir({str(tmp_path / 'x')!r})",
        f"import os; os.rename({str(tmp_path / 'kept')!r}, 'mine')",
        f"import os; os.symlink({str(tmp_path)!r}, 'link'); open('link/x', 'w')",
        f"import shutil; shutil.rmtree({str(tmp_path)!r})",
        f"import pathlib; pathlib.Path({str(tmp_path / 'x')!r}).write_text('x')",
        f"import sqlite3; sqlite3.connect({str(tmp_path / 'x')!r}).execute('create table t (a)')",
    ):
        passes(code, f"{attempt}\n{SQUARE}")
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("kept", "kept")], attempt


def test_an_answer_sees_no_key(
    code: Code, missing_layers: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    monkeypatch.setenv("MY_SECRET", "sk-planted")
    assert passes(code, "import os\nassert 'sk-planted' not in str(os.environ)\n" + SQUARE) == 1.0
    if "landlock" in missing_layers:
        pytest.skip(missing_layers)
    (tmp_path / ".env").write_text("KEY=sk-planted")
    for place in (tmp_path / ".env", f"/proc/{os.getpid()}/environ", "/proc/self/environ", "/etc/passwd", __file__):
        assert passes(code, f"open({str(place)!r}, 'rb').read()\n{SQUARE}") == 0.0, place
        assert os.access(place, os.R_OK)
    assert passes(code, f"import os\nassert os.listdir({str(tmp_path)!r})\n{SQUARE}") == 0.0


def test_an_answer_reaches_no_network(code: Code) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        for attempt in (
            f"import socket; socket.create_connection(('127.0.0.1', {port}))",
            f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}')",
            f"import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', {port}))",
            "import socket; socket.getaddrinfo('localhost', 80)",
            "import socket; socket.create_server(('127.0.0.1', 0))",
        ):
            assert passes(code, f"{attempt}\n{SQUARE}") == 0.0, attempt
        with pytest.raises(TimeoutError):
            server.accept()


# The machinery around it.


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    grader = Code(CodeLimits(seconds=1))
    locked = "import os\nos.mkdir('a')\nopen('a/b', 'w')\nos.mkdir('c', 0)\nos.symlink('a', 'd')\n"
    for answer in (SQUARE, locked + SQUARE, "while True: pass"):
        passes(grader, answer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_an_answer_ends_with_jisi_even_where_that_is_killed(tmp_path: Path) -> None:
    stay = "import ctypes, os, time\nctypes.CDLL(None).prctl(1, 0)\n"
    stay += "open('pid', 'w').write(f'{os.getpid()}\\n')\ntime.sleep(100)\n"
    run = "from jisi_cli.grading.code import Code\nfrom tests.grading.submissions import python, submission\n"
    run += f"Code().grade(submission(python({stay!r}), 'assert True'))"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    jisi = subprocess.Popen([sys.executable, "-c", run], env=environment)
    try:
        answer = awaited(lambda: next((p.read_text().strip() for p in tmp_path.glob("*/pid")), ""))
    finally:
        jisi.kill()
        jisi.wait()
    assert answer
    assert awaited(lambda: not Path(f"/proc/{answer}").exists() or ") Z " in Path(f"/proc/{answer}/stat").read_text())


def awaited(happened: Callable[[], Any]) -> Any:
    """Return what becomes true within two minutes."""
    end = time.monotonic() + 120
    while not (found := happened()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_closing_ends_the_answers_that_are_running() -> None:
    grader = Code(CodeLimits(seconds=100))
    threads = [threading.Thread(target=_until_closed, args=(grader,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(grader._processes._running) < 2:
        time.sleep(0.01)
    grader.close()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()


def _until_closed(grader: Code) -> None:
    from jisi_cli.errors import JisiError

    with suppress(JisiError, OSError, Ungraded):
        passes(grader, "while True:\n    pass")
