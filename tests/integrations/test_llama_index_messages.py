"""LlamaIndex's messages, nodes and responses, read and written."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock, ToolCallBlock
from llama_index.core.base.response.schema import AsyncStreamingResponse, Response, StreamingResponse
from llama_index.core.schema import NodeWithScore, TextNode

from gate.decorator.gate import Gate
from gate.errors import MissingExtra, RequestError
from gate.integrations.llama_index_messages import (
    chat_response,
    completion_response,
    engine_response,
    passages_of,
    question_to,
    response_of,
    tool_selections,
)
from gate.types import Passage
from tests.integrations.voting import Calling, over
from tests.scripted import Scripted, always

CALL = ToolCallBlock(tool_call_id="c1", tool_name="find", tool_kwargs={"city": "Nanjing"})


def test_a_conversation_is_read() -> None:
    said = [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(content=[TextBlock(text="Where?"), ImageBlock(url="http://127.0.0.1/a.png")]),
        ChatMessage(role="assistant", blocks=[CALL]),
        ChatMessage(role="tool", content="China", additional_kwargs={"tool_call_id": "c1"}),
        ChatMessage(role="chatbot", content="China"),
        ChatMessage(role="user"),
    ]
    question = question_to(said, {"temperature": 0.2, "stop": None})
    assert [(message.role, message.content) for message in question.messages] == [
        ("system", "Be brief."),
        ("user", "Where?"),
        ("assistant", ""),
        ("tool", "China"),
        ("assistant", "China"),
        ("user", ""),
    ]
    wire = question.messages[2].wire
    assert wire is not None
    assert wire["tool_calls"][0]["function"] == {"name": "find", "arguments": '{"city": "Nanjing"}'}
    assert question.messages[3].wire == {"role": "tool", "content": "China", "tool_call_id": "c1"}
    assert question.options == {"temperature": 0.2}
    with pytest.raises(RequestError, match="temperature"):
        question_to(said, {"temperature": "hot"})


def test_nodes_are_passages() -> None:
    about = {"file_name": "atlas.md", "file_path": "docs/atlas.md"}
    node = TextNode(id_="n1", text="Nanjing is in China.", metadata=about, start_char_idx=7)
    found = passages_of(
        Response("China", [NodeWithScore(node=node, score=0.5), NodeWithScore(node=TextNode(id_="n2"))])
    )
    assert found == (
        Passage("n1", "Nanjing is in China.", 0.5, "atlas.md", "docs/atlas.md", 7),
        Passage("n2", ""),
    )


def test_an_answer_is_written() -> None:
    made = over(Scripted("m", always("China"))).ask("Where is Nanjing?")
    said = chat_response(made)
    assert (said.message.content, said.message.role, said.delta) == ("China", MessageRole.ASSISTANT, None)
    assert said.raw["gate"]["action"] == "answer"  # type: ignore[index]
    assert said.additional_kwargs["gate"]["p"] == made.p
    assert said.additional_kwargs["total_tokens"] == made.cost.tokens
    assert json.loads(said.model_dump_json())["raw"]["gate"]["p"] == made.p
    assert chat_response(made, streamed=True).delta == "China"
    completed = completion_response(made, streamed=True)
    assert (completed.text, completed.delta, completed.raw) == ("China", "China", said.raw)
    assert completion_response(made).delta is None


def test_a_refusal_is_written() -> None:
    with Gate("balanced") as balanced:
        made = balanced.ask("Where is Qwxyz?")
    said = chat_response(made)
    assert said.message.content == said.message.additional_kwargs["refusal"] == made.text


@pytest.mark.parametrize(
    ("arguments", "read"),
    [('{"city": "Nanjing"}', {"city": "Nanjing"}), ("", {}), ("[1]", {}), ("{", {}), ("[" * 5000, {})],
)
def test_calls_of_tools_are_written_and_read(arguments: str, read: dict[str, Any]) -> None:
    said = chat_response(over(Calling("m", call=("find", arguments))).ask("Where?"))
    assert said.message.content is None
    (call,) = tool_selections(said)
    assert (call.tool_id, call.tool_name, call.tool_kwargs) == ("c1", "find", read)


def test_a_response_in_pieces_is_put_together() -> None:
    def pieces() -> Iterator[str]:
        yield from ("Chi", "na")

    async def later() -> AsyncIterator[str]:
        for piece in pieces():
            yield piece

    async def all_of_it() -> list[str]:
        given = AsyncStreamingResponse(later()), StreamingResponse(pieces()), Response("China")
        return [str(await engine_response(response)) for response in given]

    assert str(response_of(StreamingResponse(pieces()))) == "China"
    assert asyncio.run(all_of_it()) == ["China"] * 3


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_index.core.base.llms.types", None)
    monkeypatch.delitem(sys.modules, "gate.integrations.llama_index_messages")
    with pytest.raises(MissingExtra, match=r"gate-llm\[llama-index\]"):
        import gate.integrations.llama_index_messages  # noqa: F401
