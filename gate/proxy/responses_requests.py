"""``POST /v1/responses``: OpenAI's Responses API, stateless, as a question.

What it says is put as the chat dialect has it, so that everything behind is the same. Nothing is stored: whatever goes
on from an earlier response is refused, and the whole conversation stands in ``input``. Reasoning items of earlier turns
are left out: no upstream of the chat dialect takes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

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

_LOGPROBS = "message.output_text.logprobs"
_ROLES = ("user", "assistant", "system", "developer")
_UNSTORED = "gate stores no responses: send the whole conversation as input"
_HELD: Mapping[str, str] = {
    "previous_response_id": _UNSTORED,
    "conversation": _UNSTORED,
    "prompt": "gate stores no prompts: send instructions and input",
    "messages": "messages belong to /v1/chat/completions: here the conversation is the input",
}
_REPEATED = (
    "instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "service_tier", "temperature", "text",
    "tool_choice", "tools", "top_logprobs", "top_p", "user", "safety_identifier", "prompt_cache_key",
)  # fmt: skip
"""What a response says of its request, as it came."""
_OURS = frozenset(
    {
        "background", "conversation", "gate", "include", "input", "instructions", "max_output_tokens", "max_tool_calls",
        "messages", "metadata", "model", "n", "previous_response_id", "prompt", "reasoning", "store", "stream",
        "stream_options", "text", "tool_choice", "tools", "top_logprobs", "truncation",
    }
)  # fmt: skip


class TextFields(BaseModel):
    """The shape of the text to be written."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    format: dict[str, Any] | None = None
    verbosity: str | None = None


class ResponsesFields(SamplingFields):
    """What gate itself looks at; everything else is forwarded as it came."""

    model: str
    input: str | Objects
    instructions: str | None = None
    tools: Objects | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: TextFields | None = None
    reasoning: dict[str, Any] | None = None
    max_output_tokens: Count | None = None
    include: list[str] | None = None
    metadata: dict[str, str] | None = None
    n: Literal[1] | None = None
    store: bool | None = None
    """Taken for what clients send; nothing is stored."""
    background: Literal[False] | None = None
    stream: bool | None = None
    gate: GateFields | None = None


def parse_responses_request(body: bytes) -> ChatRequest:
    """Raises `RequestError` for anything that is no usable request, and nothing else."""
    data = loads(body)
    for name, why in _HELD.items():
        if data.get(name) is not None:
            raise RequestError(why, param=name, code="not_stored")
    if data.get("background") is True:
        said = "gate answers while the connection lasts and stores nothing to ask for later: leave background out"
        raise RequestError(said, param="background", code="not_stored")
    fields = checked(ResponsesFields, data)
    refuse_two_limits(fields, max_output_tokens=fields.max_output_tokens)
    messages = _conversation(fields.input)
    if fields.instructions:
        messages = [Message("system", fields.instructions), *messages]
    shown = fields.include is not None and _LOGPROBS in fields.include
    return requested(
        fields.model,
        question_of(messages, _options(fields, data), "input"),
        fields.gate,
        stream=bool(fields.stream),
        logprobs=(fields.top_logprobs or 0) if shown else None,
        repeated={name: data[name] for name in _REPEATED if data.get(name) is not None},
    )


def _options(fields: ResponsesFields, data: Mapping[str, Any]) -> dict[str, Any]:
    made = {key: value for key, value in data.items() if key not in _OURS and value is not None}
    if fields.tools:
        made["tools"] = [_tool(tool, place) for place, tool in enumerate(fields.tools)]
    if fields.tool_choice is not None:
        made["tool_choice"] = _choice(fields.tool_choice)
        refuse_unknown_tool(made["tool_choice"], made.get("tools"))
    if fields.max_output_tokens is not None:
        made["max_completion_tokens"] = fields.max_output_tokens
    if fields.text and (wanted := _format(fields.text.format)) is not None:
        made["response_format"] = wanted
    if fields.text and fields.text.verbosity is not None:
        made["verbosity"] = fields.text.verbosity
    if fields.reasoning and fields.reasoning.get("effort") is not None:
        made["reasoning_effort"] = fields.reasoning["effort"]
    return made


def _tool(tool: Mapping[str, Any], place: int) -> dict[str, Any]:
    if tool.get("type") != "function":
        said = "gate runs no tools of its own: only tools of type 'function' are taken"
        raise RequestError(said, param=f"tools.{place}.type")
    if not isinstance(tool.get("name"), str):
        raise RequestError(f"tools.{place}.name must be text", param=f"tools.{place}.name")
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def _choice(choice: str | Mapping[str, Any]) -> Any:
    if isinstance(choice, str):
        return choice
    if choice.get("type") != "function" or not isinstance(choice.get("name"), str):
        raise RequestError("tool_choice must be a word, or the type 'function' and a name", param="tool_choice")
    return {"type": "function", "function": {"name": choice["name"]}}


def _format(wanted: Mapping[str, Any] | None) -> dict[str, Any] | None:
    match wanted:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "json_object"}
        case {"type": "json_schema", "name": str(), "schema": dict()}:
            return {"type": "json_schema", "json_schema": {key: each for key, each in wanted.items() if key != "type"}}
        case _:
            said = "text.format must be of type text, json_object, or json_schema with a name and a schema"
            raise RequestError(said, param="text.format")


# --- the conversation --------------------------------------------------------------------------------------------


def _conversation(given: str | Sequence[Mapping[str, Any]]) -> list[Message]:
    if isinstance(given, str):
        return [Message("user", given)]
    return conversation_of(wire for place, item in enumerate(given) for wire in _item(item, f"input.{place}"))


def _item(item: Mapping[str, Any], param: str) -> Iterator[dict[str, Any]]:
    """The chat message an item is, if any."""
    match item.get("type", "message" if "role" in item else None):
        case "message":
            yield _message(item, param)
        case "function_call":
            called = {"name": _text(item, "name", param), "arguments": _text(item, "arguments", param)}
            call = {"id": _text(item, "call_id", param), "type": "function", "function": called}
            yield {"role": "assistant", "content": None, "tool_calls": [call]}
        case "function_call_output":
            content = _content(item.get("output"), f"{param}.output")
            yield {"role": "tool", "tool_call_id": _text(item, "call_id", param), "content": content}
        case "reasoning":
            pass
        case "item_reference":
            raise RequestError(_UNSTORED, param=param, code="not_stored")
        case _:
            said = f"{param} must be a message, function_call, function_call_output or reasoning"
            raise RequestError(said, param=f"{param}.type")


def _message(item: Mapping[str, Any], param: str) -> dict[str, Any]:
    role = item.get("role")
    if role not in _ROLES:
        raise RequestError(f"{param}.role must be one of {', '.join(_ROLES)}", param=f"{param}.role")
    return {"role": role, "content": _content(item.get("content"), f"{param}.content")}


def _content(content: Any, param: str) -> str | list[JsonObject]:
    """Text where it is text alone, else the parts as the chat dialect has them."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RequestError(f"{param} must be text or a list of parts", param=param)
    parts = [_part(part, f"{param}.{place}") for place, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(part: Any, param: str) -> JsonObject:
    match part:
        case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "refusal", "refusal": str(text)}:  # what was said, whatever it was: not all take such a part
            return {"type": "text", "text": text}
        case {"type": "input_image", "image_url": str(url)}:
            detail = {"detail": part["detail"]} if isinstance(part.get("detail"), str) else {}
            return {"type": "image_url", "image_url": {"url": url, **detail}}
        case {"type": "input_file"} if any(isinstance(part.get(key), str) for key in ("file_data", "file_id")):
            kept = {key: part[key] for key in ("file_data", "file_id", "filename") if part.get(key) is not None}
            return {"type": "file", "file": kept}
        case {"type": "input_audio", "input_audio": dict(sound)}:
            return {"type": "input_audio", "input_audio": sound}
        case _:
            said = (
                "input_text, output_text, refusal, input_image with image_url, input_file with file_data or file_id, "
                "or input_audio"
            )
            raise RequestError(f"{param} must be {said}", param=param)


def _text(item: Mapping[str, Any], name: str, param: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or (name != "arguments" and not value):
        raise RequestError(f"{param}.{name} must be text", param=f"{param}.{name}")
    return value
