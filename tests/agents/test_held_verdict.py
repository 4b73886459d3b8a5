"""What a run makes of verdicts that its own gate and others gave."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.agents import ConformalSteps, Ledger, RunHistory, ToolAction, ToolGate, ToolVerdict, UnionBound
from gate.agents.held_verdict import held
from tests.agents.made import approved, call, gate

LAX = ToolGate({"tools": {"pay": {"irreversible": False, "cost": 0.1}, "search": {"irreversible": False}}})
PAY = call("pay", to="ann", amount=10)
CONFORMAL = ConformalSteps(RunHistory.of([[]] * 20, gate().fingerprint))


def lax(made: object = PAY) -> ToolVerdict:
    return LAX.check(made, samples=[made] * 30)[0]


def test_the_runs_own_policy_says_what_a_tool_may_do() -> None:
    loose = replace(approved(name="pay", to="ann", amount=1), irreversible=False, cost=0.01, max_error=0.9)
    own = held(loose, gate(), UnionBound())
    assert (own.irreversible, own.cost, own.max_error, own.action) == (True, 1.0, 0.05, ToolAction.APPROVE)
    unknown = gate().check_call(call("nothing"))
    assert held(unknown, gate(), UnionBound()) == unknown


def test_a_guess_of_another_gate_approves_nothing_that_cannot_be_undone() -> None:
    assert (lax().approved, lax().irreversible) == (True, False)
    verdict = held(lax(), gate(), UnionBound())
    assert (verdict.action, verdict.reason, verdict.irreversible) == (ToolAction.ASK, "uncalibrated", True)
    assert held(replace(lax(), calibrated=True), gate(), UnionBound()).approved
    careful = ToolGate({"tools": {"pay": {"irreversible": True, "on_doubt": "refuse"}}})
    assert held(lax(), careful, UnionBound()).action is ToolAction.REFUSE


@pytest.mark.parametrize("ledger", [CONFORMAL, UnionBound(by="bound")])
def test_a_ledger_that_rests_on_the_runs_gate_bears_no_other(ledger: Ledger) -> None:
    other = lax(call("search", text="x"))
    verdict = held(other, gate(), ledger)
    assert (verdict.action, verdict.reason) == (ToolAction.ASK, "other_gate")
    assert held(other, gate(), UnionBound()).approved
    assert held(approved(text="x"), gate(), ledger).approved


def test_another_gate_approves_no_arguments_that_do_not_fit_the_policy() -> None:
    wrong = call("look_up", town="Oslo")
    other = ToolGate({"tools": {"look_up": {"irreversible": False}}})
    verdict = held(other.check(wrong, samples=[wrong] * 30)[0], gate(), UnionBound())
    assert (verdict.action, verdict.reason) == (ToolAction.REFUSE, "schema")
