"""The methods by name. A class with the decorator `register_method`, in a file of its own, is all that a method needs.

The methods of this package are found by looking through its folders, those of other packages through the entry-point
group `jisi.methods`, and a program registers its own by using the decorator.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from jisi_cli.errors import InputError, did_you_mean
from jisi_cli.hyperparameters import CASCADE_OPTIONS, Hyperparameters, option_name, with_later
from jisi_cli.plugins import installed, load
from jisi_cli.types import LARGEST_SEED

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from jisi_cli.methods.context import MethodContext
    from jisi_cli.methods.protocol import Method

    Settings = TypeVar("Settings", bound=DataclassInstance)

Needs = Literal["recorded", "live", "recorded; live to aggregate", "labels"]
"""What an evaluation must have: recorded answers, live calls, or (for a bound) the test labels."""

_ROOMS = ("jisi_cli.methods", "jisi_cli.methods.routers", "jisi_cli.methods.ensembles")
_FILE_NAME = re.compile(r"[a-z][a-z0-9_]*")

C = TypeVar("C", bound=type)


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """What a method is; one line of `--list-methods`.

    Attributes:
        name: Its name.
        summary: What it does, in one sentence.
        needs: What an evaluation must have.
        source: Where it comes from.
        made_by: The class.
        settings: The defaults of its settings: a frozen dataclass whose fields may follow the name, as in
            `moa:layers=2`; a function from the name to the settings; `Hyperparameters`, for a method that takes those
            of the bank, the configuration and the command line; or None.
        fixed: Hyperparameters that the name fixes, whatever else is configured.
        argument: What follows the name and a colon if it is not a setting, as in `model:NAME`.
        training_seconds: About how much processor time training takes on 2,000 questions and 10 models, with vectors
            of 384 numbers; None where nothing is trained.
        departures: How it differs from what its authors published; empty where it does not, or is ours.
        trade_off: The setting that trades quality for dollars, in [0, 1]; empty where there is none.
        options: Settings of its own that may be given as options or in the pool file, too, as `tau` by `--tau`.
        delegates: Whether it leaves some questions to the paper's stages, whose hyperparameters it then uses.
        compares_answers: Whether it compares final answers whatever its settings, so that results depend on how those
            are read.
    """

    name: str
    summary: str
    needs: Needs
    source: str
    made_by: type
    settings: object = None
    fixed: Mapping[str, object] = field(default_factory=dict)
    argument: str = ""
    training_seconds: float | None = None
    departures: str = ""
    trade_off: str = ""
    options: tuple[str, ...] = ()
    delegates: bool = False
    compares_answers: bool = False

    @property
    def usage(self) -> str:
        """The name as it is written, with its argument."""
        return f"{self.name}:{self.argument}" if self.argument else self.name

    @property
    def trains(self) -> bool:
        """Whether it learns something that is kept."""
        return self.training_seconds is not None

    @property
    def takes_hyperparameters(self) -> bool:
        """Whether the hyperparameters of JiSi decide what it does."""
        return isinstance(self.settings, Hyperparameters)

    def takes(self, hyperparameter: str) -> bool:
        """Return whether it uses one hyperparameter: it takes them, and its name does not fix this one."""
        return self.takes_hyperparameters and hyperparameter not in self.fixed

    def check_options(self, given: Mapping[str, object]) -> None:
        """Refuse hyperparameters, given for this method alone, that it would ignore.

        Args:
            given: Values by hyperparameter.

        Raises:
            InputError: The method takes no hyperparameters, or its name fixes another value.
        """
        for name, value in given.items():
            option = option_name(name)
            if name in self.options:
                continue
            if name in CASCADE_OPTIONS:
                raise InputError(f"{option} is a setting of jisi-cascade; leave it out with --method {self.name}")
            if not self.takes_hyperparameters and not self.delegates:
                raise InputError(f"{option} is JiSi's; leave it out with --method {self.name}")
            if name in self.fixed and self.fixed[name] != value:
                fixed = self.fixed[name] or "none"
                raise InputError(f"`{self.name}` fixes {option} to {fixed}; leave the option out, or take `jisi`")

    def read_settings(self, name: str, context: MethodContext) -> object:
        """Return the settings that the method runs with under a name.

        Raises:
            InputError: The name has a setting that the method lacks, or a value that it cannot have.
        """
        if self.argument:
            return name.partition(":")[2]
        if isinstance(self.settings, Hyperparameters):
            return replace(context.hyperparameters, **self.fixed)  # type: ignore[arg-type]
        if callable(self.settings):
            return self.settings(name)
        if is_dataclass(self.settings) and not isinstance(self.settings, type):
            given = {option: context.options[option] for option in self.options if option in context.options}
            return replace(self.settings, **with_later(given, stated_behind(name, self.settings)))
        return None


def register_method(
    name: str,
    summary: str,
    needs: Needs,
    source: str,
    *,
    settings: object = None,
    fixed: Mapping[str, object] | None = None,
    argument: str = "",
    training_seconds: float | None = None,
    departures: str = "",
    trade_off: str = "",
    options: tuple[str, ...] = (),
    delegates: bool = False,
    compares_answers: bool = False,
) -> Callable[[C], C]:
    """Register a class as a method; see `MethodInfo` for the arguments.

    The class needs a class method `from_context(context, settings)`, and its instances `plan`, `answer` and `settings`
    (see `Method`); `jisi_cli.methods.router.Router` brings all of them but the ranking. Several names on one class are
    several decorators.

    Raises:
        InputError: There is another method of this name.
    """

    def register(made_by: C) -> C:
        _add(
            MethodInfo(
                name=name,
                summary=summary,
                needs=needs,
                source=source,
                made_by=made_by,
                settings=settings,
                fixed=fixed or {},
                argument=argument,
                training_seconds=training_seconds,
                departures=departures,
                trade_off=trade_off,
                options=options,
                delegates=delegates,
                compares_answers=compares_answers,
            )
        )
        return made_by

    return register


def _add(info: MethodInfo) -> None:
    if not _is_ours(info):
        # The methods of this package come first, so that a clash is laid to the newcomer.
        _import_all()
    other = _METHODS.get(info.name)
    if other is not None and _path(other) != _path(info):
        raise InputError(f"two methods are called `{info.name}`: {_path(other)} and {_path(info)}; rename one")
    _METHODS[info.name] = info


def make_method(name: str, context: MethodContext) -> Method[Any]:
    """Make a method from train data.

    Args:
        name: Its name, with settings or an argument after a colon.
        context: What it may be made from.

    Raises:
        InputError: There is no such method, or it needs something that the context lacks.
    """
    info = method_info(name)
    made: Method[Any] = info.made_by.from_context(context, info.read_settings(name, context))  # type: ignore[attr-defined]
    return made


def method_info(name: str) -> MethodInfo:
    """Return what a method is. Few modules are imported for a method whose file is called as the method is.

    Args:
        name: Its name; what follows a colon may be there, too.

    Raises:
        InputError: There is no such method.
    """
    base, colon, behind = name.partition(":")
    info = _METHODS.get(base) or _find(base)
    if info is None:
        methods = all_methods()
        known = ", ".join(info.usage for info in methods.values())
        broken = "".join(f"; {words}" for words in broken_plugins())
        raise InputError(
            f"no method is called `{name}`{did_you_mean(base, methods)}; --list-methods names them: {known}{broken}"
        )
    if info.argument and not behind:
        raise InputError(f"no method is called `{name}`; write {info.usage}")
    if colon and not info.argument and (info.settings is None or info.takes_hyperparameters):
        raise InputError(f"no method is called `{name}`: `{base}` takes no settings after its name")
    return info


def known_method(name: str) -> MethodInfo | None:
    """Return what a method of this package, or one that was used already, is; None for any other name.

    Meant for names in files: nothing of another package is imported because a file names it.
    """
    base = name.partition(":")[0]
    for look in (lambda _: None, _import_own_file, lambda _: _import_all()):
        look(base)
        if base in _METHODS:
            return _METHODS[base]
    return None


def all_methods() -> dict[str, MethodInfo]:
    """Return every method by name: JiSi, this package's others by file, those of other packages, at last the bounds.

    A method of another package that cannot be loaded is left out; see `broken_plugins`.
    """
    _import_all()
    _load_plugins()
    order = {module: number for number, module in enumerate((f"{_ROOMS[0]}.jisi", *_modules()), start=1)}
    order[f"{_ROOMS[0]}.jisi"] = 0
    infos = sorted(_METHODS.values(), key=lambda info: order.get(info.made_by.__module__, len(order)))
    infos.sort(key=lambda info: (bool(info.argument), info.needs == "labels"))
    return {info.name: info for info in infos}


def broken_plugins() -> list[str]:
    """Return, for each method of another package that cannot be loaded, a sentence that says which one and why."""
    _load_plugins()
    return [words for words in _LOADED.values() if words]


def parse_settings(name: str, defaults: Settings) -> Settings:
    """Return a method's settings with those replaced that its name mentions, as in `moa:layers=2:proposers=4`.

    Args:
        name: A method's name, with `:setting=value` once or several times after it.
        defaults: A frozen dataclass of whole numbers, numbers and words.

    Raises:
        InputError: The method has no such setting, or the value is of another kind.
    """
    return replace(defaults, **stated_behind(name, defaults))


def stated_behind(name: str, defaults: DataclassInstance) -> dict[str, Any]:
    """Return the settings that a method's name mentions; see `parse_settings`."""
    known = {field.name: getattr(defaults, field.name) for field in fields(defaults)}
    changes = {}
    for part in name.split(":")[1:]:
        setting, equals, value = part.partition("=")
        if not equals or setting not in known:
            shown = ", ".join(f"{setting}={value}" for setting, value in known.items())
            near = did_you_mean(setting, known)
            raise InputError(f"`{name}`: no setting `{part}`{near}; settings are {shown}")
        changes[setting] = _read(name, setting, value, type(known[setting]))
    return changes


_MOST_SETTING = 1_000_000
"""The largest setting of a method: beyond it lie arrays that no memory holds."""


def _read(name: str, setting: str, value: str, kind: Any) -> object:  # noqa: ANN401 - one of int, float, str
    try:
        found = kind(value)
    except ValueError:
        found = None
    if kind is int and (found is None or found < 1):
        raise InputError(f"`{name}`: {setting} is a whole number from 1, not {value!r}")
    if kind is float and (found is None or not 0 <= found < math.inf):
        raise InputError(f"`{name}`: {setting} is a number from 0, not {value!r}")
    most = LARGEST_SEED if setting == "seed" else _MOST_SETTING
    if kind in (int, float) and found is not None and found > most:
        raise InputError(f"`{name}`: {setting} is at most {most:,}, not {value}")
    return found


# What is registered, and how it is found.

_METHODS: dict[str, MethodInfo] = {}
_LOADED: dict[str, str] = {}
"""Names of entry points that were loaded; what went wrong, or nothing."""


def _is_ours(info: MethodInfo) -> bool:
    return info.made_by.__module__.startswith(f"{_ROOMS[0]}.")


def _path(info: MethodInfo) -> str:
    # A cell of a notebook that is run again defines the same class again.
    return f"{info.made_by.__module__}.{info.made_by.__qualname__}"


def _find(name: str) -> MethodInfo | None:
    """Import as little as possible: the file of the method's name, an entry point of this name, everything."""
    for look in (_import_own_file, _load_plugin, lambda name: all_methods()):
        look(name)
        if name in _METHODS:
            return _METHODS[name]
    return None


def _import_own_file(name: str) -> None:
    """Import the file that is called as a method is, or as the first of its words: `jisi-router` is in `jisi`."""
    words = name.split("-")
    for end in range(len(words), 0, -1):
        stem = "_".join(words[:end])
        for room in _ROOMS if _FILE_NAME.fullmatch(stem) else ():
            if find_spec(f"{room}.{stem}") is not None:
                importlib.import_module(f"{room}.{stem}")
                return


def _import_all() -> None:
    for module in _modules():
        importlib.import_module(module)


def _modules() -> list[str]:
    found = []
    for room in _ROOMS:
        folder = importlib.import_module(room).__path__
        found += [f"{room}.{module.name}" for module in pkgutil.iter_modules(folder) if not module.ispkg]
    return found


def _load_plugins() -> None:
    try:
        names = installed("methods")
    except InputError as error:
        names, _LOADED[""] = (), str(error)
    for name in names:
        _load_plugin(name)


def _load_plugin(name: str) -> None:
    """Load what a package adds under a name; what goes wrong is kept, since other methods do not need it."""
    if name not in _LOADED:
        _LOADED[name] = ""
        try:
            load("methods", name)
        except InputError as error:
            _LOADED[name] = str(error)
