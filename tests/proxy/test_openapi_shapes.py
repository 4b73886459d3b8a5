"""The shapes alone: what is passed on is told loosely, what gate says itself is told whole."""

from __future__ import annotations

import pytest

from gate.proxy.openapi_shapes import SCHEMAS, ref


def test_a_reference_names_a_component() -> None:
    assert ref("Error") == {"$ref": "#/components/schemas/Error"}


@pytest.mark.parametrize("name", ["ChatCompletion", "Response", "Message"])
def test_an_answer_never_lacks_who_said_what_and_what_it_used(name: str) -> None:
    assert {"id", "model", "usage"} <= {*SCHEMAS[name]["required"]}
    assert "gate" not in SCHEMAS[name]["required"]


def test_whatever_is_required_is_told() -> None:
    for name, shape in SCHEMAS.items():
        assert {*shape.get("required", ())} <= shape["properties"].keys(), name


def test_only_feedback_takes_nothing_more() -> None:
    assert [name for name, shape in SCHEMAS.items() if shape.get("additionalProperties") is False] == ["Feedback"]
