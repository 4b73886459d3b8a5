"""pydantic-ai's messages, read and written."""

from __future__ import annotations

import sys

import pytest
from pydantic_ai.messages import (
    BinaryContent,
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    RetryFeedbackPart,
    RetryInfo,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from gate.effects import Generate
from gate.errors import MissingExtra, RequestError
from gate.integrations.pydantic_ai_messages import (
    messages_of,
    parts_of,
    question_of,
    read_off,
    sampling,
    spent,
    takes_text,
)
from gate.types import Action, Cost, Generation, Message, Outcome, ToolCall

TEXT = ModelRequestParameters()
FIND = ToolDefinition(name="find", description="Find a city.")
ANSWER = ToolDefinition(name="final_result", kind="output")
CONVERSATION: list[ModelMessage] = [
    ModelRequest(parts=[SystemPromptPart("Be brief."), UserPromptPart("Where is Nanjing?")]),
    ModelResponse(parts=[ThinkingPart("hm"), ToolCallPart("find", {"city": "Nanjing"}, "c1")]),
    ModelRequest(parts=[ToolReturnPart("find", "China", "c1")]),
    ModelResponse(parts=[TextPart("Chi"), TextPart("na")]),
    ModelRequest(parts=[UserPromptPart(["Sure?", BinaryContent(b"", media_type="image/png")])]),
]


def test_a_conversation_is_read() -> None:
    question = question_of(CONVERSATION, None, TEXT)
    assert [(message.role, message.content) for message in question.messages] == [
        ("system", "Be brief."),
        ("user", "Where is Nanjing?"),
        ("assistant", ""),
        ("tool", "China"),
        ("assistant", "China"),
        ("user", "Sure?"),
    ]
    wire = question.messages[2].wire
    assert wire is not None
    assert wire["tool_calls"][0]["function"] == {"name": "find", "arguments": '{"city":"Nanjing"}'}
    assert question.messages[3].wire == {"role": "tool", "content": "China", "tool_call_id": "c1"}


def test_what_gate_puts_otherwise_is_written_back() -> None:
    again = messages_of(question_of(CONVERSATION, None, TEXT).messages)
    parts = [part for message in again for part in message.parts]
    assert [type(part) for part in parts] == [
        SystemPromptPart,
        UserPromptPart,
        ToolCallPart,
        ToolReturnPart,
        TextPart,
        UserPromptPart,
    ]
    assert isinstance(parts[3], ToolReturnPart)
    assert parts[3].tool_name == "find"
    (plain,) = messages_of([Message("user", "Hm?")])
    assert plain.parts[0].content == "Hm?"  # type: ignore[union-attr]


def test_instructions_are_part_of_what_is_asked() -> None:
    asked = [ModelRequest(parts=[UserPromptPart("Where?")], instructions="In history.")]
    assert question_of(asked, None, TEXT).messages[0].content == "In history."
    standing = ModelRequestParameters(instruction_parts=[InstructionPart(content="Stand.")])
    assert question_of(asked, None, standing).messages[0].content == "Stand."


def test_what_has_to_be_tried_again_is_said() -> None:
    question = question_of(
        [ModelRequest(parts=[RetryFeedbackPart("Too long.", retry=RetryInfo("model_retry"))])], None, TEXT
    )
    assert "Too long." in question.text


def test_settings_and_tools_are_options() -> None:
    settings = ModelSettings(temperature=0.2, max_tokens=9, stop_sequences=["\n"], timeout=3)
    wanted = ModelRequestParameters(function_tools=[FIND], output_tools=[ANSWER], allow_text_output=False)
    options = question_of(CONVERSATION, settings, wanted).options
    assert [tool["function"]["name"] for tool in options["tools"]] == ["find", "final_result"]
    rest = {name: value for name, value in options.items() if name != "tools"}
    assert rest == {"temperature": 0.2, "max_tokens": 9, "stop": ["\n"], "tool_choice": "required"}
    with pytest.raises(RequestError, match="temperature"):
        question_of(CONVERSATION, ModelSettings(temperature=9.0), wanted)


def test_an_output_of_the_servers_own_making_is_a_response_format() -> None:
    form = OutputObjectDefinition(json_schema={"type": "object"}, name="City")
    wanted = ModelRequestParameters(output_mode="native", output_object=form)
    options = question_of(CONVERSATION, None, wanted).options
    assert options["response_format"]["json_schema"] == {"name": "City", "schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (TEXT, True),
        (ModelRequestParameters(allow_text_output=False), False),
        (ModelRequestParameters(output_mode="auto"), False),
        (ModelRequestParameters(output_mode="native"), False),
        (ModelRequestParameters(output_mode="prompted"), False),
    ],
)
def test_a_refusal_may_stand_where_any_text_may(wanted: ModelRequestParameters, takes: bool) -> None:
    assert takes_text(wanted) is takes


def test_samples_are_drawn_as_the_policy_says() -> None:
    given = ModelSettings(temperature=0.0, seed=3, top_p=0.1, max_tokens=50)
    assert sampling(given, Generate("m", (), temperature=0.9, cap=20)) == {"temperature": 0.9, "max_tokens": 20}
    assert sampling(None, Generate("m", ())) == {}


def test_a_response_is_read() -> None:
    shown = [{"token": "China", "logprob": -0.1, "top_logprobs": []}]
    said = ModelResponse(
        parts=[ThinkingPart("hm"), TextPart("China"), ToolCallPart("find", '{"city": "Nanjing"}', "c1")],
        usage=RequestUsage(input_tokens=9, output_tokens=2),
        model_name="m",
        finish_reason="tool_call",
        provider_details={"logprobs": shown},
    )
    read = read_off(said)
    assert (read.generation.text, read.generation.finish_reason, read.model) == ("China", "tool_calls", "m")
    assert read.generation.tool_calls == (ToolCall("c1", "find", '{"city":"Nanjing"}'),)
    assert read.generation.tokens is not None
    assert (read.usage.prompt_tokens, read.usage.completion_tokens) == (9, 2)
    assert read_off(ModelResponse(parts=[TextPart("China")])).generation == Generation("China")


def test_an_answer_is_written() -> None:
    call = ToolCall("c1", "find", "{}")
    both = Outcome(Action.ANSWER, "China", (), Cost(), Generation("China", tool_calls=(call,)))
    assert [type(part) for part in parts_of(both)] == [TextPart, ToolCallPart]
    only = Outcome(Action.ANSWER, "", (), Cost(), Generation("", tool_calls=(call,)))
    assert parts_of(only) == [ToolCallPart("find", "{}", "c1")]
    assert parts_of(Outcome(Action.ANSWER, "", (), Cost(), Generation(""))) == [TextPart("")]


def test_usage_is_of_all_that_was_asked() -> None:
    came = [ModelResponse(parts=[], usage=RequestUsage(input_tokens=10, output_tokens=2, cache_read_tokens=4))] * 3
    usage = spent(came, Cost(calls=5, prompt_tokens=50, completion_tokens=9))
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (50, 9, 12)
    assert spent(came, Cost()).input_tokens == 30
    assert came[0].usage.input_tokens == 10


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_ai.messages", None)
    monkeypatch.delitem(sys.modules, "gate.integrations.pydantic_ai_messages")
    with pytest.raises(MissingExtra, match=r"gate-llm\[pydantic-ai\]"):
        import gate.integrations.pydantic_ai_messages  # noqa: F401
