"""A decision as plain JSON: the one shape shown by the command line, the proxy and tools."""

from __future__ import annotations

from typing import Any

from gate.traces import TraceRecord
from gate.types import Confidence, Cost, Outcome, Step


def explanation(record: TraceRecord) -> dict[str, Any]:
    """What was decided, how sure, why, and at what cost; no text of the user or the model."""
    last = record.steps[-1] if record.steps else None
    decision = last.decision if last else None
    return {
        "id": record.id,
        "policy": record.policy,
        "policy_fingerprint": record.policy_fingerprint,
        "certified": record.certified,
        "action": record.action.value if record.action else None,
        "reason": decision.reason if decision else None,
        "threshold": decision.threshold if decision else None,
        "confidence": _confidence(decision.confidence) if decision and decision.confidence else None,
        "steps": [_step(step) for step in record.steps],
        "cost": _cost(record.cost),
        "error": record.error,
        **(beside(record.outcome) if record.outcome else {}),
    }


def outcome_explanation(outcome: Outcome) -> dict[str, Any]:
    """The same of an outcome that stands in no record: what another policy made of one."""
    decision = outcome.decision
    return {
        "action": outcome.action.value,
        "reason": decision.reason,
        "threshold": decision.threshold,
        "confidence": _confidence(decision.confidence) if decision.confidence else None,
        "steps": [_step(step) for step in outcome.steps],
        "cost": _cost(outcome.cost),
    }


def sources(outcome: Outcome) -> list[dict[str, Any]]:
    """The passages behind an outcome: where they are from, none of their text, and whether they bear the answer."""
    return [
        {
            "id": passage.id,
            "title": passage.title,
            "source": passage.source,
            "start": passage.start,
            "cited": passage.id in outcome.cited,
        }
        for passage in outcome.passages
    ]


def beside(outcome: Outcome) -> dict[str, Any]:
    """What came of a question beside an answer: whether it was given unsure, who has it, and what was shown for it."""
    made: dict[str, Any] = {}
    if outcome.hedged:
        made["hedged"] = True
    if outcome.reference:
        made["reference"] = outcome.reference
    if outcome.passages and not outcome.answered:
        made["found"] = [passage.id for passage in outcome.passages]
    return made


def _step(step: Step) -> dict[str, Any]:
    decision = step.decision
    return {
        "stage": decision.stage.key,
        "action": decision.action.value,
        "reason": decision.reason,
        "detail": decision.detail,
        "threshold": decision.threshold,
        "confidence": _confidence(decision.confidence) if decision.confidence else None,
        "signals": {r.signal: r.value if r.missing is None else {"missing": r.missing} for r in step.signals.readings},
        "void": list(step.void),
        "cost": _cost(step.cost),
    }


def _confidence(confidence: Confidence) -> dict[str, Any]:
    return {
        "p": confidence.p,
        "low": confidence.low,
        "high": confidence.high,
        "calibrated": confidence.calibrated,
        "out_of_distribution": confidence.out_of_distribution,
        "base_log_odds": confidence.base,
        "contributions": {c.signal: c.log_odds for c in confidence.contributions},
    }


def _cost(cost: Cost) -> dict[str, float]:
    return {
        "calls": cost.calls,
        "prompt_tokens": cost.prompt_tokens,
        "completion_tokens": cost.completion_tokens,
        "seconds": round(cost.seconds, 6),
        "money": cost.money,
    }
