"""Which embedder a command uses: the bank's, if the user has a say in it; `--embedder` and `--trust-embedder`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from jisi_cli.cli.output import Output
from jisi_cli.config import Config
from jisi_cli.embed.consent import Consent
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import is_on_disk, is_packaged, names_a_folder
from jisi_cli.errors import BankError
from jisi_cli.trust import trusted


@dataclass(frozen=True, slots=True)
class EmbedderChoice:
    """What the command line says about the embedder of a bank.

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
            BankError: The command line or the configuration describes another embedder, or nothing but the bank
                names this one.
            InputError: It is to be allowed, and is not there or cannot be.
        """
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

    def mention(self, spec: EmbedderSpec, config: Config, out: Output) -> None:
        """Say after a build what a question to the bank will have to name, where nothing names it yet."""
        known = {configured_name(config), *trusted("embedders").values()}
        if not is_packaged(spec.name) and spec.name not in known:
            out.note(
                f"questions to this bank need the embedder {spec.name}: name it in [embedder] of your jisi.toml, give "
                "--embedder each time, or allow it once with --trust-embedder"
            )

    def consent(self, config: Config) -> Consent:
        """Return what the command line and the user's own configuration say about embedders."""
        named = (self.name, configured_name(config))
        return Consent(frozenset(name for name in named if name is not None), self.trust)


def configured_name(config: Config) -> str | None:
    """Return the embedder that the user's own configuration names; None where it names none.

    A folder of the current directory that merely has the name of a model is not what a file elsewhere means.
    """
    name = config.embedder.get("name")
    if not config.trusted or config.path is None or not isinstance(name, str):
        return None
    is_elsewhere = config.path.parent.resolve() != Path.cwd()
    is_relative = not name.startswith("~") and not Path(name).is_absolute()
    return None if is_elsewhere and is_relative and names_a_folder(name) else name
