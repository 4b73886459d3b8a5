"""JSON compared field by field."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import Draft, Samples
from gate.ports import Evidence, Missing
from gate.signals.json_fields import JsonFieldAgreement, field_agreement, fields, parse_json, shares
from gate.types import Cost, Generation

KEYS = st.text(max_size=4) | st.sampled_from(["a/b", "~", "~1", ""])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6)
)
VALUES = st.recursive(SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3))
DOCUMENTS = st.lists(VALUES, max_size=3) | st.dictionaries(KEYS, VALUES, max_size=3)


def measured(draft: str, *samples: str) -> float | Missing:
    evidence = Evidence().having(Draft(Cost(), Generation(draft), "small"))
    return JsonFieldAgreement().measure(evidence.having(Samples(Cost(), tuple(Generation(text) for text in samples))))


def test_fields_are_the_leaves_by_their_pointers() -> None:
    value = {"a/b": {"~": [1, {"x": None}]}, "empty": {}, "none": [], "": True}
    assert fields(value) == {"/a~1b/~0/0": 1, "/a~1b/~0/1/x": None, "/empty": {}, "/none": [], "/": True}
    assert list(fields(value)) == ["/a~1b/~0/0", "/a~1b/~0/1/x", "/empty", "/none", "/"]
    assert fields("x", "/at") == {"/at": "x"}


def test_each_field_has_its_own_share() -> None:
    draft = '{"city": "Lagos", "people": 15000000, "near": ["Ibadan", "Cotonou"], "capital": false}'
    samples = (
        '{"city": "lagos", "people": 1.5e7, "near": ["Ibadan"], "capital": false}',
        '{"city": "Lagos", "people": 14000000, "near": ["Ibadan", "Accra"], "capital": 0}',
        '{"city": "Abuja", "people": "15000000", "near": "Ibadan", "capital": false}',
        "I do not know.",
    )
    assert field_agreement(draft, samples) == {
        "/city": 0.5, "/people": 0.25, "/near/0": 0.5, "/near/1": 0.0, "/capital": 0.5
    }  # fmt: skip
    assert measured(draft, *samples) == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True), (1, True, False), (0, False, False), (None, False, False), (None, None, True),
        ("Lagos", "LAGOS ", True), ("the city of Lagos", "City of Lagos!", True), ("C++", "C", False),
        ("-5", "5", False), ("a_b", "ab", False), (10**30, 10**30 + 1, False), ({}, [], False), ([], [], True),
        ("1", 1, False),
    ],
)  # fmt: skip
def test_what_counts_as_the_same_value(one: Any, other: Any, same: bool) -> None:
    assert shares({"": one}, [{"": other}]) == {"": float(same)}


def test_a_field_that_most_samples_have_and_the_draft_lacks_counts_too() -> None:
    draft, more = '{"city": "Lagos"}', '{"city": "Lagos", "unit": "C"}'
    assert field_agreement(draft, [more, more, draft]) == pytest.approx({"/city": 1.0, "/unit": 1 / 3})
    assert field_agreement(draft, [more, draft]) == {"/city": 1.0}


def test_a_fence_around_the_json_is_taken_off() -> None:
    assert measured('```json\n{"a": 1}\n```', '{"a": 1}', '\n```\n{"a": 1}\n```\n', 'So:\n```json\n{"a": 1}\n```') == (
        pytest.approx(2 / 3)
    )


@pytest.mark.parametrize("text", ["Nigeria", "", "3", '"x"', "null", '{"a": NaN}', '{"a": 1e999}', "[" * 50_000, "{"])
def test_a_draft_that_is_no_object_or_array_has_no_fields(text: str) -> None:
    assert measured(text, "{}") == Missing("the draft is no JSON object or array")


def test_without_samples_there_is_no_share() -> None:
    assert measured("{}") == Missing("no samples were drawn")
    with pytest.raises(ValueError, match="none"):
        field_agreement("{}", [])


@given(value=DOCUMENTS, others=st.lists(DOCUMENTS, min_size=1, max_size=4))
def test_shares_lie_between_none_and_all_and_a_draft_agrees_with_itself(value: Any, others: list[Any]) -> None:
    draft = json.dumps(value)
    assert set(field_agreement(draft, [draft] * 3).values()) == {1.0}
    found = field_agreement(draft, [json.dumps(other) for other in others])
    assert all(0.0 <= share <= 1.0 for share in found.values())
    assert set(fields(value)) <= set(found)
    assert found == field_agreement(draft, [json.dumps(other) for other in reversed(others)])


@given(value=VALUES)
def test_parsing_gives_back_what_was_written(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value


def test_long_answers_are_compared_in_a_moment() -> None:
    draft = json.dumps([{"name": f"name {i}", "id": i} for i in range(2000)])
    samples = [json.dumps([{"name": f"the Name {i}!", "id": i} for i in range(2000)])] * 5
    began = time.process_time()
    assert measured(draft, *samples) == 1.0
    assert time.process_time() - began < 1.0
