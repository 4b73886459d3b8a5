"""The decision in the headers of a response, for clients that look at nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gate.traces import TraceRecord
from gate.types import Outcome

_UNSENDABLE = re.compile(r"[^ -~]")


def headers(
    policy: str, certificate: str, decided: Sequence[tuple[Outcome | None, TraceRecord]] = ()
) -> dict[str, str]:
    """Of each answer, in order and with commas between them where there are several; without an outcome where an error
    ended it. Values are printable ASCII whatever they are made of."""
    made = {"x-gate-policy": policy, "x-gate-certificate": certificate}
    if len(decided) == 1:
        made |= _of(*decided[0])
    elif decided:
        each = [_of(outcome, record) for outcome, record in decided]
        names = dict.fromkeys(name for one in each for name in one)
        made |= {name: ", ".join(one.get(name, "none") for one in each) for name in names}
    for name, value in made.items():
        if not (value.isascii() and value.isprintable()):
            made[name] = _UNSENDABLE.sub("?", value)
    return made


def _of(outcome: Outcome | None, record: TraceRecord) -> dict[str, str]:
    made = {"x-gate-decision-id": record.id}
    if outcome is not None:
        decision = outcome.decision
        made["x-gate-action"] = outcome.action.value
        made["x-gate-reason"] = decision.reason
        if outcome.hedged:
            made["x-gate-hedged"] = "true"
        if outcome.reference:
            made["x-gate-reference"] = outcome.reference
        if decision.confidence is not None:
            made["x-gate-confidence"] = f"{decision.confidence.p:.4f}"
    return made
