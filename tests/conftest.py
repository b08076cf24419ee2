"""Every test runs without a network, without keys, and with folders of its own."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.loopback import Loopback

# Read once, when LiteLLM and the hub's client are imported: no price map and no weights from the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["HF_HUB_OFFLINE"] = "1"

# What a user's or a build machine's environment says of proxies, colours and terminals is not what is tested.
for _name in list(os.environ):
    if _name.lower().endswith("_proxy") or _name in (
        *("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
        *("COLUMNS", "LINES", "TERMINAL_WIDTH", "PYTHONWARNINGS", "PYTHONIOENCODING"),
    ):
        del os.environ[_name]

# Started by a shell in the background, tests would hand down that Ctrl-C is to be ignored, which many try.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no reason to fail. The cases are the same each day: new ones are for the long runs to look for.
_slow = [HealthCheck.too_slow]
settings.register_profile("jisi", deadline=None, derandomize=True, suppress_health_check=_slow)
settings.load_profile("jisi")

_LOOPBACK = ("127.0.0.1", "localhost", "::1", "", None)


def _refuse_network(event: str, arguments: tuple[object, ...]) -> None:
    """Let no socket reach beyond loopback: any other host is unknown, as on a machine without a network."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if host not in _LOOPBACK:
        raise socket.gaierror(socket.EAI_NONAME, f"tests have no network, so {host} is unknown")


sys.addaudithook(_refuse_network)


@pytest.fixture(autouse=True)
def own_folders_and_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Move jisi's folders to `tmp_path` and take keys and settings out of the environment."""
    for name in list(os.environ):
        if name.startswith("JISI_") or name.endswith(("_API_KEY", "_API_TOKEN", "_API_BASE", "_BASE_URL")):
            monkeypatch.delenv(name)
    for kind in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"JISI_{kind}_HOME", str(tmp_path / f"jisi_{kind.lower()}"))


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """Give a scriptable OpenAI-compatible server; `loopback.script("name", text=…)` adds a model."""
    with Loopback() as server:
        yield server


@pytest.fixture
def install_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a package of one module: `install_package("name", source, graders={"loud": "name:Loud"})`."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    names: list[str] = []

    def install(name: str, source: str, **groups: dict[str, str]) -> None:
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        metadata = folder / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        lines = [
            line
            for group, entries in groups.items()
            for line in (f"[jisi.{group}]", *(f"{entry} = {where}" for entry, where in entries.items()))
        ]
        (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        names.append(name)
        importlib.invalidate_caches()

    yield install
    for name in names:
        sys.modules.pop(name, None)
