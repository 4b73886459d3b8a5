"""Whether values fit schemas: the keywords tools use, and schemas that are out to do harm."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.signals.json_schema import Unjudged, fits

BOOKING = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 2, "maxLength": 20},
        "nights": {"type": "integer", "minimum": 1, "maximum": 30},
        "board": {"enum": ["none", "half", None]},
        "kind": {"const": "hotel"},
        "day": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
        "price": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "guest": {"$ref": "#/$defs/guest"},
        "code": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
        "tags": {"allOf": [{"type": "array"}, {"items": {"type": "string"}}], "uniqueItems": True},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {
        "guest": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "with": {"$ref": "#/$defs/guest"}},
            "required": ["name"],
        }
    },
}


@pytest.mark.parametrize(
    "more",
    [
        {}, {"nights": 3}, {"nights": 3.0}, {"board": None}, {"kind": "hotel"}, {"day": "2024-02-29"}, {"price": 1.5},
        {"price": None}, {"guest": {"name": "Ann", "with": {"name": "Bo"}}}, {"code": 1.5}, {"tags": ["a", "b"]},
    ],
    ids=str,
)  # fmt: skip
def test_what_fits(more: dict[str, Any]) -> None:
    assert fits({"city": "Lagos", **more}, BOOKING)


@pytest.mark.parametrize(
    "more",
    [
        {"city": "L"}, {"city": "L" * 21}, {"city": 3}, {"nights": 0}, {"nights": 31}, {"nights": 1.5}, {"nights": "3"},
        {"nights": True}, {"board": "full"}, {"kind": "hostel"}, {"day": "29 Feb"}, {"day": "x2024-02-29"},
        {"price": "1"}, {"guest": {}}, {"guest": {"name": "Ann", "with": {"name": 3}}}, {"code": 1}, {"tags": ["a", 3]},
        {"tags": ["a", "a"]}, {"extra": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit(more: dict[str, Any]) -> None:
    assert not fits({"city": "Lagos", **more}, BOOKING)


def test_a_required_field_must_be_there() -> None:
    assert not fits({}, BOOKING)


def test_a_schema_may_name_its_dialect() -> None:
    old = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]}
    assert fits([1, "x"], old)
    assert not fits(["x"], old)
    with pytest.raises(Unjudged, match="broken"):
        fits([1], {"items": [{"type": "integer"}]})  # no longer a schema in the draft of today


BROKEN: list[tuple[Any, str]] = [
    ({"type": "objekt"}, "broken"), ({"properties": 5}, "broken"), ({"$schema": "http://[x"}, "broken"),
    ({"$schema": 5}, "dialect"), (7, "no object"), (None, "no object"), ({"const": {1}}, "no JSON"),
    ({"const": 10**30}, "no JSON"), ({"$ref": "#/nowhere"}, "outside itself"), ({"$ref": "#"}, "too deeply"),
    ({"$ref": "#/x", "x": {"type": "objekt"}}, "no schema"), ({"$ref": "#/x", "x": 3}, "no schema"),
    ({"$ref": "#/x", "x": {"multipleOf": 0}}, "out of range"), ({"$ref": "#/allOf/x", "allOf": [{}]}, "broken"),
    ({"properties": {"a": {"$schema": "http://json-schema.org/draft-07/schema#"}}}, "dialect"),
    ({"patternProperties": {"a": {}}}, "patternProperties"),
    ({"additionalProperties": False, "patternProperties": {"(a+)+$": {}}}, "patternProperties"),
    ({"unevaluatedProperties": False}, "unevaluatedProperties"), ({"title": "x" * 200_000}, "too long"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "reason"), BROKEN, ids=[str(schema)[:60] for schema, _ in BROKEN])
def test_a_schema_that_cannot_be_used_is_said_to_be(schema: Any, reason: str) -> None:
    with pytest.raises(Unjudged, match=reason):
        _ = [fits(value, schema) for value in (3, {"a": 1})]


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x", "https://example.com/x", "file:///etc/hosts", "x.json"])
def test_nothing_is_ever_fetched(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError("something was fetched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(Unjudged, match="outside itself"):
        fits({"a": 1}, {"properties": {"a": {"$ref": address}}})


def in_a_moment(value: Any, schema: Any, *, seconds: float = 3.0) -> bool | str:
    began = time.process_time()
    try:
        return fits(value, schema)
    except Unjudged as error:
        return str(error)
    finally:
        assert time.process_time() - began < seconds


def test_a_pattern_that_would_backtrack_for_ever_does_not() -> None:
    assert in_a_moment("a" * 900 + "!", {"pattern": "^(a+)+$"}) is False
    assert in_a_moment("a" * 900, {"pattern": "^(a+)+$"}) is True
    assert "linear time" in str(in_a_moment("aa", {"pattern": r"^(a)\1$"}))
    assert "linear time" in str(in_a_moment("aa", {"pattern": "("}))
    assert "too long" in str(in_a_moment("a" * 2000, {"pattern": "a"}))


def test_a_pattern_may_match_anywhere_and_only_texts() -> None:
    assert fits("a cat", {"pattern": "ca"})
    assert fits(5, {"pattern": "ca"})


def test_a_small_schema_cannot_ask_for_endless_work() -> None:
    doubling = {f"x{i}": {"allOf": [{"$ref": f"#/$defs/x{i - 1}"}] * 2} for i in range(1, 40)}
    schema = {"$defs": {"x0": {"type": "string"}, **doubling}, "$ref": "#/$defs/x39"}
    assert "too long" in str(in_a_moment("s", schema))
    many = [{"a": i} for i in range(20_000)]
    assert "too long" in str(in_a_moment(many, {"uniqueItems": True}))
    numbers = list(range(8000))
    assert "too long" in str(in_a_moment(numbers, {"items": {"enum": numbers}}))
    assert "too long" in str(in_a_moment(many, {"items": {"type": "object", **{f"k{i}": 1 for i in range(5000)}}}))


def test_a_value_may_be_as_deep_as_it_likes() -> None:
    deep = json.loads('{"a":' * 900 + "1" + "}" * 900)
    assert in_a_moment(deep, {"properties": {"a": {"$ref": "#"}}}) in {True, "schema or value are nested too deeply"}


def test_checks_do_not_share_their_steps() -> None:
    schema = {"items": {"type": "integer", "minimum": 0}}
    assert all(fits(list(range(1000)), schema) for _ in range(40))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["integer", "object", "#", "#/a", "a", "(", 0.5]),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "a",
                    "$ref",
                    "properties",
                    "items",
                    "enum",
                    "anyOf",
                    "not",
                    "pattern",
                    "minimum",
                    "$id",
                    "allOf",
                ]
            ),
            below,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(value=JSON, schema=JSON)
def test_whatever_the_schema_it_is_judged_or_said_not_to_be(value: Any, schema: Any) -> None:
    assert in_a_moment(value, schema) not in {"", None}
