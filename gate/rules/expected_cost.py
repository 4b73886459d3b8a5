"""The rule of least expected cost: of all that may be done next, what costs least if it goes as it usually went.

With a price of a wrong answer and one of an abstention, in US dollars::

    cost(answer)   =  wrong * (1 - p)
    cost(abstain)  =  abstain
    cost(way on)   =  what it costs itself, and what came of it for questions like this (`gate.types.Prospect`)

A draft is let through from the p at which that costs less than to abstain, 1 - abstain / wrong (Chow 1970), or from the
threshold that tuning found for its round by what was right there, which may be above or below. Below it the cheapest
of the others is taken: how likely a way on succeeds is learned from questions on which every way was gone, and for more
evidence of the same draft the third line is the value of information.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gate.rules.thresholds import Thresholds, sure, unsure
from gate.types import Action, Confidence, Decision, Prospect, Stage

_ORDER = (Action.GATHER, Action.RETRIEVE, Action.ESCALATE, Action.ABSTAIN)
"""Who goes first of those that cost the same."""


class ExpectedCostRule(Thresholds):
    """Answers iff p is at least the threshold; below it takes what is expected to cost least of what is open.

    ``answer_at`` and ``closed_book_at`` are floors: however cheap a mistake, nothing less sure is let through. Where
    the calibrator learned nothing of the ways on, as before tuning, they are taken in order, more evidence first.
    """

    kind: Literal["expected_cost"] = "expected_cost"
    answer_at: Annotated[float, Field(ge=0, le=1)] = 0.0
    wrong: float = Field(gt=0)
    """What a wrong answer that goes out is reckoned to cost; tuning raises it until the promise holds."""
    abstain: float = Field(gt=0)
    """What a question left unanswered is reckoned to cost."""

    @model_validator(mode="after")
    def _ordered(self) -> ExpectedCostRule:
        if self.abstain > self.wrong:
            raise ValueError("'abstain' is above 'wrong': everything would be answered")
        return self

    @property
    def everywhere(self) -> float | None:
        if self.answer_at_in or self.closed_book_at is not None:
            return None
        return self.threshold(Stage(""))

    def threshold(self, stage: Stage) -> float:
        return max(self.floor(stage), self.answer_at_in.get(stage.round_key, 1 - self.abstain / self.wrong))

    def floor(self, stage: Stage) -> float:
        """The p below which a draft of this stage is not let through, whatever it costs."""
        return max(self.answer_at, self.of_book(stage))

    def decide(self, confidence: Confidence, stage: Stage, open_actions: frozenset[Action]) -> Decision:
        threshold = self.threshold(stage)
        if sure(confidence, threshold):
            return Decision(Action.ANSWER, "confident", stage, confidence, threshold)
        if Action.CLARIFY in open_actions:  # nothing is bought for it as it stands
            return Decision(Action.CLARIFY, "ambiguous", stage, confidence, threshold)
        reason = unsure(confidence)
        if not confidence.prospects:
            action = self.in_order(confidence, threshold, open_actions)
            return Decision(action, reason, stage, confidence, threshold)
        ways = [way for way in confidence.prospects if way.action in open_actions and self._listed(way.action)]
        choices = [*ways, Prospect(Action.ABSTAIN, 0.0, self.abstain)]
        choices.sort(key=lambda choice: (choice.cost, _ORDER.index(choice.action)))
        told = [f"answer ${self.wrong * (1 - confidence.p):.3g}", *map(_told, choices)]
        detail = f"expected cost: {', '.join(told)}"
        return Decision(choices[0].action, reason, stage, confidence, threshold, detail, choices[0].target)

    def _listed(self, action: Action) -> bool:
        return action is Action.GATHER or action in self.otherwise


def _told(choice: Prospect) -> str:
    return f"{choice.action}{f' to {choice.target}' if choice.target else ''} ${choice.cost:.3g}"
