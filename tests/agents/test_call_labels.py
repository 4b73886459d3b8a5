"""Labelled calls, in Python and in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gate.agents import labelled_calls, read_labelled
from gate.errors import ConfigError
from tests.agents.made import call, reply


def test_every_call_has_its_own_label() -> None:
    one, two = call("pay", to="ann", amount=1), call("look_up", city="Oslo")
    first, second = labelled_calls(reply(one, two), [True, False], samples=[one, reply(two)], question="q")
    assert (first.call, first.right, first.question) == (one, True, "q")
    assert (second.call, second.right, len(second.samples)) == (two, False, 2)
    with pytest.raises(ValueError, match="a label for each of 2 calls, got 1"):
        labelled_calls(reply(one, two), True)


LINE: dict[str, Any] = {
    "question": "q",
    "call": {"name": "pay", "arguments": {"to": "ann"}},
    "samples": [None, {"name": "pay", "arguments": '{"to": "bob"}'}, [{"name": "look_up"}]],
    "right": True,
    "tokens": [['{"to": ', -0.1], ['"ann"}', -2.0]],
}


def test_a_file_of_them_is_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text(json.dumps(LINE) + "\n\n", encoding="utf-8")
    (read,) = read_labelled(path)
    assert (read.call.name, json.loads(read.call.arguments), read.right) == ("pay", {"to": "ann"}, True)
    assert [len(sample.tool_calls) for sample in read.samples] == [0, 1, 1]
    assert [token.logprob for token in read.draft.tokens or ()] == [-0.1, -2.0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"right": None}, "right"),
        ({"right": [True, False]}, "need a label for each of 1 calls, got 2"),
        ({"label": True}, "label: Extra inputs"),
        ({"call": None}, "call"),
        ({"tokens": [["x", 0.5]]}, "tokens.0.1"),
    ],
)
def test_a_line_that_is_none_is_told_with_its_number(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text(json.dumps(LINE) + "\n" + json.dumps(LINE | change), encoding="utf-8")
    with pytest.raises(ConfigError, match=said) as caught:
        read_labelled(path)
    assert str(caught.value).startswith(f"{path}:2: no labelled call: ")
    with pytest.raises(ConfigError, match="cannot read the labelled calls"):
        read_labelled(tmp_path / "none.jsonl")
