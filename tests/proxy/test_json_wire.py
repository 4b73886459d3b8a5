"""JSON on the wire: what no body may be, and what is written whatever it is made of."""

from __future__ import annotations

import json
import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import RequestError
from gate.proxy.json_wire import MAX_DEPTH, dumps, loads, sse
from tests.proxy.asking import JSON, USER, body


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
@pytest.mark.parametrize(("template", "above"), [({"metadata": "HERE"}, 1), ({"messages": [USER | {"x": "HERE"}]}, 3)])
def test_what_is_nested_too_deep_is_refused(
    template: dict[str, object], above: int, opening: str, closing: str
) -> None:
    def asking(levels: int) -> bytes:
        """A body of so many levels, of which the template has some; text, as Python's own encoder goes less deep."""
        inside = levels - above
        return body(**template).replace(b'"HERE"', (opening * inside + "1" + closing * inside).encode())

    assert loads(asking(MAX_DEPTH))["model"] == "gate"
    for levels in (MAX_DEPTH + 1, 900, 1000):
        with pytest.raises(RequestError, match="nested too deep: at most 64 levels"):
            loads(asking(levels))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"model": NaN}', b"{}" + b"}" * 9])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(RequestError):
        loads(raw)


def test_lone_surrogates_do_not_break_the_wire() -> None:
    assert json.loads(dumps({"text": ["a\ud800b"]})) == {"text": ["a?b"]}
    assert dumps({"text": "a\ud800b"}, orjson.OPT_INDENT_2) == b'{\n  "text": "a?b"\n}'


def test_brackets_in_text_are_no_depth() -> None:
    assert loads(body(x="[{" * 500))["x"] == "[{" * 500
    assert loads(body(x=[[1]] * 500))["x"] == [[1]] * 500


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}',
        b'{"a" : 1, "b":2, "a"\n:1}',
        b'{"x":[{"y":{"a":null,"a":null}}]}',
        b'{"a":"\\u0022\\u0022","a":1}',  # as many quotes as if it stood once
        b'{"a":1,"\\u0061":2}',
        b'{"a":1,"a":1.5e400}'.replace(b"e400", b""),
    ],
)
def test_a_field_that_stands_twice_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(RequestError, match="the field 'a' stands twice in one object"):
        loads(raw)


def test_in_a_large_body_it_is_refused_without_being_looked_for() -> None:
    with pytest.raises(RequestError, match="a field stands twice"):
        loads(b'{"a":1,"a":"' + b"x" * 2**20 + b'"}')


def test_a_long_name_is_not_repeated_whole() -> None:
    name = "n" * 5000
    with pytest.raises(RequestError) as caught:
        loads(f'{{"{name}":1,"{name}":2}}'.encode())
    assert len(str(caught.value)) < 100


@given(JSON, st.booleans(), st.sampled_from([None, 1]))
def test_what_stands_once_is_read_however_it_is_spelt(value: object, escaped: bool, indent: int | None) -> None:
    raw = json.dumps({"x": value, 'q"uo\\te': '"\\"'}, ensure_ascii=escaped, indent=indent)
    quotes_by_number = re.sub(r"\\(.)", lambda found: "\\u0022" if found[1] == '"' else found[0], raw)
    for spelt in (raw, quotes_by_number):
        assert loads(spelt.encode()) == json.loads(raw)


@given(JSON, JSON)
def test_whatever_stands_twice_is_refused(first: object, second: object) -> None:
    raw = f'{{"k":[{{"twice": {json.dumps(first)}, "twice":{json.dumps(second)}}}]}}'
    with pytest.raises(RequestError, match="'twice' stands twice"):
        loads(raw.encode())


def test_an_event_is_one_line_of_data_and_has_a_name_where_it_is_given_one() -> None:
    assert sse({"a": "b\nc"}) == b'data: {"a":"b\\nc"}\n\n'
    assert sse({}, "ping") == b"event: ping\ndata: {}\n\n"


@pytest.mark.parametrize("text", ["\\u0022", 'a\\"', "\\\\u0022", '\\u0022"', "\\\\\\u0022\\"])
def test_a_text_about_escapes_is_read_as_it_is(text: str) -> None:
    raw = json.dumps({"x": text, "y": 1})
    assert loads(raw.encode()) == {"x": text, "y": 1}
    with pytest.raises(RequestError, match="'y' stands twice"):
        loads(raw.encode().replace(b'"y"', b'"y":2,"y"'))
