"""Where the vectors of a build come from: an embedder, a file, or a release that comes with its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jisi_cli.bank.build import require_embedder
from jisi_cli.bank.vectors import EmbeddedVectors, VectorSource, read_given_vectors, read_released_vectors
from jisi_cli.callees import endpoint_entry
from jisi_cli.cli.output import Output
from jisi_cli.config import Config
from jisi_cli.embed.protocol import LONGEST_PROMPT, EmbedderSpec
from jisi_cli.embed.registry import PinError, load_embedder, pinned
from jisi_cli.errors import BankError, InputError
from jisi_cli.spending import RunAccount
from jisi_cli.user import EmbedderChoice, require_consent

if TYPE_CHECKING:
    from jisi_cli.embed.account import EmbeddingAccount

_WORD = "a"


@dataclass(frozen=True, slots=True)
class EmbedderFlags:
    """What the command line says about the embedder of a build.

    Attributes:
        spec: name, max_tokens, truncation and prompt; None where a flag was not given.
        trust: `--trust-embedder`.
        vectors: A file of vectors, so that nothing is embedded.
        device: Where to embed.
        batch_size: Texts embedded at once.
    """

    spec: Mapping[str, Any]
    trust: bool = False
    vectors: Path | None = None
    device: str | None = None
    batch_size: int | None = None

    def named(self, config: Config, recorded: EmbedderSpec | None) -> EmbedderSpec:
        """Return the embedder that the flags name, else that of the extended bank or the configuration, or `minilm`.

        Raises:
            InputError: A value is not of its kind.
        """
        given = {key: value for key, value in self.spec.items() if value is not None}
        if recorded is not None and not given:
            # An extended bank keeps its embedder; what the command line names must agree with it.
            return recorded
        chosen = {"name": "minilm", **config.embedder, **given}
        if chosen.get("truncation", "head") not in ("head", "tail"):
            raise InputError(f"the truncation of the embedder must be head or tail, not {chosen['truncation']!r}")
        if len(chosen.get("prompt") or "") > LONGEST_PROMPT:
            raise InputError(f"the prompt of the embedder is longer than {LONGEST_PROMPT:,} characters; shorten it")
        return EmbedderSpec(**chosen)

    def allowed(self, config: Config, bank: Path, recorded: EmbedderSpec | None) -> EmbedderSpec:
        """Return the same embedder, which the user must have named or allowed.

        Raises:
            BankError: Neither is so.
        """
        spec = self.named(config, recorded)
        source = bank if spec is recorded else config.path or bank
        EmbedderChoice(self.spec.get("name"), self.trust).consent(config).require(spec, source)
        return spec


def open_vectors(
    flags: EmbedderFlags,
    bank: Path,
    recorded: EmbedderSpec | None,
    release: Path | None,
    account: RunAccount,
    out: Output,
) -> tuple[VectorSource, EmbeddingAccount | None]:
    """Return where vectors come from, and what pays for them if an endpoint makes them.

    Args:
        flags: What the command line says about the embedder.
        bank: The bank's folder.
        recorded: The embedder of the bank that is extended; None for a new bank.
        release: Recorded answers that come with vectors; None for none.
        account: What an endpoint may cost.
        out: Where notes go.

    Raises:
        InputError: The vectors or the embedder cannot be used.
        BankError: The embedder is not the bank's, or was not allowed.
    """
    try:
        paid = None
        vectors = _precomputed(flags, account.config, recorded, release)
        if vectors is None:
            vectors, paid = _embedded(flags, bank, recorded, account, out)
    except PinError as error:
        if recorded is None:
            raise
        raise BankError(f"{bank}: {error}; install that one, or build the bank again with --force") from error
    if recorded is not None:
        require_embedder(bank, recorded, vectors.spec)
    if paid is not None and isinstance(vectors, EmbeddedVectors):
        # An address or a key that is wrong costs one word now instead of a collection without vectors.
        vectors.embedder.embed([_WORD])
    return vectors, paid


def _embedded(
    flags: EmbedderFlags, bank: Path, recorded: EmbedderSpec | None, account: RunAccount, out: Output
) -> tuple[EmbeddedVectors, EmbeddingAccount | None]:
    config = account.config
    spec = flags.allowed(config, bank, recorded)
    entry = endpoint_entry(spec, config)
    if entry is not None:
        require_consent(config, [entry], out)
    paid = None if entry is None else account.embedding_account(entry)
    embedder = load_embedder(
        spec,
        device=flags.device,
        batch_size=flags.batch_size,
        api_base=config.endpoint.api_base,
        api_key_env=config.endpoint.api_key_env,
        account=paid,
    )
    elsewhere = account.embedding(embedder.spec, flags.device, flags.batch_size) if entry is None else None
    return EmbeddedVectors(embedder, elsewhere), paid


def _precomputed(
    flags: EmbedderFlags, config: Config, recorded: EmbedderSpec | None, release: Path | None
) -> VectorSource | None:
    """Return vectors that come with the answers, so that no embedder is loaded or called; None for none."""
    if flags.vectors is not None:
        return read_given_vectors(flags.vectors, pinned(flags.named(config, recorded)))
    if release is None:
        return None
    if recorded is None and not (flags.spec.get("name") or config.embedder.get("name")):
        raise InputError(
            f"{release}: it does not say which embedder made its vectors; name it with --embedder (the paper's is "
            "Alibaba-NLP/gte-Qwen2-7B-instruct), or move the .tar files away to embed the texts again"
        )
    return read_released_vectors(release, pinned(flags.named(config, recorded)))
