"""Workers on a cluster that do pieces of work, each answered once and in order, whichever of them die.

Plain actors rather than Ray Data: the pieces are few and large, their order is to stay, and a piece whose worker died
must go to one that lives instead of waiting until Ray finds room for another.
"""

from __future__ import annotations

import platform
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Self, TypeVar

import jisi_cli
from jisi_cli.cluster.patience import Patience
from jisi_cli.cluster.session import Session, source_hash
from jisi_cli.errors import JisiError

T = TypeVar("T")
R = TypeVar("R")

_LOOK = 1.0
_AHEAD = 4
"""Pieces under way or waiting to be handed on, for each worker."""
_MOST_DEATHS = 20
"""Workers that may die over one piece: it may be the piece that kills them, as one that takes too much memory."""


class Worker:
    """What runs in a process of the cluster: a function that is made there once, and then called with each piece.

    Args:
        make: Makes the function.
        given: What it is made of.
    """

    def __init__(self, make: Callable[..., Callable[[Any], Any]], *given: Any) -> None:  # noqa: ANN401
        self._make, self._given = make, given
        self._do: Callable[[Any], Any] | None = None

    def hello(self) -> tuple[str, str, str]:
        """Return this node's name, and the version and hash of its jisi."""
        return platform.node(), jisi_cli.__version__, source_hash()

    def do(self, piece: Any) -> Any:  # noqa: ANN401 - as the function's
        """Return what the function makes of a piece, or the error that is meant for the user."""
        try:
            if self._do is None:
                self._do = self._make(*self._given)
            return self._do(piece)
        except JisiError as error:
            return Told(error)


@dataclass(frozen=True, slots=True)
class Told:
    """An error that is meant for the user, on its way to the driver as a value: Ray would wrap it in a traceback."""

    error: JisiError


@dataclass(slots=True)
class _Member:
    """A worker.

    Attributes:
        handle: Ray's handle of it.
        hello: What tells when it is there.
        is_ready: Whether it is.
        is_free: Whether it has nothing to do.
    """

    handle: Any
    hello: Any
    is_ready: bool = False
    is_free: bool = True


class Crew(Generic[T, R]):
    """Workers of one kind, which start with the first piece; a context manager that ends them.

    Args:
        session: The cluster.
        size: How many there are to be.
        make: Makes in each of them the function that is called with each piece; found by its name there.
        given: What it is made of; what is large is `session.ray.put` first.
        cpus: Processor cores that each takes.
        gpus: GPUs that each takes, a part of one if need be.
    """

    def __init__(
        self,
        session: Session,
        size: int,
        make: Callable[..., Callable[[T], R]],
        *given: Any,  # noqa: ANN401
        cpus: float = 1.0,
        gpus: float = 0.0,
    ) -> None:
        self._session, self._ray, self._size = session, session.ray, max(1, size)
        self._make, self._given = make, given
        self._needs = {"num_cpus": cpus, "num_gpus": gpus}
        self._members: list[_Member] = []
        self._waiting: deque[tuple[int, T]] = deque()
        self._out: dict[Any, tuple[_Member, int, T]] = {}
        self._done: dict[int, R] = {}
        self._deaths: Counter[int] = Counter()
        self._patience = Patience(session, {"CPU": cpus, "GPU": gpus})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def in_order(self, pieces: Iterable[T]) -> Iterator[R]:
        """Yield what becomes of each piece, in their order; few are read ahead.

        Raises:
            JisiError: The function raised it, or no worker can be had.
        """
        source, following = enumerate(pieces), 0
        self._patience.renew()
        self._deaths.clear()
        try:
            while self._has_more(source):
                self._fill()
                self._hand_out()
                self._hear()
                while following in self._done:
                    yield self._done.pop(following)
                    following += 1
        except BaseException:
            self.close()  # whoever asks for other work is not to get what is left of this
            raise

    def close(self) -> None:
        """End the workers."""
        for member in self._members:
            self._ray.kill(member.handle)
        for left in (self._members, self._waiting, self._out, self._done):
            left.clear()

    def _has_more(self, source: Iterator[tuple[int, T]]) -> bool:
        """Read some pieces ahead; return whether there is anything left to be done."""
        most = _AHEAD * self._size
        self._waiting.extend(islice(source, max(0, most - len(self._waiting) - len(self._out) - len(self._done))))
        return bool(self._waiting or self._out)

    def _fill(self) -> None:
        """Ask for as many workers as there are to be."""
        remote = self._ray.remote(Worker).options(**self._needs, max_restarts=0, scheduling_strategy="SPREAD")
        while len(self._members) < self._size:
            handle = remote.remote(self._make, *self._given)
            self._members.append(_Member(handle, handle.hello.remote()))

    def _hand_out(self) -> None:
        for member in self._members:
            if member.is_ready and member.is_free and self._waiting:
                place, piece = self._waiting.popleft()
                member.is_free = False
                self._out[member.handle.do.remote(piece)] = member, place, piece

    def _hear(self) -> None:
        """Wait a moment for news of any worker, and take it in."""
        self._session.require_head()
        if any(member.is_ready for member in self._members):
            self._patience.renew()
        else:
            self._patience.check()
        hellos = {member.hello: member for member in self._members if not member.is_ready}
        news, _ = self._ray.wait([*self._out, *hellos], num_returns=1, timeout=_LOOK)
        for ref in news:
            if ref in hellos:
                self._greet(hellos[ref])
            else:
                self._take(ref)

    def _greet(self, member: _Member) -> None:
        found = self._outcome(member.hello, member)
        if found is not _DIED:
            require_same_source(found)
            member.is_ready = True

    def _take(self, ref: Any) -> None:  # noqa: ANN401
        member, place, piece = self._out.pop(ref)
        found = self._outcome(ref, member)
        if found is _DIED:
            self._deaths[place] += 1
            if self._deaths[place] >= _MOST_DEATHS:
                raise JisiError(
                    f"{_MOST_DEATHS} workers of the Ray cluster died over the same piece of work, perhaps for want of "
                    "memory; see the logs of Ray"
                )
            self._waiting.appendleft((place, piece))
            return
        member.is_free = True
        if isinstance(found, Told):
            raise found.error
        self._done[place] = found

    def _outcome(self, ref: Any, member: _Member) -> Any:  # noqa: ANN401
        """Return what a worker gave back; `_DIED` where it is gone, and then it is a member no more."""
        from ray.exceptions import RayError, RayTaskError

        try:
            return self._ray.get(ref)
        except RayTaskError:  # what the function itself raised
            raise
        except RayError as error:  # its process, its node, or what lay in that node's memory is gone
            self._members.remove(member)
            if not member.is_ready and "__init__" in str(error):
                raise JisiError(failed_to_start(error)) from None
            return _DIED


_DIED = object()


def require_same_source(found: tuple[str, str, str]) -> None:
    """Refuse a worker with another jisi: it would decide otherwise, or not understand what it is sent.

    Raises:
        JisiError: It has.
    """
    node, version, digest = found
    if digest != source_hash():
        raise JisiError(
            f"node {node} has another jisi ({version}) than this machine ({jisi_cli.__version__}); install the same on "
            "every node"
        )


def failed_to_start(error: Exception) -> str:
    """Return in one line why a worker did not start."""
    words = str(error)
    if "ModuleNotFoundError" in words or "No module named" in words:
        lacks = "a node of the Ray cluster lacks jisi or a package that it needs"
        return f'{lacks}; install it there with: pip install "jisi[ray]"'
    last = [line.strip() for line in words.splitlines() if line.strip()][-1]
    return f"a worker of the Ray cluster did not start: {last[:300]}"
