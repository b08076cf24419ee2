"""From the name of an embedder to the embedder.

An embedder is a model on this disk (`minilm`, a hub id, a folder), or of a kind that is written `kind` or
`kind:argument`: a module of `kinds/` that is named after it and has `open_encoder`, or what the entry point
`jisi.embedders` of an installed package names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Unpack, cast

from jisi_cli import plugins
from jisi_cli.embed import kinds
from jisi_cli.embed.hub import hub_folder, is_hub_id, snapshot_here
from jisi_cli.embed.model_folder import inspect_folder, packaged_minilm, require_harmless
from jisi_cli.embed.protocol import EmbedderSpec, Encoder, EncoderOptions, name_problem
from jisi_cli.embed.unit_embedder import UnitEmbedder
from jisi_cli.errors import InputError, did_you_mean
from jisi_cli.paths import cache_folder as default_cache_folder
from jisi_cli.paths import expanded

if TYPE_CHECKING:
    from jisi_cli.embed.sentence_transformer import SentenceTransformerEncoder


Open = Callable[[EmbedderSpec, str, EncoderOptions], Encoder]
"""Makes the encoder of a kind: given the spec, what stands behind the colon of its name, and the options."""

_KIND = re.compile(r"[a-z0-9][a-z0-9_-]*")
_KINDS = frozenset(found.name for found in iter_modules(kinds.__path__))
_BUILT_IN = {"minilm", *_KINDS}
"""Names that no package may add."""


class PinError(InputError):
    """An embedder is here, but not at the revision or width that was asked for."""


_NAMES = "minilm, a sentence-transformers hub id or folder, litellm:<provider>/<model>, hashing or hashing:<width>"


def load_embedder(
    spec: EmbedderSpec, *, cache_folder: Path | None = None, **options: Unpack[EncoderOptions]
) -> UnitEmbedder:
    """Return the embedder that a spec names. A model is loaded when it first embeds; only the hub is asked now.

    Args:
        spec: What decides the vectors; a revision or width it pins must be the model's.
        cache_folder: Where content hashes of weights are remembered; None for jisi's cache folder.
        options: How it computes; see `EncoderOptions`.

    Raises:
        InputError: There is no such embedder, it is not installed or cannot be fetched, or it has another
            revision or width than the spec pins.
    """
    _check(spec)
    opened = _kind(spec.name)
    if opened is not None:
        encoder = opened(spec, spec.name.partition(":")[2], options)
    else:
        encoder, spec = _folder_encoder(spec, options, cache_folder or default_cache_folder())
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


def _kind(name: str) -> Open | None:
    """Return what opens an embedder of a kind; None for a model on this disk.

    Raises:
        InputError: The package that adds the kind is broken.
    """
    if is_on_disk(name):
        return None
    kind = name.partition(":")[0]
    if kind in _KINDS:
        return cast(Open, import_module(f"{kinds.__name__}.{kind}").open_encoder)
    found = plugins.load("embedders", kind, _BUILT_IN)
    if not callable(found):
        raise InputError(f"the embedder `{kind}` of an installed package is no class and no function")
    return cast(Open, found)


def _folder_encoder(spec: EmbedderSpec, options: EncoderOptions, cache: Path) -> tuple[Encoder, EmbedderSpec]:
    """Return the encoder of a model on this disk, and the spec with a branch or tag resolved to its commit."""
    from jisi_cli.embed.local_bert import BertEncoder, recognise
    from jisi_cli.embed.sentence_transformer import SentenceTransformerEncoder

    path, commit = _harmless(spec)
    if commit is not None:
        spec = replace(spec, revision=commit)
    folder, device = inspect_folder(path, commit, cache), options.get("device")
    torch = SentenceTransformerEncoder(folder, spec, device, options.get("batch_size"))
    shape = recognise(path) if device is None else None
    return (torch if shape is None else BertEncoder(folder, shape, spec, torch)), spec


def is_on_disk(name: str) -> bool:
    """Whether an embedder is a model that is read from files, and of no other kind; nothing is imported."""
    return name.partition(":")[0] not in _KINDS and not is_added(name)


def is_added(name: str) -> bool:
    """Whether an installed package adds the kind of an embedder; nothing is imported.

    Raises:
        InputError: Two packages add one kind, or a package adds one of jisi's own.
    """
    kind = name.partition(":")[0]
    return kind not in _BUILT_IN and bool(_KIND.fullmatch(kind)) and kind in plugins.installed("embedders", _BUILT_IN)


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
    if not isinstance(place, str):
        return place, None
    try:
        return hub_folder(place, spec.revision)
    except InputError as error:
        raise InputError(f"{error}{_meant(spec.name)}") from error


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
    if path.is_absolute() or name.startswith((".", "~")) or not is_hub_id(on_hub):
        raise InputError(f"no embedder `{name}`{_meant(name)}: there is no such folder; embedders are {_NAMES}")
    return on_hub


def _meant(name: str) -> str:
    return did_you_mean(name.partition(":")[0], _BUILT_IN)


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
