"""Every test runs without a network, without keys, and with folders of its own; the tiers of tests."""

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
from tests.object_store import ObjectStore, missing_store

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
settings.register_profile("unit", settings.get_profile("jisi"), max_examples=20)
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

# The tiers. A test is in `slow` if its room or module is listed here, if it talks to the loopback server, or if it is
# marked `slow` or `big`; every other test is in `unit`. tests/README.md says what that means.
SLOW = frozenset(
    {
        *("benchmarks", "cli", "cluster", "faults", "hostile", "report", "screenshots", "serve"),
        *(
            "embed/test_bert.py",
            "embed/test_hub.py",
            "embed/test_model_folder.py",
            "embed/test_sentence_transformer.py",
        ),
        *("embed/test_start_up.py", "embed/test_folder_check.py", "embed/test_unit_embedder.py"),
        *("formats/test_jisi_release.py", "formats/test_damage.py", "formats/test_hub_dataset.py"),
        *("bank/test_export.py", "bank/test_killed_builds.py", "bank/test_lock.py", "bank/test_unreadable_banks.py"),
        *(
            "grading/test_grader_set.py",
            "models/test_outgoing.py",
            "models/test_failures.py",
            "models/test_direct_call.py",
            "models/test_batches.py",
        ),
        *("methods/test_avengers.py", "methods/test_peers_routers.py"),
        *("grading/test_code.py", "grading/test_command.py", "grading/test_confined.py", "grading/test_math.py"),
        *("grading/test_regex.py", "grading/test_scratch_folder.py", "grading/test_readings.py"),
        *("methods/test_graphrouter.py", "methods/test_routerdc.py", "methods/test_routerdc_finetuned.py"),
        *("methods/test_trained_routers.py", "models/test_local.py", "models/test_processes.py"),
        *("models/test_leases.py", "models/test_unpacking.py", "models/test_worst_case.py"),
        *("test_architecture.py", "test_examples.py", "test_large_imports.py", "test_one_path.py"),
        *("test_recorded_answers.py", "test_security.py"),
    }
)
_SLOW_FIXTURES = frozenset({"loopback", "object_store"})
_STARTS_A_PROCESS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec"})
_SLOW_IMPORTS = frozenset({"litellm", "torch", "sentence_transformers", "ray"})
_running_unit_test = False


def _is_slow(path: Path) -> bool:
    inside = path.relative_to(Path(__file__).parent)
    return inside.parts[0] in SLOW or inside.as_posix() in SLOW


def pytest_configure(config: pytest.Config) -> None:
    """Try a fifth of the examples when only the unit tests are wanted: the developer's loop is to be short."""
    if config.option.markexpr == "unit":
        settings.load_profile("unit")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Use all cores; of many only four for tests that start local models or Ray, which take a gigabyte each."""
    cores = os.cpu_count() or 1
    return cores if config.option.markexpr == "unit" else min(cores, 4)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import the slow modules when only the unit tests are wanted."""
    if config.option.markexpr != "unit" or collection_path == Path(__file__).parent:
        return None
    return True if Path(__file__).parent in collection_path.parents and _is_slow(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests into the two tiers."""
    loaded = sorted(_SLOW_IMPORTS & sys.modules.keys())
    if config.option.markexpr == "unit" and loaded:
        raise pytest.UsageError(f"reading the unit tests imported {', '.join(loaded)}; see tests/README.md")
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        listed = _is_slow(item.path) or not _SLOW_FIXTURES.isdisjoint(fixtures)
        marked = item.get_closest_marker("slow") or item.get_closest_marker("big")
        if not marked:
            item.add_marker("slow" if listed else "unit")
        elif not item.get_closest_marker("slow"):
            item.add_marker("slow")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Watch `pytest -m unit`: a test that starts a process or imports what is slow to import fails."""
    global _running_unit_test
    _running_unit_test = item.config.option.markexpr == "unit"
    try:
        return (yield)
    finally:
        _running_unit_test = False


def _keep_unit_tests_light(event: str, arguments: tuple[object, ...]) -> None:
    if not _running_unit_test:
        return
    if event in _STARTS_A_PROCESS and arguments[0] != "lscpu":  # with which joblib counts cores
        pytest.fail(f"a unit test started a process ({event}: {arguments[0]}); mark it `slow`, see tests/README.md")
    if event == "import" and arguments[0] in _SLOW_IMPORTS:
        pytest.fail(f"a unit test imported {arguments[0]}; import it later, or mark the test `slow`: tests/README.md")


sys.addaudithook(_keep_unit_tests_light)


@pytest.fixture(autouse=True)
def own_folders_and_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Move jisi's folders to `tmp_path` and take keys and settings out of the environment."""
    for name in list(os.environ):
        if name.startswith(("JISI_", "AWS_")) or name.endswith(("_API_KEY", "_API_TOKEN", "_API_BASE", "_BASE_URL")):
            monkeypatch.delenv(name)
    for kind in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"JISI_{kind}_HOME", str(tmp_path / f"jisi_{kind.lower()}"))


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """Give a scriptable OpenAI-compatible server; `loopback.script("name", text=…)` adds a model."""
    with Loopback() as server:
        yield server


@pytest.fixture(scope="session")
def _object_stores() -> Iterator[Callable[[str], ObjectStore]]:
    """Servers on loopback, each started once."""
    from tests.object_store import serving

    yield from serving()


@pytest.fixture
def object_store(
    request: pytest.FixtureRequest,
    _object_stores: Callable[[str], ObjectStore],
    monkeypatch: pytest.MonkeyPatch,
) -> ObjectStore:
    """An S3 server on loopback with an empty bucket, and the environment that leads to it.

    Indirectly parametrised, it is of another kind: `gs` or `abfs`.
    """
    scheme = getattr(request, "param", "s3")
    if lacks := missing_store(scheme):
        pytest.skip(lacks)
    store = _object_stores(scheme)
    store.clear()
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    return store


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
    # Other tests of this process list all methods, in whatever order tests are dealt to processes.
    if "jisi_cli.methods.registry" in sys.modules:
        methods = sys.modules["jisi_cli.methods.registry"]._METHODS
        for method in [name for name, info in methods.items() if info.made_by.__module__ in names]:
            del methods[method]
    for name in names:
        sys.modules.pop(name, None)
