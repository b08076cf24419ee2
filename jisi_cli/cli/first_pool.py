"""What a first pool can be made of, as a person is told of it: keys in the environment and servers on this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jisi_cli.cli.output import Output, count
from jisi_cli.errors import InputError
from jisi_cli.suggest import did_you_mean

if TYPE_CHECKING:
    from jisi_cli.models.discovery import KeyedProvider

_MOST_LOCAL = 6
"""Models of one local server in a first pool."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where models can be asked.

    Attributes:
        name: The provider's name, as in --providers.
        title: What a person is told, with the variable of the key or the address.
        models: LiteLLM's names of its models; none of a provider elsewhere until they are looked up.
        provider: The provider elsewhere; None for a server on this machine.
        api_base: Its address on this machine; None for a provider elsewhere.
        needs: What must still be done before it answers; None when nothing.
    """

    name: str
    title: str
    models: tuple[str, ...] = ()
    provider: KeyedProvider | None = None
    api_base: str | None = None
    needs: str | None = None


def named(names: list[str]) -> list[Found]:
    """Return what providers have that the user named.

    Raises:
        InputError: There is no such provider, or no such server answers.
    """
    from jisi_cli.models.discovery import KEYED, LOCAL_NAMES, NAMES

    unknown = next((name for name in names if name not in NAMES), None)
    if unknown is not None:
        raise InputError(
            f"--providers: no provider `{unknown}`{did_you_mean(unknown, NAMES)}; choose from {', '.join(NAMES)}"
        )
    servers = []
    for name in LOCAL_NAMES:
        if name in names:
            server = _local(name)
            if server is None:
                raise InputError(
                    f"--providers: no {name} with models answers on this machine; start it, or leave it out"
                )
            servers.append(server)
    return servers + [_keyed(provider) for provider in KEYED if provider.name in names]


def everything() -> list[Found]:
    """Return what can be asked as things are.

    Raises:
        InputError: Nothing can.
    """
    from jisi_cli.models.discovery import KEYED, LOCAL_NAMES, variable_with_key

    servers = [server for name in LOCAL_NAMES if (server := _local(name)) is not None]
    found = servers + [_keyed(provider) for provider in KEYED if variable_with_key(provider)]
    if not found:
        raise InputError(
            "no key is in the environment and no Ollama or llama.cpp answers on this machine; set a key such as "
            "OPENAI_API_KEY, start a server, or say whose key you will set: jisi init --providers openai (to see jisi "
            "first: jisi demo)"
        )
    return found


def begin_to_look_up(found: list[Found]) -> None:
    """Begin to import LiteLLM, whose list has the newest models; a person can be asked meanwhile."""
    from jisi_cli.models.litellm_client import begin_loading

    if any(_is_listed(one) for one in found):
        begin_loading()


def looked_up(found: list[Found], out: Output) -> list[Found]:
    """Return what was found with the models of the providers elsewhere."""
    from jisi_cli.models.discovery import first_models
    from jisi_cli.models.litellm_client import begin_loading

    if any(_is_listed(one) for one in found) and not (loading := begin_loading()).done():
        out.note("looking up their newest models in LiteLLM's list, which takes a few seconds to load")
        loading.result()
    return [one if one.provider is None else replace(one, models=first_models(one.provider)) for one in found]


def _local(name: str) -> Found | None:
    from jisi_cli.models.discovery import find_server

    server = find_server(name)
    if server is None:
        return None
    models = tuple(f"openai/{model}" for model in server.models[:_MOST_LOCAL])
    more = len(server.models) - len(models)
    needs = f"{count(more, 'more model')} left out; add what you want to the file" if more > 0 else None
    title = f"{server.title} at {server.api_base.removesuffix('/v1')}"
    return Found(name, title, models, api_base=server.api_base, needs=needs)


def _keyed(provider: KeyedProvider) -> Found:
    from jisi_cli.models.discovery import variable_with_key

    variable = variable_with_key(provider)
    needs = None if variable else f"set {provider.variables[0]} in the environment before you ask"
    if needs is None and not provider.listed:
        needs = "LiteLLM does not know its prices; write `price` beside its models: a limit on dollars needs it"
    title = f"{provider.title} ({variable})" if variable else provider.title
    return Found(provider.name, title, provider=provider, needs=needs)


def _is_listed(one: Found) -> bool:
    return one.provider is not None and one.provider.listed
