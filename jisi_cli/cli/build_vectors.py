"""Where a build's vectors come from: an embedder that the user names, a file of vectors, or a release that has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jisi_cli.bank.build import require_embedder
from jisi_cli.bank.manifest import read_manifest
from jisi_cli.bank.vectors import EmbeddedVectors, VectorSource, read_given_vectors, read_released_vectors
from jisi_cli.cli.embedder_choice import EmbedderChoice
from jisi_cli.cli.output import Output
from jisi_cli.cli.pool_consent import require_consent
from jisi_cli.cli.purse import Purse, endpoint_entry
from jisi_cli.config import Config
from jisi_cli.embed.protocol import LONGEST_PROMPT, EmbedderSpec
from jisi_cli.embed.registry import PinError, load_embedder, pinned
from jisi_cli.errors import BankError, InputError
from jisi_cli.formats.registry import detect

if TYPE_CHECKING:
    from jisi_cli.cli.building import BuildRequest
    from jisi_cli.embed.account import EmbeddingAccount

_WORD = "a"


def vectors_of(
    request: BuildRequest, config: Config, purse: Purse, out: Output
) -> tuple[VectorSource, EmbeddingAccount | None]:
    """Return where vectors come from, and what pays for them where an endpoint makes them.

    Args:
        request: The command line.
        config: The configuration in force.
        purse: What the run may spend.
        out: Where a person is asked about a pool file that lies in the current folder.

    Raises:
        InputError: The embedder, or a file of vectors, cannot be used.
        BankError: The embedder is not that of the bank that is extended, or nobody but others names it.
    """
    recorded = read_manifest(request.bank).embedder if request.append else None
    try:
        found, account = _given_vectors(request, config, recorded), None
        if found is None:
            found, account = _embedded_vectors(request, config, recorded, purse, out)
    except PinError as error:
        if recorded is None:
            raise
        raise BankError(f"{request.bank}: {error}; install that one, or build the bank again with --force") from error
    return found, account


def _embedded_vectors(
    request: BuildRequest, config: Config, recorded: EmbedderSpec | None, purse: Purse, out: Output
) -> tuple[VectorSource, EmbeddingAccount | None]:
    spec = embedder_of(request, config, recorded)
    entry = endpoint_entry(spec, config)
    if entry is not None:
        require_consent(config, [entry], out)
    account = None if entry is None else purse.embedding_account(entry)
    embedder = load_embedder(
        spec,
        device=request.device,
        batch_size=request.batch_size,
        api_base=config.endpoint.api_base,
        api_key_env=config.endpoint.api_key_env,
        account=account,
    )
    if recorded is not None:
        require_embedder(request.bank, recorded, embedder.spec)
    if account is not None:
        # An address or a key that is wrong costs one word now instead of a collection without vectors.
        embedder.embed([_WORD])
    return EmbeddedVectors(embedder), account


def _given_vectors(request: BuildRequest, config: Config, recorded: EmbedderSpec | None) -> VectorSource | None:
    """Return vectors that come with the answers, so that no embedder is loaded or called; None where none do."""
    release = None if request.vectors is not None or request.call is not None else _release_with_vectors(request)
    if request.vectors is None and release is None:
        return None
    spec, _ = _named_embedder(request, config, recorded)
    if release is None:
        given: VectorSource = read_given_vectors(Path(request.vectors or ""), pinned(spec))
    else:
        given = _released_vectors(release, request, config, spec)
    if recorded is not None:
        require_embedder(request.bank, recorded, given.spec)
    return given


def _released_vectors(release: Path, request: BuildRequest, config: Config, spec: EmbedderSpec) -> VectorSource:
    if not request.append and not (request.embedder.get("name") or config.embedder.get("name")):
        raise InputError(
            f"{release}: it does not say which embedder made its vectors; name it with --embedder (the paper's is "
            "Alibaba-NLP/gte-Qwen2-7B-instruct), or move the .tar files away to embed the texts anew"
        )
    return read_released_vectors(release, pinned(spec))


def _release_with_vectors(request: BuildRequest) -> Path | None:
    """Return the source that is a release with vectors, which cannot be mixed with others."""
    from jisi_cli.formats.jisi_release import has_vectors

    found = [
        path
        for path in request.sources
        if path.is_dir() and (request.format or detect(path)) == "jisi-release" and has_vectors(path)
    ]
    if found and len(request.sources) > 1:
        raise InputError(f"{found[0]} comes with vectors of its own; build it alone, then add the others with --append")
    return found[0] if found else None


def _named_embedder(request: BuildRequest, config: Config, recorded: EmbedderSpec | None) -> tuple[EmbedderSpec, Path]:
    """Return the embedder of a build, and what names it where the command line does not."""
    if recorded is not None and not any(request.embedder.values()):
        # An extended bank keeps its embedder; what the command line names must agree with it.
        return recorded, request.bank
    return embedder_spec(request.embedder, config), config.path or request.bank


def embedder_of(request: BuildRequest, config: Config, recorded: EmbedderSpec | None) -> EmbedderSpec:
    """Return the embedder of a build, which the user names or has allowed.

    Args:
        request: The command line.
        config: The configuration in force.
        recorded: The embedder of the bank that is extended; None for a new bank.

    Raises:
        InputError: A value is not of its kind.
        BankError: The user does not name it.
    """
    spec, source = _named_embedder(request, config, recorded)
    choice = EmbedderChoice(request.embedder.get("name"), request.trust_embedder)
    choice.consent(config).require(spec, source)
    return spec


def embedder_spec(flags: Mapping[str, Any], config: Config) -> EmbedderSpec:
    """Return the embedder that the flags and the configuration ask for, `minilm` by default.

    Raises:
        InputError: A value is not of its kind.
    """
    chosen = {
        "name": "minilm",
        **config.embedder,
        **{key: value for key, value in flags.items() if value is not None},
    }
    if chosen.get("truncation", "head") not in ("head", "tail"):
        raise InputError(f"the truncation of the embedder must be head or tail, not {chosen['truncation']!r}")
    if len(chosen.get("prompt") or "") > LONGEST_PROMPT:
        raise InputError(f"the prompt of the embedder is longer than {LONGEST_PROMPT:,} characters; shorten it")
    return EmbedderSpec(**chosen)
