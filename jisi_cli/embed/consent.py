"""Which embedders may be used: packaged ones, those that the user names, and those that the user has allowed before.

A bank says which embedder made its vectors, and a bank may come from anyone. Loading a model runs a library on files
that someone else wrote, calling an endpoint sends it the question and a key, and an embedder of an installed package
is that package's code, so a bank's word is not enough.
"""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path

from jisi_cli import trust
from jisi_cli.embed.model_folder import folder_hash, require_harmless
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import is_added, is_on_disk, is_packaged, locate, locate_here
from jisi_cli.errors import BankError
from jisi_cli.paths import cache_folder


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
    """Return what an embedder is allowed by: its name, and for a model on this disk the hash of all its files.

    Raises:
        InputError: There is no such model, it cannot be fetched, or it leads to code of its own.
    """
    if not is_on_disk(spec.name):
        return _name_identity(spec.name)
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
        return trust.is_trusted("embedders", _name_identity(spec.name))
    found = locate_here(spec)
    return found is not None and trust.is_trusted("embedders", _model_identity(spec.name, *found))


def _name_identity(name: str) -> str:
    return _hash("package" if is_added(name) else "endpoint", name)


def _model_identity(name: str, path: Path, commit: str | None) -> str:
    return _hash("model", name, commit or "", folder_hash(path, cache_folder()))


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
