"""From the name of an embedder to the embedder, and which embedders may be used."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jisi_cli import trust
from jisi_cli.config import unusable_name
from jisi_cli.embed.account import Account
from jisi_cli.embed.hub import hub_folder, is_hub_id, snapshot_here
from jisi_cli.embed.model_folder import folder_hash, inspect_folder, packaged_minilm, require_harmless
from jisi_cli.embed.protocol import EmbedderSpec, Encoder, name_problem
from jisi_cli.embed.unit_embedder import UnitEmbedder
from jisi_cli.errors import BankError, InputError
from jisi_cli.paths import cache_folder, expanded
from jisi_cli.paths import cache_folder as default_cache_folder

if TYPE_CHECKING:
    from jisi_cli.embed.sentence_transformer import SentenceTransformerEncoder


# From the name of an embedder to the embedder; nothing heavy is imported before a text is embedded.


class PinError(InputError):
    """An embedder is here, but not at the revision or width that was asked for."""


_KINDS = "minilm, a sentence-transformers hub id or folder, litellm:<provider>/<model>, hashing or hashing:<width>"


def load_embedder(
    spec: EmbedderSpec,
    *,
    device: str | None = None,
    batch_size: int | None = None,
    cache_folder: Path | None = None,
    concurrency: int = 4,
    api_base: str | None = None,
    api_key_env: str | None = None,
    account: Account | None = None,
) -> UnitEmbedder:
    """Return the embedder that a spec names. A model is loaded when it first embeds; only the hub is asked now.

    Args:
        spec: What decides the vectors; a revision or width it pins must be the model's.
        device: torch's name of where to compute; None leaves it open, and whether torch is needed at all.
        batch_size: Texts embedded at once, or in one request; None for a choice by length.
        cache_folder: Where content hashes of weights are remembered; None for jisi's cache folder.
        concurrency: Requests to an endpoint at one time.
        api_base: Address of an endpoint; None for LiteLLM's default.
        api_key_env: The environment variable that holds an endpoint's key; None for its provider's own.
        account: Pays for the requests to an endpoint and keeps the books; None lets them happen unbooked.

    Raises:
        InputError: There is no such embedder, it is not installed or cannot be fetched, or it has another
            revision or width than the spec pins.
    """
    _check(spec)
    kind, _, argument = spec.name.partition(":")
    encoder: Encoder
    if kind == "litellm" and argument:
        from jisi_cli.embed.litellm_endpoint import LiteLLMEncoder

        problem = unusable_name(argument)
        if problem is not None:
            raise InputError(f"the embedder {spec.name} {problem}")
        encoder = LiteLLMEncoder(
            argument,
            spec,
            api_base=api_base,
            api_key_env=api_key_env,
            account=account,
            batch_size=batch_size,
            concurrency=concurrency,
        )
    elif kind == "hashing":
        encoder = _hashing(spec, argument)
    else:
        encoder, spec = _folder_encoder(spec, device, batch_size, cache_folder or default_cache_folder())
    _check_pins(spec, encoder)
    return UnitEmbedder(spec, encoder)


def pinned(spec: EmbedderSpec) -> EmbedderSpec:
    """Return a spec with what pins its weights, and their width, if that is known without asking hub or endpoint.

    Raises:
        InputError: There can be no such embedder, or this machine has another revision of it than the spec pins.
    """
    _check(spec)
    if not is_on_disk(spec.name):
        return load_embedder(spec).spec if is_packaged(spec.name) else spec
    found = locate_here(spec)
    if found is None:
        return spec
    path, commit = found
    if not is_packaged(spec.name):
        require_harmless(path)
    model = inspect_folder(path, commit, default_cache_folder())
    if commit is None:
        _require_revision(spec, model.revision)
    return replace(spec, revision=model.revision, dimension=spec.dimension or model.dimension)


def load_module(spec: EmbedderSpec, device: str) -> SentenceTransformerEncoder:
    """Return an embedder's model as a network of torch's, which is loaded when it first reads a text.

    Args:
        spec: What decides its vectors; a revision or width it pins must be the model's.
        device: torch's name of where to compute.

    Raises:
        InputError: It is no sentence-transformers model, or there is none.
    """
    from jisi_cli.embed.sentence_transformer import SentenceTransformerEncoder

    _check(spec)
    if not is_on_disk(spec.name):
        raise InputError(f"the embedder {spec.name} is no sentence-transformers model, so it cannot be trained")
    path, commit = _harmless(spec)
    encoder = SentenceTransformerEncoder(inspect_folder(path, commit, default_cache_folder()), spec, device, None)
    _check_pins(spec if commit is None else replace(spec, revision=commit), encoder)
    return encoder


def _hashing(spec: EmbedderSpec, width: str) -> Encoder:
    from jisi_cli.embed.hashing import DEFAULT_DIMENSION, HashingEncoder

    if ":" in spec.name and not (width.isdecimal() and 0 < int(width) <= 2**20):
        raise InputError(f"the embedder {spec.name} is written hashing:<width>, for example hashing:512")
    return HashingEncoder(spec, int(width) if width else DEFAULT_DIMENSION)


def _folder_encoder(
    spec: EmbedderSpec, device: str | None, batch_size: int | None, cache: Path
) -> tuple[Encoder, EmbedderSpec]:
    """Return the encoder of a model on this disk, and the spec with a branch or tag resolved to its commit."""
    from jisi_cli.embed.local_bert import BertEncoder, recognise
    from jisi_cli.embed.sentence_transformer import SentenceTransformerEncoder

    path, commit = _harmless(spec)
    if commit is not None:
        spec = replace(spec, revision=commit)
    folder = inspect_folder(path, commit, cache)
    torch = SentenceTransformerEncoder(folder, spec, device, batch_size)
    shape = recognise(path) if device is None else None
    return (torch if shape is None else BertEncoder(folder, shape, spec, torch)), spec


def is_on_disk(name: str) -> bool:
    """Whether an embedder is a model that is read from files: no endpoint, and not the hashing embedder."""
    kind, _, argument = name.partition(":")
    return kind != "hashing" and not (kind == "litellm" and argument)


def is_packaged(name: str) -> bool:
    """Whether an embedder comes with jisi or its packages, so that its name leads nowhere."""
    return name == "minilm" or name.partition(":")[0] == "hashing"


def names_a_folder(name: str) -> bool:
    """Whether there is a folder of that name, here or where its path leads."""
    try:
        return bool(name) and expanded(name, "the embedder").is_dir()
    except OSError:  # too long for any file
        return False


def locate(spec: EmbedderSpec) -> tuple[Path, str | None]:
    """Return the folder of a model, and the hub commit it was fetched at; the hub is asked where need be.

    Args:
        spec: Which model; `is_on_disk` holds for its name.

    Raises:
        InputError: There is no such model, or it cannot be fetched.
    """
    place = _place(spec.name)
    return hub_folder(place, spec.revision) if isinstance(place, str) else (place, None)


def locate_here(spec: EmbedderSpec) -> tuple[Path, str | None] | None:
    """Return what `locate` does if this disk has it; None if not. No host is asked.

    Raises:
        InputError: There can be no such model.
    """
    place = _place(spec.name)
    if not isinstance(place, str):
        return place, None
    folder = snapshot_here(place, spec.revision)
    return None if folder is None else (folder, folder.name)


def _place(name: str) -> Path | str:
    """Return the folder that a name stands for, or the hub's name of the model."""
    if name == "minilm":
        return packaged_minilm()
    path = expanded(name, "the embedder")
    if names_a_folder(name):
        return path
    # A bare name is one of the organisation's own models, as in sentence-transformers itself.
    on_hub = name if "/" in name else f"sentence-transformers/{name}"
    if name == "litellm" or path.is_absolute() or name.startswith((".", "~")) or not is_hub_id(on_hub):
        raise InputError(f"no embedder `{name}`: there is no such folder; embedders are {_KINDS}")
    return on_hub


def _harmless(spec: EmbedderSpec) -> tuple[Path, str | None]:
    """Locate a model whose files lead to no code of its own; the packaged one is taken as installed."""
    path, commit = locate(spec)
    if not is_packaged(spec.name):
        require_harmless(path)
    return path, commit


def _check(spec: EmbedderSpec) -> None:
    problem = name_problem(spec.name)
    if problem is not None:
        raise InputError(f"the embedder {spec.name[:80]!r} cannot be used: {problem}")
    if spec.max_tokens is not None and spec.max_tokens < 1:
        raise InputError(f"the embedder cannot read {spec.max_tokens} tokens of a text; max_tokens begins at 1")


def _check_pins(spec: EmbedderSpec, encoder: Encoder) -> None:
    _require_revision(spec, encoder.revision)
    if spec.dimension is not None and encoder.dimension not in (None, spec.dimension):
        raise PinError(f"the embedder {spec.name} has width {encoder.dimension}, not {spec.dimension}")


def _require_revision(spec: EmbedderSpec, revision: str | None) -> None:
    if spec.revision is not None and spec.revision != revision:
        here = revision or "none, because an endpoint cannot be pinned"
        raise PinError(f"the embedder {spec.name} is wanted at revision {spec.revision}, but here it is {here}")


# Which embedders may be used: packaged ones, those that the user names, and those that the user has allowed before.
#
# A bank says which embedder made its vectors, and a bank may come from anybody. To load a model runs a library on files
# that somebody else wrote, and to call an endpoint sends it the question and a key, so a bank's word is not enough.


@dataclass(frozen=True, slots=True)
class Consent:
    """What the user says about embedders.

    Attributes:
        named: Names that the command line or the user's own configuration gives.
        remember: Whether the embedder in question is allowed from now on (`--trust-embedder`).
    """

    named: frozenset[str] = frozenset()
    remember: bool = False

    def require(self, spec: EmbedderSpec, source: Path) -> None:
        """Refuse an embedder that the user does not name.

        Args:
            spec: The embedder.
            source: What names it: a bank, or a configuration that is not the user's own.

        Raises:
            BankError: The user neither names it nor has allowed it as it is now.
            InputError: It is to be remembered, and is not there, or leads to code of its own.
        """
        if is_packaged(spec.name):
            return
        if self.remember:
            trust.trust("embedders", identity(spec), spec.name)
        elif spec.name not in self.named:
            _require_allowed(spec, source)


def identity(spec: EmbedderSpec) -> str:
    """Return what an embedder is allowed by: an endpoint's name, or a model's name and the hash of all its files.

    Raises:
        InputError: There is no such model, it cannot be fetched, or it leads to code of its own.
    """
    if not is_on_disk(spec.name):
        return _hash("endpoint", spec.name)
    path, commit = locate(spec)
    require_harmless(path)
    return _model_identity(spec.name, path, commit)


def _require_allowed(spec: EmbedderSpec, source: Path) -> None:
    # Only what was allowed once is looked for on the disk: a bank may name any place on it.
    known = spec.name in trust.trusted("embedders").values()
    if known and _is_allowed(spec):
        return
    what = "is not what it was when you allowed it" if known else "you do not name"
    use = "loaded" if is_on_disk(spec.name) else "called"
    raise BankError(
        f"{source} names the embedder `{spec.name}`, which {what}, so it is not {use}; if you trust it, give "
        f"--embedder {shlex.quote(spec.name)}, name it in [embedder] of your jisi.toml, or allow it from now on with "
        "--trust-embedder"
    )


def _is_allowed(spec: EmbedderSpec) -> bool:
    if not is_on_disk(spec.name):
        return trust.is_trusted("embedders", _hash("endpoint", spec.name))
    found = locate_here(spec)
    return found is not None and trust.is_trusted("embedders", _model_identity(spec.name, *found))


def _model_identity(name: str, path: Path, commit: str | None) -> str:
    return _hash("model", name, commit or "", folder_hash(path, cache_folder()))


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
