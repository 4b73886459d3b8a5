"""Where the fields of a JSON text stand."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.signals.json_fields import fields, parse_json
from gate.signals.json_places import places
from tests.signals.test_json_fields import DOCUMENTS


def test_a_worked_one() -> None:
    text = '{"a/b": [1, {"x": "say \\"hi\\", ]}"}], "e": {}, "n": null,"t":true, "": -1.5e3}'
    found = {pointer: text[a:b] for pointer, (a, b) in places(text).items()}
    assert found == {
        "/a~1b/0": "1",
        "/a~1b/1/x": '"say \\"hi\\", ]}"',
        "/e": "{}",
        "/n": "null",
        "/t": "true",
        "/": "-1.5e3",
    }
    assert places("[]") == {"": (0, 2)}
    assert places(' "x" ', "/at") == {"/at": (1, 4)}


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 2]))
def test_every_field_is_where_it_is_said_to_be(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    held, found = fields(parse_json(text)), places(text)
    assert found.keys() == held.keys()
    for pointer, (a, b) in found.items():
        assert json.loads(text[a:b]) == held[pointer]
    spans = sorted(found.values())
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_of_a_name_that_stands_twice_the_last_counts() -> None:
    text = '{"a": {"x": 1, "y": 2}, "\\u0061": {"x": 3}}'
    held, found = fields(parse_json(text)), places(text)
    assert held == {"/a/x": 3}
    a, b = found["/a/x"]
    assert text[a:b] == "3"


@pytest.mark.parametrize("end", ["[{}, 3]", '"x"'])
def test_nesting_and_width_take_no_time_and_no_recursion(end: str) -> None:
    began = time.monotonic()
    deep = 900
    assert len(places("[" * deep + end + "]" * deep)) <= 2
    assert len(places(f"[{', '.join(['1'] * 200_000)}]")) == 200_000
    assert time.monotonic() - began < 5


def test_pointers_that_would_fill_the_memory_are_refused() -> None:
    name = "k" * 1000
    text = f'{{"{name}": ' * 300 + f"[{', '.join(['1'] * 100_000)}]" + "}" * 300
    for read in (places, lambda text: fields(parse_json(text))):
        with pytest.raises(ValueError, match="too many fields with too long names"):
            read(text)
