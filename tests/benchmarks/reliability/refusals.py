"""Which refusals a fault is a reason for. All others stand for something else that is wrong: that a refusal is clear
makes it no success.
"""

from __future__ import annotations

from tests.benchmarks.reliability.accounting import MODEL_TOO_FAST
from tests.benchmarks.reliability.faults import Fault

UNSOUND = ("upstream_error", "upstream_unavailable", "upstream_timeout")
"""Where the model's server does not answer, or a breaker leaves it alone; where it takes too long."""
_UNLOGGED = ("log_unavailable",)
_UNKEPT = ("idempotency_unavailable",)
_UNSHARED = ("limits_unavailable", *_UNKEPT)
_BY_NAME: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("model: 429", (*UNSOUND, MODEL_TOO_FAST)),
    ("model: swapped", ()),
    ("model: ", UNSOUND),
    ("six times the requests", ("overloaded",)),
    ("disk full, durable log", (*_UNLOGGED, *_UNKEPT)),
    ("disk full", _UNKEPT),
    ("durable ", _UNLOGGED),
)
"""The first one counts that a name begins with."""


def explained_by(fault: Fault) -> tuple[str, ...]:
    """Codes of errors that may come from when it begins."""
    if fault.setup.shared and fault.setup.when_down == "refuse":
        return _UNSHARED
    return next((codes for name, codes in _BY_NAME if fault.name.startswith(name)), ())
