"""Which parameters a model is sent: those that were asked for, less what its provider has refused.

jisi chooses some parameters itself (the paper's temperature, streaming, a usage at the end of a stream), and
providers differ in what they take. A refusal costs nothing, so a parameter of jisi's own choice is left out once it
was refused, and the call is made again. What the pool file sets is the user's: it is never left out, only renamed
where a provider wants another name for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jisi_cli.config import ModelEntry

STREAM = "stream"
STREAM_OPTIONS = "stream_options"
_OWN_CHOICE = ("stream_options", "logprobs", "top_p", "temperature", "stream")
"""Parameters that jisi may leave out; of two that exclude each other the first named here goes."""
_LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""The two names of the longest answer; each provider wants one."""

_REFUSES = re.compile(
    r"unsupported|(?:un|not |n't |isn't |aren't )(?:be )?(?:support|permit|allow|accept|recogni[sz]|expect|implement)"
    r"|does ?n[o']t (?:support|accept|allow|recogni[sz]e|exist)|unknown|unrecogni[sz]ed|unexpected|not a valid|invalid"
    r"|extra (?:inputs?|fields?|parameters?)|additional propert|cannot both|can ?not be (?:used|set|specified|combined)"
    r"|cannot find field|no such (?:field|parameter)|only (?:the default|one of|specify|use|supports?|\d)"
    r"|deprecated|removed|incompatible|mutually exclusive|not (?:available|enabled|compatible|both)|instead|forbidden"
    r"|must be (?:verified|unset|omitted|set to (?:1|the default))|should be (?:unset|omitted)",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<![\w/])[a-z]+(?:_[a-z]+)*(?!\w)")
# A common word of English that is a parameter only where it is marked as one.
_MARKED_STREAM = re.compile(
    r"[\"'`]stream[\"'`]|\bstream(?:=| parameter|ing is not|ing not|s? (?:is|are) not)|to stream\b"
)
_TOO_LARGE = re.compile(
    r"too (?:large|long|many|big|high)|at most|less than|maximum|exceed|greater|context", re.IGNORECASE
)


def names_refused(words: str, parameter: str = "") -> frozenset[str]:
    """Return the names in a provider's words if these refuse a parameter; which of them was meant shows the request.

    Args:
        words: What the provider said.
        parameter: What it named in a field of its own.
    """
    if not (parameter or _REFUSES.search(words)):
        return frozenset()
    names = set(_NAME.findall(words)) | {parameter.partition(".")[0]}
    if parameter.partition(".")[0] != STREAM and not _MARKED_STREAM.search(words):
        names.discard(STREAM)
    if _TOO_LARGE.search(words) and not names.issuperset(_LIMITS):
        names.difference_update(_LIMITS)
    return frozenset(names)


@dataclass(slots=True)
class Accepted:
    """What one model has turned out to accept.

    Attributes:
        left_out: Parameters of jisi's own choice that it refused.
        renamed: The name of the longest answer that it refused.
        by_litellm: Whether LiteLLM leaves out what it believes unknown to the model, the pool file's too.
    """

    left_out: set[str] = field(default_factory=set)
    renamed: set[str] = field(default_factory=set)
    by_litellm: bool = False

    def sent(self, entry: ModelEntry, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of a call as they are sent.

        A top_p of 1 is what every provider does unasked; some refuse to be told.

        Args:
            entry: The model's pool entry.
            parameters: All that was asked for.
        """
        sent = {name: value for name, value in parameters.items() if name not in self.left_out}
        if sent.get("top_p") == 1 and "top_p" not in entry.params:
            del sent["top_p"]
        for name in self.renamed:
            if name in sent and _LIMITS[name] not in sent:
                sent[_LIMITS[name]] = sent.pop(name)
        if STREAM not in sent:
            sent.pop(STREAM_OPTIONS, None)
        return {**sent, "drop_params": True} if self.by_litellm else sent

    def adapt(self, entry: ModelEntry, sent: Iterable[str], refused: frozenset[str]) -> str | None:
        """Learn from a refusal; return what is done about it, in words, or None when there is nothing to do.

        Args:
            entry: The model's pool entry.
            sent: Names of the parameters that the call had.
            refused: The names in the refusal.
        """
        named = refused.intersection(sent)
        for name in _OWN_CHOICE:
            if name in named and name not in entry.params:
                self.left_out.add(name)
                return f"it refuses `{name}`; asking without it"
        for name, other in _LIMITS.items():
            # One that was renamed while this call was out is no reason to give up.
            if name in named and (not self.renamed or name in self.renamed):
                self.renamed.add(name)
                return f"it refuses `{name}`; asking with `{other}`"
        return None


def remedy(entry: ModelEntry, refused: frozenset[str]) -> str:
    """Return how to set right what the pool file sets and the provider refuses; empty where it is not that."""
    own = sorted(refused.intersection(entry.params))
    if not own:
        return ""
    return f"; remove {' or '.join(f'`{name}`' for name in own)} from `params` of `{entry.name}` in the pool file"
