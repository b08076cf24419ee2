"""One form for characters, LaTeX and Markdown that mean the same."""

from __future__ import annotations

import re
import unicodedata

from jisi_cli.lazy_pattern import lazy_pattern

# One form for characters that mean the same: full-width and Arabic digits, curly quotes, dashes and blanks.


_SAME = {
    **dict.fromkeys("‐‑‒–—―−﹣－⁻", "-"),
    **dict.fromkeys("‘’‚‛′＇ʼ´", "'"),
    **dict.fromkeys("“”„‟″＂「」『』«»", '"'),
    # These end a sentence, and no blank follows them in their own scripts.
    **dict.fromkeys("。｡।॥۔", ". "),
    **dict.fromkeys("！？؟", "! "),
    **dict.fromkeys("，、،﹐", ","),
    **dict.fromkeys("；؛", ";"),
    **dict.fromkeys("：﹕", ":"),
    **dict.fromkeys("．﹒", "."),
    **dict.fromkeys("【〔〖［", "["),
    **dict.fromkeys("】〕〗］", "]"),
    **dict.fromkeys("《〈", "<"),
    **dict.fromkeys("》〉", ">"),
    **dict.fromkeys("⁄∕", "/"),
    **dict.fromkeys("∗⋅·∙•", "*"),
    **dict.fromkeys("≃≅∼～", "≈"),
    "٫": ".",
    "٬": ",",
    "٪": "%",
    "№": "#",
    "\u2028": "\n",
    "\u2029": "\n",
    "\u0085": "\n",
}
_DIRECTION = lazy_pattern("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff]")
_RAISED = lazy_pattern("[⁰¹²³⁴-⁹⁺⁻⁽⁾ⁿⁱ]+")
_LOWERED = lazy_pattern("[₀-₉]+")
_FRACTION = lazy_pattern("(?P<whole>[0-9]?)(?P<fraction>[¼-¾⅐-⅞↉])")
_PLAIN = lazy_pattern(r"[\x00-\x7f]*")
_OTHER_SCRIPT = "[\u0400-\u1dff\u2c00-\u2dff\u2e80-\ua4ff\uac00-\ud7af\uf900-\ufaff\ufb50-\ufdff\ufe70-\ufeff]"
_SCRIPTS_MEET = lazy_pattern(rf"(?<=[0-9A-Za-z])(?={_OTHER_SCRIPT})|(?<={_OTHER_SCRIPT})(?=[0-9A-Za-z])")
_TEXT = {
    **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
    **dict.fromkeys("‘’‚‛′＇ʼ´", "'"),
    **dict.fromkeys("“”„‟″＂", '"'),
}
_TEXT_TABLE = str.maketrans(_TEXT)


def plain_characters(text: str) -> str:
    """Return text in which characters that mean the same in a number, a formula or a choice are the same.

    Digits and Latin letters of every form become ASCII (`４２`, `٤٢`, `𝟒𝟐`), raised digits a power
    (`2¹⁰` is `2^10`), `½` is `1/2` and `3½` is `3 1/2`; what shows nothing (marks of direction, blanks of no
    width) goes. Punctuation of other scripts becomes that of English, and they are parted from
    ASCII (see `parted_scripts`).
    """
    if _PLAIN.fullmatch(text):
        return text
    text = _DIRECTION.sub("", text)
    text = _RAISED.sub(lambda found: _script("^", found[0]), text)
    text = _LOWERED.sub(lambda found: _script("_", found[0]), text)
    text = _FRACTION.sub(_spelled_fraction, text)
    return parted_scripts("".join(map(_plain, unicodedata.normalize("NFC", text))))


def parted_scripts(text: str) -> str:
    """Return text with a blank wherever ASCII letters or digits meet another script: `答案是42` leaves it out."""
    return _SCRIPTS_MEET.sub(" ", text)


def same_text(text: str) -> str:
    """Return text in one of its Unicode forms, with straight quotes, one kind of dash and blanks folded."""
    if not _PLAIN.fullmatch(text):
        # Compatibility forms are folded one by one: `x²` is not `x2`.
        composed = unicodedata.normalize("NFC", _DIRECTION.sub("", text).translate(_TEXT_TABLE))
        text = unicodedata.normalize("NFC", "".join(map(_compatible, composed)))
    return " ".join(text.split())


def _script(mark: str, characters: str) -> str:
    written = unicodedata.normalize("NFKC", characters).replace("−", "-")
    return f"{mark}{written}" if len(written) == 1 else f"{mark}{{{written}}}"


def _spelled_fraction(found: re.Match[str]) -> str:
    spelled = unicodedata.normalize("NFKC", found["fraction"]).replace("⁄", "/")
    return f"{found['whole']} {spelled}" if found["whole"] else spelled


def _plain(character: str) -> str:
    if character < "\x80":
        return character
    if character in _SAME:
        return _SAME[character]
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if unicodedata.category(character) == "Zs":
        # A narrow blank may group digits; `latex` decides.
        return character if character in "\u2009\u202f" else " "
    return _compatible(character)


def _compatible(character: str) -> str:
    """Return what a compatibility form stands for, unless it is raised, lowered or a fraction."""
    decomposition = unicodedata.decomposition(character) if character >= "\x80" else ""
    if not decomposition.startswith("<") or decomposition.startswith(("<super>", "<sub>", "<fraction>")):
        return character
    return unicodedata.normalize("NFKC", character)


# LaTeX and Markdown around an answer, reduced to plain text: `$\dfrac{3}{4}\text{ cm}$` -> `3/4 cm`.


_BRACED_NUMBER = r"\{\s{0,3}(-?[\d.,]{1,40})\s{0,3}\}"
_SUBSTITUTIONS = tuple(
    (lazy_pattern(pattern), replacement)
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
