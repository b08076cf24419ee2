"""Questions to a pool by batch: all that is to be asked goes out at once, and is graded as it would be otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jisi_cli.collect.collect import Pair, request_for
from jisi_cli.errors import InputError
from jisi_cli.types import Pool, Sampling

if TYPE_CHECKING:
    from jisi_cli.models.batch.batches import Batches
    from jisi_cli.models.live import LivePool


@dataclass(frozen=True, slots=True)
class Batched:
    """What is there to be collected.

    Attributes:
        pool: Whom to ask for it.
        pairs: What was asked, and has an answer or failed for good.
        stopped: Why a budget ended it; None where none did.
        refused: Why models were not asked, or not for all; of what they were not asked there are to be no records.
    """

    pool: Pool
    pairs: Sequence[Pair]
    stopped: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)


async def ask_by_batch(
    pairs: Sequence[Pair], pool: LivePool, batches: Batches, sampling: Sampling | None = None
) -> Batched:
    """Ask for every pair by batch, and wait until all have ended.

    Args:
        pairs: Questions and models, as `collect` takes them.
        pool: The live pool.
        batches: Submits and waits.
        sampling: Sampling parameters; the paper's by default.

    Raises:
        InputError, NoAnswerError: See `Batches.fetch`.
    """
    from jisi_cli.models.batch.pool import BatchedPool

    requests = [request_for(question, model, sampling or Sampling()) for question, model in pairs]
    fetched = await batches.fetch(requests)
    batched = BatchedPool(pool, fetched)
    there, refused = [], {}
    for pair, request in zip(pairs, requests, strict=True):
        why = batched.why_unasked(request)
        if why is None:
            there.append(pair)
        elif fetched.stopped is None:
            refused[request.model] = why
    return Batched(batched, there, fetched.stopped, refused)


async def under_way(pairs: Sequence[Pair], pool: LivePool, sampling: Sampling | None = None) -> int:
    """Return how many of some pairs a batch has been asked for that has brought no answer yet.

    Args:
        pairs: Questions and models, as `collect` takes them.
        pool: The live pool.
        sampling: Sampling parameters; the paper's by default.
    """
    from jisi_cli.models.batch.journal import BatchJournal, journal_folder

    if not journal_folder().is_dir():
        return 0
    calls = [pool.call_of(request_for(question, model, sampling or Sampling())) for question, model in pairs]
    wanted = {call.key: call for call in calls}
    journal = BatchJournal(journal_folder())
    try:
        keys = {key for batch in journal.open_with(wanted) for key in batch.worst}
    except InputError:  # whoever asks by batch will hear of it
        return 0
    finally:
        journal.close()
    return sum([await pool.kept(wanted[key]) is None for key in keys])
