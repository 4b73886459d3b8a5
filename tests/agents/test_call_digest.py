"""Whether two calls do the same, however they are written."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

from gate.agents.call_digest import digest_of, plain, schema_defaults, signature_defaults
from gate.types import ToolCall

DAY = date(2031, 1, 1)


def test_a_digest_is_of_what_a_call_does() -> None:
    same = {digest_of(ToolCall(i, "f", text)) for i, text in (("a", '{"x": 1, "y": [2]}'), ("b", '{"y":[2],"x":1}'))}
    others = {digest_of(ToolCall("", *c)) for c in (("g", '{"x": 1, "y": [2]}'), ("f", '{"x": 1}'), ("f", "no json"))}
    assert (len(same), len(same | others)) == (1, 4)
    assert digest_of(ToolCall("", "f", '{"x": "\\ud800"}'))


def test_values_are_compared_and_not_how_they_are_written() -> None:
    texts = [
        '{"to": "bob", "amount": 100}',
        '{"to": "bob", "amount": 100.0}',
        '{"to": "b\\u006fb", "amount": 1e2}',
        '{"amount": 1.00E+2, "to": "bob"}',
    ]
    assert len({digest_of(ToolCall("", "pay", text)) for text in texts}) == 1
    others = ['{"x": 1}', '{"x": true}', '{"x": "1"}', '{"x": 1.5}', '{"x": [1]}', '{"x": {"0": 1}}', '{"x": null}']
    assert len({digest_of(ToolCall("", "f", text)) for text in others}) == len(others)
    huge = ['{"x": 9007199254740993}', '{"x": 9007199254740992}']
    assert len({digest_of(ToolCall("", "f", text)) for text in huge}) == 2, "whole numbers are exact"
    assert digest_of(ToolCall("", "f", '{"x": -0.0}')) == digest_of(ToolCall("", "f", '{"x": 0}'))
    assert digest_of(ToolCall("", "f", "")) == digest_of(ToolCall("", "f", "{}"))
    assert digest_of(ToolCall("", "f", '{"x": ' + "[" * 100_000))


def test_what_is_left_out_is_its_default() -> None:
    bare, spelled = ToolCall("", "f", '{"x": 1}'), ToolCall("", "f", '{"x": 1, "n": 2.0}')
    assert digest_of(bare, {"n": 2}) == digest_of(spelled, {"n": 2}) == digest_of(spelled)
    assert digest_of(bare, {"n": 3}) != digest_of(spelled, {"n": 3})


def test_defaults_are_read_off_schemas_and_functions_as_far_as_they_are_json() -> None:
    class Place(BaseModel):
        city: str = "Oslo"

    here = Place()

    def tool(to: str, note: str = "", at: Any = here, on: Any = DAY, context: Any = None, **more: Any) -> None: ...

    assert signature_defaults(tool, frozenset({"context"})) == {"note": "", "at": {"city": "Oslo"}}
    assert signature_defaults(dict) == {}
    properties = {"to": {"type": "string"}, "note": {"default": ""}, "any": True}
    assert schema_defaults({"properties": properties}) == {"note": ""}
    for none in (None, True, {"properties": []}, {}):
        assert schema_defaults(none) == {}


def test_what_is_no_json_is_refused() -> None:
    assert plain((1, "a")) == [1, "a"]
    for value in (object(), float("nan")):
        with pytest.raises((TypeError, ValueError)):
            plain(value)
