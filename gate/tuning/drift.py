"""The answers that went out, held against a promise audit by audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.guarantees.monitor import DriftMonitor
from gate.policy import Promise
from gate.tuning.decision_log import Audit, records
from gate.types import Action


@dataclass(frozen=True, slots=True)
class Watched:
    """What the monitor saw."""

    monitor: DriftMonitor
    alarm_at: str | None
    """Id of the decision whose audit raised the alarm."""

    def summary(self) -> dict[str, Any]:
        held = self.monitor
        return {
            "audited_answers": held.audited,
            "wrong": held.wrong,
            "risk": held.risk,
            "interval": held.interval,
            "e_value": held.e_value,
            "alarm": held.alarm,
            "alarm_at": self.alarm_at,
            "state": held.model_dump(),
        }


def watched(log: Path, audits: Mapping[str, Audit], promise: Promise) -> Watched:
    """Go through a log in its order. Held-back drafts, answers nobody checked, and those that gate only observed say
    nothing of what it let out."""
    least = min(audit.probability for audit in audits.values())
    monitor = DriftMonitor(alpha=promise.max_error, delta=1 - promise.confidence, largest_weight=1 / least)
    alarm_at = None
    for _, record in records(log):
        audit = audits.get(str(record.get("id")))
        if audit is None or audit.first or record.get("action") != Action.ANSWER.value:
            continue
        monitor = monitor.updated(not audit.correct, min(1 / audit.probability, 1 / least))
        if monitor.alarm and alarm_at is None:
            alarm_at = str(record["id"])
    return Watched(monitor, alarm_at)
