"""What is to be submitted: as much at a time as the budget and each provider allow, in as many batches as it takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence, Sized

from jisi_cli.config import ModelEntry
from jisi_cli.errors import BudgetError
from jisi_cli.models.batch.desk import Desk
from jisi_cli.models.batch.funds import Funds
from jisi_cli.models.batch.journal import OpenBatch
from jisi_cli.models.batch.pool import Fetched
from jisi_cli.models.batch.request_file import RequestFile
from jisi_cli.models.batch.rows import Place, Rows, Sent
from jisi_cli.models.batch.service import RefusedError
from jisi_cli.models.batch.under_way import UnderWay
from jisi_cli.models.call import Call, Outcome
from jisi_cli.models.failure import ProviderFailure
from jisi_cli.models.limits import Reservation
from jisi_cli.models.live import LivePool


class Waiting:
    """Calls that wait to be submitted by batch.

    Args:
        pool: Says what is kept, and keeps what cannot be asked.
        rows: Writes requests.
        desk: Submits.
        funds: What requests may cost.
        fetched: Receives what is not submitted for good, and why.
        held: Receives the tag and the key of each request whose cost this run's own budget counts.
        tell: Told what was submitted.
        warn: Told what goes wrong.
    """

    def __init__(
        self,
        pool: LivePool,
        rows: Rows,
        desk: Desk,
        funds: Funds,
        fetched: Fetched,
        held: set[tuple[str, str]],
        tell: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._pool, self._rows, self._desk, self._funds = pool, rows, desk, funds
        self._fetched, self._held, self._tell, self._warn = fetched, held, tell, warn
        self._calls: dict[str, tuple[Call, int]] = {}
        """By cache key, what waits, and how often it will have been submitted then."""
        self._most: dict[str, int] = {}
        """How many requests may be under way for a model at one time, where its provider has refused more."""

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def keys(self) -> frozenset[str]:
        """The cache keys of what waits."""
        return frozenset(self._calls)

    def add(self, calls: Iterable[Call], attempt: int) -> None:
        """Have calls wait.

        Args:
            calls: Which.
            attempt: How often they will have been submitted.
        """
        self._calls |= {call.key: (call, attempt) for call in calls}

    def allow_half(self, calls: Sequence[Call]) -> int:
        """Have no more than half of some calls of one model under way at one time; return how many that is."""
        most = self._most[calls[0].entry.name] = len(calls) // 2
        return most

    async def leave_out_kept(self) -> None:
        """Leave out what the cache has meanwhile, from another run."""
        for key, (call, _) in list(self._calls.items()):
            if await self._pool.kept(call) is not None:
                del self._calls[key]

    async def submit(self, under_way: list[UnderWay], but: Collection[str]) -> None:
        """Submit what waits, as far as the budget allows; the rest waits for what is under way to cost less.

        Args:
            under_way: What is at work; receives what is submitted.
            but: What is under way already, by cache key.
        """
        alike: dict[tuple[str, int], list[Call]] = {}
        for call, attempt in self._calls.values():
            if call.key not in but:
                alike.setdefault((call.entry.name, attempt), []).append(call)
        self._calls = {}
        for (_, attempt), calls in alike.items():
            taken = self._as_many_as_are_taken(calls, attempt, under_way)
            await self._submit_alike(await self._affordable(taken, attempt), attempt, under_way)
        if self._calls and not under_way:
            self._stop()

    def refuse(self, keys: Iterable[str], why: str) -> None:
        """Leave requests unasked for good, and say why."""
        self._warn(why)
        self._fetched.unasked |= dict.fromkeys(keys, why)

    def _as_many_as_are_taken(
        self, calls: Sequence[Call], attempt: int, under_way: Sequence[UnderWay]
    ) -> Sequence[Call]:
        """Return the calls of one model for which its provider has room; the others wait."""
        entry = calls[0].entry
        if entry.name not in self._most:
            return calls
        at_work = sum(len(item.batch.worst) for item in under_way if item.batch.model == entry.litellm)
        room = max(0, self._most[entry.name] - at_work)
        self.add(calls[room:], attempt)
        return calls[:room]

    async def _affordable(self, calls: Sequence[Call], attempt: int) -> list[Call]:
        """Return the calls of one model that fit what is left of the budget; the others wait."""
        priced = []
        for call in calls:
            try:
                await self._funds.price(call)
            except BudgetError as error:
                self._fetched.stopped = self._fetched.unasked[call.key] = str(error)
            else:
                priced.append(call)
        fitting, rest = self._funds.affordable(priced)
        self.add(rest, attempt)
        return fitting

    async def _submit_alike(self, calls: Sequence[Call], attempt: int, under_way: list[UnderWay]) -> None:
        """Submit calls of one model, in as many batches as they take."""
        file, place = None, None
        try:
            for call in calls:
                sent = await self._sent(call)
                if sent is None:
                    continue
                if file is None or place != sent.place or not self._write(file, call, sent):
                    if file is not None and place is not None:
                        await self._submit_file(call.entry, place, file, attempt, under_way)
                        file.close()
                    file, place = RequestFile(self._desk.service(sent.place)), sent.place
                    self._write(file, call, sent)
            if file is not None and place is not None:
                await self._submit_file(calls[0].entry, place, file, attempt, under_way)
        finally:
            if file is not None:
                file.close()

    async def _sent(self, call: Call) -> Sent | None:
        """Return what is sent for a call; where nothing can be, that is its answer."""
        try:
            return await self._rows.sent(call)
        except ProviderFailure as failure:
            outcome = Outcome(None, failure.reason, 0, 0.0, 0.0, 0.0, key_refused=failure.key_refused)
            self._fetched.answers[call.key] = self._pool.keep(call, outcome).answer
            return None

    def _write(self, file: RequestFile, call: Call, sent: Sent) -> bool:
        return file.add(call, sent.body, self._funds.worst(call.key))

    async def _submit_file(
        self, entry: ModelEntry, place: Place, file: RequestFile, attempt: int, under_way: list[UnderWay]
    ) -> None:
        service, tag, reservation = self._desk.service(place), self._desk.tag(), None
        if self._funds.has_limit:
            reservation = self._set_aside(entry, file, attempt)
            if reservation is None:
                return
        self._held |= {(tag, key) for key in file.worst}
        try:
            batch = await self._desk.submit(place, tag, entry.litellm, attempt, file)
        except RefusedError as refusal:
            if reservation is not None:
                reservation.settle(0.0)
            self.refuse(file.worst, f"{service.host} accepts no batch of {entry.name}: {refusal}")
            return
        if reservation is not None:
            reservation.booked()  # in the journal
        under_way.append(UnderWay(batch, service, reservation))
        self._tell(
            f"{requests_of(file.worst)} to {entry.name} submitted to {service.host} ({name_of(batch)}); Ctrl-C leaves "
            "them running there, and the same command resumes"
        )

    def _set_aside(self, entry: ModelEntry, file: RequestFile, attempt: int) -> Reservation | None:
        """Set money aside for a file; None where it is not to be submitted now."""
        try:
            found = self._funds.set_aside(entry, file.worst.values())
        except BudgetError as error:
            self._fetched.stopped = str(error)
            self._fetched.unasked |= dict.fromkeys(file.worst, str(error))
            return None
        if found is None:  # a day has turned, or other calls of this run have taken it
            self.add(file.calls, attempt)
        return found

    def _stop(self) -> None:
        """Leave unasked what does not fit the budget; what waits for other calls of this run to cost less goes on."""
        try:
            self._funds.require(next(iter(self._calls.values()))[0])
        except BudgetError as error:
            self._fetched.stopped = str(error)
            self._fetched.unasked |= dict.fromkeys(self._calls, str(error))
            self._calls = {}


def requests_of(of: Sized) -> str:
    """Return a number of requests for messages."""
    return f"{len(of):,} request{'' if len(of) == 1 else 's'}"


def name_of(batch: OpenBatch) -> str:
    """Return a batch's name for messages."""
    if batch.is_presumed:
        return f"{batch.batch_id}, as far as can be known before it ends: the line broke when it was submitted"
    return str(batch.batch_id)
