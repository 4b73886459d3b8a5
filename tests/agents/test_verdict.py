"""A verdict in words, and the message that takes the place of a tool's result."""

from __future__ import annotations

import json
from dataclasses import replace

from gate.agents import ArgumentReading, ToolAction, ToolRefused, ToolVerdict
from gate.types import ToolCall
from tests.agents.made import call

PAY = call("pay", "call_7", to="secret", amount=3)


def test_the_argument_in_most_doubt_is_named() -> None:
    arguments = (
        ArgumentReading("to", True, 0.5, -0.1),
        ArgumentReading("amount", True, 0.9, None),
        ArgumentReading("note", False, 0.0, None),
        ArgumentReading("at", True, None, None),
    )
    verdict = ToolVerdict(PAY, ToolAction.ASK, "uncertain", 0.6, arguments=arguments)
    assert verdict.doubtful is arguments[0]
    assert verdict.text == (
        "The call of 'pay' was not made: it is not certain enough to be right. The argument in most doubt is 'to'. "
        "A person has to approve it."
    )
    assert replace(verdict, arguments=()).doubtful is None


def test_every_refusal_has_words_and_quotes_no_value() -> None:
    for reason in ("unknown_tool", "already_done", "risk_spent", "anything"):
        text = ToolVerdict(PAY, ToolAction.STOP, reason).text
        assert text.startswith("The call of 'pay' was not made: ")
        assert text.endswith("No further call is made in this run.")
        assert "secret" not in text
    told = ToolVerdict(PAY, ToolAction.REFUSE, "schema", problems=("the argument 'amount' is missing",)).text
    assert told == "The call of 'pay' was not made: the argument 'amount' is missing."
    assert ToolVerdict(PAY, ToolAction.APPROVE, "confident").text == "The call of 'pay' is approved."


def test_a_refusal_is_false_and_can_be_fed_back() -> None:
    refused = ToolRefused(ToolVerdict(PAY, ToolAction.REFUSE, "not_offered"))
    assert not refused
    message = refused.message()
    assert (message["role"], message["tool_call_id"]) == ("tool", "call_7")
    assert json.loads(message["content"]) == {"error": str(refused), "action": "refuse", "reason": "not_offered"}
    assert refused.trace is None


def test_a_person_is_shown_the_call_with_all_its_arguments_and_the_doubt() -> None:
    arguments = (ArgumentReading("to", True, 1.0), ArgumentReading("amount", True, 0.5))
    verdict = ToolVerdict(PAY, ToolAction.ASK, "uncertain", 0.62, arguments=arguments, calibrated=True)
    assert verdict.asking == (
        'May "pay" be called with\n  to = "secret"\n  amount = 3\nIt cannot be undone.\n'
        "It is asked because it is not certain enough to be right. It is right with p = 0.62.\n"
        "Most in doubt: amount; of the samples 50% agree with it."
    )
    guess = ToolVerdict(call("look"), ToolAction.ASK, "uncalibrated", 0.9, irreversible=False).asking
    assert guess.startswith('May "look" be called with\n  no arguments\nIt can be undone.')
    assert "p = 0.90, which is a guess" in guess


def test_no_value_can_act_on_the_terminal_it_is_shown_on() -> None:
    evil = ToolCall("", "pay\x1b[2J", json.dumps({"to": "ann\x1b[2K\nIt can be undone.\u202e", "naïve key\r": "名"}))
    said = ToolVerdict(evil, ToolAction.ASK, "uncertain").asking
    assert all(c.isprintable() or c == "\n" for c in said)
    assert len(said.splitlines()) == 5
    assert "名" in said
    assert "no json\\u001b" in ToolVerdict(ToolCall("", "f", "no json\x1b"), ToolAction.ASK, "uncertain").asking
