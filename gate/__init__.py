"""gate: answers when it knows, and says so when it doesn't.

::

    import gate

    gateway = gate.load_gateway("balanced")
    outcome, trace = gateway.ask(gate.Question.from_text("Where is Nanjing?"))

`Gateway` and `load_gateway` are imported on first use: ``import gate`` itself stays fast and does no I/O.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from gate.errors import (
    AnswerWithheld,
    ConfigError,
    EvidenceUnavailable,
    GateError,
    MissingExtra,
    ReplayGap,
    RequestError,
    StaleCalibrator,
    UnknownName,
    UpstreamError,
    UpstreamTimeout,
)
from gate.traces import TraceRecord
from gate.types import Action, Budget, Certificate, Confidence, Cost, Decision, Message, Outcome, Question

if TYPE_CHECKING:
    from gate.assemble import load_gateway
    from gate.clients import wrap
    from gate.decorator.capturing import capture
    from gate.decorator.decided import Abstained, Decided
    from gate.decorator.gate import Gate
    from gate.decorator.guard import guard
    from gate.gateway import Gateway

__version__ = "0.1.0"

__all__ = [
    "Abstained",
    "Action",
    "AnswerWithheld",
    "Budget",
    "Certificate",
    "Confidence",
    "ConfigError",
    "Cost",
    "Decided",
    "Decision",
    "EvidenceUnavailable",
    "Gate",
    "GateError",
    "Gateway",
    "Message",
    "MissingExtra",
    "Outcome",
    "Question",
    "ReplayGap",
    "RequestError",
    "StaleCalibrator",
    "TraceRecord",
    "UnknownName",
    "UpstreamError",
    "UpstreamTimeout",
    "capture",
    "guard",
    "load_gateway",
    "wrap",
]

_LAZY = {
    "Abstained": "gate.decorator.decided",
    "Decided": "gate.decorator.decided",
    "Gate": "gate.decorator.gate",
    "Gateway": "gate.gateway",
    "capture": "gate.decorator.capturing",
    "guard": "gate.decorator.guard",
    "load_gateway": "gate.assemble",
    "wrap": "gate.clients",
}


def __getattr__(name: str) -> object:
    """Import what is heavy when it is first asked for (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'gate' has no attribute {name!r}")
    return globals().setdefault(name, getattr(import_module(_LAZY[name]), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
