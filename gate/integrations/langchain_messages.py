"""What LangChain's messages and callbacks are to gate, for the adapter in `gate.integrations.langchain`.

Needs the package ``langchain-core``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any, cast

from gate.answer_shapes import Read, shape_of
from gate.decorator.decided import Decided
from gate.errors import MissingExtra
from gate.integrations.judging import conversation, options_of, told
from gate.types import Message, Question

try:
    from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
    from langchain_core.exceptions import OutputParserException
    from langchain_core.globals import get_llm_cache
    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import (
        AIMessage,
        AIMessageChunk,
        BaseMessage,
        convert_to_messages,
        convert_to_openai_messages,
    )
    from langchain_core.messages.tool import tool_call_chunk
    from langchain_core.prompt_values import PromptValue
    from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig
    from langchain_core.utils.json import parse_json_markdown
    from pydantic import BaseModel, ValidationError
except ModuleNotFoundError as error:
    raise MissingExtra("langchain-core", "langchain") from error

_LANGCHAINS = frozenset({"ls_structured_output_format", "stream", "structured_output_format"})
"""Arguments of a call that are LangChain's own, and no option of a model."""
_WORDS = frozenset({"on_llm_new_token", "on_stream_event"})
"""What a callback is told of words while they are written."""
_SHAPING = ("tools", "tool_choice", "response_format")
"""What is bound to a model and says how its answer has to look."""

_NO_OBJECT = (
    "what the policy answered is no JSON of the schema asked for: a model in its ladder does not heed response_format; "
    "use method='function_calling', or another model"
)


# --- what is asked -----------------------------------------------------------------------------------------------


def question_of(messages: Sequence[BaseMessage], fields: Mapping[str, Any]) -> Question:
    options = options_of({name: value for name, value in fields.items() if name not in _LANGCHAINS})
    return Question(conversation(convert_to_openai_messages(list(messages))), options)


def question_to(model: object, given: LanguageModelInput, fields: Mapping[str, Any]) -> Question:
    """What a model is asked with these arguments, and those that are bound to it, as far as gate can tell."""
    bound = {**_bound(model), **fields}
    return question_of(_listed(given), {name: bound[name] for name in _SHAPING if _is_plain(bound.get(name))})


def messages_of(asked: Sequence[Message]) -> list[BaseMessage]:
    return convert_to_messages([dict(m.wire) if m.wire else {"role": m.role, "content": m.content} for m in asked])


def tool_choice_of(choice: str | Mapping[str, Any] | bool | None, tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """As the OpenAI wire has it."""
    if not choice:
        return {}
    if choice is True or choice == "any":
        return {"tool_choice": "required"}
    if choice in [tool["function"]["name"] for tool in tools]:
        return {"tool_choice": {"type": "function", "function": {"name": choice}}}
    return {"tool_choice": choice}


def drawing(model: Runnable[LanguageModelInput, Any], temperature: float | None) -> Runnable[LanguageModelInput, Any]:
    """The model as samples are drawn from it: from a cache, or at a temperature of 0, they would all be the same."""
    if isinstance(model, RunnableBinding):
        return model.model_copy(update={"bound": drawing(model.bound, temperature)})
    if not isinstance(model, BaseChatModel):
        return model
    changed: dict[str, Any] = {}
    if temperature is not None and isinstance(getattr(model, "temperature", None), int | float):
        changed["temperature"] = temperature
    if model.cache is not False and (model.cache or get_llm_cache()):
        changed["cache"] = False
    return model.model_copy(update=changed) if changed else model


def held(config: RunnableConfig, tag: str) -> RunnableConfig:
    """The config for a call of the model whose words no callback is shown while they are written."""
    return {**config, "callbacks": _quiet(config.get("callbacks")), "tags": [*config.get("tags", ()), tag]}


def hushed(model: Runnable[LanguageModelInput, Any]) -> Runnable[LanguageModelInput, Any]:
    """The same for callbacks that a chat model brings itself."""
    if isinstance(model, RunnableBinding):
        bound, callbacks = hushed(model.bound), model.config.get("callbacks")
        changed: dict[str, Any] = {} if bound is model.bound else {"bound": bound}
        if callbacks:
            changed["config"] = {**model.config, "callbacks": _quiet(callbacks)}
        return model.model_copy(update=changed) if changed else model
    if isinstance(model, BaseChatModel) and model.callbacks:
        return model.model_copy(update={"callbacks": _quiet(model.callbacks)})
    return model


def _quiet(callbacks: Any) -> Any:
    """LangChain's manager of callbacks, or a list of them."""
    if isinstance(callbacks, BaseCallbackManager):
        callbacks = callbacks.copy()
        callbacks.handlers = _quiet(callbacks.handlers)
        callbacks.inheritable_handlers = _quiet(callbacks.inheritable_handlers)
        return callbacks
    if callbacks is None:
        return None
    return [each if isinstance(each, _Quiet) else _Quiet(each) for each in callbacks if not _streams(each)]


class _Quiet(BaseCallbackHandler):
    """Another's handler, which hears when calls begin and end, but not their words while they are written.

    It passes for that one everywhere else, for LangChain looks whether a handler is there already.
    """

    def __init__(self, other: BaseCallbackHandler) -> None:
        object.__setattr__(self, "_other", other)

    def __getattribute__(self, name: str) -> Any:
        found = getattr(object.__getattribute__(self, "_other"), name)
        if name not in _WORDS:
            return found
        return _heard_later if iscoroutinefunction(found) else _heard

    def __setattr__(self, name: str, value: object) -> None:
        setattr(object.__getattribute__(self, "_other"), name, value)

    def __eq__(self, other: object) -> bool:
        mine = object.__getattribute__(self, "_other")
        theirs = object.__getattribute__(other, "_other") if type(other) is _Quiet else other
        return bool(mine == theirs)

    def __hash__(self) -> int:
        return hash(object.__getattribute__(self, "_other"))


def _heard(*said: object, **more: object) -> None:
    """Nothing is made of it."""


async def _heard_later(*said: object, **more: object) -> None:
    """Nothing is made of it."""


def _streams(handler: BaseCallbackHandler) -> bool:
    """Whether it passes words on to whoever reads events. LangChain has no public name for such."""
    marked = any(kind.__name__ == "_V2StreamingCallbackHandler" for kind in type(handler).__mro__)
    return marked or hasattr(handler, "tap_output_aiter")


def _listed(given: LanguageModelInput) -> Sequence[BaseMessage]:
    if isinstance(given, PromptValue):
        return given.to_messages()
    return convert_to_messages([given] if isinstance(given, str) else given)


def _bound(model: object) -> Mapping[str, Any]:
    """Arguments that are bound to a model, however often."""
    return {**_bound(model.bound), **model.kwargs} if isinstance(model, RunnableBinding) else {}


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return value is not None


# --- what is said ------------------------------------------------------------------------------------------------


def ai_message(said: object) -> AIMessage:
    """Raises `TypeError` for anything else."""
    if isinstance(said, AIMessage):
        return said
    raise TypeError(f"a model that is gated must give an AIMessage, not a {type(said).__qualname__}: parse behind it")


def object_in(said: object, model: type[BaseModel] | None) -> Any:
    """The JSON object that a message is, or what ``model`` makes of it. Raises LangChain's `OutputParserException`,
    where it is none: also where it breaks off, which LangChain's own parsers complete as they see fit."""
    text = str(ai_message(said).text)
    try:
        found = parse_json_markdown(text, parser=json.loads)
        if not isinstance(found, dict):
            raise ValueError("no object")
        return found if model is None else model.model_validate(found)
    except (ValueError, ValidationError) as error:
        raise OutputParserException(_NO_OBJECT, llm_output=text) from error


def read_off(said: object) -> Read:
    return shape_of(ai_message(said)).read(said)


def message_of(made: Decided[str], like: AIMessage | None = None) -> AIMessage:
    """The outcome as a message of its own; an answer is written in the likeness of the one it stands for, if any."""
    if made.answered:
        like = like or AIMessage("")
        message = cast("AIMessage", shape_of(like).written(made.outcome, like))
    else:
        message = AIMessage(made.text, additional_kwargs={"refusal": made.text})
    return deciding(message, made)


def deciding(message: AIMessage, made: Decided[str]) -> AIMessage:
    """The message with what was decided."""
    return message.model_copy(update={"response_metadata": {**message.response_metadata, "gate": told(made)}})


def chunk_of(message: AIMessage) -> AIMessageChunk:
    """The message as the one piece of a stream."""
    calls = [(call["name"], json.dumps(call["args"], ensure_ascii=False), call["id"]) for call in message.tool_calls]
    calls += [(call["name"] or "", call["args"] or "", call["id"]) for call in message.invalid_tool_calls]
    return AIMessageChunk(
        content=message.content,
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
        id=message.id,
        tool_call_chunks=[
            tool_call_chunk(name=name, args=args, id=key, index=place) for place, (name, args, key) in enumerate(calls)
        ],
        chunk_position="last",
    )
