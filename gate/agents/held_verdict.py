"""A verdict as a run takes it: whoever gave it, the run's own policy says what the tool may do."""

from __future__ import annotations

from dataclasses import replace

from gate.agents.ledgers import Ledger
from gate.agents.tool_gate import ToolGate
from gate.agents.verdict import ToolAction, ToolVerdict


def turned(verdict: ToolVerdict, action: ToolAction, reason: str) -> ToolVerdict:
    return replace(verdict, action=action, reason=reason)


def held(verdict: ToolVerdict, gate: ToolGate, ledger: Ledger) -> ToolVerdict:
    """The verdict, with what the policy of the run's gate says of the tool.

    An approval by another gate is none for arguments that do not fit the policy's schema, nor where the ledger cannot
    reckon with it, nor, where its p was not learned, for what cannot be undone: then a person is asked, unless the
    policy refuses what is in doubt.
    """
    name, policy = verdict.call.name, gate.policy
    tool = policy.tool(name, {name: None})
    if tool is None or (verdict.max_error is None and not verdict.approved):
        return verdict  # of a tool that is not known
    verdict = replace(verdict, irreversible=tool.irreversible, cost=tool.cost, max_error=tool.max_error)
    if verdict.gate == gate.fingerprint or not verdict.approved:
        return verdict
    anew = gate.check_call(verdict.call)
    if name in policy.tools and anew.reason in ("schema", "unjudged_schema"):
        return anew
    in_doubt = ToolAction.REFUSE if tool.on_doubt == "refuse" else ToolAction.ASK
    if not ledger.bears_others:
        return turned(verdict, in_doubt, "other_gate")
    if tool.irreversible and not verdict.calibrated:
        return turned(verdict, in_doubt, "uncalibrated")
    return verdict
