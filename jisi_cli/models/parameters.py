"""Which parameters a model is sent, and what they can add to the cost of a call."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jisi_cli.config import ModelEntry
from jisi_cli.errors import InputError

# Which parameters a model is sent: those that were asked for, less what its provider has refused.
#
# jisi chooses some parameters itself (the paper's temperature, streaming, a usage at the end of a stream), and
# providers differ in what they take. A refusal costs nothing, so a parameter of jisi's own choice is left out once it
# was refused, and the call is made again. What the pool file sets is the user's: it is never left out, only renamed
# where a provider wants another name for it.


STREAM = "stream"
STREAM_OPTIONS = "stream_options"
_OWN_CHOICE = ("stream_options", "logprobs", "top_p", "temperature", "parallel_tool_calls", "response_format", "stream")
"""Parameters that jisi may leave out; of two that exclude each other the first named here goes.

A form that an answer is to have is asked for in words then."""
_NEVER_LEFT_OUT = frozenset({"tools", "tool_choice"})
"""What a question asks for, without which an answer would be one to another question."""
_NEVER_UNNOTICED = _NEVER_LEFT_OUT | {"response_format"}
"""What LiteLLM may not leave out without a word."""
_LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""The two names of the longest answer; each provider wants one."""

_REFUSES = re.compile(
    r"unsupported|(?:un|not |n't |isn't |aren't )(?:be )?(?:support|permit|allow|accept|recogni[sz]|expect|implement)"
    r"|does ?n[o']t (?:support|accept|allow|recogni[sz]e|exist)|unknown|unrecogni[sz]ed|unexpected|not a valid|invalid"
    r"|extra (?:inputs?|fields?|parameters?)|additional propert|cannot both|can ?not be (?:used|set|specified|combined)"
    r"|cannot find field|no such (?:field|parameter)|only (?:the default|one of|specify|use|supports?|\d)"
    r"|deprecated|removed|incompatible|mutually exclusive|not (?:available|enabled|compatible|both)|instead|forbidden"
    r"|type is unavailable|must be (?:verified|unset|omitted|set to (?:1|the default))|should be (?:unset|omitted)",
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
        unknown: What it has named so.
    """

    left_out: set[str] = field(default_factory=set)
    renamed: set[str] = field(default_factory=set)
    by_litellm: bool = False
    unknown: set[str] = field(default_factory=set)

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
        if not self.by_litellm:
            return sent
        if _NEVER_UNNOTICED.isdisjoint(sent):
            return {**sent, "drop_params": True}
        return {name: value for name, value in sent.items() if name not in self.unknown}

    def leave_to_litellm(self, refused: frozenset[str]) -> bool:
        """Let LiteLLM leave out what it believes unknown to the model; return whether that is news, and allowed.

        Args:
            refused: What it named so.
        """
        if refused & _NEVER_LEFT_OUT or (self.by_litellm and refused <= self.unknown):
            return False
        self.by_litellm = True
        self.unknown |= refused
        return True

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
                return f"it refuses `{name}`; asking {'in words' if name == 'response_format' else 'without it'}"
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


# What a call's parameters can add to its cost, found wherever they stand: in `params`, in `extra_body`, deeper.
#
# With a budget in force the worst case of a call must be known before it goes out. Some parameters raise it by a number
# that can be read: more answers at once, longer ones, reasoning, a dearer tier. Others make it unknowable: another
# model that may answer, a search, tools that the provider runs, a text that it keeps. Those are refused.


_OTHER_MODEL = "lets another model answer, at another price"
_SEARCH = "lets the provider search, at a price for each search"
_TOOLS = "lets the provider run tools, at prices of their own"
_KEPT_TEXT = "adds text that the provider keeps, which is paid for and cannot be counted here"
_OTHER_KINDS = "asks for, or sends, something else than text, at a price of its own"
_DEARER = "changes the price of every token"

_REFUSED = {
    **dict.fromkeys(("models", "model_list", "fallbacks", "fallback_models", "route", "preset"), _OTHER_MODEL),
    **dict.fromkeys(("context_window_fallback_dict", "prompt_id", "custom_llm_provider", "agent_id"), _OTHER_MODEL),
    **dict.fromkeys(("web_search", "web_search_options", "enable_search", "enable_web_search", "search"), _SEARCH),
    **dict.fromkeys(("search_parameters", "search_options", "search_settings", "search_context_size"), _SEARCH),
    **dict.fromkeys(("google_search", "google_search_retrieval", "google_maps", "grounding", "url_context"), _SEARCH),
    **dict.fromkeys(("plugins", "mcp_servers", "code_execution", "code_interpreter", "computer_use"), _TOOLS),
    **dict.fromkeys(
        ("container", "builtin_tools", "compound_custom", "enable_code_interpreter", "computer_tool"), _TOOLS
    ),
    **dict.fromkeys(("previous_response_id", "conversation", "thread_id", "assistant_id", "memory"), _KEPT_TEXT),
    **dict.fromkeys(("cached_content", "data_sources", "connectors", "retrieval", "knowledge_base"), _KEPT_TEXT),
    **dict.fromkeys(("file_search", "file_id", "file_ids", "file_uri", "file_url", "attachments"), _KEPT_TEXT),
    **dict.fromkeys(("prompt_template_id", "vector_store_ids", "knowledge_base_ids", "collections"), _KEPT_TEXT),
    **dict.fromkeys(("audio", "image_config", "image_generation", "speech_config", "image_url"), _OTHER_KINDS),
    **dict.fromkeys(("input_audio", "file_data", "inline_data", "video_url", "images", "videos"), _OTHER_KINDS),
    **dict.fromkeys(("speed", "inference_geo", "performance_config", "data_residency"), _DEARER),
}
"""Parameters that make the worst case unknowable, and why."""
_HARMLESS = {
    "speed": ("standard", "normal"),
    "inference_geo": ("global",),
    "data_residency": ("global",),
}
"""What some of them may say all the same; nothing, false, and what is empty all may."""
_COPIES = frozenset(
    {
        *("n", "best_of", "num_generations", "num_return_sequences", "candidate_count", "num_candidates"),
        *("num_choices", "num_completions", "num_samples", "num_beams", "beam_width"),
    }
)
_LIMIT = re.compile(
    r"(?:^|_)max(?:imum)?_(?:(?:new|completion|output|generated|decode|response|answer)_)?tokens?(?:_to_sample)?$"
    r"|^(?:num_predict|n_predict|max_length|max_gen_len|max_generation_length|max_decode_len)$"
)
_REASONING = re.compile(r"reason|think|thought")
_REASONING_LIMIT = re.compile(r"budget|tokens?$|length$")
_CACHING = frozenset({"cache_control", "cache_control_injection_points", "prompt_caching", "cache_ttl"})
_USUAL_TIERS = frozenset({"auto", "default", "standard", "standard_only", "on_demand", "flex", "batch", "shared"})
_NOT_PARAMETERS = frozenset(
    {
        *("response_format", "response_schema", "response_json_schema", "json_schema", "schema", "guided_json"),
        *("structured_outputs", "tools", "functions", "extra_headers", "headers", "extra_query", "metadata"),
        *("logit_bias", "stop", "user", "messages", "prediction", "max_price"),
    }
)
"""Values whose own keys are the user's words, or whose limits limit no answer."""
_NOT_IN_PROMPT = frozenset({"extra_headers", "headers", "extra_query", "metadata", "logit_bias", "user"})
_FUNCTION_KEYS = frozenset({"function", "input_schema", "parameters", "functionDeclarations", "function_declarations"})
_TOOL_KEYS = _FUNCTION_KEYS | {"type", "name", "description", "strict", "cache_control"}
_FUNCTION_TYPES = (None, "function", "custom")
_BESIDE = {"tools": 1000, "response_format": 500}
"""What a provider, or jisi, writes around these into the prompt, at most; for tools Anthropic takes half of it."""


@dataclass(slots=True)
class Extras:
    """What parameters add to the worst case of a call.

    Attributes:
        copies: Answers that are written and paid for, of which one is read.
        longest: The largest limit of an answer's tokens beside the two that LiteLLM knows.
        unlimited: Whether one of those limits says that there is none.
        reasoning: Tokens of reasoning that may come beside the answer.
        predicted: Tokens, at most, of a predicted answer, which are paid for where it was not the right one.
        prompt: Tokens, at most, that texts among the parameters add to the prompt.
        tier: The service tier that is asked for, where that is a dearer one.
        hour: Whether the provider may be told to keep the prompt for an hour, which is dearer.
    """

    copies: int = 1
    longest: int = 0
    unlimited: bool = False
    reasoning: int = 0
    predicted: int = 0
    prompt: int = 0
    tier: str | None = None
    hour: bool = False


def check_costs(entries: Sequence[ModelEntry]) -> None:
    """Refuse models that no worst case can be known of.

    Raises:
        InputError: A model's name or a parameter of its pool entry makes it unknowable.
    """
    for entry in entries:
        name = entry.litellm.lower()
        if name.endswith(":online"):
            raise InputError(_refusal(entry, "`:online` in its name", _SEARCH))
        if "deep-research" in name:
            raise InputError(_refusal(entry, "`deep-research` in its name", _SEARCH, remedy="leave the model out"))
        read_extras(entry, entry.params)


def read_extras(entry: ModelEntry, parameters: Mapping[str, Any]) -> Extras:
    """Return what the parameters of a call add to its worst case.

    Raises:
        InputError: One of them makes it unknowable.
    """
    extras = Extras(prompt=_text_tokens(parameters))
    for path, name, value in _walk(parameters, ()):
        where = ".".join((*path, name))
        name = _snake(name)
        if _says_nothing(value):
            continue
        _add(extras, entry, where, name, value, within=_snake("_".join(path)))
    return extras


def _add(extras: Extras, entry: ModelEntry, where: str, name: str, value: Any, within: str) -> None:  # noqa: ANN401
    """Add what one parameter costs."""
    if name in _COPIES:
        if type(value) is not int or value < 1:
            raise InputError(_refusal(entry, f"`{where} = {value!r}`", "is no number of answers that can be paid for"))
        extras.copies *= value
    elif _REASONING.search(f"{within}_{name}") and _REASONING_LIMIT.search(name):
        extras.reasoning += value if type(value) is int and value > 0 else 0
    elif _LIMIT.search(name):
        _limit(extras, where, value)
    elif name == "prediction":
        extras.predicted += len(_json(value))
    elif name == "ttl" or name in _CACHING:
        extras.hour = extras.hour or "h" in str(value).lower()
    elif name == "service_tier":
        _tier(extras, entry, where, value)
    elif name in _BESIDE:
        extras.prompt += _BESIDE[name]
    reason = _unknowable(name, value)
    if reason is not None:
        raise InputError(_refusal(entry, f"`{where}`", reason))


def _unknowable(name: str, value: Any) -> str | None:  # noqa: ANN401 - whatever the pool file says
    """Return why a parameter makes the worst case unknowable; None where it does not."""
    if name in _REFUSED:
        return None if value in _HARMLESS.get(name, ()) else _REFUSED[name]
    values = value if isinstance(value, list) else [value]
    if name in ("modalities", "response_modalities"):
        return None if all(str(kind).lower() == "text" for kind in values) else _OTHER_KINDS
    if name == "tools":
        return None if all(map(_is_function, values)) else _TOOLS
    if name == "prompt":
        return _KEPT_TEXT if isinstance(value, Mapping) else None
    if name == "additional_drop_params" and any(_LIMIT.search(str(dropped)) for dropped in values):
        return "drops the limit of an answer's length"
    return None


def _limit(extras: Extras, where: str, value: object) -> None:
    if where in ("max_tokens", "max_completion_tokens"):
        return  # Read where the longest answer is looked for.
    if type(value) is int and value > 0:
        extras.longest = max(extras.longest, value)
    else:
        extras.unlimited = True


def _tier(extras: Extras, entry: ModelEntry, where: str, value: object) -> None:
    tier = str(value).lower()
    if tier == "priority":
        extras.tier = tier
    elif tier not in _USUAL_TIERS:
        raise InputError(_refusal(entry, f"`{where} = {value!r}`", "is a tier whose price is not known"))


def _is_function(tool: object) -> bool:
    """Whether a tool is the user's own function, which costs the words that describe it and no more."""
    if not isinstance(tool, Mapping):
        return False
    return tool.get("type") in _FUNCTION_TYPES and not _FUNCTION_KEYS.isdisjoint(tool) and tool.keys() <= _TOOL_KEYS


def _walk(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Yield (where it stands, name, value) of every parameter, those within others too."""
    for name, value in values.items():
        yield path, str(name), value
        if _snake(str(name)) in _NOT_PARAMETERS:
            continue
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, Mapping):
                yield from _walk(part, (*path, str(name)))


def _says_nothing(value: object) -> bool:
    """Whether a value asks for nothing: absent, false, empty, or an object that says it is off."""
    if isinstance(value, Mapping):
        states = [value.get(name) for name in ("enabled", "type", "mode") if name in value]
        return not value or any(state is False or state in ("disabled", "off", "none") for state in states)
    return value is None or value is False or (isinstance(value, str | list | tuple) and not value)


def _text_tokens(parameters: Mapping[str, Any]) -> int:
    """Return the tokens, at most, of all texts among the parameters: many of them reach the prompt."""
    texts = {
        name: value
        for name, value in parameters.items()
        if name not in _NOT_IN_PROMPT and isinstance(value, str | list | tuple | Mapping)
    }
    return len(_json(texts)) if texts else 0


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")


def _snake(name: str) -> str:
    """Return a name as most providers write it: `maxOutputTokens` is `max_output_tokens`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_")


def _refusal(entry: ModelEntry, what: str, why: str, remedy: str = "remove it, or leave --max-cost out") -> str:
    return f"--max-cost cannot hold for model `{entry.name}`: {what} {why}; {remedy}"
