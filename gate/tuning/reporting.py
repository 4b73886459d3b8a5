"""From a policy and a graded collection to the page about it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gate.calibration.logistic import LogisticCalibrator
from gate.gateway import Gateway
from gate.tuning.collection import Collected
from gate.tuning.evaluate import evaluate
from gate.tuning.judging import Judged, verdict
from gate.tuning.report import render
from gate.tuning.report.contents import Example, Report, stage_signals
from gate.tuning.tuned_files import frontier

_SHOWN = 6
"""Contributions shown of each of the worst answers."""


def reported(gateway: Gateway, rows: Iterable[Collected], *, record: Path, worst: int, data: str, date: str) -> str:
    """The page. ``rows`` are gone through once; ``record`` is what tuning left, if anything."""
    policy, calibrator, shown = gateway.policy, gateway.plan.calibrator, _Worst(worst)
    judged = verdict(gateway.plan, rows, noted=shown.note)
    notes = []
    if judged.gaps:
        notes.append(f"{len(judged.gaps)} questions are left out, for they cannot be judged: {judged.gaps[0][1]}.")
    if not isinstance(calibrator, LogisticCalibrator):
        notes.append("The confidence is not calibrated: no promise rests on it.")
    return render(
        Report(
            policy=policy.name,
            summary=policy.summary,
            promise=policy.promise,
            evaluation=evaluate(
                judged.judgements, confidence=policy.promise.confidence, answer_at=policy.rule.everywhere
            ),
            data=data,
            date=date,
            certificate=gateway.certificate,
            void=gateway.void,
            stages=stage_signals(calibrator, judged.judgements) if isinstance(calibrator, LogisticCalibrator) else (),
            frontier=frontier(record),
            examples=tuple(map(_example, shown.listed)),
            notes=tuple(notes),
        )
    )


@dataclass(slots=True)
class _Worst:
    """The wrong answers that went out, those the gate was surest of first."""

    count: int
    listed: list[Judged] = field(default_factory=list)

    def note(self, one: Judged) -> None:
        if one.outcome and one.outcome.answered and one.correct is False:
            self.listed = heapq.nlargest(self.count, [*self.listed, one], key=_p)


def _p(one: Judged) -> float:
    return one.outcome.confidence.p if one.outcome and one.outcome.confidence else 0.0


def _example(one: Judged) -> Example:
    confidence = one.outcome.confidence if one.outcome else None
    added = sorted(confidence.contributions, key=lambda c: -abs(c.log_odds)) if confidence else []
    example = one.collected.example
    return Example(
        id=example.id,
        question=example.question.text,
        answer=one.draft or "",
        p=confidence.p if confidence else None,
        correct=one.correct,
        contributions=tuple(added[:_SHOWN]),
    )
