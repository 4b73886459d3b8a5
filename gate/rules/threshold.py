"""The threshold rule: answer when p is high enough, else take the next open way to know better, else abstain."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gate.types import Action, Confidence, Decision, Stage

Way = Literal[Action.RETRIEVE, Action.ESCALATE]
"""What may be tried below the threshold."""


class ThresholdRule(BaseModel):
    """Answers iff p >= ``answer_at``; below it takes the first action of ``otherwise`` that is open, and abstains last.

    ``closed_book_at`` asks more, or the impossible (1), of what comes from the model's memory alone, and
    ``answer_at_in`` sets the threshold for the drafts of one upstream, closed book or with passages: the surer a weak
    model must be, the more is left to the next. More of the same evidence (``gather``) is only bought when p lies
    between ``gather_above`` and the threshold: far below, it could not lift p over it. An answer out of the
    calibrator's range is never let through.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["threshold"] = "threshold"
    answer_at: float = Field(ge=0, le=1)
    closed_book_at: float | None = Field(default=None, ge=0, le=1)
    """The threshold for drafts that had no passages to read; that of the others when None."""
    answer_at_in: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """By round, as in ``small/closed_book`` or ``large/with_passages``; goes before the other two."""
    gather_above: float = Field(default=0.0, ge=0, le=1)
    otherwise: tuple[Way, ...] = (Action.RETRIEVE, Action.ESCALATE)

    def decide(self, confidence: Confidence, stage: Stage, open_actions: frozenset[Action]) -> Decision:
        threshold = self.threshold(stage)
        action, reason = self._choose(confidence, threshold, open_actions)
        return Decision(action, reason, stage, confidence, threshold)

    @property
    def everywhere(self) -> float | None:
        """The threshold where all drafts have the same; else None."""
        named = {self.answer_at, *self.answer_at_in.values()}
        return self.answer_at if named == {self.answer_at} and self.closed_book_at in (None, self.answer_at) else None

    def threshold(self, stage: Stage) -> float:
        """The least p at which a draft of this stage is let through."""
        general = self.answer_at if stage.passages or self.closed_book_at is None else self.closed_book_at
        return self.answer_at_in.get(stage.round_key, general)

    def _choose(self, confidence: Confidence, threshold: float, open_actions: frozenset[Action]) -> tuple[Action, str]:
        if confidence.p >= threshold and not confidence.out_of_distribution:
            return Action.ANSWER, "confident"
        reason = "out_of_distribution" if confidence.out_of_distribution else "uncertain"
        worth_it = self.gather_above <= confidence.p and threshold < 1.0  # nothing lifts p to 1
        if Action.GATHER in open_actions and worth_it:
            return Action.GATHER, reason
        for action in self.otherwise:
            if action in open_actions:
                return action, reason
        return Action.ABSTAIN, reason
