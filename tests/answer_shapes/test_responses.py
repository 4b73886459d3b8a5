from __future__ import annotations

import copy
from typing import Any

import pytest
from openai.types.responses import Response as OpenAIResponse

from gate.answer_shapes.responses import Response
from gate.types import Generation, Usage
from tests.answer_shapes.answers import CALL, RESPONSE, TOKEN, outcome_of


def said(*content: dict[str, Any], **more: Any) -> dict[str, Any]:
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [*content]}
    return {**RESPONSE, "output": [message], **more}


TEXT = {"type": "output_text", "text": "China", "annotations": []}


def test_all_of_it_is_read() -> None:
    read = Response().read(OpenAIResponse.model_validate(RESPONSE))
    assert read == Response().read(RESPONSE)
    assert read.generation == Generation("China", "tool_calls", (TOKEN,), (CALL,))
    assert (read.usage, read.model) == (Usage(12, 3), "small-1")


def test_tokens_that_were_not_asked_for_are_none() -> None:
    assert Response().read(said({**TEXT, "logprobs": []})).generation.tokens is None
    two = said({**TEXT, "logprobs": RESPONSE["output"][1]["content"][0]["logprobs"]}, TEXT)
    assert Response().read(two).generation.tokens is None


def test_a_refusal() -> None:
    read = Response().read(said({"type": "refusal", "refusal": "I will not."}))
    assert read.generation == Generation("", refusal="I will not.")


@pytest.mark.parametrize(("why", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter")])
def test_what_was_cut_says_so(why: str, finish: str) -> None:
    cut = said(TEXT, status="incomplete", incomplete_details={"reason": why})
    assert Response().read(cut).generation.finish_reason == finish
    again = Response().written(outcome_of("Chi", finish=finish), RESPONSE)
    assert Response().read(again).generation.finish_reason == finish


@pytest.mark.parametrize("status", ["failed", "in_progress", "queued", "cancelled"])
def test_what_is_no_answer_yet_is_not_read(status: str) -> None:
    with pytest.raises(ValueError, match=f"its status is '{status}'"):
        Response().read({**RESPONSE, "status": status})


def test_a_reply_without_an_answer_is_not_read() -> None:
    with pytest.raises(ValueError, match="neither a message nor a call"):
        Response().read({**RESPONSE, "output": [{"type": "reasoning"}]})


def test_another_answer_takes_the_place_of_all_the_model_did() -> None:
    like = OpenAIResponse.model_validate(RESPONSE)
    before = copy.deepcopy(like)
    written = Response().written(outcome_of("Jiangsu"), like)
    assert isinstance(written, OpenAIResponse)
    assert [item.type for item in written.output] == ["message"]
    assert (written.output_text, written.id) == ("Jiangsu", "resp_7")
    assert like == before
