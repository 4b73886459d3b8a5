from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from pydantic import BaseModel, PrivateAttr

from gate.answer_shapes.looks import count, field, plain, wire_logprobs, written_anew
from gate.upstreams.openai_wire import token_logprobs
from tests.answer_shapes.answers import TOKEN


class Inner(BaseModel):
    text: str


class Outer(BaseModel):
    inner: Inner
    other: int = 1
    _kept: str = PrivateAttr(default="")


def test_a_field_is_of_a_dict_or_a_model() -> None:
    assert field({"a": 1}, "a") == 1
    assert field(Inner(text="t"), "text") == "t"
    assert field({}, "a") is None
    for other in (MagicMock(), SimpleNamespace(a=1), None, "text"):
        assert field(other, "a") is None


def test_a_model_is_made_json() -> None:
    assert plain(Outer(inner=Inner(text="t"))) == {"inner": {"text": "t"}, "other": 1}
    with pytest.raises(ValueError, match="a str is no JSON object"):
        plain("text")


def test_only_what_is_named_differs() -> None:
    like = Outer(inner=Inner(text="old"), other=2)
    like._kept = "kept"
    made = written_anew(like, {"inner": {"text": "new"}, "other": 3}, "inner")
    assert isinstance(made, Outer)
    assert (made.inner, made.other, made._kept) == (Inner(text="new"), 2, "kept")
    assert like.inner.text == "old"


def test_a_dict_is_written_as_a_dict() -> None:
    like: dict[str, Any] = {"a": 1}
    assert written_anew(like, {"a": 2}, "a") == {"a": 2}
    assert like == {"a": 1}


def test_log_probabilities_survive_the_way_there_and_back() -> None:
    assert token_logprobs({"content": wire_logprobs((TOKEN,))}) == (TOKEN,)
    assert wire_logprobs(None) is None


@pytest.mark.parametrize(("told", "read"), [(3, 3), (-1, 0), (True, 0), ("3", 0), (None, 0)])
def test_a_number_of_tokens_is_a_number(told: object, read: int) -> None:
    assert count({"input_tokens": told}, "input_tokens") == read
