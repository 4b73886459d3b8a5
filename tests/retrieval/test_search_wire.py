"""Passages out of whatever a search service replies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.errors import ConfigError, UpstreamError
from gate.retrieval.search_wire import (
    ResultFields,
    at,
    header_secret,
    passages_of,
    reply_json,
    results_in,
    sendable,
    vector_of,
)
from gate.types import Passage

FIELDS = ResultFields()


def test_a_path_leads_through_objects_and_lists_and_a_key_with_dots_comes_first() -> None:
    data = {"a": {"b": [{"c": 1}, {"c": 2}]}, "a.b": "dotted", "d": {"e.f": 3}}
    assert at(data, "a.b") == "dotted"
    assert at({"a": data["a"]}, "a.b.1.c") == 2
    assert at(data, "d.e.f") == 3
    for path in ("a.c", "a.b.2.c", "a.b.-1", "x", "a.b.²", "a..b"):
        with pytest.raises(UpstreamError, match="without a list"):
            results_in("mine", data, path)


def test_results_are_a_list_or_nothing() -> None:
    assert results_in("mine", {"results": []}, "results") == []
    assert results_in("mine", {"results": None}, "results") == []
    assert results_in("mine", [1], "") == [1]
    with pytest.raises(UpstreamError, match=r"'mine': answered without a list of results at 'data\.hits'"):
        results_in("mine", {"data": {"hits": {}}}, "data.hits")
    with pytest.raises(UpstreamError, match="answered no list"):
        results_in("mine", {}, "")


def test_a_result_becomes_a_passage() -> None:
    given = {"id": 7, "text": ["Lagos", "is\0big\ud800"], "title": "L", "url": "http://x", "score": 2}
    assert passages_of("mine", [given], FIELDS) == (Passage("7", "Lagos\nis big?", 2.0, "L", "http://x"),)
    assert passages_of("mine", [{"id": "a", "text": " "}, {"id": "b", "text": "x"}], FIELDS) == (Passage("b", "x"),)
    nameless = ResultFields(id=None, title=None, url=None, score=None)
    first, again, other = (passages_of("mine", [{"text": text}], nameless)[0] for text in ("x", "x", "y"))
    assert first == again != other
    assert first.id != other.id


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("text", "gave result 2 without a text at 'text'"),
        (None, "gave result 2 without a text at 'text'"),
        ({"id": "a"}, "gave result 2 without a text at 'text'"),
        ({"id": "a", "text": 7}, "gave result 2 without a text at 'text'"),
        ({"text": "x"}, "gave result 2 without an id at 'id'"),
        ({"text": "x", "id": True}, "gave result 2 without an id at 'id'"),
        ({"text": "x", "id": ""}, "gave result 2 without an id at 'id'"),
        ({"text": "x", "id": "a", "score": "high"}, "gave result 2 a score at 'score' that is no number"),
        ({"text": "x", "id": "a", "score": float("nan")}, "gave result 2 a score at 'score' that is no number"),
    ],
)
def test_a_result_that_lacks_what_it_should_hold_is_named(result: Any, said: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        passages_of("mine", [{"id": "1", "text": "Lagos"}, result], FIELDS)
    assert caught.value.cause == said


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "text", "score", "url"]), inner),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=3))
def test_any_results_are_read_or_refused_and_what_is_read_can_be_sent(results: list[Any]) -> None:
    try:
        found = passages_of("mine", results, FIELDS)
    except UpstreamError:
        return
    for passage in found:
        (passage.id + passage.text + passage.title + passage.source).encode()
        assert "\0" not in passage.text
        json.dumps(passage.score, allow_nan=False)


def test_a_reply_of_twenty_megabytes_is_refused() -> None:
    with pytest.raises(UpstreamError, match="sent more than 8 MiB"):
        reply_json("mine", 200, {}, b" " * (20 * 2**20), None, "url")


def test_a_query_is_sent_without_what_services_choke_on() -> None:
    assert sendable("a\0b\ud800c\x1b\n東京") == "a b?c \n東京"


def test_who_searches_by_a_vector_must_be_given_one() -> None:
    assert vector_of("mine", (0.6, 0.8)) == [0.6, 0.8]
    with pytest.raises(UpstreamError, match="without the vector of the query"):
        vector_of("mine", None)


def test_a_key_that_no_header_holds_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "schlüssel")
    with pytest.raises(ConfigError, match="'A_SECRET' is not printable ASCII") as caught:
        header_secret("A_SECRET")
    assert "schl" not in str(caught.value)


def test_one_field_is_not_two_things() -> None:
    with pytest.raises(ValidationError, match="the same field"):
        ResultFields(id="text")
