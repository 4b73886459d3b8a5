"""Columns and cells."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from gate.tuning.columns import (
    COLUMNS,
    chosen,
    folded,
    json_cell,
    missing_column,
    parse_label,
    references_cell,
    text_cell,
)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        *((word, True) for word in ("yes", "YES", " true ", "1", "correct", "Right", 1, 1.0, True)),
        *((word, False) for word in ("no", "No", "false", "0", "INCORRECT", "wrong", 0, 0.0, False)),
        *((word, None) for word in (None, "", "  ")),
    ],
)
def test_labels_as_people_write_them(value: Any, label: bool | None) -> None:
    assert parse_label(value) is label


@pytest.mark.parametrize(
    "value", ["maybe", "y", "ja", "2", 2, -1, 0.5, float("nan"), float("inf"), [True], "1.0", "x" * 99]
)
def test_a_label_is_never_guessed(value: Any) -> None:
    with pytest.raises(ValueError, match="is no label: write yes or no"):
        parse_label(value)


@pytest.mark.parametrize(
    ("value", "flat", "references"),
    [
        (["Paris", " Paris", "", None, "the city"], False, ("Paris", "the city")),
        ("Paris", False, ("Paris",)),
        ("a|b", False, ("a|b",)),
        ("a| b ||a", True, ("a", "b")),
        (r"\|x\| | y", True, ("|x|", "y")),
        ('["a|b", "c"]', True, ("a|b", "c")),
        ("['it', \"it's\"]", True, ("it", "it's")),
        ('["a"]', False, ('["a"]',)),
        (42, False, ("42",)),
        (2.5, False, ("2.5",)),
        (True, False, ("yes", "true")),
        ([False], False, ("no", "false")),
        ({"text": ["a", "b"], "answer_start": [1, 2]}, False, ("a", "b")),
        ({"value": "a", "aliases": ["b", "a"]}, False, ("a", "b")),
        (datetime.date(2020, 3, 12), False, ("2020-03-12",)),
        ({"text": [], "answer_start": []}, False, ()),
        ("", True, ()),
        ([], False, ()),
    ],
)
def test_references(value: Any, flat: bool, references: tuple[str, ...]) -> None:
    assert references_cell(value, flat=flat) == references


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[a, b", "begin like a list but are none"),
        ("[NaN]", "begin like a list but are none"),
        ("[1e999]", "inf, where text is wanted"),
        ([["a"]], "where text is wanted"),
        ([float("nan")], "nan, where text is wanted"),
        ({"answer": "a"}, "neither 'text' nor 'value'"),
    ],
)
def test_references_that_are_none(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        references_cell(value, flat=True)


def test_columns_are_found_by_any_of_their_names_the_first_that_says_something() -> None:
    assert folded(" Example-ID ") == folded("example id") == "example_id"
    row = {"references": "", "answer": "Paris", "gold": "Lyon"}
    assert chosen(row, COLUMNS["references"]) == "Paris"
    assert chosen({"answers": [], "gold": 0}, COLUMNS["references"]) == 0
    assert chosen({}, COLUMNS["id"]) is None


def test_a_missing_column_is_told_with_the_nearest() -> None:
    said = missing_column("question", COLUMNS["question"], ["qestion", "answer"])
    assert said == (
        "no column holds the question: is it 'qestion'? then call it 'question'; the columns are 'answer', 'qestion'"
    )
    said = missing_column("question", COLUMNS["question"], [])
    assert said == (
        "no column holds the question: call it 'question' or 'prompt' or 'input' or 'query'; the columns are none"
    )
    assert "holds the id: call it 'id'; the columns are 'answer'" in missing_column("id", ("id",), ["answer"])


def test_text_and_json_cells() -> None:
    assert text_cell(" a\nb ", "x") == "a\nb"
    assert (text_cell(None, "x"), text_cell(7, "x"), text_cell(False, "x")) == ("", "7", "false")
    assert json_cell('[{"a": 1}]', "x", flat=True) == [{"a": 1}]
    assert json_cell("[", "x", flat=False) == "["
    for text in ("[", "[NaN]", "[" * 100_000):
        with pytest.raises(ValueError, match="messages is no JSON"):
            json_cell(text, "messages", flat=True)
