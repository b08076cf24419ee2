"""The connection to a Ray cluster: opened once for a run, and closed with it.

Workers run the driver's own version of jisi or none: each is asked for a hash of its source before it gets any work.
Keys are never sent. Workers read them from the environment of their own node; those of a cluster that the run starts
itself inherit the run's.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from typing import Any

import jisi_cli
from jisi_cli.cluster.engine import RayEngine
from jisi_cli.errors import JisiError, missing_extra

_REACH_SECONDS = 5.0
_ANSWER_SECONDS = 15.0
_LOOK_SECONDS = 5.0
_LOST_SECONDS = 30.0
"""How long the head may not answer before it is gone; after a minute Ray ends the process."""
_STORE_BYTES = 256 * 2**20
"""Memory of the object store of a cluster that the run starts itself: what is dealt out is small, and Ray writes what
does not fit to disk."""


class Session:
    """A Ray cluster that this process is connected to.

    Args:
        engine: Where it is.
        warn: Told what the user should know.

    Attributes:
        ray: The module.
        warn: Told what the user should know.
        is_own: Whether it was started by this run, and ends with it.
    """

    def __init__(self, engine: RayEngine, warn: Callable[[str], None] = lambda words: None) -> None:
        self.warn = warn
        self._lost, self._closed = "", threading.Event()
        address = engine.address or os.environ.get("RAY_ADDRESS") or "local"
        self.is_own = address == "local"
        if self.is_own:
            _lock_others_out()
        self.ray = _imported()
        self._was_there = self.ray.is_initialized()
        if self._was_there:
            # A program that uses Ray itself has its cluster open already.
            return
        if not self.is_own:
            _require_reachable(address)
        with _ray_errors(address):
            if not self.is_own:
                _require_welcome(address)
            self.ray.init(address=address, **_OPTIONS, **(_own_cluster() if self.is_own else {}))
        self._give_stdout_back = _keep_stdout_for_results()
        self._watch_head(self.ray.get_runtime_context().gcs_address)

    def require_head(self) -> None:
        """Do nothing while the head of the cluster answers.

        Raises:
            JisiError: It is gone, and with it the cluster.
        """
        if self._lost:
            raise JisiError(
                f"the head of the Ray cluster, {self._lost}, has not answered for {_LOST_SECONDS:.0f} "
                "seconds; start it again, and run the same command again: what was kept is not asked again"
            )

    @property
    def cpus(self) -> int:
        """Processor cores of the cluster, as Ray counts them; at least 1."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    @property
    def gpus(self) -> int:
        """GPUs of the cluster, as Ray counts them."""
        return int(self.ray.cluster_resources().get("GPU", 0))

    def is_taken(self, needs: Mapping[str, float]) -> bool:
        """Whether the cluster has what a worker needs, and it is in use, by other work or by a worker that starts.

        Args:
            needs: How much of what, by Ray's names.
        """
        total, free = self.ray.cluster_resources(), self.ray.available_resources()
        has_it = all(total.get(name, 0) >= number for name, number in needs.items())
        return has_it and any(free.get(name, 0) < number for name, number in needs.items())

    def close(self) -> None:
        """Leave the cluster; one that the run started ends."""
        self._closed.set()
        if not self._was_there:
            self.ray.shutdown()
            self._give_stdout_back()

    def _watch_head(self, address: str) -> None:
        """Look now and then, on a thread, whether the head of a cluster is there.

        Ray's core ends the process a minute after the head is gone, in the middle of whatever it does.
        """
        host, _, port = address.rpartition(":")

        def watch() -> None:
            seen = time.monotonic()
            while time.monotonic() - seen < _LOST_SECONDS:
                if self._closed.wait(_LOOK_SECONDS):
                    return
                with contextlib.suppress(OSError):
                    socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS).close()
                    seen = time.monotonic()
            self._lost = address

        threading.Thread(target=watch, daemon=True).start()


_OPTIONS: dict[str, Any] = {
    "log_to_driver": False,  # workers' warnings come as messages
    "logging_level": logging.ERROR,
    "ignore_reinit_error": False,
}


def _own_cluster() -> dict[str, Any]:
    return {"num_cpus": os.cpu_count() or 1, "include_dashboard": False, "object_store_memory": _STORE_BYTES}


def _lock_others_out() -> None:
    """Give the run's own cluster a password of its own: whoever may command a cluster may run code on it.

    Ray reads it once, when it is imported, and would otherwise leave one in the user's home.
    """
    if "ray" not in sys.modules and not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"] = "token", secrets.token_hex(32)


def _imported() -> Any:  # noqa: ANN401 - Ray without its types
    # Ray tells its makers of each use unless it is told not to, and jisi speaks to no host that is not asked for.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise missing_extra("every machine of --engine ray", "ray") from None
    return ray


def _require_reachable(address: str) -> None:
    """Refuse a cluster that does not answer, which Ray would try for a minute.

    Raises:
        JisiError: Nothing listens there.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise JisiError(
            f"no Ray cluster answers at {address} ({error}); start one with `ray start --head`, or leave the address "
            "out for a cluster of this machine's own"
        ) from None


def _require_welcome(address: str) -> None:
    """Refuse a cluster that does not let this process in, or is none.

    Ray itself would ask for minutes and warn each time. Its core ends the process where there is no password to give,
    so that is looked at first.

    Raises:
        AuthenticationError: The password is wrong, or there is none.
        JisiError: Nothing answers as the head of a cluster does.
    """
    try:
        from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
        from ray._raylet import GcsClient  # type: ignore[attr-defined] # it is compiled
        from ray.exceptions import AuthenticationError
    except ImportError:  # in another version of Ray, which has to say it in its own way
        return
    ensure_token_if_auth_enabled(create_token_if_missing=False)
    if address == "auto":
        return
    found: Future[None] = Future()

    def ask() -> None:
        try:
            GcsClient(address=address)
        except AuthenticationError as error:
            found.set_exception(error)
        except Exception:  # which may pass: Ray asks again
            found.set_result(None)
        else:
            found.set_result(None)

    with _without_stderr():
        # Not on this thread, which nothing could interrupt there.
        threading.Thread(target=ask, daemon=True).start()
        try:
            found.result(_ANSWER_SECONDS)
        except TimeoutError:
            raise JisiError(
                f"what listens at {address} does not answer as the head of a Ray cluster does, or is too busy to; is "
                "it the port that `ray start --head` named?"
            ) from None


def _keep_stdout_for_results() -> Callable[[], None]:
    """Stop Ray from printing to stdout what the cluster says of its nodes, such as that one has died.

    It does so whatever `log_to_driver` says, and has no option against it. What matters of it is told by whoever waits
    for a worker.

    Returns:
        Lets Ray print again, for a program that goes on to use Ray itself.
    """
    from ray._private import worker

    told = getattr(worker, "print_to_stdstream", None)  # Ray's own name for it, which it may change
    if told is None:
        return lambda: None
    worker.print_to_stdstream = lambda *_, **__: None
    return lambda: setattr(worker, "print_to_stdstream", told)


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what Ray's own threads write to stderr, whatever its log level is."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _ray_errors(address: str) -> Iterator[None]:
    """Say in a line why a cluster cannot be joined.

    Raises:
        JisiError: It cannot.
    """
    try:
        yield
    except JisiError:
        raise
    except Exception as error:
        words = str(error)
        if "ersion mismatch" in words:
            raise JisiError(
                f"the cluster at {address} runs another Ray or Python than this ({platform.python_version()}, Ray "
                f"{_imported().__version__}); install the same versions on every machine"
            ) from None
        if isinstance(error, ConnectionError) and "find any running Ray" in words:
            raise JisiError("no Ray cluster runs on this machine; start one with `ray start --head`") from None
        if isinstance(error, ConnectionError) or type(error).__name__ == "AuthenticationError":
            raise JisiError(
                f"the Ray cluster at {address} cannot be joined; if it has a password, set RAY_AUTH_MODE=token here, "
                "too, and RAY_AUTH_TOKEN, or copy ~/.ray/auth_token from its head"
            ) from None
        first = next(iter(words.strip().splitlines()), type(error).__name__)
        raise JisiError(f"the Ray cluster at {address} cannot be joined: {first[:300]}") from None


@lru_cache
def source_hash() -> str:
    """Return a hash of jisi's own source, which must be the same on all machines."""
    root = Path(jisi_cli.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\x00" + path.read_bytes() + b"\x00")
    return digest.hexdigest()
