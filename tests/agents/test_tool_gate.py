"""The tool gate: what it approves, what it refuses, and what it does in doubt, fitted and unfitted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gate.agents import ToolGate, ToolVerdict
from gate.agents.call_readings import BOUNDS
from gate.types import Generation, Question, TokenLogprob, ToolCall
from tests.agents.made import POLICY, call, gate, learned, relearned, reply, sure

PAY = call("pay", to="ann", amount=10)
LOOK_UP = call("look_up", city="Oslo")


def offering(**schemas: Any) -> dict[str, Any]:
    functions = [{"name": name, "parameters": schema} for name, schema in schemas.items()]
    return {"tools": [{"type": "function", "function": function} for function in functions]}


def said(verdict: ToolVerdict) -> tuple[str, str]:
    return verdict.action.value, verdict.reason


def test_a_call_that_all_samples_make_is_approved_under_its_certificate() -> None:
    (verdict,) = gate().check(PAY, samples=sure(PAY))
    assert said(verdict) == ("approve", "confident")
    assert verdict.calibrated
    assert verdict.certificate is not None
    assert verdict.certificate.bound <= (verdict.max_error or 0) == 0.05
    assert (verdict.p or 0) >= (verdict.threshold or 1)
    assert (verdict.samples, verdict.irreversible) == (6, True)


def test_in_doubt_it_does_what_the_policy_says_of_the_tool() -> None:
    others = [call("pay", to="ann", amount=11)] * 5 + [PAY]
    verdict = gate().check_call(PAY, samples=others)
    assert said(verdict) == ("ask", "uncertain")
    assert verdict.doubtful is not None
    assert verdict.doubtful.name == "amount"
    elsewhere = [call("look_up", city="Rome")] * 6
    assert said(gate().check_call(LOOK_UP, samples=elsewhere)) == ("escalate", "uncertain")


def test_several_calls_of_one_reply_are_judged_each_for_itself() -> None:
    bad = call("pay", to="bob", amount=-1)
    verdicts = gate().check(reply(LOOK_UP, PAY, bad), samples=[reply(LOOK_UP, PAY, bad)] * 6)
    assert [said(v) for v in verdicts] == [("approve", "confident"), ("approve", "confident"), ("refuse", "schema")]
    assert gate().check("I need no tool.") == ()


def test_a_completion_as_clients_return_it_is_read_with_its_other_choices_as_samples() -> None:
    def choice(**arguments: Any) -> dict[str, Any]:
        function = {"name": "look_up", "arguments": json.dumps(arguments)}
        called = [{"id": "c1", "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "tool_calls": called}
        return {"index": 0, "message": message, "finish_reason": "tool_calls"}

    choices = [choice(city="Oslo")] * 6 + [choice(city="Rome")]
    completion = {"object": "chat.completion", "model": "m-1", "choices": choices}
    (verdict,) = gate().check(completion)
    assert (verdict.call.id, verdict.samples) == ("c1", 6)
    assert verdict.arguments[0].agreement == 5 / 6
    assert said(verdict) == ("approve", "confident")
    assert gate().check(completion | {"model": "m-2"})[0].reason == "other_model"


@pytest.mark.parametrize("fitted", [True, False])
def test_what_cannot_be_made_is_refused_whatever_samples_say(fitted: bool) -> None:
    judge = gate() if fitted else ToolGate(POLICY)
    for made, reason in (
        (call("pays", to="ann", amount=10), "unknown_tool"),
        (call("pay", to="ann"), "schema"),
        (ToolCall("", "pay", "[1]"), "schema"),
        (ToolCall("", "pay", '{"to": "ann", "amount": NaN}'), "schema"),
    ):
        verdict = judge.check_call(made, samples=sure(made))
        assert said(verdict) == ("refuse", reason)
        assert verdict.p is None
    assert judge.check_call(call("pay", to="ann")).problems == ("the argument 'amount' is missing",)


def test_a_tool_that_the_request_does_not_offer_is_refused() -> None:
    asked = Question.from_text("Pay Ann").__class__((), offering(look_up={}))
    assert said(gate().check_call(PAY, samples=sure(PAY), question=asked)) == ("refuse", "not_offered")
    assert said(gate().check_call(PAY, samples=sure(PAY), question=offering(pay={}))) == ("approve", "confident")


def test_schemas_come_from_the_request_where_the_policy_has_none() -> None:
    judge, request = ToolGate({}), offering(rm={"required": ["path"]})
    assert said(judge.check_call(call("rm"), question=request)) == ("refuse", "schema")
    made = call("rm", path="x")
    assert said(judge.check_call(made, samples=[made] * 99, question=request)) == ("ask", "uncalibrated")
    broken = offering(rm={"type": "nothing"})
    assert said(judge.check_call(made, samples=[made] * 99, question=broken)) == ("refuse", "unjudged_schema")


def test_unfitted_it_guesses_says_so_and_never_approves_what_cannot_be_undone() -> None:
    judge = ToolGate(POLICY)
    assert said(judge.check_call(PAY, samples=[PAY] * 1000)) == ("ask", "uncalibrated")
    assert said(judge.check_call(LOOK_UP)) == ("escalate", "no_signals")
    few, many = (judge.check_call(LOOK_UP, samples=[LOOK_UP] * n) for n in (6, 20))
    assert said(few) == ("escalate", "uncertain"), "six that agree are no nine tenths"
    assert said(many) == ("approve", "confident")
    assert (many.calibrated, many.certified) == (False, False)
    tokens = (TokenLogprob('{"city": ', -0.01), TokenLogprob('"Oslo"', -1.0), TokenLogprob("}", -0.01))
    doubted = Generation("", "tool_calls", tokens, (LOOK_UP,))
    assert said(judge.check(doubted, samples=[LOOK_UP] * 20)[0]) == ("escalate", "uncertain")


def test_a_tool_without_labelled_calls_is_not_approved() -> None:
    settings = json.loads(json.dumps(POLICY))
    settings["tools"]["refund"] = {"irreversible": True}
    judge = ToolGate(settings, relearned(policy=ToolGate(settings).policy.fingerprint))
    made = call("refund", order=1)
    assert said(judge.check_call(made, samples=sure(made))) == ("ask", "tool_not_fitted")


def test_what_lies_outside_all_that_was_seen_is_not_approved() -> None:
    verdict = gate().check_call(PAY, samples=[PAY] * 500)
    assert said(verdict) == ("ask", "out_of_distribution")


def test_a_call_that_lacks_what_the_certified_ones_had_is_not_approved() -> None:
    verdict = gate().check_call(PAY)
    assert said(verdict) == ("ask", "signals_missing")
    assert not verdict.certified
    assert (verdict.p or 0) < (gate().check_call(PAY, samples=sure(PAY)).p or 0)
    assert all(r.value is None for r in verdict.readings), "missing, and never zero"


def test_where_the_certified_ones_lacked_it_too_it_is_judged_by_what_there_is() -> None:
    promises = [promise.model_dump() | {"lacking": tuple(BOUNDS)} for promise in learned().promises]
    judge = ToolGate(POLICY, relearned(promises=promises))
    assert judge.check_call(PAY).reason in {"confident", "uncertain"}


def test_a_verdict_says_whose_it_is_and_wrong_arguments_are_named() -> None:
    made = call("pay", to="ann", amount=10)
    verdicts = [gate().check_call(each) for each in (made, call("pay"), call("nothing"))]
    assert {verdict.gate for verdict in verdicts} == {gate().fingerprint}
    with pytest.raises(TypeError, match="policy has to be ToolPolicy or Mapping or Path or str, not NoneType"):
        ToolGate(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="learned has to be"):
        ToolGate(POLICY, 5)  # type: ignore[arg-type]
