"""The settings of a tool gate: what holds of each tool, and how mistakes in the file are told."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from gate.agents import ToolPolicy, tool_policy
from gate.errors import ConfigError, UnknownName
from tests.agents.made import POLICY

YAML = """\
max_error: {reversible: 0.05, irreversible: 0.01}
tools:
  search: {irreversible: false, on_doubt: escalate}
  pay:
    max_error: 0.005
    on_doubt: refuse
    schema:
      type: object
      properties: {amount: {type: number}, note: {type: string}}
    arguments:
      amount: {critical: true}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tools.yaml"
    path.write_text(YAML, encoding="utf-8")
    return path


def test_a_file_says_what_holds_of_each_tool(file: Path) -> None:
    policy = tool_policy(file)
    search, pay = policy.tool("search"), policy.tool("pay")
    assert search is not None
    assert pay is not None
    assert (search.irreversible, search.max_error, search.on_doubt, search.schema) == (False, 0.05, "escalate", None)
    assert (pay.irreversible, pay.max_error, pay.on_doubt) == (True, 0.005, "refuse")
    assert pay.is_critical("amount")
    assert not pay.is_critical("note"), "where one is said to be critical, the others are not"
    assert search.is_critical("anything")
    assert policy.tool("seerch") is None


def test_a_tool_that_is_offered_and_not_listed_is_taken_for_one_that_cannot_be_undone() -> None:
    tool = tool_policy({}).tool("rm", {"rm": {"type": "object"}})
    assert tool is not None
    assert (tool.irreversible, tool.max_error, tool.on_doubt, tool.schema) == (True, 0.01, "ask", {"type": "object"})
    undone = tool_policy({"default": {"irreversible": False, "on_doubt": "refuse"}}).tool("rm", {"rm": {}})
    assert undone is not None
    assert (undone.irreversible, undone.max_error, undone.on_doubt) == (False, 0.05, "refuse")


def test_arguments_said_to_be_harmless_leave_the_others_critical() -> None:
    pay = tool_policy(POLICY).tool("pay")
    assert pay is not None
    assert [name for name in ("to", "amount", "note", "made_up") if pay.is_critical(name)] == [
        "to",
        "amount",
        "made_up",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("on_doubt: refuse", "on_dout: refuse", ":6: unknown key 'on_dout'; did you mean 'on_doubt'?"),
        ("on_doubt: refuse", "on_doubt: asks", ":6: unknown value of tools.pay.on_doubt 'asks'; did you mean 'ask'?"),
        ("max_error: 0.005", "max_error: 1.5", ":5: tools.pay.max_error: Input should be less than 1"),
        ("amount: {critical", "amonut: {critical", ":11: unknown argument of pay 'amonut'; did you mean 'amount'?"),
        ("critical: true", "crit: true", ":11: unknown key 'crit'; did you mean 'critical'?"),
        ("type: object", "type: objekt", ":7: the schema of pay cannot be used: the schema is broken"),
        ("irreversible: 0.01", "irreversible: 0.2", ":1: max_error: what cannot be undone needs a promise"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_file_and_line(file: Path, old: str, new: str, said: str) -> None:
    file.write_text(YAML.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        tool_policy(file)
    assert str(caught.value).startswith(f"{file}{said}")


def test_mistakes_in_a_dict_are_told_by_their_keys() -> None:
    with pytest.raises(UnknownName, match=r"^the tool policy\.tools\.pay\.cst: unknown key 'cst'; did you mean 'cost'"):
        tool_policy({"tools": {"pay": {"cst": 1}}})
    with pytest.raises(ConfigError, match="lists no tool"):
        tool_policy({"tools": {}})


def test_the_fingerprint_is_of_what_a_promise_hangs_on() -> None:
    def changed(**settings: Any) -> str:
        data = copy.deepcopy(POLICY)
        data["tools"]["pay"] |= settings
        return tool_policy(data).fingerprint

    same = tool_policy(POLICY).fingerprint
    assert changed(on_doubt="refuse", cost=0.5) == same
    others = {changed(max_error=0.01), changed(irreversible=False), changed(arguments={}), changed(schema={})}
    assert len(others | {same}) == 5


def test_a_policy_is_taken_as_it_is() -> None:
    policy = ToolPolicy()
    assert tool_policy(policy) is policy
