"""``POST /v1/chat/completions``: the body as a question.

Fields that gate does not know are kept and forwarded to the upstream; the ``gate`` object is taken out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from gate.errors import RequestError
from gate.proxy.json_wire import loads
from gate.proxy.request_fields import (
    MOST_ANSWERS,
    ChatRequest,
    GateFields,
    Objects,
    SamplingFields,
    checked,
    question_of,
    refuse_two_limits,
    refuse_unknown_tool,
    requested,
)
from gate.types import Message

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_OURS = frozenset({"messages", "model", "stream", "stream_options", "n", "gate"})


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    include_usage: bool | None = None


class ChatFields(SamplingFields):
    """What gate itself looks at; everything else is forwarded as it came."""

    model: str
    messages: Objects = Field(min_length=1)
    n: Annotated[int, Field(ge=1, le=MOST_ANSWERS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    gate: GateFields | None = None


def parse_chat_request(body: bytes) -> ChatRequest:
    """Raises `RequestError` for anything that is no usable request, and nothing else."""
    return chat_request(loads(body))


def chat_request(data: Mapping[str, Any]) -> ChatRequest:
    """The request of a JSON object that was read already."""
    fields = checked(ChatFields, data)
    if fields.stream_options is not None and not fields.stream:
        raise RequestError("stream_options go with stream: true", param="stream_options")
    refuse_contradictions(fields, data)
    messages = [message_of(raw, place) for place, raw in enumerate(fields.messages)]
    options = {key: value for key, value in data.items() if key not in _OURS and value is not None}
    return requested(
        fields.model,
        question_of(messages, options),
        fields.gate,
        stream=bool(fields.stream),
        include_usage=bool(fields.stream_options and fields.stream_options.include_usage),
        logprobs=(fields.top_logprobs or 0) if fields.logprobs else None,
        n=fields.n or 1,
    )


def refuse_contradictions(fields: SamplingFields, data: Mapping[str, Any]) -> None:
    """Options that cannot all hold. Raises `RequestError`."""
    if fields.top_logprobs is not None and not fields.logprobs:
        raise RequestError("top_logprobs goes with logprobs: true", param="top_logprobs")
    refuse_two_limits(fields)
    if data.get("tool_choice") is not None:
        refuse_unknown_tool(data["tool_choice"], data.get("tools"))


def message_of(raw: Mapping[str, Any], place: int, field_name: str = "messages") -> Message:
    """Raises `RequestError` for what is no message of the chat dialect."""
    role, content = raw.get("role"), raw.get("content")
    if role == "user" and type(content) is str and len(raw) == 2:  # most are
        return Message("user", content)
    param = f"{field_name}.{place}"
    if not isinstance(role, str) or role not in _ROLES:
        raise RequestError(f"{param}.role must be one of {', '.join(_ROLES)}", param=f"{param}.role")
    if role == "tool" and not (isinstance(raw.get("tool_call_id"), str) and raw["tool_call_id"]):
        said = f"{param}.tool_call_id must be there: it says which call a tool's message answers"
        raise RequestError(said, param=f"{param}.tool_call_id")
    if isinstance(content, str):
        return Message(role, content, None if raw.keys() == {"role", "content"} else raw)
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        parts = [part.get("text") for part in content if part.get("type") == "text"]
        if all(isinstance(part, str) for part in parts):
            only_blank_text = len(parts) == len(content) and not "".join(map(str, parts)).strip()
            return Message(role, "\n".join(map(str, parts)), None if only_blank_text else raw)
    if content is None and role != "user":
        return Message(role, "", raw)
    raise RequestError(f"{param}.content must be text or a list of parts", param=f"{param}.content")
