"""A real Ray cluster on this machine: nodes of one processor each, which can be killed like machines."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_STORE = 100_000_000
"""Bytes of a node's object store; Ray takes no less than 75 MB."""
_TRIES = 4


@dataclass
class Node:
    """One node: every process of it is in the session of the first; workers have process groups of their own."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """End it as if its machine had lost power."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def processes(self) -> list[int]:
        """Return its processes, the raylet before what it would start again."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[3]) == self.process.pid:
                    found.append(int(stat.parent.name))
        return sorted(found)


@dataclass
class Nodes:
    """A head and other nodes; ends all of them, and nothing else.

    Attributes:
        env: What their environment holds besides this process's.
        port: Where the head listens.
        head: The head, which holds no worker.
        others: The nodes that workers run on.
    """

    env: dict[str, str] = field(default_factory=dict)
    port: int = 0
    head: Node | None = None
    others: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Paths of sockets are short.
        self.folder = Path(tempfile.mkdtemp(prefix="jr", dir="/tmp"))
        self.env = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", **self.env}

    @property
    def engine(self) -> str:
        """What `--engine` says."""
        return f"ray:127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.head = self._started("--head", "--port", str(self.port), "--include-dashboard", "false", cpus=0)
        return self

    def __exit__(self, *_: object) -> None:
        for node in [*self.others, self.head]:
            if node is not None:
                node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, number: int = 1, env: dict[str, str] | None = None, *, gpus: int = 0, cpus: int = 1) -> None:
        """Start other nodes, and wait until they have joined; Ray takes their word for it that they have GPUs."""
        for _ in range(number):
            joins = ("--address", f"127.0.0.1:{self.port}", "--num-gpus", str(gpus))
            self.others.append(self._started(*joins, cpus=cpus, env=env))

    def kill(self, node: Node) -> None:
        """Kill one of them."""
        self.others.remove(node)
        node.kill()

    def _started(self, *arguments: str, cpus: int, env: dict[str, str] | None = None) -> Node:
        """Start a node; again, where Ray gave it up, as it does after 30 seconds on a busy machine."""
        said = ""
        for _ in range(_TRIES):
            node = self._start(*arguments, cpus=cpus, env=env)
            while b"Ray runtime started" not in node.log.read_bytes() and node.process.poll() is None:
                time.sleep(0.2)
            if node.process.poll() is None:
                return node
            node.kill()
            said = node.log.read_text(errors="replace")
        raise RuntimeError(re.sub(r"\s+", " ", said)[-2000:])

    def _start(self, *arguments: str, cpus: int, env: dict[str, str] | None) -> Node:
        log = self.folder / f"node-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, "--num-cpus", str(cpus)]
        command += ["--object-store-memory", str(_STORE), "--disable-usage-stats", "--block"]
        command += ["--temp-dir", str(self.folder / "ray")] if "--head" in arguments else []
        environment = {**os.environ, **self.env, **(env or {})}
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
        return Node(process, log)
