"""What a person sees while `jisi ask` works."""

from __future__ import annotations

import io
import time

import pytest

from jisi_cli.cli import live as live_view
from jisi_cli.cli.layout import LastFrame
from jisi_cli.cli.live import TerminalView
from jisi_cli.cli.output import Output
from jisi_cli.models.call import CallEvent
from tests.cli.commands import on_a_terminal


def test_a_call_may_begin_while_a_frame_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    view = TerminalView(Output())
    view.asked("ada", "probe")
    view.asked("bob", "probe")

    def meanwhile(text: str) -> str:
        view.asked("cyd", "probe")  # as the thread that calls models does, while another draws
        return text

    monkeypatch.setattr(live_view, "one_line", meanwhile)
    view._frame()


def test_what_came_of_the_answers_so_far_stands_below_the_calls() -> None:
    from rich.console import Console

    view = TerminalView(Output())
    view.asked("ada", "probe")
    view.concluded("62 % sure:\n1 of 2 says so")
    console = Console(width=60, no_color=True)
    with console.capture() as captured:
        console.print(view._frame())
    assert captured.get().splitlines()[-1] == "= 62 % sure: 1 of 2 says so"


def shown(view: TerminalView) -> list[str]:
    """Return the lines of a view's next frame."""
    from rich.console import Console

    console = Console(width=60, no_color=True)
    with console.capture() as captured:
        console.print(view._frame())
    return captured.get().splitlines()


def test_a_call_is_loading_until_its_request_leaves_and_its_seconds_count_from_then() -> None:
    view = TerminalView(Output())
    view.asked("ada", "probe")
    time.sleep(0.15)
    assert [line[2:] for line in shown(view)] == ["ada loading"]
    view.called(CallEvent("started", "ada", "probe"))
    assert [line[2:] for line in shown(view)] == ["ada answering 0.0 s"]


def test_a_narrower_terminal_is_cleared_of_the_rows_it_has_broken_the_last_frame_into() -> None:
    from rich.console import Console

    view, file = TerminalView(Output()), io.StringIO()
    view._console = Console(file=file, width=60, height=20, force_terminal=True, legacy_windows=False)
    view._last = LastFrame(view._console)
    view.asked("a-model-with-a-long-name", "probe")
    view.asked("ada", "probe")
    view._frame()
    assert file.getvalue() == ""
    view._console.width = 20
    view._frame()
    # The first line has 34 columns, two rows now: one more than the view's own clearing knows of.
    assert file.getvalue() == "\r\x1b[2K\x1b[1A"
    view._console.width = 60
    view._frame()
    assert file.getvalue() == "\r\x1b[2K\x1b[1A"


def rendered(answer: str, **variables: str) -> str:
    """Return what a terminal of 200 columns gets of an answer, in one line."""
    code = f"from jisi_cli.cli import live as l, output as o; l.TerminalView(o.Output()).finish({answer!r})"
    return " ".join(on_a_terminal("-c", code, COLUMNS="200", **variables).split())


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("See [the docs](https://evil.example/x).", "See the docs (https://evil.example/x)."),
        ("[https://good.example](https://evil.example)", "https://good.example (https://evil.example)"),
        ("[**bold** `code`](http://t)", "bold code (http://t)"),
        ("[words][1]\n\n[1]: http://t", "words (http://t)"),
        ("<https://x.example/a> and <me@x.example>", "https://x.example/a and me@x.example"),
        ("[http://t](http://t) [a](http://t)", "http://t a (http://t)"),
        ("![a cat](http://t/c.png)", "image: a cat (http://t/c.png)"),
        ("[![b](http://i)](http://t)", "image: b (http://i) (http://t)"),
        ("![x](data:image/png;base64,AAAA)", "image: x (data:image/png;base64,…)"),
        ("A `List<T>`, a Map<K>, <b onclick=x>c</b>", "A List<T>, a Map<K>, <b onclick=x>c</b>"),
        ("<div>kept</div>", "<div>kept</div>"),
        ("a&#x202e;b&#x1b;]8;;http://t&#x7;c&#x9b;d", "ab�]8;;http://t�c�d"),
    ],
)
def test_a_rendered_answer_shows_where_its_links_lead_and_loses_no_text(answer: str, shown: str) -> None:
    assert rendered(answer, NO_COLOR="1") == shown


def test_a_rendered_answer_links_nothing_on_a_terminal_with_colours() -> None:
    shown = rendered("[a](http://t) <http://u> ![b](http://v) # **c**\n\n| [d](http://w) |\n|---|\n| e |")
    assert "\x1b[" in shown
    assert "\x1b]" not in shown
