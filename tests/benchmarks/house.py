"""Measure how the package is built: its modules, its repetition, how far a question travels, how fast it starts.

    python -m tests.benchmarks.house [--tree PATH] [--json] [--files] [--no-start-up]

`--tree` measures another checkout with this same script, so that a change can be compared with what was before it.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.loopback import Loopback

ROOT = Path(__file__).parents[2]
TRACED = Path(__file__).with_name("traced.py")
WINDOW = 30
"""So many tokens in a row that stand elsewhere, too, are a repetition."""
QUESTION = "What is 6 * 7? Give only the number."
POOL = '[[models]]\nname = "{name}"\nlitellm = "openai/{name}"\napi_base = "{server}"\nparams = {{ max_tokens = 99 }}\n'
COMMANDS = (
    "import typer\nfrom jisi_cli.cli import app as line\n"
    "app = line.build_app() if hasattr(line, 'build_app') else line.app\n"
    "def walk(command, words):\n"
    "    below = getattr(command, 'commands', {})\n"
    "    print(*words) if not below else [walk(one, [*words, name]) for name, one in below.items()]\n"
    "walk(typer.main.get_command(app), [])\n"
)


def modules(package: Path) -> dict[str, Path]:
    """Name the package's modules as Python does; `__init__` goes by the name of its room."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{name.name}" for name in node.names}
            found |= {name if name in known else node.module for name in inner}
    return found & set(known)


def shape(package: Path) -> dict[str, Any]:
    """Count modules, lines, and modules that exactly one other imports."""
    known = modules(package)
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in known.items()}
    sizes = [count for count in lines.values() if count]
    importers = Counter(name for module, path in known.items() for name in imports(path, known) - {module})
    return {
        "modules": sum(path.name != "__init__.py" for path in known.values()),
        "lines": sum(sizes),
        "median lines of a module": int(statistics.median(sizes)),
        "modules over 400 lines": sum(count > 400 for count in sizes),
        "modules that one other imports": sum(importers[name] == 1 for name in known),
    }


def tokens(path: Path) -> Iterator[tuple[str, int]]:
    """Yield a file's words and signs with their lines, without comments, texts that stand alone, and imports."""
    statement: list[tuple[str, int]] = []
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.NEWLINE:
            if statement[0][0] not in ("import", "from") and len(statement) > 1:
                yield from statement
            statement = []
        elif token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
            statement.append((token.string, token.start[0]))


def repetition(package: Path) -> dict[str, int]:
    """Count the blocks, and their lines, that repeat `WINDOW` or more tokens of an earlier place."""
    seen: dict[tuple[str, ...], tuple[Path, int]] = {}
    blocks, repeated = 0, set()
    for path in modules(package).values():
        words = list(tokens(path))
        inside = False
        for start in range(len(words) - WINDOW + 1):
            window = tuple(word for word, _ in words[start : start + WINDOW])
            where = seen.setdefault(window, (path, start))
            again = where != (path, start) and (where[0] != path or where[1] + WINDOW <= start)
            blocks += again and not inside
            inside = again
            if again:
                repeated |= {(path, line) for _, line in words[start : start + WINDOW]}
    return {"repeated blocks": blocks, "repeated lines": len(repeated)}


def environment(tree: Path, home: Path) -> dict[str, str]:
    """Return the environment of a command of that checkout, with folders of its own and no foreign settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JISI_")}
    folders = {f"JISI_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "DATA", "CONFIG")}
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "none"}
    return {**kept, **folders, **offline, "PYTHONPATH": str(tree)}


def question(tree: Path) -> dict[str, Any]:
    """Follow one `jisi ask` twice: live, and with its answer in the cache."""
    with tempfile.TemporaryDirectory() as temporary, Loopback() as server:
        home = Path(temporary)
        names = [path.name.partition("=")[2] for path in (ROOT / "sample_data/bank/responses").iterdir()]
        for name in names:
            server.script(name, text="42")
        pool = home / "jisi.toml"
        pool.write_text("".join(POOL.format(name=name, server=server.api_base) for name in sorted(names)))
        ask = ["ask", QUESTION, "--bank", str(ROOT / "sample_data/bank"), "--config", str(pool)]
        found = {}
        for what in ("live", "cached"):
            trace = home / f"{what}.json"
            command = [sys.executable, str(TRACED), str(trace), *ask]
            done = subprocess.run(command, cwd=home, env=environment(tree, home), capture_output=True, text=True)
            if done.returncode or not trace.exists() or json.loads(trace.read_text())["exit"]:
                raise SystemExit(f"jisi ask ({what}) failed in {tree}:\n{done.stdout}{done.stderr}")
            found[what] = json.loads(trace.read_text())
    return found


def start_up(tree: Path, runs: int) -> dict[str, dict[str, float]]:
    """Time every command's help, and those that need no model, with hyperfine; seconds."""
    if shutil.which("hyperfine") is None:
        return {}
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        env = environment(tree, home)
        listed = subprocess.run([sys.executable, "-c", COMMANDS], env=env, cwd=home, capture_output=True, check=True)
        bank = ROOT / "sample_data/bank"
        lines = [f"{words} --help" for words in ("", *listed.stdout.decode().splitlines())]
        lines += ["--version", "cost --json", f"bank inspect {bank} --json", f'route "{QUESTION}" --bank {bank} --json']
        found = {}
        for line in lines:
            out = home / "times.json"
            command = ["hyperfine", "-N", "-w", "1", "-r", str(runs), "--export-json", str(out), "--style", "none"]
            subprocess.run([*command, f"{sys.executable} -m jisi_cli {line}"], env=env, cwd=home, check=True)
            (times,) = json.loads(out.read_text())["results"]
            short = f"jisi {line}".replace(str(bank), "sample_data/bank").replace("  ", " ")
            found[short] = {"mean": times["mean"], "least": times["min"], "cpu": times["user"] + times["system"]}
    return found


def show(found: dict[str, Any], files: bool) -> None:
    """Write the figures for a person."""
    for name, count in found["shape"].items():
        print(f"{name:<34} {count:>7,}")
    print(f"\n{'jisi ask':<34} {'modules':>9} {'files':>9} {'functions':>9}")
    for what, trace in found["ask"].items():
        for until in ("until the first call", "to the end"):
            if trace[until]:
                print(f"{what + ', ' + until:<34} " + " ".join(f"{count:>9}" for count in trace[until].values()))
    if files:
        print("\n" + "\n".join(found["ask"]["live"]["files"]))
    if found["start-up"]:
        print(f"\n{'start-up, seconds':<58} {'mean':>6} {'least':>6} {'cpu':>6}")
    for line, times in found["start-up"].items():
        print(f"{line:<58} " + " ".join(f"{seconds:6.3f}" for seconds in times.values()))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure how the package is built.")
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout to measure [this one]")
    parser.add_argument("--runs", type=int, default=5, help="runs of each command")
    parser.add_argument("--no-start-up", action="store_true", help="leave out the times, which take a minute")
    parser.add_argument("--files", action="store_true", help="list the files that a live question passes through")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    tree = chosen.tree.resolve()
    found = {
        "shape": shape(tree / "jisi_cli") | repetition(tree / "jisi_cli"),
        "ask": question(tree),
        "start-up": {} if chosen.no_start_up else start_up(tree, chosen.runs),
    }
    if chosen.json:
        print(json.dumps(found, indent=2))
    else:
        show(found, chosen.files)


if __name__ == "__main__":
    main()
