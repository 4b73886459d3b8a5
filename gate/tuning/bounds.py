"""Which limit on the error among answers goes with which labels."""

from __future__ import annotations

from gate.guarantees.label_noise import JudgeError, judged_upper_bound
from gate.guarantees.selective_risk import upper_bound
from gate.guarantees.weighted import weighted_upper_bound
from gate.tuning.certification import Bound, Counted, Weighted


def trusted(counted: Counted, delta: float) -> float:
    """Labels are taken as they are: exact where all were equally likely to be checked, else by inverse probability."""
    if counted.weighted is None:
        return upper_bound(counted.wrong, counted.answered, delta)
    return _weighted(counted.weighted, delta)


def _weighted(behind: Weighted, delta: float) -> float:
    chance, out = 1 / behind.weights, behind.answered
    least = min(behind.least, float(chance.min(initial=1.0)))  # a hair less, for twice inverted
    return weighted_upper_bound(behind.wrong[out], chance[out], delta, least)


def judged_by(judge: JudgeError) -> Bound:
    """Labels come from a judge whose errors were counted on answers that people graded too.

    What the judge rejects of right answers is not taken off the errors: people's labels stand in the place of some of
    its own, and those reject nothing.
    """
    lenient = JudgeError(judge.wrong, judge.wrong_accepted, judge.right, 0)
    return lambda counted, delta: judged_upper_bound(counted.wrong, counted.answered, delta, lenient)
