"""LiteLLM's own objects in the shape of a chat completion."""

from __future__ import annotations

import copy

import litellm
import pytest
from litellm.types.utils import ModelResponse

from gate.answer_shapes import shape_of
from gate.answer_shapes.chat import ChatCompletion
from gate.types import Generation, Usage
from tests.answer_shapes.answers import CALL, CHAT, TOKEN, outcome_of

pytestmark = pytest.mark.filterwarnings("ignore:Items? .* using the `ReadOnly` qualifier:UserWarning")
"""Of LiteLLM's own classes, when pydantic first looks at them."""


def test_a_reply_of_litellm_is_read_and_written() -> None:
    like = ModelResponse(**copy.deepcopy(CHAT))
    like._hidden_params["response_cost"] = 0.5
    before = like.model_dump()
    shape = shape_of(like)
    assert isinstance(shape, ChatCompletion)
    read = shape.read(like)
    assert read.generation == Generation("China", tokens=(TOKEN,))
    assert read.others == (Generation("", "tool_calls", tool_calls=(CALL,)),)
    assert (read.usage, read.model) == (Usage(12, 3), "small-1")
    for outcome in (outcome_of("Jiangsu"), outcome_of("", CALL)):
        written = shape.written(outcome, like)
        assert isinstance(written, ModelResponse)
        back = shape.read(written)
        assert back.generation.text == outcome.text
        assert outcome.generation is not None
        assert back.generation.tool_calls == outcome.generation.tool_calls
        assert (written.id, written._hidden_params) == ("chatcmpl-7", like._hidden_params)
        assert back.usage == read.usage
    assert like.model_dump() == before


def test_a_mocked_call_is_read() -> None:
    reply = litellm.completion(model="gpt-4o-mini", messages=[{"role": "user", "content": "?"}], mock_response="China")
    assert shape_of(reply).read(reply).generation.text == "China"
