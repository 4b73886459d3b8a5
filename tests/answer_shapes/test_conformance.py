"""What every shape of answers keeps to."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from pydantic import BaseModel

from gate.answer_shapes import SHAPES, shape_of
from gate.types import ToolCall
from tests.answer_shapes.answers import CHAT, MESSAGE, MODELS, RESPONSE, VALUES, outcome_of

NEW = ToolCall("call_9", "measure", '{"unit": "metre", "deep": [1, {"a": null}]}')
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _calls(calls: tuple[ToolCall, ...]) -> list[tuple[str, str, Any]]:
    return [(call.id, call.name, json.loads(call.arguments)) for call in calls]


def test_each_shape_is_tried() -> None:
    found = {shape_of(value).name for value in ("text", *MODELS.values(), *VALUES.values())}
    assert found == {shape.name for shape in SHAPES}


@pytest.mark.parametrize("calls", [(), (NEW,)], ids=["text", "tools"])
@pytest.mark.parametrize("like", MODELS.values(), ids=MODELS)
def test_what_is_written_is_read_back(like: object, calls: tuple[ToolCall, ...]) -> None:
    shape, before = shape_of(like), copy.deepcopy(like)
    written = shape.written(outcome_of("Jiangsu, in China.", *calls), like)
    back = shape.read(written)
    assert back.generation.text == "Jiangsu, in China."
    assert _calls(back.generation.tool_calls) == _calls(calls)
    assert not back.others
    assert type(written) is type(like)
    assert like == before
    assert (back.model, back.usage) == (shape.read(like).model, shape.read(like).usage)
    if isinstance(like, BaseModel):
        assert getattr(written, "id") == getattr(like, "id")  # noqa: B009


@pytest.mark.parametrize("like", VALUES.values(), ids=VALUES)
def test_a_value_is_written_back_from_its_own_text(like: object) -> None:
    shape = shape_of(like)
    text = shape.read(like).generation.text
    for spoken in (text, f"```json\n{text}\n```"):
        written = shape.written(outcome_of(spoken), like)
        assert written == like
        assert type(written) is type(like)


@pytest.mark.parametrize("like", [*MODELS.values(), *VALUES.values(), "text"])
def test_an_answer_is_read_alike_twice(like: object) -> None:
    assert shape_of(like).read(like) == shape_of(like).read(like)


def _tried(value: object) -> None:
    with contextlib.suppress(TypeError, ValueError):
        shape = shape_of(value)
        shape.read(value)
        shape.written(outcome_of("{}", NEW), value)


@given(JSON)
def test_nothing_but_a_refusal_comes_of_any_value(value: object) -> None:
    _tried(value)


@given(st.sampled_from([CHAT, RESPONSE, MESSAGE]), st.data())
def test_nothing_but_a_refusal_comes_of_a_broken_reply(whole: dict[str, Any], data: st.DataObject) -> None:
    broken = copy.deepcopy(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        at: Any = broken
        while True:
            places = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not places:
                break
            place = data.draw(st.sampled_from(places))
            if isinstance(at[place], dict | list) and data.draw(st.booleans()):
                at = at[place]
                continue
            at[place] = data.draw(JSON)
            break
    _tried(broken)
    for kind in (ChatCompletion, Response):
        _tried(kind.construct(None, **{key: value for key, value in broken.items() if key != "_fields_set"}))
    _tried(MODELS["langchain message"].model_copy(update=broken))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "value", [None, object(), BaseModel, b"bytes", {1, 2}, json.loads], ids=lambda value: type(value).__name__
)
def test_what_is_no_answer_is_told_so(value: object) -> None:
    with pytest.raises(TypeError, match=r"cannot read an answer off a .*: gate knows text, chat completions"):
        shape_of(value)
