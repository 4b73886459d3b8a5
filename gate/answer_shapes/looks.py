"""Looking at answers of other libraries' classes without importing those: as JSON, and written anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from gate.types import TokenLogprob, ToolCall


def field(value: object, name: str) -> Any:
    """A key of a dict, or an attribute of a pydantic object; None where there is none of that name."""
    if isinstance(value, dict):
        return value.get(name)
    return getattr(value, name, None) if isinstance(value, BaseModel) else None


def plain(value: object) -> dict[str, Any]:
    """The answer as a JSON object of its own. Raises `ValueError` where it cannot be made one."""
    if isinstance(value, dict):
        return dict(value)
    if not isinstance(value, BaseModel):
        raise ValueError(f"a {type(value).__qualname__} is no JSON object")
    try:
        return value.model_dump(warnings=False)
    except (AttributeError, KeyError, RecursionError) as error:  # a field that was set to what it cannot hold
        raise ValueError(f"a {type(value).__qualname__} cannot be read: {type(error).__name__}") from error


def written_anew(like: object, data: Mapping[str, Any], *names: str) -> object:
    """Another object like this one, which differs in the fields of these names: they are taken from ``data``.

    What else it holds, private attributes too, stays. A server's own words for a thing may be none its library knows,
    so where the library's checks refuse what the server sent, the object is made without them.
    """
    if not isinstance(like, BaseModel):
        return {**data}
    kind = type(like)
    try:
        made = kind.model_validate(data)
    except ValueError:
        made = kind.model_construct(**data)
    return like.model_copy(update={name: getattr(made, name) for name in names})


def wire_tool_calls(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """As the chat dialect has them."""
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]


def wire_logprobs(
    tokens: Sequence[TokenLogprob] | None, alternatives: int | None = None
) -> list[dict[str, Any]] | None:
    """As OpenAI's dialects list them, with so many alternatives a token; None: all there are."""
    return None if tokens is None else [_wire_token(token, alternatives) for token in tokens]


def _wire_token(token: TokenLogprob, alternatives: int | None) -> dict[str, Any]:
    def shown(text: str, logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}

    return {**shown(token.token, token.logprob), "top_logprobs": [shown(*each) for each in token.top[:alternatives]]}


def count(usage: object, name: str) -> int:
    """A number of tokens; 0 where none is told."""
    value = field(usage, name)
    return value if type(value) is int and value > 0 else 0
