"""Services of AWS through boto3, with the credentials of live calls, which change while a batch is at work."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from jisi_cli.models.batch.service import RefusedError
from jisi_cli.models.failure import ProviderFailure, one_line, refusal_in
from jisi_cli.models.redaction import Withheld

T = TypeVar("T")

_CONNECT_SECONDS = 10.0
_CONFLICT = 409
"""For what is there already, which AWS calls a bad request."""


class AWS:
    """Services of AWS in one region.

    Args:
        region: Of AWS.
        timeout: Seconds without a byte.
    """

    def __init__(self, region: str, timeout: float) -> None:
        self._region, self._timeout = region, timeout
        self._finder: Any = None
        self._credentials: tuple[str, str, str | None] | None = None
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def withheld(self) -> Withheld:
        """The credentials, which no message may repeat."""
        return Withheld(tuple(part for part in self._credentials or () if part))

    async def ask(self, service: str, ask: Callable[[Any], T]) -> T:
        """Ask a service.

        Args:
            service: Its name, such as `s3`.
            ask: Asks, given boto3's client.

        Raises:
            ProviderFailure: It does not answer, or refuses.
        """
        return await self.do(lambda: ask(self._client(service)))

    async def do(self, act: Callable[[], T]) -> T:
        """Do something that waits for the network, in a thread of its own.

        Raises:
            ProviderFailure: It did not go well.
        """
        try:
            return await _in_thread(act)
        except (ProviderFailure, RefusedError):
            raise
        except Exception as error:  # boto3 raises many kinds, and credentials are found in many ways.
            raise _failure_from(error, self.withheld) from error

    def _client(self, service: str) -> Any:  # noqa: ANN401 - made by boto3 of a description
        """Return a client; it waits for the network where credentials are asked for there."""
        with self._lock:
            credentials = self._current_credentials()
            if credentials != self._credentials:
                self._close()
                self._credentials = credentials
            if service not in self._made:
                self._made[service] = self._make(service, *credentials)
            return self._made[service]

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        for client in self._made.values():
            client.close()
        self._made = {}

    def _make(self, service: str, key: str, secret: str, token: str | None) -> Any:  # noqa: ANN401 - as above
        from boto3 import Session
        from botocore.config import Config

        session = Session(aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token)
        # What is worth repeating is repeated by those who ask.
        retries: Any = {"total_max_attempts": 1}
        config = Config(connect_timeout=_CONNECT_SECONDS, read_timeout=self._timeout, retries=retries)
        return session.client(service, region_name=self._region, config=config)

    def _current_credentials(self) -> tuple[str, str, str | None]:
        """Return the credentials with which live calls are signed, found as LiteLLM finds them.

        Raises:
            ProviderFailure: There are none.
        """
        from litellm.llms.bedrock.base_aws_llm import BaseAWSLLM

        self._finder = self._finder or BaseAWSLLM()
        found = self._finder.get_credentials(aws_region_name=self._region)
        if found is None:
            raise ProviderFailure(
                "no credentials of AWS were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
                key_refused=True,
            )
        frozen = found.get_frozen_credentials()
        return frozen.access_key, frozen.secret_key, frozen.token


def unreadable() -> ProviderFailure:
    """Return the failure that an answer is which tells nothing, such as a page of a proxy."""
    reason = "the answer is none of AWS; look at AWS_ENDPOINT_URL"
    return ProviderFailure(reason, retryable=True, billable=True, most_retries=1)


async def _in_thread(act: Callable[[], T]) -> T:
    """Do what waits for the network in a thread of its own, for which the end of a run does not wait."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(settled: Callable[[], None]) -> None:
        if not done.done():
            settled()

    def run() -> None:
        try:
            result = act()
            settled = partial(done.set_result, result)
        except BaseException as error:
            settled = partial(done.set_exception, error)
        with suppress(RuntimeError):  # the run has ended meanwhile
            loop.call_soon_threadsafe(settle, settled)

    threading.Thread(target=run, name="aws", daemon=True).start()
    return await done


def _failure_from(error: Exception, withheld: Withheld) -> ProviderFailure:
    """Return what boto3 raised as a failure."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return _refusal(error.response, withheld)
    words = one_line(str(error), withheld) or type(error).__name__
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectTimeoutError):
        return ProviderFailure(f"connection failed: {words}", retryable=True)
    if isinstance(error, exceptions.HTTPClientError | exceptions.IncompleteReadError):
        return ProviderFailure(f"connection failed: {words}", retryable=True, billable=True)
    if isinstance(error, exceptions.ParamValidationError):
        # As AWS would have said, had it been sent.
        return ProviderFailure(f"HTTP 400: {words}", status=400)
    if isinstance(error, exceptions.BotoCoreError):
        return ProviderFailure(words, key_refused=True)  # credentials, profiles and settings
    return unreadable()


def _refusal(response: Mapping[str, Any], withheld: Withheld) -> ProviderFailure:
    said, facts = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, words = str(said.get("Code", "")), str(said.get("Message", ""))
    status = _CONFLICT if code == "ConflictException" else int(facts.get("HTTPStatusCode", 500))
    body = json.dumps({"error": {"code": code, "message": words}})
    told = one_line(": ".join(filter(None, (code, words))), withheld)
    return refusal_in(status, body, told, facts.get("HTTPHeaders", {}).get("retry-after"), withheld)
