"""What LlamaIndex's messages and responses are to gate, for the adapter in `gate.integrations.llama_index`.

Needs the package ``llama-index-core``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gate.decorator.decided import Decided
from gate.errors import MissingExtra
from gate.integrations.judging import conversation, options_of, told
from gate.types import Passage, Question, ToolCall

try:
    from llama_index.core.base.llms.types import (
        ChatMessage,
        ChatResponse,
        CompletionResponse,
        MessageRole,
        TextBlock,
        ToolCallBlock,
    )
    from llama_index.core.base.response.schema import RESPONSE_TYPE, AsyncStreamingResponse, StreamingResponse
    from llama_index.core.llms.llm import ToolSelection
except ModuleNotFoundError as error:
    raise MissingExtra("llama-index-core", "llama-index") from error

_ROLES = {"chatbot": "assistant", "model": "assistant", "function": "tool"}
_TITLES = ("title", "file_name")
_SOURCES = ("url", "file_path", "file_name")


# --- what is asked -----------------------------------------------------------------------------------------------


def question_to(messages: Sequence[ChatMessage], fields: Mapping[str, Any]) -> Question:
    """What a model is asked. Pictures and other files are no part of it: gate asks in text."""
    return Question(conversation(map(_wire, messages)), options_of(fields))


def passages_of(response: RESPONSE_TYPE) -> tuple[Passage, ...]:
    """The nodes an engine's answer was written from."""
    return tuple(_passage(each.node, each.score) for each in response.source_nodes)


def _wire(message: ChatMessage) -> dict[str, Any]:
    role, beside = message.role.value, message.additional_kwargs
    wire: dict[str, Any] = {"role": _ROLES.get(role, role), "content": message.content}
    calls = [_wire_call(block) for block in message.blocks if isinstance(block, ToolCallBlock)]
    if calls:
        wire["tool_calls"] = calls
    if wire["role"] == "tool":
        wire["tool_call_id"] = str(beside.get("tool_call_id") or beside.get("name") or "")
    if wire["content"] is None and not calls:
        wire["content"] = ""
    return wire


def _wire_call(block: ToolCallBlock) -> dict[str, Any]:
    given = block.tool_kwargs
    arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    function = {"name": block.tool_name, "arguments": arguments}
    return {"id": block.tool_call_id or "", "type": "function", "function": function}


def _passage(node: Any, score: float | None) -> Passage:
    about: Mapping[str, Any] = node.metadata
    return Passage(
        id=node.node_id,
        text=node.get_content(),
        score=score or 0.0,
        title=_first(about, _TITLES),
        source=_first(about, _SOURCES),
        start=getattr(node, "start_char_idx", None),
    )


def _first(about: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((str(about[name]) for name in names if about.get(name)), "")


# --- what is said ------------------------------------------------------------------------------------------------


def chat_response(made: Decided[str], *, streamed: bool = False) -> ChatResponse:
    calls = made.outcome.generation.tool_calls if made.outcome.generation else ()
    blocks: list[Any] = [TextBlock(text=made.text)] if made.text or not calls else []
    blocks += [_call_block(call) for call in calls]
    refusal = {} if made.answered else {"refusal": made.text}
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=refusal)
    return ChatResponse(message=message, delta=made.text if streamed else None, **_beside(made))


def completion_response(made: Decided[str], *, streamed: bool = False) -> CompletionResponse:
    return CompletionResponse(text=made.text, delta=made.text if streamed else None, **_beside(made))


def tool_selections(response: ChatResponse) -> list[ToolSelection]:
    """The tools that a response calls. Arguments that are no JSON object are none."""
    return [
        ToolSelection(tool_id=block.tool_call_id or "", tool_name=block.tool_name, tool_kwargs=_kwargs(block))
        for block in response.message.blocks
        if isinstance(block, ToolCallBlock)
    ]


def response_of(response: RESPONSE_TYPE) -> RESPONSE_TYPE:
    """An engine's response with all of its answer, where that comes in pieces."""
    return response.get_response() if isinstance(response, StreamingResponse) else response


async def engine_response(response: RESPONSE_TYPE) -> RESPONSE_TYPE:
    """`response_of` on an event loop."""
    return await response.get_response() if isinstance(response, AsyncStreamingResponse) else response_of(response)


def _call_block(call: ToolCall) -> ToolCallBlock:
    return ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=_object(call.arguments))


def _kwargs(block: ToolCallBlock) -> dict[str, Any]:
    given = block.tool_kwargs if isinstance(block.tool_kwargs, dict) else _object(block.tool_kwargs)
    return given if isinstance(given, dict) else {}


def _object(arguments: str) -> dict[str, Any] | str:
    """As it stands where it is no JSON object: a model may write anything."""
    try:
        read = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return arguments
    return read if isinstance(read, dict) else arguments


def _beside(made: Decided[str]) -> dict[str, Any]:
    gate = {"gate": told(made)}
    counted = {
        "prompt_tokens": made.cost.prompt_tokens,
        "completion_tokens": made.cost.completion_tokens,
        "total_tokens": made.cost.tokens,
    }
    return {"raw": gate, "additional_kwargs": {**gate, **counted}}
