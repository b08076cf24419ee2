"""The user of a run: what they are told and asked, and what they allow by naming it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from jisi_cli.addresses import is_address, read_address
from jisi_cli.config import Config, bank_in_force, config_in_force
from jisi_cli.errors import BankError, InputError
from jisi_cli.trust import beyond_the_provider, trusted

if TYPE_CHECKING:
    from jisi_cli.config import ModelEntry
    from jisi_cli.embed.consent import Consent
    from jisi_cli.embed.protocol import EmbedderSpec
    from jisi_cli.formats.issues import ImportIssue

OnProgress = Callable[[int, int], None]
"""Called with (done, in all)."""
ShowProgress = Callable[[str], AbstractContextManager[OnProgress | None]]
"""Shows how far something named is, as long as the context is open."""


class User(Protocol):
    """Told and asked in the course of a run. The command line passes its output; a program may pass its own.

    Attributes:
        verbose: Whether every unusable line of a file is told, rather than the first few.
    """

    verbose: bool

    def note(self, text: str) -> None:
        """Tell something worth knowing."""
        ...

    def detail(self, text: str) -> None:
        """Tell something that only the curious want to know."""
        ...

    def warn(self, text: str) -> None:
        """Tell about something that went wrong and did not stop the run."""
        ...

    def confirmed(self, question: str) -> bool | None:
        """Ask a person; None where no person can answer."""
        ...

    def training(self, name: str) -> AbstractContextManager[OnProgress | None]:
        """Show how far the training of a method is, as long as the context is open."""
        ...


class Log:
    """The user of a program that passes none: Python's logging, under the name `jisi_cli`; it prints nothing itself."""

    verbose = False

    def __init__(self) -> None:
        import logging

        self._logger = logging.getLogger("jisi_cli")
        if not self._logger.handlers:
            self._logger.addHandler(logging.NullHandler())

    def note(self, text: str) -> None:
        """Log something worth knowing."""
        self._logger.info(text)

    def detail(self, text: str) -> None:
        """Log a detail."""
        self._logger.debug(text)

    def warn(self, text: str) -> None:
        """Log a warning."""
        self._logger.warning(text)

    def confirmed(self, question: str) -> bool | None:
        """Return None: there is no one to ask."""
        return None

    def training(self, name: str) -> AbstractContextManager[OnProgress | None]:
        """Show nothing."""
        return nullcontext()


def read_config(path: Path | None, user: User) -> Config:
    """Return the configuration in force, and warn of one that is merely here and that the user has not allowed.

    What was allowed is a content: a file that has changed since is warned of again.

    Raises:
        InputError: A file was named and is not there, or the file cannot be used.
    """
    config = config_in_force(path)
    if config.found_here:
        words = f"the pool file in force is {_where(config)}"
        if config.trusted:
            user.detail(words)
        else:
            user.warn(f"{words}, which may be someone else's; read it, then `{_trust_command(config)}` allows it")
    return config


def _where(config: Config) -> str:
    """Say which file was found: of one in the current folder the folder, too."""
    path = config.path
    return str(path) if path is None or path.is_absolute() else f"{path} in {Path.cwd()}"


def _trust_command(config: Config) -> str:
    path = config.path
    return "jisi trust" if path is None or not path.is_absolute() else f"jisi trust {shlex.quote(str(path))}"


# Lines that an importer could not use: counted and named by number, the first few with the reason.

_SHOWN = 10


class ImportIssues:
    """Counts what an importer could not use, shows the first few, names the rest, or stops at the first.

    Args:
        user: Told of them; of all when it is verbose.
        strict: Stop at the first line that is skipped.
    """

    def __init__(self, user: User, *, strict: bool) -> None:
        self._user, self._strict = user, strict
        self._shown = 0
        self._further: dict[str, set[int]] = {}
        self.skipped = 0

    def __call__(self, issue: ImportIssue) -> None:
        """Take note of one issue."""
        if issue.note:
            self._user.note(f"note: {issue}")
            return
        if self._strict:
            raise InputError(f"{issue} (--strict)")
        if issue.doubt:
            self._user.warn(str(issue))
            return
        self.skipped += 1
        if self._shown < _SHOWN or self._user.verbose or issue.line is None:
            self._shown += 1
            self._user.warn(str(issue))
        else:
            self._further.setdefault(issue.source, set()).add(issue.line)

    def summarise(self) -> None:
        """Say how many lines were skipped in all, and which of them were not shown."""
        if self.skipped <= _SHOWN:
            return
        self._user.warn(f"{self.skipped:,} lines were skipped; {self._shown:,} of them are shown above")
        for source, lines in self._further.items():
            self._user.warn(f"{source}: skipped lines, -v says why: {', '.join(_ranges(sorted(lines)))}")


def _ranges(numbers: Iterable[int]) -> Iterator[str]:
    """Yield ascending numbers as `4` and `7-9`."""
    # Within a run of neighbours, number minus index stays the same.
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        found = [number for _, number in run]
        yield str(found[0]) if len(found) == 1 else f"{found[0]}-{found[-1]}"


# A pool file that is merely in the current folder or above it, before it names an address or a key.

_LOCAL = "local:"
_allowed: set[tuple[str, str]] = set()
"""What the user has allowed some files to do, for this process alone: a file's identity, and that in words."""


def require_consent(config: Config, entries: Sequence[ModelEntry], user: User) -> None:
    """Ask whether a pool file that the user never named may lead where it says; refuse where no one can be asked.

    Args:
        config: The configuration in force.
        entries: Its models that are about to be called.
        user: Asked.

    Raises:
        InputError: It may not.
    """
    _require_consent(config, list(dict.fromkeys(what for entry in entries for what in what_it_names(entry))), user)


def _require_consent(config: Config, wants: Sequence[str], user: User) -> None:
    """Ask whether a pool file that the user never named may do some things; refuse where no one can be asked.

    What was allowed in this process is not asked again, and what the question did not name is not allowed with it.
    """
    wants = [what for what in wants if (config.identity, what) not in _allowed]
    if not wants or config.trusted:
        return
    words, command = f"{_where(config)}, which you have not allowed, {_listed(wants)}", _trust_command(config)
    answer = user.confirmed(f"{words}. Go on this once? (`{command}` allows it for good)")
    if answer is None:
        raise InputError(f"{words}; read it, then run `{command}`, or name it: --config {config.path}")
    if not answer:
        raise InputError(f"{config.path} was not allowed; nothing was sent")
    _allowed.update((config.identity, what) for what in wants)


def bank_folder(named: Path | None, config: Config, user: User) -> Path:
    """Return the folder of the bank in force; of one in an object store its local copy, with no parts yet.

    A pool file that the user never named leads to no store without being allowed: the store would be asked in the
    user's name.

    Raises:
        InputError: No bank was named, or the pool file may not lead there.
        BankError: The store cannot be reached.
    """
    from jisi_cli.bank.bank import local_folder

    found = bank_in_force(named, config)
    if found is config.bank and is_address(found):
        _require_consent(config, [f"reads the bank {read_address(found)}"], user)
    return local_folder(found, user.note)


def what_it_names(entry: ModelEntry) -> Iterator[str]:
    """Yield, in words, what of a pool entry leads beyond its provider or takes a key there."""
    if entry.api_base is not None:
        yield f"sends questions to {_shown(entry.api_base)}"
    if entry.api_key_env is not None:
        yield f"sends the key {entry.api_key_env}"
    if entry.litellm.startswith(_LOCAL) and entry.litellm.removeprefix(_LOCAL) not in _packaged():
        yield f"loads the weights {entry.litellm.removeprefix(_LOCAL)}"
    if entry.batch_store is not None:
        yield f"writes the questions of --batch to {entry.batch_store}"
    if entry.batch_role is not None:
        yield f"has {entry.batch_role} read and write there"
    if "arn:" in entry.litellm:
        yield f"calls {entry.litellm}"
    for name in beyond_the_provider(entry.params):
        yield f"sets {name}"


def _packaged() -> Iterable[str]:
    from jisi_cli.models.local import NAMES

    return NAMES


def _shown(address: str) -> str:
    """Return an address without what may be secret in it."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address"
    return f"{parts.scheme}://{parts.hostname}{port}"


def _listed(wants: Sequence[str]) -> str:
    shown = [*wants[:3], *([f"and {len(wants) - 3} more"] if len(wants) > 3 else [])]
    return ", ".join(shown)


# An embedder that only a bank names.


@dataclass(frozen=True, slots=True)
class EmbedderChoice:
    """What the user says about the embedder of a bank.

    Attributes:
        name: `--embedder`; None leaves it to the configuration and to what was allowed before.
        trust: `--trust-embedder`: allow the bank's embedder from now on.
    """

    name: str | None = None
    trust: bool = False

    def allowed(self, bank: Path, recorded: EmbedderSpec, config: Config) -> EmbedderSpec:
        """Return the embedder of a bank, to be loaded or called.

        The user may give it another name where the bank pins its weights, as for a copy in another folder.

        Args:
            bank: The bank's folder.
            recorded: The embedder that it names.
            config: The configuration in force.

        Raises:
            BankError: The user or the configuration describes another embedder, or only the bank names this one.
            InputError: It is to be allowed, and is not there or cannot be.
        """
        from jisi_cli.embed.registry import is_on_disk

        for key, wanted in config.embedder.items():
            if wanted != getattr(recorded, key) and not (key == "name" and self.name is not None):
                raise BankError(
                    f"{bank} was embedded by {recorded.describe()}, but {config.path} says "
                    f"{key} = {wanted!r} in [embedder]; describe the bank's embedder there, or build another bank"
                )
        spec = recorded if self.name is None else replace(recorded, name=self.name)
        if spec != recorded and (recorded.revision is None or not is_on_disk(spec.name)):
            raise BankError(
                f"{bank} was embedded by {recorded.describe()}, not by {self.name}; name its embedder, or build "
                "another bank"
            )
        self.consent(config).require(spec, bank)
        return spec

    def mention(self, spec: EmbedderSpec, config: Config, user: User) -> None:
        """Say after a build what a question to the bank will have to name, where nothing names it yet."""
        from jisi_cli.embed.registry import is_packaged

        known = {configured_name(config), *trusted("embedders").values()}
        if not is_packaged(spec.name) and spec.name not in known:
            user.note(
                f"questions to this bank need the embedder {spec.name}: name it in [embedder] of your jisi.toml, give "
                "--embedder each time, or allow it once with --trust-embedder"
            )

    def consent(self, config: Config) -> Consent:
        """Return what the user and their own configuration say about embedders."""
        from jisi_cli.embed.consent import Consent

        named = (self.name, configured_name(config))
        return Consent(frozenset(name for name in named if name is not None), self.trust)


def configured_name(config: Config) -> str | None:
    """Return the embedder that the user's own configuration names; None where it names none.

    A folder of the current directory that merely has the name of a model is not what a file elsewhere means.
    """
    from jisi_cli.embed.registry import names_a_folder

    name = config.embedder.get("name")
    if not config.trusted or config.path is None or not isinstance(name, str):
        return None
    is_elsewhere = config.path.parent.resolve() != Path.cwd()
    is_relative = not name.startswith("~") and not Path(name).is_absolute()
    return None if is_elsewhere and is_relative and names_a_folder(name) else name
