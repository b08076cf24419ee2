"""Pictures in a conversation: taken by what their bytes say they are, and never fetched from anywhere."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from jisi_cli.errors import InputError
from jisi_cli.messages import Part

MOST_BYTES = 20 * 2**20
"""Of one picture; no provider takes larger ones."""
_DETAILS = ("auto", "low", "high")
_BEGINNINGS = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
}


def picture_part(content: bytes, where: str) -> Part:
    """Return a picture as a part of a message.

    Args:
        content: Its bytes.
        where: What it is called in an error.

    Raises:
        InputError: It is too large, or no PNG, JPEG, GIF or WebP.
    """
    return _part(content, base64.b64encode(content).decode(), where)


def read_picture(part: Mapping[str, Any], where: str) -> Part:
    """Read a part with a picture, `{"type": "image_url", "image_url": {"url": "data:…;base64,…", "detail": …}}`.

    An address is refused: for some providers LiteLLM fetches what is there itself, so that anyone who may ask could
    have this machine look at what is in its network.

    Args:
        part: The part.
        where: What it is called in an error.

    Raises:
        InputError: It has another shape, names an address, or holds no picture.
    """
    given = part.get("image_url")
    given = {"url": given} if isinstance(given, str) else given
    if not isinstance(given, Mapping) or not isinstance(url := given.get("url"), str):
        raise InputError(f"{where}.image_url must be an object with a `url`")
    detail = given.get("detail")
    if detail is not None and detail not in _DETAILS:
        raise InputError(f"{where}.image_url.detail must be one of {', '.join(_DETAILS)}")
    head, comma, code = url.partition(",")
    if not head.casefold().startswith("data:") or not head.casefold().endswith(";base64") or not comma:
        raise InputError(
            f"{where}.image_url.url must hold the picture itself, as data:image/png;base64,…; nothing is fetched"
        )
    try:
        content = base64.b64decode(code, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{where}.image_url.url is not base64") from None
    return _part(content, code, f"{where}.image_url.url", detail)


def _part(content: bytes, code: str, where: str, detail: str | None = None) -> Part:
    if len(content) > MOST_BYTES:
        raise InputError(f"{where} is larger than {MOST_BYTES >> 20} MiB; send a smaller picture")
    kind = _kind(content)
    if kind is None:
        raise InputError(f"{where} is not a PNG, JPEG, GIF or WebP picture")
    url = f"data:{kind};base64,{code}"
    return {"type": "image_url", "image_url": {"url": url} if detail is None else {"url": url, "detail": detail}}


def _kind(content: bytes) -> str | None:
    """Return the media type of a picture; what a client or a file's name says of it counts for nothing."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for kind, beginnings in _BEGINNINGS.items() if content.startswith(beginnings)), None)
