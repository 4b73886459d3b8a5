from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, computed_field

from gate.answer_shapes.structured import Structured, fitted
from tests.answer_shapes.answers import Kind, Place, Spot, Verdict, outcome_of


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    day: date

    @computed_field  # type: ignore[prop-decorator]
    @property
    def year(self) -> int:
        return self.day.year


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Place(country="China", elevation_m=8.0), '{"country": "China", "elevation_m": 8.0}'),
        (Strict(day=date(2024, 5, 1)), '{"day": "2024-05-01"}'),
        (Spot("Südsudan"), '{"country": "Südsudan", "near": []}'),
        ({"b": 1, "a": [Kind.CITY, date(2024, 5, 1)]}, '{"a": ["city", "2024-05-01"], "b": 1}'),
        (Kind.RIVER, "river"),
        (Verdict.NO, "no"),
        (True, "true"),
        (7, "7"),
    ],
)
def test_its_text_is_json(value: object, text: str) -> None:
    assert Structured().read(value).generation.text == text


def test_equal_values_have_equal_texts() -> None:
    assert Structured().read({"a": 1, "b": 2}) == Structured().read({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("text", "like", "said"),
    [
        ("In China, I think.", Place(country="China"), "fit into Place: Invalid JSON"),
        ('{"near": [1]}', Spot("China"), "fit into Spot: country: Field required"),
        ("[1]", {}, "fit into dict: Input should be an object"),
        ("ocean", Kind.CITY, "fit into Kind: Input should be 'city' or 'river'"),
        ("many", 3, "fit into int: Invalid JSON"),
        ("\ud800", {}, "fit into dict: Invalid JSON"),
    ],
)
def test_what_does_not_fit_is_told_where(text: str, like: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Structured().written(outcome_of(text), like)


def test_the_value_that_did_not_fit_is_not_told() -> None:
    with pytest.raises(ValueError, match=r"metres|elevation_m") as caught:
        fitted('{"country": "China", "elevation_m": "a secret"}', Place(country="China"))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("value", [float("nan"), {"a": object()}, [lambda: 1]], ids=["nan", "object", "function"])
def test_what_json_has_not_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON|serialize"):
        Structured().read(value)


def test_a_value_in_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: Any = {}
    for _ in range(3000):
        deep = {"a": deep}
    for value in (loop, deep):
        with pytest.raises(ValueError, match=r".+"):
            Structured().read(value)


def test_a_class_that_takes_anything_cannot_be_made_again() -> None:
    @dataclass
    class Odd:
        what: Any
        how: object = None

    class Opaque:
        pass

    Odd.__annotations__["how"] = Opaque
    Odd.__dataclass_fields__["how"].type = Opaque
    with pytest.raises(ValueError, match=r"nothing can be made a .*Odd again"):
        fitted("{}", Odd("x"))


def test_classes_are_no_values() -> None:
    assert not Structured().fits(Spot)
    assert not Structured().fits(Kind)
    assert not Structured().fits(None)
