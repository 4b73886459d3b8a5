"""``POST /v1/messages``: Anthropic's Messages API as a question.

What it says is put as the chat dialect has it, so that everything behind is the same. Blocks of thinking are left out:
no upstream of the chat dialect takes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from gate.errors import RequestError
from gate.proxy.json_wire import loads
from gate.proxy.request_fields import (
    ChatRequest,
    Count,
    GateFields,
    Objects,
    SamplingFields,
    checked,
    conversation_of,
    question_of,
    refuse_two_limits,
    refuse_unknown_tool,
    requested,
)
from gate.types import JsonObject, Message

_OURS = frozenset(
    {
        "gate", "max_tokens", "messages", "metadata", "model", "n", "output_config", "stop_sequences", "stream",
        "stream_options", "system", "tool_choice", "tools",
    }
)  # fmt: skip
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


class MessagesFields(SamplingFields):
    """What gate itself looks at; everything else is forwarded as it came."""

    model: str
    messages: Objects = Field(min_length=1)
    max_tokens: Count
    system: str | Objects | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    tools: Objects | None = None
    tool_choice: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    gate: GateFields | None = None


def parse_messages_request(body: bytes) -> ChatRequest:
    """Raises `RequestError` for anything that is no usable request, and nothing else."""
    data = loads(body)
    if data.get("mcp_servers"):
        raise RequestError("gate runs no tools of its own: leave mcp_servers out", param="mcp_servers")
    fields = checked(MessagesFields, data)
    refuse_two_limits(fields)
    wires = (wire for place, raw in enumerate(fields.messages) for wire in _wires(raw, f"messages.{place}"))
    messages = conversation_of(wires)
    if fields.system:
        messages = [Message("system", _said(fields.system, "system")), *messages]
    question = question_of(messages, _options(fields, data))
    return requested(fields.model, question, fields.gate, stream=bool(fields.stream))


def _options(fields: MessagesFields, data: Mapping[str, Any]) -> dict[str, Any]:
    made = {key: value for key, value in data.items() if key not in _OURS and value is not None}
    if made.get("thinking") == {"type": "disabled"}:
        del made["thinking"]
    made["max_tokens"] = fields.max_tokens
    if fields.stop_sequences:
        made["stop"] = fields.stop_sequences
    if fields.metadata and isinstance(fields.metadata.get("user_id"), str):
        made["user"] = fields.metadata["user_id"]
    if fields.tools:
        made["tools"] = [_tool(tool, place) for place, tool in enumerate(fields.tools)]
    if fields.tool_choice is not None:
        made["tool_choice"] = _choice(fields.tool_choice)
        refuse_unknown_tool(made["tool_choice"], made.get("tools"))
        if fields.tool_choice.get("disable_parallel_tool_use") is True:
            made["parallel_tool_calls"] = False
    match (fields.output_config or {}).get("format"):
        case None:
            pass
        case {"type": "json_schema", "schema": dict(schema)}:
            made["response_format"] = {"type": "json_schema", "json_schema": {"name": "output", "schema": schema}}
        case _:
            said = "output_config.format must be of type json_schema, with a schema"
            raise RequestError(said, param="output_config.format")
    return made


def _tool(tool: Mapping[str, Any], place: int) -> dict[str, Any]:
    kind = tool.get("type")
    if kind is not None and kind != "custom":
        said = "gate runs no tools of its own: only tools with a name and an input_schema are taken"
        raise RequestError(said, param=f"tools.{place}.type")
    if not isinstance(tool.get("name"), str) or not isinstance(tool.get("input_schema"), dict):
        said = f"tools.{place} must have a name and an input_schema"
        raise RequestError(said, param=f"tools.{place}")
    made = {"name": tool["name"], "parameters": tool["input_schema"]}
    for name in ("description", "strict"):
        if tool.get(name) is not None:
            made[name] = tool[name]
    return {"type": "function", "function": made}


def _choice(choice: Mapping[str, Any]) -> Any:
    match choice:
        case {"type": "auto" | "any" | "none" as kind}:
            return _CHOICES[kind]
        case {"type": "tool", "name": str(name)}:
            return {"type": "function", "function": {"name": name}}
        case _:
            raise RequestError("tool_choice must be of type auto, any, none, or tool with a name", param="tool_choice")


# --- the conversation --------------------------------------------------------------------------------------------


def _wires(raw: Mapping[str, Any], param: str) -> Iterator[dict[str, Any]]:
    """A turn as messages of the chat dialect, in which each result of a tool is one of its own, before the rest."""
    role, content = raw.get("role"), raw.get("content")
    if not isinstance(role, str) or role not in {"user", "assistant", "system"}:
        raise RequestError(f"{param}.role must be user, assistant or system", param=f"{param}.role")
    if isinstance(content, str):
        yield {"role": role, "content": content}
        return
    if not isinstance(content, list):
        raise RequestError(f"{param}.content must be text or a list of blocks", param=f"{param}.content")
    parts: list[JsonObject] = []
    calls: list[JsonObject] = []
    for place, block in enumerate(content):
        at = f"{param}.content.{place}"
        match block:
            case {"type": "tool_result", "tool_use_id": str(call)} if role == "user":
                result = _content(block.get("content"), f"{at}.content")
                yield {"role": "tool", "tool_call_id": call, "content": result}
            case {"type": "tool_use", "id": str(call), "name": str(name), "input": dict(given)} if role == "assistant":
                arguments = json.dumps(given, ensure_ascii=False, separators=(",", ":"))
                function = {"name": name, "arguments": arguments}
                calls.append({"id": call, "type": "function", "function": function})
            case {"type": "thinking" | "redacted_thinking"}:
                pass
            case _:
                parts.append(_part(block, at))
    if parts or calls:
        said: dict[str, Any] = {"role": role, "content": _joined(parts) if parts else None}
        yield said | {"tool_calls": calls} if calls else said


def _said(content: str | Sequence[Any], param: str) -> str:
    """Text, or the text of blocks that are nothing else."""
    made = _content(content, param)
    if not isinstance(made, str):
        raise RequestError(f"{param} must be text", param=param)
    return made


def _content(content: Any, param: str) -> str | list[JsonObject]:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise RequestError(f"{param} must be text or a list of blocks", param=param)
    return _joined([_part(block, f"{param}.{place}") for place, block in enumerate(content)])


def _joined(parts: list[JsonObject]) -> str | list[JsonObject]:
    """Text where it is text alone, else the parts as the chat dialect has them."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(block: Any, param: str) -> JsonObject:
    match block:
        case {"type": "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "image", "source": {"type": "base64", "media_type": str(kind), "data": str(data)}}:
            return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
        case {"type": "image", "source": {"type": "url", "url": str(url)}}:
            return {"type": "image_url", "image_url": {"url": url}}
        case {"type": "document", "source": {"type": "text", "data": str(text)}}:
            return {"type": "text", "text": text}
        case {"type": "document", "source": {"type": "base64", "media_type": str(kind), "data": str(data)}}:
            name = block["title"] if isinstance(block.get("title"), str) else "document"
            return {"type": "file", "file": {"filename": name, "file_data": f"data:{kind};base64,{data}"}}
        case _:
            said = "text, image (base64 or url), document (text or base64), tool_use, tool_result or thinking"
            raise RequestError(f"{param} must be a block of type {said}, where it may stand", param=param)
