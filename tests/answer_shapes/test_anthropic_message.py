from __future__ import annotations

import pytest
from anthropic.types import Message

from gate.answer_shapes.anthropic_message import AnthropicMessage, arguments_of
from gate.types import Generation, ToolCall, Usage
from tests.answer_shapes.answers import CALL, MESSAGE, outcome_of


def test_all_of_it_is_read() -> None:
    read = AnthropicMessage().read(Message.model_validate(MESSAGE))
    assert read == AnthropicMessage().read(MESSAGE)
    assert read.generation == Generation("China", "tool_calls", None, (CALL,))
    assert (read.usage, read.model) == (Usage(12, 3), "small-1")  # with what the cache held


@pytest.mark.parametrize(
    ("stopped", "finish"),
    [("max_tokens", "length"), ("end_turn", "stop"), ("pause_turn", "pause_turn"), (None, "stop")],
)
def test_how_it_ended(stopped: str | None, finish: str) -> None:
    assert AnthropicMessage().read({**MESSAGE, "stop_reason": stopped}).generation.finish_reason == finish


def test_a_refusal_is_no_text() -> None:
    said = {**MESSAGE, "content": [{"type": "text", "text": "I will not."}], "stop_reason": "refusal"}
    assert AnthropicMessage().read(said).generation == Generation("", "content_filter", refusal="I will not.")
    silent = {**said, "content": []}
    assert AnthropicMessage().read(silent).generation.refusal == "the model declined to answer"
    written = AnthropicMessage().written(outcome_of("", refusal="No."), MESSAGE)
    assert AnthropicMessage().read(written).generation.refusal == "No."


def test_another_answer_takes_the_place_of_all_the_model_did() -> None:
    written = AnthropicMessage().written(outcome_of("Jiangsu"), Message.model_validate(MESSAGE))
    assert isinstance(written, Message)
    assert [block.type for block in written.content] == ["text"]
    assert (written.stop_reason, written.id) == ("end_turn", "msg_7")


@pytest.mark.parametrize("arguments", ["[1]", "{", "[" * 100_000, '"a"'], ids=["list", "broken", "deep", "text"])
def test_a_tool_is_called_with_an_object(arguments: str) -> None:
    with pytest.raises(ValueError, match="the arguments of the tool 'look_up' are no JSON object"):
        AnthropicMessage().written(outcome_of("", ToolCall("1", "look_up", arguments)), MESSAGE)
    assert arguments_of(ToolCall("1", "now", "")) == {}
