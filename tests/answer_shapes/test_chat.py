from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ParsedChatCompletion
from openai.types.chat.chat_completion_message_function_tool_call import ChatCompletionMessageFunctionToolCall
from pydantic import BaseModel

from gate.answer_shapes import shape_of
from gate.answer_shapes.chat import ChatCompletion as Shape
from gate.types import Generation, Generations, Usage
from gate.upstreams.openai_chat import read_chat
from tests.answer_shapes.answers import CALL, CHAT, TOKEN, outcome_of


class Place(BaseModel):
    country: str


def reply(**message: Any) -> ChatCompletion:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    return ChatCompletion.construct(**{**CHAT, "choices": [choice]})


def test_all_of_it_is_read() -> None:
    read = Shape().read(ChatCompletion.model_validate(CHAT))
    assert read == Shape().read(CHAT)
    assert read.generation == Generation("China", tokens=(TOKEN,))
    assert read.others == (Generation("", "tool_calls", tool_calls=(CALL,)),)
    assert (read.usage, read.model) == (Usage(12, 3), "small-1")


def test_it_is_read_as_an_upstream_reads_it() -> None:
    read = Shape().read(CHAT)
    assert read_chat("small", CHAT) == Generations((read.generation, *read.others), read.usage, read.model)


def test_a_refusal_and_parts_of_text() -> None:
    assert Shape().read(reply(content=None, refusal="I will not.")).generation == Generation("", refusal="I will not.")
    parts = [{"type": "text", "text": "In "}, {"type": "text", "text": "China."}]
    assert Shape().read(reply(content=parts)).generation.text == "In China."


@pytest.mark.parametrize("broken", [None, "no", float("nan"), 2.0])
def test_half_a_sequence_of_log_probabilities_is_none(broken: Any) -> None:
    wrong = copy.deepcopy(CHAT)
    wrong["choices"][0]["logprobs"]["content"].append({"token": ".", "logprob": broken, "top_logprobs": 3})
    assert Shape().read(wrong).generation.tokens is None


def test_it_is_written_into_the_likeness_of_the_original() -> None:
    like = ChatCompletion.model_validate(CHAT)
    like._request_id = "req_1"
    written = Shape().written(outcome_of("", CALL), like)
    assert isinstance(written, ChatCompletion)
    assert (written.id, written.created, written.system_fingerprint) == ("chatcmpl-7", 1_700_000_000, "fp_1")
    assert written._request_id == "req_1"
    assert written.usage == like.usage
    [choice] = written.choices
    assert choice.finish_reason == "tool_calls"
    assert isinstance((choice.message.tool_calls or [])[0], ChatCompletionMessageFunctionToolCall)
    assert choice.message.content is None
    assert choice.logprobs is not None  # there were some before
    bare = ChatCompletion.model_validate({**CHAT, "choices": [{**CHAT["choices"][0], "logprobs": None}]})
    assert getattr(Shape().written(outcome_of("China"), bare), "choices")[0].logprobs is None  # noqa: B009


def test_a_reply_of_a_server_that_says_things_its_own_way_is_written_too() -> None:
    like = ChatCompletion.construct(**{**CHAT, "service_tier": 7})
    outcome = outcome_of("Jiangsu")
    outcome = replace(outcome, generation=replace(outcome.generation or Generation(""), finish_reason="eos"))
    written = Shape().written(outcome, like)
    assert Shape().read(written).generation.finish_reason == "eos"


def test_a_parsed_message_is_parsed_anew() -> None:
    choice = {**CHAT["choices"][0], "message": {"role": "assistant", "content": '{"country": "China"}'}}
    choice["message"]["parsed"] = Place(country="China")
    like = ParsedChatCompletion[Place].construct(**{**CHAT, "choices": [choice]})
    written = Shape().written(outcome_of('```json\n{"country": "Peru"}\n```'), like)
    assert isinstance(written, ParsedChatCompletion)
    assert written.choices[0].message.parsed == Place(country="Peru")
    assert like.choices[0].message.parsed == Place(country="China")
    with pytest.raises(ValueError, match=r"does not fit into Place: country: Field required"):
        Shape().written(outcome_of("{}"), like)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"object": "chat.completion", "choices": []}, "holds no choices"),
        ({"object": "chat.completion"}, "holds no choices"),
        ({"object": "chat.completion", "choices": [{"index": 0}]}, "holds no message"),
        ({"object": "chat.completion", "choices": ["text"]}, "holds no message"),
    ],
)
def test_what_is_missing_is_said(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        shape_of(wrong).read(wrong)


def test_a_dict_of_choices_is_no_completion() -> None:
    assert not Shape().fits({"choices": ["tea", "coffee"]})


def test_a_piece_of_a_stream_is_no_answer() -> None:
    chunk = ChatCompletionChunk.construct(id="1", object="chat.completion.chunk", choices=[], created=1, model="m")
    with pytest.raises(TypeError, match="ChatCompletionChunk"):
        shape_of(chunk)
