"""A small world for the tests of agents: two tools, a policy, calls with samples, and a gate fitted on labelled
ones."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

from gate.agents import LabelledCall, ToolAction, ToolGate, ToolGateFile, ToolVerdict, fit_tool_gate
from gate.types import Generation, ToolCall

POLICY: dict[str, Any] = {
    "max_error": {"reversible": 0.1, "irreversible": 0.05},
    "tools": {
        "look_up": {
            "irreversible": False,
            "on_doubt": "escalate",
            "cost": 0.25,
            "schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
        "search": {"irreversible": False, "schema": {"type": "object"}},
        "pay": {
            "irreversible": True,
            "schema": {
                "type": "object",
                "properties": {
                    "to": {"type": "string"},
                    "amount": {"type": "number", "exclusiveMinimum": 0},
                    "note": {"type": "string"},
                },
                "required": ["to", "amount"],
                "additionalProperties": False,
            },
            "arguments": {"note": {"critical": False}},
        },
    },
}


def call(name: str, number: str = "", /, **arguments: Any) -> ToolCall:
    return ToolCall(number, name, json.dumps(arguments))


def reply(*calls: ToolCall) -> Generation:
    return Generation("", "tool_calls", tool_calls=calls)


def labelled(n: int, seed: int, *, wrong: float = 0.15) -> list[LabelledCall]:
    """Of right calls most samples agree, of wrong ones few."""
    draw, found = random.Random(seed), []
    for number in range(n):
        right = draw.random() >= wrong
        agree = draw.betavariate(12, 1) if right else draw.betavariate(1, 4)

        name = "pay" if number % 2 else "look_up"
        samples = tuple(reply(_one(name, draw.random() < agree)) for _ in range(6))
        found.append(LabelledCall(reply(_one(name, True)), right, samples, 0, f"q{seed}.{number}"))
    return found


def _one(name: str, same: bool) -> ToolCall:
    return (
        call(name, to="ann", amount=10 if same else 11)
        if name == "pay"
        else call(name, city="Oslo" if same else "Rome")
    )


@cache
def learned() -> ToolGateFile:
    return fit_tool_gate(labelled(400, 1), POLICY, certify=labelled(800, 2), date="2031-01-01", model="m-1")


def relearned(**changes: Any) -> ToolGateFile:
    """The same with some things changed."""
    return ToolGateFile.model_validate(learned().model_dump() | changes)


@cache
def gate() -> ToolGate:
    return ToolGate(POLICY, learned())


def sure(made: ToolCall) -> list[ToolCall]:
    """Samples that all agree."""
    return [made] * 6


def approved(p: float = 0.95, name: str = "search", *, cost: float = 1.0, **arguments: Any) -> ToolVerdict:
    """A verdict as the gate gives it."""
    return ToolVerdict(
        call(name, **arguments),
        ToolAction.APPROVE,
        "confident",
        p,
        p,
        0.5,
        0.05,
        irreversible=name == "pay",
        cost=cost,
        calibrated=True,
        gate=gate().fingerprint,
    )
