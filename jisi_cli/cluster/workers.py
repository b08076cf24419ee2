"""Workers on a cluster for pieces of all kinds of work, one to a processor core; see `jisi_cli.workers.Workers`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self, TypeVar

from jisi_cli.cluster.crew import Crew
from jisi_cli.cluster.session import Session
from jisi_cli.cluster.shipping import packed, unpacked

T = TypeVar("T")
R = TypeVar("R")

_Piece = tuple[Any, bytes]
"""Ray's reference to what makes the function, and what it is called with."""


class ClusterWorkers:
    """Processes of a cluster that start with the first piece, and stay for other kinds of work.

    A context manager, which ends them: as long as they live, nothing else has their processor cores.

    Args:
        session: The cluster.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._crew: Crew[_Piece, Any] = Crew(session, session.cpus, _doer)

    @property
    def size(self) -> int:
        """How many work at one time."""
        return self._session.cpus

    def each(self, make: Callable[..., Callable[[T], R]], given: tuple[Any, ...], pieces: Iterable[T]) -> Iterator[R]:
        """Yield what becomes of each piece, in their order; see `Workers.each`."""
        what = self._session.ray.put(packed((make, given)))
        return self._crew.in_order((what, packed(piece)) for piece in pieces)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.close()


def _doer() -> Callable[[_Piece], Any]:
    """Return what does pieces in a worker; it holds the function of the last one."""
    held: Any = None
    do: Callable[[Any], Any] | None = None

    def done(given: _Piece) -> Any:  # noqa: ANN401 - as the function's
        nonlocal held, do
        what, piece = given
        if do is None or what != held:
            import ray

            held = do = None  # what is not needed any more may be large
            make, parts = unpacked(ray.get(what))
            held, do = what, make(*parts)
        return do(unpacked(piece))

    return done
