"""LangChain's messages and callbacks, read and written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, CallbackManager
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers._streaming import _V2StreamingCallbackHandler

from gate.decorator.gate import Gate
from gate.errors import MissingExtra
from gate.integrations.langchain_messages import (
    ai_message,
    chunk_of,
    drawing,
    held,
    message_of,
    messages_of,
    question_of,
    question_to,
    read_off,
    tool_choice_of,
)
from gate.types import Message, ToolCall
from tests.integrations.voting import REFUSAL, voting

CALL = {"name": "find", "args": {"city": "Nanjing"}, "id": "c1", "type": "tool_call"}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with voting(tmp_path_factory.mktemp("policies")) as opened_once:
        yield opened_once


def test_a_conversation_is_read_and_written_back() -> None:
    said = [
        SystemMessage("Be brief."),
        HumanMessage("Where is Nanjing?"),
        AIMessage("", tool_calls=[CALL]),
        ToolMessage("China", tool_call_id="c1"),
        HumanMessage([{"type": "text", "text": "Sure?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]),
    ]
    question = question_of(said, {"temperature": 0.2, "stop": None, "ls_structured_output_format": {}})
    roles = [(message.role, message.content) for message in question.messages]
    assert roles[:2] == [("system", "Be brief."), ("user", "Where is Nanjing?")]
    assert roles[3:] == [("tool", "China"), ("user", "Sure?")]
    assert question.options == {"temperature": 0.2}
    assert [type(message) for message in messages_of(question.messages)] == [type(message) for message in said]
    again = messages_of(question.messages)[2]
    assert isinstance(again, AIMessage)
    assert again.tool_calls[0]["args"] == {"city": "Nanjing"}
    assert messages_of([Message("user", "Hm?")])[0].content == "Hm?"


@pytest.mark.parametrize(
    "given", ["Where?", [("user", "Where?")], ChatPromptTemplate.from_messages(["Where?"]).invoke({})]
)
def test_whatever_a_model_takes_is_a_question(given: Any) -> None:
    assert question_to(None, given, {}).text == "Where?"


def test_what_is_bound_to_a_model_is_part_of_the_question() -> None:
    model = GenericFakeChatModel(messages=iter(())).bind(tools=[TOOL]).bind(tool_choice="auto", temperature=0)
    asked = question_to(model, "Where?", {"response_format": {"type": "json_object"}})
    assert dict(asked.options) == {
        "tools": [TOOL],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
    }
    assert question_to(model, "Where?", {"response_format": dict}).options.keys() == {"tools", "tool_choice"}


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (None, None),
        ("auto", "auto"),
        ("any", "required"),
        (True, "required"),
        ("find", {"type": "function", "function": {"name": "find"}}),
        ({"type": "function"}, {"type": "function"}),
    ],
)
def test_a_choice_of_tools_is_as_the_wire_has_it(choice: Any, wire: Any) -> None:
    assert tool_choice_of(choice, [TOOL]).get("tool_choice") == wire


class Warm(FakeListChatModel):
    temperature: float | None = None


def test_samples_are_drawn_at_a_temperature_where_the_model_has_one_set() -> None:
    cold = Warm(responses=["China"], temperature=0.0)
    assert drawing(cold, 0.9).temperature == 0.9  # type: ignore[attr-defined]
    assert cold.temperature == 0.0
    bound: Any = drawing(cold.bind(stop=["\n"]), 0.9)
    assert (bound.bound.temperature, bound.kwargs) == (0.9, {"stop": ["\n"]})


def test_a_model_is_asked_as_it_is_where_nothing_has_to_change() -> None:
    servers_own, other = Warm(responses=["China"]), RunnableLambda(lambda given: AIMessage("China"))
    assert drawing(servers_own, 0.9) is servers_own
    assert drawing(other, 0.9) is other


class Streaming(BaseCallbackHandler):
    def tap_output_aiter(self, run_id: Any, output: Any) -> Any:
        return output


class StreamingEvents(_V2StreamingCallbackHandler, BaseCallbackHandler):
    pass


@pytest.mark.parametrize("kind", [Streaming, StreamingEvents])
def test_callbacks_that_stream_are_not_told_of_drafts(kind: type[BaseCallbackHandler]) -> None:
    plain, streaming = BaseCallbackHandler(), kind()
    manager = CallbackManager([plain, streaming], [streaming, plain])
    config = held({"callbacks": manager, "tags": ["mine"]}, "gate:draft")
    inner = config["callbacks"]
    assert isinstance(inner, CallbackManager)
    assert (inner.handlers, inner.inheritable_handlers) == ([plain], [plain])
    assert config["tags"] == ["mine", "gate:draft"]
    assert manager.handlers == [plain, streaming]
    assert isinstance(held({"callbacks": [plain, streaming]}, "gate:draft")["callbacks"], list)


def test_a_handler_that_is_kept_from_words_passes_for_itself() -> None:
    class Mine(BaseCallbackHandler):
        seen = 0

        def on_llm_new_token(self, *said: Any, **more: Any) -> None:
            raise AssertionError("shown")

    mine = Mine()
    manager = CallbackManager([mine])
    inner: Any = held({"callbacks": held({"callbacks": manager}, "a")["callbacks"]}, "b")["callbacks"]
    (quiet,) = inner.handlers
    assert isinstance(quiet, Mine)
    quiet.on_llm_new_token("Brazil")
    quiet.seen = 3
    assert (mine.seen, quiet == mine, mine == quiet, hash(quiet)) == (3, True, True, hash(mine))
    inner.add_handler(mine)
    assert len(inner.handlers) == 1


def test_an_answer_is_read() -> None:
    said = AIMessage(
        "China",
        tool_calls=[CALL],
        usage_metadata={"input_tokens": 9, "output_tokens": 2, "total_tokens": 11},
        response_metadata={"model_name": "m", "logprobs": {"content": [{"token": "China", "logprob": -0.1}]}},
    )
    read = read_off(said)
    assert (read.generation.text, read.usage.prompt_tokens, read.model) == ("China", 9, "m")
    assert read.generation.tool_calls == (ToolCall("c1", "find", '{"city": "Nanjing"}'),)
    assert read.generation.tokens is not None


def test_what_is_no_message_of_a_model_is_refused() -> None:
    with pytest.raises(TypeError, match="AIMessage, not a str: parse behind it"):
        ai_message("China")


def test_a_chunk_is_the_whole_message() -> None:
    said = AIMessage(
        "China",
        id="1",
        tool_calls=[CALL],
        invalid_tool_calls=[{"name": "find", "args": "{", "id": "c2", "error": "", "type": "invalid_tool_call"}],
        response_metadata={"gate": {"p": 0.9}},
    )
    chunk = chunk_of(said)
    assert (chunk.content, chunk.id, chunk.chunk_position) == ("China", "1", "last")
    assert chunk.tool_calls[0]["args"] == {"city": "Nanjing"}
    assert [call["args"] for call in chunk.tool_call_chunks] == ['{"city": "Nanjing"}', "{"]
    assert (chunk + chunk_of(AIMessage(""))).response_metadata["gate"] == {"p": 0.9}


def test_a_refusal_is_a_message_that_says_so(gate: Gate) -> None:
    made = gate.judge("Where?", "China")
    message = message_of(made)  # type: ignore[arg-type]
    assert (message.content, message.additional_kwargs["refusal"]) == (REFUSAL, REFUSAL)
    assert message.response_metadata["gate"]["action"] == "abstain"


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_core.callbacks", None)
    monkeypatch.delitem(sys.modules, "gate.integrations.langchain_messages")
    with pytest.raises(MissingExtra, match=r"gate-llm\[langchain\]"):
        import gate.integrations.langchain_messages  # noqa: F401
