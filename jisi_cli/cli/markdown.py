"""A model's answer as Markdown on a terminal: every link shows where it leads, and nothing of the text is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jisi_cli.cli.output import one_line, printable

if TYPE_CHECKING:
    from markdown_it.token import Token
    from rich.markdown import Markdown


def markdown(text: str) -> Markdown:
    """Return an answer for a Rich console.

    Links are written as `words (target)`, without the escape sequence that would put a target behind other words;
    images likewise. HTML, which Rich would leave out, is shown as it is written.

    Args:
        text: The answer, printable.
    """
    from markdown_it import MarkdownIt
    from rich.markdown import Markdown

    rendered = Markdown("", hyperlinks=False)
    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
    rendered.markup, rendered.parsed = text, list(_shown(parser.parse(text)))
    return rendered


def _shown(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield the tokens of a text or of one paragraph as they are to be shown."""
    plain: list[int] = []  # nesting depths at which a link needs no target beside it
    depth = 0
    for place, token in enumerate(tokens):
        token.content = printable(token.content)  # an entity may stand for what a terminal would obey
        if token.type == "link_open":
            depth += 1
            if _says_its_target(tokens[place:]):
                plain.append(depth)
                continue
        elif token.type == "link_close":
            depth -= 1
            if plain and plain[-1] == depth + 1:
                plain.pop()
                continue
        elif token.type == "image":
            _make_text(token)
        elif token.children:
            token.children = list(_shown(token.children))
        yield token


def _says_its_target(tokens: Sequence[Token]) -> bool:
    """Whether a link's words are the address that it leads to."""
    words = ""
    for token in tokens[1:]:
        if token.type == "link_close":
            break
        words += token.content
    return str(tokens[0].attrs.get("href", "")) in (words, f"mailto:{words}")


def _make_text(image: Token) -> None:
    """Make an image the words that stand for it, with its address."""
    address = one_line(str(image.attrs.get("src", "")))
    if address.startswith("data:"):
        address = address.partition(",")[0] + ",…"
    image.type, image.tag, image.children = "text", "", None
    image.content = f"image: {one_line(image.content)} ({address})"
