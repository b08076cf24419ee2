"""Amazon Bedrock's batch inference jobs, which read requests from a bucket of the user's and write results there.

Each batch has a folder in `batch_store`, named after our tag as its job is. A job whose name did not reach us is found
by that, and AWS creates no second one for the same token.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from jisi_cli.models.address import aws_endpoint
from jisi_cli.models.batch.aws import AWS, unreadable
from jisi_cli.models.batch.outcome import Result
from jisi_cli.models.batch.service import (
    MOST_LISTED,
    MOST_OUTPUT,
    NOT_FOUND,
    Match,
    RefusedError,
    State,
    batch_name,
    count_in,
    lines_of,
    row_in,
)
from jisi_cli.models.failure import ProviderFailure, one_line

if TYPE_CHECKING:
    from jisi_cli.addresses import Address
    from jisi_cli.models.batch.journal import OpenBatch
    from jisi_cli.models.batch.request_file import RequestFile
    from jisi_cli.models.batch.rows import Place

_REQUESTS: Final = "requests.jsonl"
_HOURS: Final = 24
"""After which a job is ended; the least that there is."""
_PAGE = 100
_PIECE = 1 << 20
_FORBIDDEN = 403
_JOB = re.compile(r"arn:aws[a-z-]*:bedrock:[a-z0-9-]{1,20}:\d{12}:model-invocation-job/(?P<id>[a-z0-9]{12})", re.ASCII)
_NAME = re.compile(r"jisi-[0-9a-f]{32}")
_STATUS = {
    "Completed": "completed",
    "Failed": "failed",
    "Stopped": "cancelled",
    "Expired": "expired",
    # "Not all of your records could be processed in time."
    "PartiallyCompleted": "expired",
}
"""How a job ends, in our words
(https://docs.aws.amazon.com/bedrock/latest/APIReference/API_GetModelInvocationJob.html)."""
_TOO_FEW = re.compile(r"\bminimum\b", re.IGNORECASE)


class BedrockService:
    """The jobs of one model in one region, through one folder of a bucket; an implementation of `Service`.

    Args:
        place: Where the model's calls go.
        timeout: Seconds without a byte.
    """

    most_requests: int = 50_000
    most_bytes: int = 10**9
    """What one file may hold (https://docs.aws.amazon.com/general/latest/gr/bedrock.html: 50,000 records, 1 GB)."""
    keeps_requests: bool = True

    def __init__(self, place: Place, timeout: float) -> None:
        if place.store is None:
            raise AssertionError("a place without a bucket")
        self._place = place
        self._store: Address = place.store
        self._aws = AWS(place.region, timeout)
        self.host = urlsplit(aws_endpoint("bedrock") or "").hostname or f"bedrock.{place.region}.amazonaws.com"

    async def close(self) -> None:
        """Close the connections."""
        self._aws.close()

    def row(self, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request as it stands in a file."""
        return {"recordId": key, "modelInput": body}

    async def prepare(self, file: RequestFile, tag: str) -> str:
        """Write the requests to the bucket; return their address.

        Raises:
            ProviderFailure: They were not taken, or that is not known.
        """
        file.file.seek(0)
        address = f"{self._folder(batch_name(tag))}/{_REQUESTS}"
        await self._aws.ask("s3", lambda s3: s3.put_object(**_object(address), Body=file.file))
        return address

    async def is_ready(self, file_id: str) -> bool:
        """Nothing has to be waited for."""
        return True

    async def create(self, batch: OpenBatch, file: RequestFile | None) -> str:
        """Have requests that lie in the bucket worked on; return the name of the job.

        Raises:
            ProviderFailure: It was not taken, or that is not known.
            RefusedError: The installed boto3 is too old for it.
        """
        requests = batch.file_id or ""
        asked = {
            "jobName": batch_name(batch.tag),
            "clientRequestToken": batch.tag,
            "roleArn": self._place.role,
            "modelId": self._place.model,
            "inputDataConfig": {"s3InputDataConfig": {"s3InputFormat": "JSONL", "s3Uri": requests}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": _results_beside(requests)}},
            "timeoutDurationInHours": _HOURS,
        }
        made = await self._aws.ask("bedrock", lambda bedrock: _created(bedrock, self._place.operation, asked))
        return _checked_job(made.get("jobArn"))

    async def find(self, batch: OpenBatch, keys: Collection[str], others: Collection[str]) -> Match | None:
        """Return the job with the name that the tag gives; None where there is none.

        Raises:
            ProviderFailure: AWS cannot be asked.
        """
        if batch.file_id is None:  # its creation was not tried
            return None
        name, looked, more = batch_name(batch.tag), 0, dict[str, str]()
        while True:
            page = await self._listed({"nameContains": name, "maxResults": _PAGE, **more})
            jobs = page.get("invocationJobSummaries") or ()
            for job in jobs:
                if job.get("jobName") == name:
                    return Match(_checked_job(job.get("jobArn")))
            if not page.get("nextToken"):
                return None
            looked += max(1, len(jobs))
            if looked >= MOST_LISTED:
                # As at OpenAI: not to have found it is no proof that it is not there.
                raise ProviderFailure("its list of jobs goes on without end")
            more = {"nextToken": page["nextToken"]}

    async def look(self, batch_id: str) -> State:
        """Return how far a job is.

        Raises:
            ProviderFailure: AWS cannot be asked, has no such job, or it is about another folder than `batch_store`.
        """
        name = _checked_job(batch_id)
        job = await self._aws.ask("bedrock", lambda bedrock: bedrock.get_model_invocation_job(jobIdentifier=name))
        said, message = job.get("status"), one_line(str(job.get("message") or ""), self._aws.withheld)
        if not isinstance(said, str):
            raise unreadable()
        if message and _TOO_FEW.search(message):
            message += " (leave --batch out, and live calls ask what is missing)"
        return State(
            status=_STATUS.get(said, said.lower()),
            output_id=self._results_of(job, name),
            total=count_in(job.get("totalRecordCount")),
            done=count_in(job.get("processedRecordCount")),
            reason=message,
        )

    def results(self, batch_id: str, state: State) -> list[AsyncIterator[bytes]]:
        """Return the lines of the results."""
        return [] if state.output_id is None else [self._lines(state.output_id, state)]

    def result_in(self, line: bytes) -> Result | None:
        """Return what a line of the results says; None where it is no result."""
        row = row_in(line)
        key = row.get("recordId")
        if not isinstance(key, str):
            return None
        if isinstance(row.get("modelOutput"), dict):
            return Result(key, 200, json.dumps(row["modelOutput"]).encode(), None)
        return _failed(key, row.get("error"))

    async def delete(self, batch: OpenBatch, state: State) -> None:
        """Delete the requests of a batch and its results from the bucket.

        Raises:
            ProviderFailure: One is not deleted.
        """
        requests = batch.file_id or f"{self._folder(batch_name(batch.tag))}/{_REQUESTS}"
        addresses = [requests]
        if batch.batch_id is not None:
            results = _results_file(_results_beside(requests), batch.batch_id)
            addresses += [results, f"{results.rpartition('/')[0]}/manifest.json.out"]
        for address in addresses:
            await self._remove(_object(address))

    async def _listed(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return one page of the list of jobs."""
        return await self._aws.ask("bedrock", lambda bedrock: bedrock.list_model_invocation_jobs(**asked))

    async def _remove(self, place: Mapping[str, str]) -> None:
        """Delete an object; one that is not there is no error."""
        await self._aws.ask("s3", lambda s3: s3.delete_object(**place))

    def _folder(self, name: str) -> str:
        """Return the address of the folder of one batch."""
        return f"{self._store}/{name}"

    def _results_of(self, job: Mapping[str, Any], batch_id: str) -> str:
        """Return the address of a job's results, which is made of the pool file's: AWS's word decides nothing.

        Raises:
            ProviderFailure: They lie elsewhere.
        """
        given = job.get("outputDataConfig") or {}
        said, name = (given.get("s3OutputDataConfig") or {}).get("s3Uri"), str(job.get("jobName"))
        folder = _results_beside(f"{self._folder(name)}/{_REQUESTS}")
        if not _NAME.fullmatch(name) or said != folder:
            where = one_line(str(said), self._aws.withheld)
            raise ProviderFailure(f"its results lie in {where}; set `batch_store` back to collect them")
        return _results_file(folder, batch_id)

    async def _lines(self, address: str, state: State) -> AsyncIterator[bytes]:
        try:
            found = await self._aws.ask("s3", lambda s3: s3.get_object(**_object(address)))
        except ProviderFailure as failure:
            # A job that ended before it began has written nothing, of which S3 tells those who may not list the bucket
            # that they may not read it. Where requests would be submitted again, that is not taken for granted.
            is_unwritten = failure.status == NOT_FOUND and state.status != "completed"
            is_unbegun = state.status in ("failed", "cancelled") and not state.done
            if is_unwritten or (failure.status == _FORBIDDEN and is_unbegun):
                return
            raise
        body = found["Body"]
        try:
            async for line in lines_of(self._pieces(body)):
                yield line
        finally:
            body.close()

    async def _pieces(self, body: Any) -> AsyncIterator[bytes]:  # noqa: ANN401 - botocore's stream
        left = MOST_OUTPUT
        while piece := await self._aws.do(lambda: body.read(_PIECE)):
            left -= len(piece)
            if left < 0:
                raise ProviderFailure("the results go on without end")
            yield piece


def _created(bedrock: Any, operation: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ANN401 - as above
    kind = {}
    if operation == "converse":
        members = bedrock.meta.service_model.operation_model("CreateModelInvocationJob").input_shape.members
        if "modelInvocationType" not in members:
            raise RefusedError(
                "the installed boto3 is too old to ask it this way by batch; upgrade boto3, or write the model as "
                "bedrock/invoke/…"
            )
        kind = {"modelInvocationType": "Converse"}
    made: Mapping[str, Any] = bedrock.create_model_invocation_job(**asked, **kind)
    return made


def _object(address: str) -> dict[str, str]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


def _results_beside(requests: str) -> str:
    return f"{requests.rpartition('/')[0]}/results/"


def _results_file(folder: str, batch_id: str) -> str:
    """Return where a job writes its results.

    See https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html.
    """
    return f"{folder}{batch_id.rpartition('/')[2]}/{_REQUESTS}.out"


def _checked_job(value: object) -> str:
    """Return the name of a job, by which it is asked for and its results are looked for.

    Raises:
        ProviderFailure: It has not the shape of one.
    """
    if isinstance(value, str) and _JOB.fullmatch(value):
        return value
    raise ProviderFailure(f"AWS's name of a job is none that can be used: {value!r:.60}", billable=True)


def _failed(key: str, error: Any) -> Result:  # noqa: ANN401 - whatever AWS wrote
    """Return the result of a request that failed, as a live call would have had it."""
    told = error if isinstance(error, dict) else {}
    code, words = told.get("errorCode"), told.get("errorMessage")
    code = int(code) if isinstance(code, str) and code.isdecimal() else code
    if type(code) is int and 400 <= code < 600:
        return Result(key, code, json.dumps({"message": words}).encode(), None)
    reason = one_line(words) if isinstance(words, str) and words.strip() else "the batch brought no answer to it"
    return Result(key, None, b"", ProviderFailure(reason))
