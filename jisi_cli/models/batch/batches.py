"""Answers by batch: submitted once, waited for by whichever process, kept and booked as answers of live calls are.

What came back lies in the answer cache under the keys of live calls, so neither path asks what the other has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from jisi_cli.config import ModelEntry
from jisi_cli.errors import InputError, NoAnswerError
from jisi_cli.models.batch.desk import Desk
from jisi_cli.models.batch.funds import Funds
from jisi_cli.models.batch.intake import Intake, Taken
from jisi_cli.models.batch.journal import BatchJournal, OpenBatch
from jisi_cli.models.batch.outcome import without_result
from jisi_cli.models.batch.pool import Fetched
from jisi_cli.models.batch.rows import Rows
from jisi_cli.models.batch.service import GONE, NOT_FOUND, RefusedError, Service, State
from jisi_cli.models.batch.under_way import UnderWay
from jisi_cli.models.batch.waiting import Waiting, name_of, requests_of
from jisi_cli.models.call import Call
from jisi_cli.models.failure import ProviderFailure
from jisi_cli.models.limits import Budget
from jisi_cli.models.live import LivePool
from jisi_cli.models.retry import RetryPolicy
from jisi_cli.types import Request

OnProgress = Callable[[int, int], None]
"""Told how many requests have ended, and how many there are."""
_ENDS = {"failed": "refused", "cancelled": "cancelled", "expired": "expired", GONE: "forgotten"}
"""How a batch ended, in our words."""
_UNWORKED = {
    GONE: "is gone, and with it the results, which may be billed all the same, of",
    "expired": "expired, and this run does not submit it again, before it reached",
}
"""Ends of a batch that leave requests without an answer, in words before their number."""


class Polling(NamedTuple):
    """How often a provider is asked how far a batch is, in seconds: less and less often, up to a limit."""

    first: float = 2.0
    growth: float = 1.5
    longest: float = 120.0

    def pause(self, number: int) -> float:
        """Return the seconds before the look of a number, from 1."""
        return min(self.longest, self.first * self.growth ** min(number - 1, 64))


class Batches:
    """Asks by batch; for one event loop, and one list of requests.

    Args:
        pool: The live pool: it says what a call is, keeps and books.
        rows: Writes requests and reads results.
        journal: What was submitted.
        held: Receives the tag and the key of each request whose cost this run's own budget counts.
        budget: What the calls may cost; None for no limit.
        policy: When what failed is submitted again.
        timeout: Seconds without a byte from a provider.
        tell: Told what was submitted, and what came back.
        warn: Told what goes wrong.
        on_progress: Told how far it is.
        polling: How often providers are asked.
        resubmits: Whether to submit again what was submitted with a key that is not set now.
    """

    def __init__(
        self,
        pool: LivePool,
        rows: Rows,
        journal: BatchJournal,
        *,
        held: set[tuple[str, str]],
        budget: Budget | None,
        policy: RetryPolicy,
        timeout: float,
        tell: Callable[[str], None],
        warn: Callable[[str], None],
        on_progress: OnProgress | None = None,
        polling: Polling | None = None,
        resubmits: bool = False,
    ) -> None:
        self._pool, self._rows, self._journal, self._held = pool, rows, journal, held
        self._polling = polling or Polling()
        self._tell, self._warn, self._on_progress = tell, warn, on_progress
        self._resubmits = resubmits
        self._funds = Funds(budget, warn)
        self._desk = Desk(journal, timeout, policy, self._polling.pause)
        self._fetched = Fetched()
        self._waiting = Waiting(pool, rows, self._desk, self._funds, self._fetched, held, tell, warn)
        self._intake = Intake(pool, rows, journal, policy, self._funds.share)
        self._wanted: dict[str, Call] = {}
        self._under_way: list[UnderWay] = []

    async def fetch(self, requests: Iterable[Request]) -> Fetched:
        """Bring the answers to requests that the cache lacks.

        Args:
            requests: What is to be asked; what is cached, or under way already, is not submitted.

        Raises:
            InputError: The journal cannot be used, a parameter makes it unknowable what a call can cost, or another key
                is needed to collect what was submitted with it.
            NoAnswerError: A provider does not say what it has; it goes on there, and a later run asks again.
        """
        calls = (self._pool.call_of(request) for request in requests)
        self._wanted = {call.key: call for call in calls}
        self._waiting.add(self._wanted.values(), 1)
        try:
            async with self._journal.alone(self._wait):
                await self._tidy_earlier()
                await self._submit()
            await self._finish()
        except asyncio.CancelledError:
            if self._under_way:
                left = sum(len(item.batch.worst) for item in self._under_way)
                self._tell(
                    f"{left:,} requests keep running at the provider; run the same command again to wait for them"
                )
            raise
        return self._fetched

    async def close(self) -> None:
        """Close the connections; what was submitted goes on at the providers."""
        await self._desk.close()
        await self._rows.close()
        self._journal.close()

    async def _finish(self) -> None:
        """Wait for what is under way, submit again what failed, until nothing is left."""
        number = 0
        while self._under_way or len(self._waiting):
            self._show()
            number += 1
            await asyncio.sleep(self._polling.pause(number))
            for item in self._under_way:
                await self._look(item)
            ended = [item for item in self._under_way if item.state.has_ended]
            if self._under_way and not ended:
                continue
            async with self._journal.alone(self._wait):
                for item in ended:
                    if await self._take_in(item):
                        self._under_way.remove(item)
                        number = 0
                await self._submit()

    async def _tidy_earlier(self) -> None:
        """Delete at providers what an earlier run was kept from deleting."""
        models = {batch.model for batch in self._journal.left_at_providers()}
        calls = {call.entry.litellm: call for call in self._wanted.values() if call.entry.litellm in models}
        for model, call in calls.items():
            with suppress(ProviderFailure):
                await self._desk.tidy_earlier((await self._rows.sent(call)).place, model)

    async def _join(self, keys: Iterable[str]) -> set[str]:
        """Take over what an earlier run, or another one, submitted; return which requests that is."""
        joined: set[str] = set()
        for batch in self._journal.open_with(frozenset(keys)):
            call = self._wanted[next(iter(batch.worst))]
            try:
                sent = await self._rows.sent(call)
            except ProviderFailure as failure:
                raise _later(f"a batch for {call.entry.name} cannot be looked for: {failure.reason}") from failure
            service = self._desk.service(sent.place)
            if not await self._desk.is_in_reach(sent.place, batch):
                self._give_up(batch, call.entry, service)
                continue
            try:
                found = await self._desk.identified(service, batch)
            except RefusedError:
                continue  # which submitting it again will tell
            if found is None:
                continue
            self._held |= {(batch.tag, key) for key in batch.worst}
            reservation = self._funds.take_over(call.entry, batch.worst.values())
            self._under_way.append(UnderWay(found, service, reservation))
            joined |= batch.worst.keys()
            since = f"{batch.began:%Y-%m-%d %H:%M} UTC"
            self._tell(f"{requests_of(batch.worst)} under way at {service.host} since {since} ({name_of(found)})")
        return joined

    def _give_up(self, batch: OpenBatch, entry: ModelEntry, service: Service) -> None:
        """Count a batch that only another key can see at its most, so that its requests are submitted again.

        Raises:
            InputError: That is not wanted.
        """
        known = f"{batch.began:%Y-%m-%d %H:%M} UTC" + (f", {batch.batch_id}" if batch.batch_id else "")
        what = f"{requests_of(batch.worst)} to {entry.name}"
        if not self._resubmits:
            raise InputError(
                f"{what} submitted to {service.host} with another key ({known}): set that key again to collect the "
                "answers, or add --resubmit to submit and pay for them once more"
            )
        self._warn(f"{what} submitted again: another key's batch ({known}) counts as if it cost the most it can")
        failure = ProviderFailure("submitted with another key, and then again with this one", billable=True)
        taken = Taken()
        for key in batch.worst:
            self._intake.settle(batch, self._wanted[key], failure, taken)
        counted = self._funds.take_over(entry, [taken.spent_usd])
        if counted is not None:
            counted.settle(None)

    async def _submit(self) -> None:
        """Submit what waits and neither was answered, nor is under way, meanwhile."""
        await self._waiting.leave_out_kept()
        joined = await self._join(self._waiting.keys)
        await self._waiting.submit(self._under_way, but=joined)

    async def _look(self, item: UnderWay) -> None:
        try:
            await item.look(self._warn)
        except ProviderFailure as failure:
            raise _later(failure.reason) from failure

    async def _take_in(self, item: UnderWay) -> bool:
        """Take in the results of a batch that has ended; return whether all could be read, and nothing is left."""
        if item.batch.is_presumed and not await self._is_confirmed(item):
            return item.batch.batch_id is None
        batch, taken = item.batch, item.taken
        ended = self._journal.requests_of(batch.tag)
        # What could not be kept has not ended, but is taken in once.
        there = batch.worst.keys() - taken.keys
        left = {key: self._wanted[key] for key in batch.worst if key in there and not ended.get(key, True)}
        await self._take_from_others(batch.worst.keys() - left.keys() - taken.keys)
        try:
            if left:
                await self._intake.take(batch, left, item.service, item.state, taken)
        except ProviderFailure as failure:
            unread = f"the results of {batch.batch_id} cannot be read: {failure.reason}"
            if failure.status == NOT_FOUND:  # providers delete them after some weeks
                item.state = State(GONE)
                self._warn(unread)
            elif item.is_hopeless(failure):
                raise _later(unread) from failure
            else:
                self._warn(f"{unread}; asking again")
                return False
        finally:
            self._fetched.answers |= taken.answers
        self._without_result(item, [call for key, call in left.items() if key not in taken.keys])
        self._fetched.answers |= taken.answers
        self._waiting.add(taken.again, batch.attempt + 1)
        if item.reservation is not None:
            item.reservation.settle(taken.spent_usd)
        self._tell_end(item, is_collected=bool(left or taken.keys))
        if taken.unkept:
            self._tell(
                f"{taken.unkept:,} of the answers of {batch.batch_id} could not be kept in the cache, so its results "
                f"are not deleted at {item.service.host}: run the same command again once the cache can be written, "
                "which collects them at no further cost"
            )
        why = await self._desk.tidy(item.service, batch, item.state)
        if why is not None:
            self._tell(f"the requests and results of {batch.batch_id} still lie at {item.service.host}: {why}")
        return True

    async def _is_confirmed(self, item: UnderWay) -> bool:
        """Whether a batch that may be the one that was submitted is that; if not, it is looked for once more.

        Where the provider has none after all, the item has no name any more, and its requests are to be submitted.
        """
        mistaken, found = item.batch, None
        # Another run may have found out meanwhile.
        known = next((one for one in self._journal.open_with(mistaken.worst) if one.tag == mistaken.tag), None)
        if known is not None:
            with suppress(RefusedError):
                found = await self._desk.identified(item.service, replace(known, worst=mistaken.worst))
        if found is not None and not found.is_presumed and found.batch_id == mistaken.batch_id:
            item.batch = found
            return True
        if found is not None:
            item.batch, item.state = found, State("")
            return False
        self._tell(
            f"{mistaken.batch_id} at {item.service.host} is not the batch that was interrupted; none was created"
        )
        item.batch = replace(mistaken, batch_id=None)
        if item.reservation is not None:
            item.reservation.settle(0.0)
        self._waiting.add([self._wanted[key] for key in mistaken.worst], mistaken.attempt)
        return False

    def _without_result(self, item: UnderWay, calls: Sequence[Call]) -> None:
        """See to requests of which the results say nothing."""
        status, batch = item.state.status, item.batch
        if status == "failed" and item.state.is_too_much and len(calls) > 1:
            self._take_fewer(item, calls)
        elif calls and status in ("failed", "cancelled"):
            why = f": {item.state.reason}" if item.state.reason else ""
            self._journal.settle(batch.tag, [call.key for call in calls])
            self._waiting.refuse(
                [call.key for call in calls],
                f"{item.service.host}: {batch.batch_id} was {_ENDS[status]}{why}; {requests_of(calls)} not answered",
            )
        else:
            for call in calls:
                self._intake.settle(batch, call, without_result(status), item.taken)
        # That a batch ended before their turn says nothing about how well a model answers.
        given_up = [call.key for call in calls if status in _UNWORKED and call.key in item.taken.answers]
        for key in given_up:
            del item.taken.answers[key]
        if given_up:
            self._waiting.refuse(
                given_up, f"{item.service.host}: {batch.batch_id} {_UNWORKED[status]} {requests_of(given_up)}"
            )

    def _take_fewer(self, item: UnderWay, calls: Sequence[Call]) -> None:
        """Submit again, half as many at a time, what was refused for its number; no attempt was made."""
        self._journal.settle(item.batch.tag, [call.key for call in calls])
        self._waiting.add(calls, item.batch.attempt)
        most = self._waiting.allow_half(calls)
        self._warn(
            f"{item.service.host} accepts fewer requests to {calls[0].entry.name} at one time ({item.state.reason}); "
            f"submitting {most:,} at a time"
        )

    async def _take_from_others(self, keys: Collection[str]) -> None:
        """See to requests whose results another run has taken in meanwhile."""
        lost = {key for key in keys if await self._pool.kept(self._wanted[key]) is None}
        # It may have submitted again what failed.
        lost -= await self._join(lost)
        self._fetched.unasked |= dict.fromkeys(lost, "another run of jisi was told that it failed")

    def _tell_end(self, item: UnderWay, *, is_collected: bool) -> None:
        taken, ended = item.taken, item.state.status
        for doubt in taken.doubts():
            self._warn(f"{item.batch.batch_id}: {doubt}")
        if not is_collected:
            self._tell(f"another run of jisi has collected the results of {item.batch.batch_id}")
            return
        again = f", {len(taken.again):,} to be submitted again" if taken.again else ""
        how = "" if ended == "completed" else f" ({_ENDS.get(ended, ended)})"
        self._tell(
            f"{item.batch.batch_id} has ended{how}: {taken.good:,} of {requests_of(item.batch.worst)} answered{again}"
        )

    def _show(self) -> None:
        if self._on_progress is not None:
            at_work = sum(min(item.state.done, len(item.batch.worst)) for item in self._under_way)
            ended, left = len(self._fetched.answers), sum(len(item.batch.worst) for item in self._under_way)
            self._on_progress(ended + at_work, ended + left + len(self._waiting))

    def _wait(self) -> None:
        self._tell("another run of jisi is submitting a batch or collecting results; waiting for it")


def _later(what: str) -> NoAnswerError:
    return NoAnswerError(f"{what}; run the same command again later: nothing is submitted twice")
