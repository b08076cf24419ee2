"""Take README's pictures anew, of the sample data: python -m tests.screenshots.take

Needs what README's first install needs, the extras `report` and `test`, Chromium and tmux. Pages are opened in headless
Chromium; commands are typed into a terminal that tmux keeps, and what it then shows is drawn with its colours.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WIDTH = 1040
QUESTION = "Tom has 12 pens and buys 7 more. How many pens does he have?"
COLUMNS, LINES = 118, 50
TERMINAL = (
    "jisi eval sample_data/bank --datasets facts,logic,word-problems --method knn,jisi-router,jisi-vote,zooter -q",
    f'jisi route "{QUESTION}" --config sample_data/jisi.toml --explain',
)


def jisi(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "jisi_cli", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def shoot(page: Page, name: str, **options: Any) -> None:
    page.screenshot(path=HERE / f"{name}.png", **options)
    print(f"{name}.png: {(HERE / f'{name}.png').stat().st_size / 1e3:.0f} kB")


def pages(browser: Any, folder: Path) -> None:
    report, decision = folder / "report.html", folder / "decision.html"
    jisi("eval", "sample_data/bank", "--method", "all", "--report", str(report))
    jisi("route", QUESTION, "--config", "sample_data/jisi.toml", "--probe", "--html", str(decision))
    page = browser.new_page(viewport={"width": WIDTH, "height": 800}, color_scheme="light")
    page.goto(report.as_uri())
    page.wait_for_selector("#browser[data-ready]")
    shoot(page, "report")
    page.get_by_label("Method", exact=True).select_option("jisi-router")
    page.get_by_label("Search questions", exact=True).fill("how many")
    page.locator(".row").first.click()
    page.wait_for_selector("dialog pre")
    page.locator("dialog .body").focus()
    shoot(page, "question")
    page.goto(decision.as_uri())
    page.set_viewport_size({"width": WIDTH, "height": 1060})
    shoot(page, "decision")
    phone = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    phone.goto(report.as_uri())
    phone.wait_for_selector("#browser[data-ready]")
    shoot(phone, "phone")


def terminal(browser: Any) -> None:
    """Type commands into tmux and draw what it shows."""
    tmux = [shutil.which("tmux") or "tmux", "-L", f"screenshots-{os.getpid()}", "-f", "/dev/null"]
    shell = ["env", "PS1=$ ", "bash", "--norc", "--noprofile"]
    subprocess.run(
        [*tmux, "new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), "-c", str(ROOT), *shell], check=True
    )
    try:
        for place, command in enumerate(TERMINAL):
            subprocess.run([*tmux, "send-keys", "clear", "Enter"], check=True)
            time.sleep(1)
            subprocess.run([*tmux, "send-keys", "-l", command], check=True)
            subprocess.run([*tmux, "send-keys", "Enter"], check=True)
            draw(browser, finished(tmux), ("eval", "route")[place])
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)


def finished(tmux: list[str]) -> str:
    """Return the screen once the command is done: when there is a prompt again."""
    for _ in range(240):
        time.sleep(0.5)
        shown = subprocess.run([*tmux, "capture-pane", "-e", "-p"], capture_output=True, text=True, check=True).stdout
        lines = shown.rstrip().splitlines()
        if len(lines) > 1 and Text.from_ansi(lines[-1]).plain.strip() == "$":
            return "\n".join(lines[:-1])
    raise SystemExit("the command did not end within two minutes")


def draw(browser: Any, shown: str, name: str) -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor", force_terminal=True)
    console.print(Text.from_ansi(shown), soft_wrap=True)
    picture = console.export_svg(title="jisi")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_content(f"<style>body {{ margin: 0 }} svg {{ display: block; width: 1280px }}</style>{picture}")
    shoot(page, name, clip=page.locator("svg").first.bounding_box(), full_page=True)


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pages(browser, Path(folder))
        terminal(browser)
        browser.close()


if __name__ == "__main__":
    main()
