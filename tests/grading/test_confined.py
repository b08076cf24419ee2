"""The layers that confine an answer, each without the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

GUARD = "from jisi_cli.grading.confined.limits import guard; guard('.')\n"
KERNEL = (
    "from jisi_cli.grading.confined.kernel import confine\n"
    "from jisi_cli.grading.confined.program import python_folders\n"
    "import ctypes, errno, os, sys\n"
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    "layers = confine(python_folders(), os.getcwd())\n"
    "if not {'landlock', 'seccomp'} <= set(layers): sys.exit(77)\n"
)


def run(setup: str, attempt: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, behind one layer; print `refused` for what it refuses."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{setup}"
        f"try:\n    {attempt}\nexcept PermissionError:\n    print('refused')\nelse:\n    print('done')\n"
    )
    command = [sys.executable, "-I", "-B", "-c", script]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "inside"
    inside.mkdir()
    return inside


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import socket; socket.getaddrinfo('localhost', 80)",
        "import socket; socket.socket().bind(('127.0.0.1', 0))",
        "import os; os.fork()",
        "import os; os.system('true')",
        "import os; os.kill(os.getppid(), 0)",
        "import os; os.execv('/bin/true', ['true'])",
        "import os; os.posix_spawn('/bin/true', ['true'], {})",
        "import subprocess; subprocess.run(['true'])",
        "open('../outside', 'w')",
        "open('../outside', 'x')",
        "open(b'../outside', 'r+')",
        "from pathlib import Path; Path('../outside').touch()",
        "import os; os.open('../outside', os.O_CREAT)",
        "import os; os.mkdir('../outside')",
        "import os; os.rename('mine', '../outside')",
        "import os; os.link('mine', '../outside')",
        "import os; os.symlink('..', 'up'); open('up/outside', 'w')",
        "import os; os.chmod('..', 0)",
        "import os; os.truncate('../kept', 0)",
        "[open(str(n), 'w').close() for n in range(1000)]",
    ],
)
def test_the_hooks_of_python_refuse(attempt: str, folder: Path) -> None:
    (folder / "mine").touch()
    (folder.parent / "kept").write_text("kept")
    assert run(GUARD, attempt, folder).stdout == "refused\n"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["inside", "kept"]
    assert (folder.parent / "kept").read_text() == "kept"


@pytest.mark.parametrize(
    "attempt",
    [
        "open('mine', 'w').write('x')",
        "open('/dev/null', 'w').write('x')",
        "import os; os.mkdir('a'); os.rename('a', 'b'); os.rmdir('b')",
        "import tempfile; tempfile.TemporaryFile(dir='.')",
        "import pathlib, shutil; pathlib.Path('a').touch(); pathlib.Path('a').touch(); shutil.copy2('a', 'b')",
        "import json, decimal, asyncio; asyncio.run(asyncio.sleep(0))",
        "import threading; t = threading.Thread(target=int); t.start(); t.join()",
        "import fcntl, os; r, w = os.pipe(); os.set_blocking(r, False); fcntl.fcntl(r, 4, os.O_NONBLOCK)",
        "import fcntl, os; r, w = os.pipe(); os.write(w, b'xy'); assert fcntl.ioctl(r, 0x541B, bytes(4))[0] == 2",
        "import os, sys; sys.stdin.isatty(); open('x', 'w').isatty(); os.set_inheritable(1, True)",
    ],
)
def test_neither_layer_stands_in_the_way_of_ordinary_code(attempt: str, folder: Path) -> None:
    assert run(GUARD, attempt, folder).stdout == "done\n"
    behind_kernel = run(KERNEL, attempt if "/dev/null" not in attempt else "pass", folder)
    assert behind_kernel.returncode == 77 or behind_kernel.stdout == "done\n", behind_kernel


@pytest.mark.parametrize(
    "call",
    [
        "socket(2, 1, 0)",
        "fork()",
        "vfork()",
        "execve(b'/bin/true', None, None)",
        "kill(os.getppid(), 0)",
        "unshare(0x10000000)",
        "creat(b'../outside', 0o644)",
        "mkdir(b'../outside', 0o755)",
        "unlink(b'../kept')",
        "truncate(b'../kept', 0)",
        "rename(b'../kept', b'mine')",
        "open(b'../kept', 0)",
        "opendir(b'..') or -1",
        "shmget(1234, 4096, 0o1600)",
        "mount(b'none', b'/', b'tmpfs', 0, None)",
        "setuid(12345) if os.geteuid() == 0 else libc.fork()",
        "ptrace(16, os.getppid(), 0, 0)",
        "setpriority(0, os.getppid(), 19)",
        "sched_setscheduler(os.getppid(), 5, bytes(4))",
        "sched_setaffinity(os.getppid(), 8, b'1' + bytes(7))",
        "fcntl(0, 8, os.getppid())",
        "fcntl(0, 10, 9)",
        "fcntl(0, 15, bytes(8))",
        "fcntl(0, 4, 0o20000)",
        *(f"ioctl(0, {request:#x}, ctypes.byref(ctypes.c_int(os.getppid())))" for request in (0x8901, 0x8902, 0x5452)),
        "ioctl(0, 0x5412, b'x')",
        "ioctl(0, 0x100008901, ctypes.byref(ctypes.c_int(os.getppid())))",
        "socketpair(1, 2, 0, ctypes.create_string_buffer(8))",
        "memfd_create(b'more', 0)",
        "mq_open(b'/left', 0o102, 0o600, None)",
        "open(os.__file__.encode(), 0o1000)",
        "open(b'../kept', 0o1003)",
    ],
)
def test_the_kernel_refuses_compiled_code_too(call: str, folder: Path) -> None:
    (folder.parent / "kept").write_text("kept")
    done = run(KERNEL, f"print(libc.{call}, errno.errorcode[ctypes.get_errno()])", folder)
    if done.returncode == 77:
        pytest.skip("this kernel grants no Landlock or no seccomp")
    result, _, error = done.stdout.splitlines()[0].partition(" ")
    assert (result, error) in {("-1", "EPERM"), ("-1", "EACCES")}, done
    assert [path.name for path in sorted(folder.parent.iterdir())] == ["inside", "kept"]
    assert (folder.parent / "kept").read_text() == "kept"


def test_an_answer_changes_no_rights_times_or_attributes_of_files(folder: Path) -> None:
    """Landlock does not know them, so that a private file elsewhere could be opened to all."""
    kept = folder.parent / "kept"
    kept.write_text("kept")
    kept.chmod(0o600)
    before = kept.stat()
    calls = ("chmod(b'../kept', 0o777)", "utimensat(-100, b'../kept', None, 0)", "chown(b'../kept', 1, 1)")
    calls += ("setxattr(b'../kept', b'user.x', b'1', 1, 0)", "removexattr(b'../kept', b'user.y')")
    done = run(KERNEL, f"print({', '.join(f'libc.{call}' for call in calls)})", folder)
    if done.returncode == 77:
        pytest.skip("this kernel grants no Landlock or no seccomp")
    assert done.stdout == "0 0 0 0 0\ndone\n"  # ordinary code sets them in passing, and goes on
    assert kept.stat() == before
    assert os.listxattr(kept) == []


def test_what_the_kernel_has_taken_it_does_not_give_back(folder: Path) -> None:
    again = "print(confine(['/'], '/')); open('/etc/passwd')"
    done = run(KERNEL, again, folder)
    if done.returncode == 77:
        pytest.skip("this kernel grants no Landlock or no seccomp")
    assert done.stdout.splitlines()[-1] == "refused"
    assert os.access("/etc/passwd", os.R_OK)
