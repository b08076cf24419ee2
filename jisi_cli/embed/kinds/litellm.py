"""Embedding endpoints, through LiteLLM: a provider's, or any OpenAI-compatible server's."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.config import unusable_name
from jisi_cli.embed.account import Account, RequestAccount, Unbooked
from jisi_cli.embed.protocol import EmbedderSpec, EncoderOptions, Reading, batches
from jisi_cli.errors import BudgetError, InputError, JisiError, NoAnswerError, http_errors
from jisi_cli.models.address import NO_KEY, OPENAI_KEY, key_for
from jisi_cli.models.failure import causes, failure_from
from jisi_cli.models.litellm_client import Rules, keeping, load_litellm
from jisi_cli.models.retry import RetryPolicy

if TYPE_CHECKING:
    import openai

TEXTS_PER_REQUEST = 64
"""Texts in a request, unless the user says otherwise; some providers take no more than 96."""
_VOLUME = 200_000
"""Tokens, or characters, in a request at most; OpenAI takes 300,000 tokens."""
_RETRIES = RetryPolicy(max_retries=2, retry_after_cap=60.0)
_REFUSED = {
    400: "does not take these texts; are they too long? (--max-tokens)",
    401: "does not take the key; check it in the environment",
    403: "does not allow this key to use the model",
    404: "knows no such model; check the name and the address",
    422: "does not take these texts",
}


def open_encoder(spec: EmbedderSpec, argument: str, options: EncoderOptions) -> LiteLLMEncoder:
    """Return the encoder of the endpoint that `litellm:<provider>/<model>` names.

    Raises:
        InputError: LiteLLM cannot be given that name.
    """
    if not argument:
        raise InputError(f"no embedder `{spec.name}`: an endpoint is written litellm:<provider>/<model>")
    problem = unusable_name(argument)
    if problem is not None:
        raise InputError(f"the embedder {spec.name} {problem}")
    return LiteLLMEncoder(
        argument,
        spec,
        api_base=options.get("api_base"),
        api_key_env=options.get("api_key_env"),
        account=options.get("account"),
        batch_size=options.get("batch_size"),
        concurrency=options.get("concurrency", 4),
    )


class LiteLLMEncoder:
    """An `Encoder` that calls an endpoint; texts are counted and cut with LiteLLM's tokenizer.

    Args:
        model: LiteLLM's name, such as `openai/text-embedding-3-small`.
        spec: Its `max_tokens`, `truncation` and `prompt` apply. Without `max_tokens` the limit that LiteLLM
            knows of the model applies; without either, the endpoint's own.
        api_base: Address of the endpoint; None for LiteLLM's default.
        api_key_env: The environment variable that holds the key for it; None for the provider's own key, which goes to
            the provider's own hosts alone.
        account: Pays for the requests and keeps the books; None lets them happen unbooked.
        batch_size: Texts in a request; None for 64.
        concurrency: Requests out at one time.
        timeout: Seconds per request.
    """

    revision = None

    def __init__(
        self,
        model: str,
        spec: EmbedderSpec,
        *,
        api_base: str | None = None,
        api_key_env: str | None = None,
        account: Account | None = None,
        batch_size: int | None = None,
        concurrency: int = 4,
        timeout: float = 60.0,
    ) -> None:
        self._model, self._spec, self._api_base = model, spec, api_base
        self._api_key_env = api_key_env
        self._account: Account = account or Unbooked()
        self._batch_size = batch_size or TEXTS_PER_REQUEST
        self._concurrency, self._timeout = concurrency, timeout
        self._tokens = 0
        self._counting = threading.Lock()
        self._rng = random.Random()

    @property
    def dimension(self) -> int | None:
        """Unknown until a vector has come."""
        return None

    @property
    def tokens(self) -> int:
        """Tokens that the endpoint says it read."""
        return self._tokens

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return the text sent for each text."""
        return [self._reading(text) for text in texts]

    def encode(self, readings: Sequence[Reading]) -> Iterator[NDArray[np.floating]]:
        """Yield raw row vectors, a request at a time, in order; several requests are out at one time.

        Raises:
            InputError: The endpoint refuses the request, or there is no key for it.
            NoAnswerError: It cannot be reached, is too busy, or answers with something else.
            BudgetError: A request does not fit what is left of the budget.
        """
        requests = [[reading.text for reading in batch] for batch in self._batches(readings)]
        if len(requests) == 1:
            yield self._request(requests[0])
            return
        workers = ThreadPoolExecutor(max_workers=self._concurrency)
        try:
            yield from workers.map(self._request, requests)
        finally:
            # After a failure the requests that have not begun would only cost money.
            workers.shutdown(cancel_futures=True)

    def _batches(self, readings: Sequence[Reading]) -> Iterator[Sequence[Reading]]:
        return batches(readings, most=self._batch_size, volume=_VOLUME)

    def _reading(self, text: str) -> Reading:
        prompt, room = self._spec.prompt or "", self._room
        # A token is at least one byte, so most texts need not be counted.
        if room is None or len(text.encode()) <= room:
            return Reading(length=len(text), truncated=False, text=prompt + text)
        litellm = load_litellm()
        tokens: Sequence[int] = litellm.encode(model=self._model, text=text)
        if len(tokens) <= room:
            return Reading(length=len(tokens), truncated=False, text=prompt + text)
        kept = tokens[-room:] if self._spec.truncation == "tail" else tokens[:room]
        # A cut within a character leaves half of it, which decodes to U+FFFD.
        text = str(litellm.decode(model=self._model, tokens=kept)).strip("\ufffd")
        return Reading(length=room, truncated=True, text=prompt + text)

    @cached_property
    def _room(self) -> int | None:
        """Tokens of a text that are read; None for no limit that is known here."""
        litellm = load_litellm()
        known = litellm.model_cost.get(self._model) or litellm.model_cost.get(self._model.partition("/")[2]) or {}
        limits = [] if self._spec.max_tokens is None else [self._spec.max_tokens]
        if known.get("mode") == "embedding" and known.get("max_input_tokens"):
            prompt = litellm.encode(model=self._model, text=self._spec.prompt) if self._spec.prompt else []
            limits.append(int(known["max_input_tokens"]) - len(prompt))
        if limits and min(limits) < 1:
            raise InputError(f"{self._spec.name}: the prompt leaves no room for a text; shorten it")
        return min(limits, default=None)

    @cached_property
    def _target(self) -> dict[str, Any]:
        """Where requests go, and with which key."""
        litellm, environment = load_litellm(), os.environ
        base, named = self._api_base, self._api_key_env
        if self._model.startswith("openai/"):
            base = base or environment.get("OPENAI_API_BASE") or environment.get("OPENAI_BASE_URL")
        if named is not None:
            missing = [] if environment.get(named) else [named]
        else:
            missing = [] if base else litellm.validate_environment(self._model)["missing_keys"]
        if missing and (named or all(name.endswith("_API_KEY") for name in missing)):
            raise InputError(f"no key for {self._spec.name}: set {' or '.join(missing)} in the environment")
        key = self._key
        if not self._model.startswith("openai/"):
            return {"model": self._model, "api_base": base, **({} if key is None else {"api_key": key})}
        own = key or environment.get(OPENAI_KEY) or NO_KEY
        return {"model": self._model, "client": _client_that_asks_once(own, base)}

    @property
    def _key(self) -> str | None:
        """The one key that may be sent; None where it is the provider's own."""
        return key_for(self._model, self._api_base, self._api_key_env)

    def _request(self, texts: list[str]) -> NDArray[np.float64]:
        target = self._target
        with self._account.request(texts) as account:
            told: JisiError | None = None
            for attempt in count(1):
                _open_attempt(account, told)
                rules = Rules(self._key, self._api_key_env)
                try:
                    with keeping(rules):
                        answer = load_litellm().embedding(input=texts, timeout=self._timeout, max_retries=0, **target)
                except Exception as error:  # LiteLLM's adapters raise many kinds; each becomes one of ours.
                    told, failure = self._told(error, rules), failure_from(error)
                    account.failed(str(told), billable=failure.billable)
                    # An answer that cannot be read, of which chat models give another, is the same the second time.
                    is_final = isinstance(told, InputError) or failure.most_retries is not None
                    if is_final or not _RETRIES.allows_another(attempt, failure):
                        raise told from error
                    time.sleep(_RETRIES.delay(attempt, failure.retry_after, self._rng))
                else:
                    account.answered(getattr(answer, "usage", None))
                    return self._vectors(answer, len(texts))
        raise AssertionError("unreachable: an attempt returns, raises, or is followed by another")

    def _vectors(self, answer: Any, expected: int) -> NDArray[np.float64]:  # noqa: ANN401 - LiteLLM's response
        usage = getattr(answer, "usage", None)
        reported = getattr(usage, "prompt_tokens", None) or getattr(usage, "total_tokens", None)
        with self._counting:
            self._tokens += reported if isinstance(reported, int) else 0
        try:
            rows = sorted((dict(row) for row in answer.data), key=lambda row: int(row.get("index") or 0))
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float64)
        except (TypeError, ValueError, KeyError) as error:
            raise NoAnswerError(f"{self._spec.name} answered with something else than vectors") from error
        if vectors.ndim != 2 or len(vectors) != expected:
            raise NoAnswerError(f"{self._spec.name} answered {len(rows)} vectors to {expected} texts, or uneven ones")
        return vectors

    def _told(self, error: Exception, rules: Rules) -> JisiError:
        """Say what went wrong in our words: a provider's own may hold the key."""
        name = self._spec.name
        if rules.refused is not None:
            return InputError(f"{name}: {rules.refused}")
        if "LLM Provider NOT provided" in str(error):
            return InputError(f"{name}: LiteLLM knows no such provider; write litellm:provider/model")
        status = getattr(error, "status_code", None)
        if status in _REFUSED:
            no_key = status in (401, 403) and rules.only_key == NO_KEY
            remedy = '; no key was sent there: if it wants one, write api_key_env = "…" in [embedder]' if no_key else ""
            return InputError(f"{name} {_REFUSED[status]} (HTTP {status}){remedy}")
        # LiteLLM gives a connection that failed the status 500.
        lost = next((cause for cause in causes(error) if isinstance(cause, http_errors("TransportError"))), None)
        what = f"HTTP {status}" if lost is None and isinstance(status, int) else type(lost or error).__name__
        return NoAnswerError(f"{name} gave no vectors ({what}); try again later")


def _client_that_asks_once(key: str, base: str | None) -> openai.OpenAI:
    """Return OpenAI's client without its repetitions, each of which may be paid for; LiteLLM always sets two."""
    import openai

    class Once(openai.OpenAI):
        @property
        def max_retries(self) -> int:
            return 0

        @max_retries.setter
        def max_retries(self, wanted: int) -> None: ...

    return Once(api_key=key, base_url=base)


def _open_attempt(account: RequestAccount, failure: JisiError | None) -> None:
    """Set an attempt's money aside; where that fails, an earlier failure says more than that another is too dear."""
    try:
        account.attempt()
    except BudgetError as stopped:
        raise failure or stopped from None
