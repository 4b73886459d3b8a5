"""The record of a run: what is kept, what is not, and a run that goes on from it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from gate.agents import AgentRun, ConformalSteps, RunHistory, RunRecord, ToolGate
from gate.errors import ConfigError, StaleCalibrator
from tests.agents.made import POLICY, approved, call, gate, sure

PAY = call("pay", to="secret-ann", amount=10)


def test_a_record_is_plain_json_and_comes_back_as_it_was() -> None:
    run = AgentRun(gate(), 0.3, confidence=0.9)
    run.call(lambda to, amount: None, PAY, samples=sure(PAY))
    run.check(call("pay", to="bob"))
    record = run.record()
    assert RunRecord.load(record.dump(text=True)) == record
    told = json.loads(record.dump())
    assert (told["max_risk"], told["confidence"], told["ledger"], told["stopped"]) == (0.3, 0.9, "union_bound", "")
    assert [(step["came"], step["verdict"]["reason"]) for step in told["steps"]] == [
        ("done", "confident"),
        ("", "schema"),
    ]
    assert told["spent"] == run.spent > 0


def test_no_argument_is_in_it_unless_text_is_asked_for() -> None:
    run = AgentRun(gate(), 0.3)
    run.check(PAY, samples=sure(PAY))
    assert "secret-ann" not in run.record().dump()
    assert "secret-ann" in run.record().dump(text=True)


def test_a_run_goes_on_with_what_it_has_left_and_makes_nothing_again() -> None:
    run = AgentRun(gate(), 0.3)
    run.call(lambda to, amount: None, PAY, samples=sure(PAY))
    goes_on = AgentRun(gate(), 0.3, goes_on=RunRecord.load(run.record().dump()))
    assert (goes_on.id, goes_on.spent, goes_on.left) == (run.id, run.spent, run.left)
    assert goes_on.check(PAY, samples=sure(PAY))[0].reason == "already_done"
    assert [step.number for step in goes_on.steps] == [0, 1]
    goes_on.stop("by hand")
    stopped = AgentRun(gate(), 0.3, goes_on=goes_on.record())
    assert stopped.check(call("look_up", city="Oslo"))[0].reason == "stopped"
    with pytest.raises(StaleCalibrator):
        AgentRun(ToolGate(POLICY), 0.3, goes_on=run.record())


def test_what_nothing_limits_is_no_number() -> None:
    held = RunHistory.of([[]] * 20, gate().fingerprint)
    run = AgentRun(gate(), 0.2, ledger=ConformalSteps(held))
    assert run.limit == math.inf
    record = RunRecord.load(run.record().dump())
    assert (record.limit, record.ledger) == (None, "conformal_steps")
    with pytest.raises(StaleCalibrator):
        AgentRun(gate(), 0.2, goes_on=record)


def test_approved_steps_become_a_history() -> None:
    run = AgentRun(gate(), 1.0, ask_person=lambda verdict: True)
    run.admit(approved(0.9, "look_up", city="a"))
    run.call(lambda to, amount: None, PAY)
    run.admit(approved(0.8, city="b"))
    last = run.steps[-1].number
    steps = run.record().recorded({last})
    assert [(round(s.risk, 9), s.wrong, s.cost) for s in steps] == [(0.1, False, 0.25), (0.2, True, 1.0)]
    with pytest.raises(ValueError, match=r"no approved step of the run has the numbers \[1\]"):
        run.record().recorded({1})


def test_steps_that_another_gate_has_approved_are_no_history_of_this_one() -> None:
    run = AgentRun(gate(), 1.0)
    run.admit(replace(approved(0.9, city="a"), gate="another"))
    run.admit(approved(0.8, city="b"))
    assert [round(step.risk, 9) for step in run.record().recorded(set())] == [0.2]


def test_a_record_without_text_tells_calls_apart_by_their_digests() -> None:
    asked: list[str] = []
    run = AgentRun(gate(), 0.5, ask_person=lambda verdict: False)
    assert not run.call(dict, call("search", user="bob"))
    goes_on = AgentRun(
        gate(),
        0.5,
        ask_person=lambda verdict: not asked.append(verdict.call.arguments),
        goes_on=RunRecord.load(run.record().dump()),
    )
    assert goes_on.call(dict, call("search")) == {}
    assert asked == ["{}"], "it is another call than the one that a person has refused"
    refused = goes_on.call(dict, call("search", user="bob"))
    assert refused.verdict.reason == "person_refused"
    assert refused.verdict.call == call("search", user="bob"), "with what the record leaves out"


def test_a_call_whose_arguments_were_not_kept_is_not_made_without_them() -> None:
    run = AgentRun(gate(), 0.5)
    run.check(call("search", user="bob"))
    record = RunRecord.load(run.record().dump())
    goes_on = AgentRun(gate(), 0.5, ask_person=lambda verdict: True, goes_on=record)
    with pytest.raises(ValueError, match="holds no arguments of this call"):
        goes_on.call(dict, goes_on.steps[0].verdict)
    assert goes_on.call(dict, call("search", user="bob")) == {"user": "bob"}


def test_a_default_spelled_out_is_remembered_by_the_record() -> None:
    def pay(to: str, amount: float, note: str = "") -> str:
        return "paid"

    run = AgentRun(gate(), 0.3)
    assert run.call(pay, PAY, samples=sure(PAY)) == "paid"
    goes_on = AgentRun(gate(), 0.3, goes_on=RunRecord.load(run.record().dump()))
    spelled = call("pay", to="secret-ann", amount=10.0, note="")
    assert goes_on.call(pay, spelled, samples=sure(spelled)).verdict.reason == "already_done"


def test_what_is_no_record_is_refused_without_a_word_of_it() -> None:
    with pytest.raises(ConfigError, match="no record of a run") as caught:
        RunRecord.load('{"id": "secret"}')
    assert "secret" not in str(caught.value)
