"""What all rules have in common: the least confidence at which a draft is let through, and the ways below it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gate.types import Action, Confidence, Stage

Way = Literal[Action.RETRIEVE, Action.ESCALATE]
"""What may be tried below the threshold."""


class Thresholds(BaseModel):
    """``answer_at`` is the least p at which a draft may be let through; ``closed_book_at`` asks more, or the impossible
    (1), of what comes from the model's memory alone, and ``answer_at_in`` sets it for the drafts of one upstream,
    closed book or with passages. ``otherwise`` are the ways there are below it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    answer_at: float = Field(ge=0, le=1)
    closed_book_at: float | None = Field(default=None, ge=0, le=1)
    """The threshold for drafts that had no passages to read; that of the others when None."""
    answer_at_in: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """By round, as in ``small/closed_book`` or ``large/with_passages``; goes before the other two."""
    gather_above: float = Field(default=0.0, ge=0, le=1)
    """The least p at which more of the same evidence is bought, where nothing else speaks for or against it."""
    otherwise: tuple[Way, ...] = (Action.RETRIEVE, Action.ESCALATE)

    @property
    def everywhere(self) -> float | None:
        """The threshold where all drafts have the same; else None."""
        named = {self.answer_at, *self.answer_at_in.values()}
        return self.answer_at if named == {self.answer_at} and self.closed_book_at in (None, self.answer_at) else None

    def threshold(self, stage: Stage) -> float:
        """The least p at which a draft of this stage is let through."""
        return self.answer_at_in.get(stage.round_key, self.of_book(stage))

    def of_book(self, stage: Stage) -> float:
        """The threshold of a stage but for what is set for its round alone."""
        return self.answer_at if stage.passages or self.closed_book_at is None else self.closed_book_at

    def in_order(self, confidence: Confidence, threshold: float, open_actions: frozenset[Action]) -> Action:
        """What is done below a threshold by order alone: more evidence where it may help, the first of ``otherwise``
        that is open, or nothing."""
        worth_it = self.gather_above <= confidence.p and threshold < 1.0  # nothing lifts p to 1
        if Action.GATHER in open_actions and worth_it:
            return Action.GATHER
        return next((action for action in self.otherwise if action in open_actions), Action.ABSTAIN)


def sure(confidence: Confidence, threshold: float) -> bool:
    """Whether a draft may be let through. One out of the calibrator's range never is."""
    return confidence.p >= threshold and not confidence.out_of_distribution


def unsure(confidence: Confidence) -> str:
    """The code of why a draft is not let through."""
    return "out_of_distribution" if confidence.out_of_distribution else "uncertain"
