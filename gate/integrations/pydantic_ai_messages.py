"""What pydantic-ai's messages are to gate, for the adapter in `gate.integrations.pydantic_ai`.

Needs the package ``pydantic-ai-slim``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gate.answer_shapes import Read
from gate.answer_shapes.looks import wire_tool_calls
from gate.effects import Generate
from gate.errors import MissingExtra
from gate.integrations.judging import conversation, options_of
from gate.types import Cost, Generation, Message, Outcome, Question, ToolCall, Usage
from gate.upstreams.openai_wire import token_logprobs

try:
    from pydantic_ai.messages import (
        ModelMessage,
        ModelRequest,
        ModelResponse,
        SystemPromptPart,
        TextPart,
        ToolCallPart,
        ToolReturnPart,
        UserPromptPart,
    )
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.settings import ModelSettings
    from pydantic_ai.usage import RequestUsage
except ModuleNotFoundError as error:
    raise MissingExtra("pydantic-ai-slim", "pydantic-ai") from error

_FINISH = {"tool_call": "tool_calls"}
_JSON = ("native", "prompted")
"""Modes of output in which the text is JSON."""
_SETTINGS = ("max_tokens", "temperature", "top_p", "seed", "parallel_tool_calls", "presence_penalty")


# --- what is asked -----------------------------------------------------------------------------------------------


def question_of(
    messages: Sequence[ModelMessage], settings: ModelSettings | None, wanted: ModelRequestParameters
) -> Question:
    """What a model is asked. Pictures and other files are no part of it: gate sees the text beside them."""
    given: Mapping[str, Any] = settings or {}
    options = {name: given[name] for name in _SETTINGS if name in given}
    options |= {"stop": given.get("stop_sequences"), **_shape(wanted)}
    return Question(conversation(_wires(messages, wanted)), options_of(options))


def messages_of(asked: Sequence[Message]) -> list[ModelMessage]:
    """A conversation that gate has put otherwise, with passages quoted, say."""
    made: list[ModelMessage] = []
    names: dict[str, str] = {}
    for message in asked:
        wire = message.wire or {}
        calls = wire.get("tool_calls") or ()
        names |= {call["id"]: call["function"]["name"] for call in calls}
        match message.role:
            case "assistant":
                parts: list[Any] = [TextPart(message.content)] if message.content else []
                parts += [ToolCallPart(c["function"]["name"], c["function"]["arguments"], c["id"]) for c in calls]
                made.append(ModelResponse(parts=parts))
            case "tool":
                key = wire["tool_call_id"]
                made.append(ModelRequest(parts=[ToolReturnPart(names.get(key, ""), message.content, key)]))
            case "system":
                made.append(ModelRequest(parts=[SystemPromptPart(message.content)]))
            case _:
                made.append(ModelRequest(parts=[UserPromptPart(message.content)]))
    return made


def sampling(settings: ModelSettings | None, effect: Generate) -> ModelSettings:
    """The settings for one more answer. Who asks for evidence says how it is sampled, and not the caller."""
    made: dict[str, Any] = {**(settings or {})}
    for name in ("temperature", "top_p", "seed"):
        made.pop(name, None)
    if effect.temperature is not None:
        made["temperature"] = effect.temperature
    if effect.limit is not None:
        made["max_tokens"] = effect.limit
    return ModelSettings(**made)


def takes_text(wanted: ModelRequestParameters) -> bool:
    """Whether any text may stand for the answer: where it is to be JSON, a refusal may not."""
    return bool(wanted.allow_text_output) and wanted.output_mode not in {"auto", *_JSON}


def _wires(messages: Sequence[ModelMessage], wanted: ModelRequestParameters) -> Iterator[dict[str, Any]]:
    standing = _instructions(messages, wanted)
    if standing:
        yield {"role": "system", "content": standing}
    for message in messages:
        if isinstance(message, ModelResponse):
            yield _said(message)
        else:
            for part in message.parts:
                wire = _wire(part)
                if wire is not None:
                    yield wire


def _instructions(messages: Sequence[ModelMessage], wanted: ModelRequestParameters) -> str:
    if wanted.instruction_parts is not None:
        return "\n\n".join(part.content for part in wanted.instruction_parts)
    told = (m.instructions for m in reversed(messages) if isinstance(m, ModelRequest) and m.instructions)
    return next(told, "")


def _wire(part: Any) -> dict[str, Any] | None:
    """None for what says nothing to a model of text."""
    match part:
        case SystemPromptPart():
            return {"role": "system", "content": part.content}
        case UserPromptPart():
            return {"role": "user", "content": _text(part.content)}
        case ToolReturnPart():
            return {"role": "tool", "content": part.model_response_str(), "tool_call_id": part.tool_call_id}
        case _ if hasattr(part, "model_response"):  # what a model is told that has to try again
            return {"role": "user", "content": part.model_response()}
        case _:
            return None


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    texts = [item if isinstance(item, str) else getattr(item, "content", None) for item in content]
    return "\n".join(text for text in texts if isinstance(text, str))


def _said(response: ModelResponse) -> dict[str, Any]:
    generation = read_off(response).generation
    wire: dict[str, Any] = {"role": "assistant", "content": generation.text or None}
    if generation.tool_calls:
        wire["tool_calls"] = wire_tool_calls(generation.tool_calls)
    return wire


def _shape(wanted: ModelRequestParameters) -> dict[str, Any]:
    """The tools, and the form of the answer, as the OpenAI wire has them."""
    made: dict[str, Any] = {}
    tools = [*wanted.function_tools, *wanted.output_tools]
    if tools:
        made["tools"] = [_tool(tool) for tool in tools]
    if wanted.output_tools and not takes_text(wanted) and wanted.output_mode not in _JSON:
        made["tool_choice"] = "required"
    if wanted.output_mode == "native" and wanted.output_object is not None:
        form = {"name": wanted.output_object.name or "answer", "schema": wanted.output_object.json_schema}
        made["response_format"] = {"type": "json_schema", "json_schema": form}
    return made


def _tool(tool: Any) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description or "", "parameters": tool.parameters_json_schema}
    return {"type": "function", "function": function}


# --- what is said ------------------------------------------------------------------------------------------------


def read_off(response: ModelResponse) -> Read:
    """Its text and its calls of tools, among them those that are a structured output."""
    said = "".join(part.content for part in response.parts if isinstance(part, TextPart))
    calls = tuple(
        ToolCall(part.tool_call_id, part.tool_name, part.args_as_json_str())
        for part in response.parts
        if isinstance(part, ToolCallPart)
    )
    reason = response.finish_reason or ("tool_call" if calls else "stop")
    shown = {"content": (response.provider_details or {}).get("logprobs")}
    generation = Generation(said, _FINISH.get(reason, reason), token_logprobs(shown), calls)
    usage = Usage(response.usage.input_tokens, response.usage.output_tokens)
    return Read(generation, usage=usage, model=response.model_name or "")


def parts_of(outcome: Outcome) -> list[Any]:
    """An answer as the parts of a response."""
    calls = outcome.generation.tool_calls if outcome.generation else ()
    made: list[Any] = [TextPart(outcome.text)] if outcome.text or not calls else []
    return made + [ToolCallPart(call.name, call.arguments, call.id) for call in calls]


def spent(came: Sequence[ModelResponse], cost: Cost) -> RequestUsage:
    """What the responses took, and beside them what gate itself asked for."""
    usage = RequestUsage()
    for response in came:
        usage += response.usage
    asked = max(0, cost.prompt_tokens - usage.input_tokens)
    written = max(0, cost.completion_tokens - usage.output_tokens)
    return usage + RequestUsage(input_tokens=asked, output_tokens=written)
