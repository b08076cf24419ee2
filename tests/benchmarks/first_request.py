"""From Enter to the first request, and to a cached answer, beside `llm` and LiteLLM in the same run.

    python -m tests.benchmarks.first_request [--rounds 7] [--llm PATH] [--only REGEX]

Every command asks the same loopback server, in turns, each time another question from a cold start: seconds from its
start until the server has the request, seconds until it ends, and processor seconds. `llm` must be a clean one (`pip
install llm` in an environment of its own: plug-ins, jisi's among them, are imported at its every start); it reaches the
server through its `extra-openai-models.yaml`. The hashing embedder's bank is made for the run; the sample bank stands
for one of MiniLM. The newcomer has OpenAI's models without an address, a price or a bank.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.cold_start import MODELS, SAMPLE, build
from tests.faults.scene import Server, serving

SAMPLE_MODELS = ("smollm2-brief", "smollm2-steps", "gemma3-examples", "gemma3-worked")
LLM_MODEL = '- model_id: ada\n  model_name: ada\n  api_base: "{base}"\n  api_key_name: ada\n'
ENTRY = (
    '[[models]]\nname = "{name}"\nlitellm = "openai/{name}"\napi_base = "{base}"\napi_key_env = "OPENAI_API_KEY"\n'
    "price = {{ input = 1, output = 2 }}\nparams = {{ max_tokens = 1000 }}\n"
)
NEWCOMER = '[[models]]\nname = "{name}"\nlitellm = "openai/{name}"\n'
OPENAI = """
import openai, sys
client = openai.OpenAI(api_key="none", base_url="{base}")
answer = client.chat.completions.create(model="ada", messages=[dict(role="user", content=sys.argv[1])])
print(answer.choices[0].message.content)
"""
LITELLM = """
import litellm, sys
messages = [dict(role="user", content=sys.argv[1])]
answer = litellm.completion("openai/ada", messages=messages, api_base="{base}", api_key="none")
print(answer.choices[0].message.content)
"""


class Times(NamedTuple):
    """Seconds of one run; `request` is None where no request came."""

    request: float | None
    wall: float
    processor: float


def run(command: Sequence[str], environment: Mapping[str, str], server: Server) -> Times:
    """Run a command without output and see when the server has its first request."""
    before = server.count("received")
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    started, clock = time.time(), time.perf_counter()
    pid = os.posix_spawnp(command[0], command, environment, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - clock
    if status:
        raise RuntimeError(f"{' '.join(command)[:200]} ended with {os.waitstatus_to_exitcode(status)}")
    new = server.lines("received")[before:]
    first = float(new[0]["time"]) - started if new else None
    return Times(first, wall, usage.ru_utime + usage.ru_stime)


def commands(folder: Path, server: Server, llm: str | None) -> dict[str, list[str]]:
    """Return what is measured: each command takes its question as one more argument."""
    python, base = [sys.executable, "-c"], server.api_base
    pools = {"hashing": (folder / "bank", MODELS), "MiniLM": (SAMPLE / "bank", SAMPLE_MODELS)}
    asks = {}
    for embedder, (bank, models) in pools.items():
        pool = folder / f"{embedder}.toml"
        pool.write_text("".join(ENTRY.format(name=name, base=base) for name in models))
        asks[embedder] = [sys.executable, "-m", "jisi_cli", "ask", "--bank", str(bank), "--config", str(pool)]
    pool = folder / "newcomer.toml"
    pool.write_text("".join(NEWCOMER.format(name=name) for name in ("gpt-4.1", "gpt-4.1-mini")))
    newcomer = [sys.executable, "-m", "jisi_cli", "ask", "--config", str(pool)]
    opponents = {} if llm is None else {"llm": [llm, "-m", "ada", "--key", "none"]}
    return {
        **opponents,
        "openai's client alone": [*python, OPENAI.format(base=base)],
        "LiteLLM alone": [*python, LITELLM.format(base=base)],
        **{f"jisi ask, {embedder}": ask for embedder, ask in asks.items()},
        "jisi ask, a newcomer's": newcomer,
        **{f"jisi ask, {embedder}, --max-cost": [*ask, "--max-cost", "1"] for embedder, ask in asks.items()},
        **{f"jisi ask, {embedder}, cached": ask for embedder, ask in asks.items()},
        "jisi ask, a newcomer's, cached": newcomer,
    }


def report(found: Mapping[str, Sequence[Times]], reference: str) -> None:
    """Print the median of each figure, and the ratio of the first to the reference's."""

    def median(times: Sequence[float | None]) -> float:
        return statistics.median(seconds for seconds in times if seconds is not None) if any(times) else float("nan")

    middle = {name: [median(column) for column in zip(*times, strict=True)] for name, times in found.items()}
    print(f"{'median':<36} {'request':>8} {'end':>7} {'cpu':>7}   request / that of {reference}: median, least")
    for name, (request, wall, processor) in middle.items():
        ratio = ""
        if reference in middle and request == request:
            least = [min(times.request or math.inf for times in found[which]) for which in (name, reference)]
            ratio = f"{request / middle[reference][0]:.2f}, {least[0] / least[1]:.2f}"
        print(f"{name:<36} {request:8.3f} {wall:7.3f} {processor:7.3f}   {ratio}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--llm", default=shutil.which("llm"), help="the command `llm`, clean [on the path]")
    parser.add_argument("--only", default="", help="a regular expression for the names of the commands")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with serving(folder, {"*": {"text": "an answer"}}) as server:
            build(folder / "bank", 400, 256)
            (folder / "llm").mkdir()
            (folder / "llm" / "extra-openai-models.yaml").write_text(LLM_MODEL.format(base=server.api_base))
            homes = {f"JISI_{kind}_HOME": temporary for kind in ("CACHE", "DATA", "CONFIG")}
            environment = {**os.environ, **homes, "LLM_USER_PATH": str(folder / "llm"), "OPENAI_API_KEY": "none"}
            environment["OPENAI_BASE_URL"] = server.api_base
            environment["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
            found: dict[str, list[Times]] = {}
            wanted = commands(folder, server, chosen.llm)
            wanted = {name: command for name, command in wanted.items() if re.search(chosen.only, name)}
            numbers = count()
            for turn in range(chosen.rounds + 1):
                for name, command in wanted.items():
                    is_cached = "cached" in name
                    question = "What is 12 times -1?" if is_cached else f"What is 12 times {next(numbers)}?"
                    times = run([*command, question], environment, server)
                    if turn and is_cached != (times.request is None):
                        raise RuntimeError(f"{name}: a cached question was asked, or another was not")
                    if turn:  # the first fills the file system's cache, and jisi's
                        found.setdefault(name, []).append(times)
    report(found, "llm" if chosen.llm is not None else "LiteLLM alone")


if __name__ == "__main__":
    main()
