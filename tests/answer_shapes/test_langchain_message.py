from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

from gate.answer_shapes import shape_of
from gate.answer_shapes.langchain_message import LangChainMessage
from gate.types import Generation, ToolCall, Usage
from tests.answer_shapes.answers import CALL, TOKEN, lang_chain, outcome_of


def test_all_of_it_is_read() -> None:
    read = LangChainMessage().read(lang_chain())
    assert read.generation == Generation("China", "tool_calls", (TOKEN,), (CALL,))
    assert (read.usage, read.model) == (Usage(12, 3), "small-1")


def test_thinking_is_no_part_of_the_answer() -> None:
    parts = [{"type": "thinking", "thinking": "Hm.", "text": "Hm."}, "In ", {"type": "text", "text": "China."}]
    message = AIMessage(content=parts, response_metadata={"stop_reason": "max_tokens", "model": "m"})
    read = LangChainMessage().read(message)
    assert (read.generation, read.model) == (Generation("In China.", "length"), "m")


def test_a_refusal() -> None:
    message = AIMessage(content="", additional_kwargs={"refusal": "I will not."})
    assert LangChainMessage().read(message).generation == Generation("", refusal="I will not.")
    again = LangChainMessage().written(outcome_of("China"), message)
    assert LangChainMessage().read(again).generation.refusal is None


def test_a_chunk_is_read_and_written() -> None:
    message = AIMessageChunk(content="China", tool_call_chunks=[{"name": "f", "args": "{}", "id": "1", "index": 0}])
    assert LangChainMessage().read(message).generation.tool_calls == (ToolCall("1", "f", "{}"),)
    written = LangChainMessage().written(outcome_of("Jiangsu"), message)
    assert isinstance(written, AIMessageChunk)
    assert (written.content, written.tool_calls, written.tool_call_chunks) == ("Jiangsu", [], [])


def test_arguments_that_are_no_object_stand_apart() -> None:
    written = LangChainMessage().written(outcome_of("", ToolCall("1", "f", "{broken")), lang_chain())
    assert isinstance(written, AIMessage)
    assert written.tool_calls == []
    assert written.invalid_tool_calls[0]["args"] == "{broken"
    assert LangChainMessage().read(written).generation.tool_calls == (ToolCall("1", "f", "{broken"),)


def test_what_a_person_said_is_no_answer() -> None:
    with pytest.raises(TypeError, match="HumanMessage"):
        shape_of(HumanMessage(content="Where is Nanjing?"))
    with pytest.raises(ValueError, match="is no message of LangChain"):
        LangChainMessage().written(outcome_of("China"), "text")
