"""What is wrong with a call's arguments, by their names."""

from __future__ import annotations

from typing import Any

import pytest

from gate.agents.schema_problems import problems
from gate.signals.json_schema import Unjudged
from tests.agents.made import POLICY

PAY = POLICY["tools"]["pay"]["schema"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"to": "ann", "amount": 3}, ()),
        ({"to": "ann"}, ("the argument 'amount' is missing",)),
        ({"to": "ann", "amount": "secret"}, ("the argument 'amount' does not fit its schema",)),
        ({"to": "ann", "amount": 3, "cc": "bob"}, ("there is no argument 'cc'",)),
        (
            {"amount": 0, "cc": 1},
            (
                "the argument 'to' is missing",
                "the argument 'amount' does not fit its schema",
                "there is no argument 'cc'",
            ),
        ),
        (["ann", 3], ("the arguments are no JSON object",)),
    ],
)
def test_each_problem_names_its_argument(arguments: Any, found: tuple[str, ...]) -> None:
    assert problems(arguments, PAY) == found


def test_an_argument_may_refer_to_what_the_schema_defines() -> None:
    schema = {"$defs": {"day": {"type": "integer", "minimum": 1}}, "properties": {"day": {"$ref": "#/$defs/day"}}}
    assert problems({"day": 2}, schema) == ()
    assert problems({"day": 0}, schema) == ("the argument 'day' does not fit its schema",)


def test_what_only_the_whole_schema_forbids_is_told() -> None:
    schema = {"properties": {"a": {"type": "integer"}}, "not": {"required": ["a"]}}
    assert problems({"a": 1}, schema) == ("the arguments do not fit the schema together",)


def test_a_broken_schema_is_no_verdict() -> None:
    with pytest.raises(Unjudged):
        problems({}, {"type": "nothing"})
