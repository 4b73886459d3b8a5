"""Agents: tool calls gated before they run, and runs that carry a budget of risk.

::

    from gate.agents import AgentRun, ToolGate

    gate = ToolGate("tools.yaml", "tools.gate.json")
    with AgentRun(gate, max_risk=0.1, ask_person=ask) as run:
        for verdict in run.check(reply, samples=samples, question=request):
            result = run.call(tools[verdict.call.name], verdict.call) if verdict.approved else ...

Everything is imported on first use; `fit_tool_gate` needs the extra ``tune``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gate.agents.call_labels import LabelledCall, labelled_calls, read_labelled
    from gate.agents.fit_gate import fit_tool_gate
    from gate.agents.gate_file import ToolGateFile, ToolPromise
    from gate.agents.guarded import guarded_tool
    from gate.agents.ledgers import ConformalSteps, Ledger, RecordedStep, RunHistory, UnionBound
    from gate.agents.run import AgentRun, current_run
    from gate.agents.run_record import RunRecord, RunStep
    from gate.agents.tool_gate import ToolGate
    from gate.agents.tool_settings import ToolPolicy, tool_policy
    from gate.agents.verdict import ArgumentReading, ToolAction, ToolRefused, ToolVerdict

__all__ = [
    "AgentRun",
    "ArgumentReading",
    "ConformalSteps",
    "LabelledCall",
    "Ledger",
    "RecordedStep",
    "RunHistory",
    "RunRecord",
    "RunStep",
    "ToolAction",
    "ToolGate",
    "ToolGateFile",
    "ToolPolicy",
    "ToolPromise",
    "ToolRefused",
    "ToolVerdict",
    "UnionBound",
    "current_run",
    "fit_tool_gate",
    "guarded_tool",
    "labelled_calls",
    "read_labelled",
    "tool_policy",
]

_OF = {
    "fit_gate": ("fit_tool_gate",),
    "gate_file": ("ToolGateFile", "ToolPromise"),
    "guarded": ("guarded_tool",),
    "call_labels": ("LabelledCall", "labelled_calls", "read_labelled"),
    "ledgers": ("ConformalSteps", "Ledger", "RecordedStep", "RunHistory", "UnionBound"),
    "run": ("AgentRun", "current_run"),
    "run_record": ("RunRecord", "RunStep"),
    "tool_gate": ("ToolGate",),
    "tool_settings": ("ToolPolicy", "tool_policy"),
    "verdict": ("ArgumentReading", "ToolAction", "ToolRefused", "ToolVerdict"),
}
_LAZY = {name: module for module, names in _OF.items() for name in names}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is first asked for (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'gate.agents' has no attribute {name!r}")
    return globals().setdefault(name, getattr(import_module(f"gate.agents.{_LAZY[name]}"), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
