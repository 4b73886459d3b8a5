"""The threshold rule: answer when p is high enough, else take the next open way to know better, else abstain."""

from __future__ import annotations

from typing import Literal

from gate.rules.thresholds import Thresholds, sure, unsure
from gate.types import Action, Confidence, Decision, Stage


class ThresholdRule(Thresholds):
    """Answers iff p is at least the threshold; below it takes the first action of ``otherwise`` that is open, and
    abstains last.

    The surer a weak model must be (``answer_at_in``), the more is left to the next. More of the same evidence
    (``gather``) is only bought when p lies between ``gather_above`` and the threshold: far below, it could not lift p
    over it. An answer out of the calibrator's range is never let through. Below the threshold an ambiguous question is
    asked back before anything is bought for it.
    """

    kind: Literal["threshold"] = "threshold"

    def decide(self, confidence: Confidence, stage: Stage, open_actions: frozenset[Action]) -> Decision:
        threshold = self.threshold(stage)
        if sure(confidence, threshold):
            return Decision(Action.ANSWER, "confident", stage, confidence, threshold)
        if Action.CLARIFY in open_actions:
            return Decision(Action.CLARIFY, "ambiguous", stage, confidence, threshold)
        action = self.in_order(confidence, threshold, open_actions)
        return Decision(action, unsure(confidence), stage, confidence, threshold)
