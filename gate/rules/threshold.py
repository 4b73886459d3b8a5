"""The threshold rule: answer when p is high enough, else take the next open way to know better, else abstain."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gate.types import Action, Confidence, Decision, Stage


class ThresholdRule(BaseModel):
    """Answers iff p >= ``answer_at``; below it takes the first action of ``otherwise`` that is open, and abstains last.

    More of the same evidence (``gather``) is only bought when p lies in ``[gather_above, answer_at)``: far below, it
    could not lift p over the threshold. An answer out of the calibrator's range is never let through.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["threshold"] = "threshold"
    answer_at: float = Field(ge=0, le=1)
    gather_above: float = Field(default=0.0, ge=0, le=1)
    otherwise: tuple[Literal[Action.RETRIEVE, Action.ESCALATE], ...] = (Action.RETRIEVE, Action.ESCALATE)

    def decide(self, confidence: Confidence, stage: Stage, open_actions: frozenset[Action]) -> Decision:
        action, reason = self._choose(confidence, open_actions)
        return Decision(action, reason, stage, confidence, self.answer_at)

    def _choose(self, confidence: Confidence, open_actions: frozenset[Action]) -> tuple[Action, str]:
        if confidence.p >= self.answer_at and not confidence.out_of_distribution:
            return Action.ANSWER, "confident"
        reason = "out_of_distribution" if confidence.out_of_distribution else "uncertain"
        if Action.GATHER in open_actions and confidence.p >= self.gather_above:
            return Action.GATHER, reason
        for action in self.otherwise:
            if action in open_actions:
                return action, reason
        return Action.ABSTAIN, reason
