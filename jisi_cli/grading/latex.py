r"""LaTeX and Markdown around an answer, reduced to plain text: `$\dfrac{3}{4}\text{ cm}$` -> `3/4 cm`."""

from __future__ import annotations

import re

from jisi_cli.grading.characters import plain_characters

_BRACED_NUMBER = r"\{\s{0,3}(-?[\d.,]{1,40})\s{0,3}\}"
_SUBSTITUTIONS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"</?(?:b|i|strong|em|u|span|mark|code|p|br|sup|sub|small|font)(?:\s[^<>]{0,80})?/?>|&nbsp;", " "),
        # Emphasis, whose opening half may have been cut off; `2**3` is a power.
        (r"\*\*([^*\n]{1,200})\*\*|(?<=\S)\*\*(?=[\s.,;:!?]|$)", r"\1"),
        # Doubled backslashes are left over from JSON that was escaped twice.
        (r"\\\\(?=[a-zA-Z(),;:!%$])", r"\\"),
        (r"\\[dtc]?frac\s?(\d)(\d)(?!\d)", r" \1/\2"),
        (r"\\[dtc]?frac\s?" + _BRACED_NUMBER + r"\s{0,3}" + _BRACED_NUMBER, r" \1/\2"),
        # The content of a text group is what is read: `12\text{ cm}`.
        (r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|operatorname|mbox)\s?\{([^{}]{0,200})\}", r" \1"),
        (r"\\(?:left|right|displaystyle|limits)(?![a-zA-Z])", ""),
        (r"\\(?:times|cdot)(?![a-zA-Z])", "*"),
        (r"\\pi(?![a-zA-Z])", "π"),
        (r"\\infty(?![a-zA-Z])|(?<![a-zA-Z])(?:infinity|oo)(?![a-zA-Z])", "∞"),
        (r"\\leq?(?:slant)?(?![a-zA-Z])|<=", "≤"),
        (r"\\geq?(?:slant)?(?![a-zA-Z])|>=", "≥"),
        (r"\\neq?(?![a-zA-Z])|!=", "≠"),
        (r"\\pm(?![a-zA-Z])", "±"),
        (r"\^\s?\{?\\circ\}?|\\degree(?![a-zA-Z])|\^\{?[º˚o]\}?(?![\w])", "°"),
        (r"\\approx(?![a-zA-Z])|\\simeq(?![a-zA-Z])", "≈"),
        (r"\{,\}", ","),
        # `10\,000` groups digits; any other thin space only separates.
        (r"(?<=\d)(?:\\[,!]|[\u2009\u202f])(?=\d{3}(?!\d))", ","),
        (r"\\[,;:! ]|~|[\u00a0\u2009\u202f]", " "),
        (r"\\([%$#&])", r"\1"),
        (r"\\[()\[\]]", ""),
        (r"[−‒–](?=\s?[\d.$])", "-"),
        (r"\$(?!\s?-?[\d.])", ""),
    )
)


def to_plain(text: str) -> str:
    r"""Return the text without math delimiters, spacing commands and emphasis.

    Characters of other scripts that mean the same as ASCII become it (see `characters`). Commands that carry
    meaning (`\sqrt`, `\log`) stay; a fraction of two numbers becomes `a/b`.
    """
    text = plain_characters(text)
    for pattern, replacement in _SUBSTITUTIONS:
        text = pattern.sub(replacement, text)
    return text.strip().strip("*_`").strip()
