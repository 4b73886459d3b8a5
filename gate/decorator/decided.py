"""What comes of an answer in Python: `Decided`, which holds it and why, and `Abstained`, which stands in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gate.log.explain import explanation
from gate.traces import TraceRecord
from gate.types import Action, Confidence, Cost, Decision, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from gate.decorator.field_confidence import FieldCalibrator, FieldConfidence

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, repr=False)
class Abstained:
    """What is returned in the place of an answer that was not let through. It is false, so ``if answer:`` tells."""

    outcome: Outcome
    trace: TraceRecord

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Abstained({self.text!r}, reason={self.reason!r}, p={_short(self.p)})"

    def _repr_html_(self) -> str:
        """The decision, as notebooks show it."""
        from gate.decorator.html import decided_html

        return decided_html(self)

    @property
    def text(self) -> str:
        """What may be said to whoever asked: the refusal, or the question asked back."""
        return self.outcome.text

    @property
    def action(self) -> Action:
        """``abstain``, or ``clarify`` where the question is asked back."""
        return self.outcome.action

    @property
    def reason(self) -> str:
        return self.outcome.decision.reason

    @property
    def p(self) -> float | None:
        """How likely the answer that is withheld is right; None where that could not be told."""
        confidence = self.outcome.confidence
        return None if confidence is None else confidence.p

    @property
    def id(self) -> str:
        """Of the decision: feedback and the log go by it."""
        return self.trace.id


@dataclass(frozen=True, slots=True, repr=False)
class Decided(Generic[T_co]):
    """An answer, or `Abstained`, with all that stands behind it."""

    value: T_co | Abstained
    outcome: Outcome
    trace: TraceRecord

    def __repr__(self) -> str:
        said = f"reason={self.reason!r}, p={_short(self.p)}, certified={self.certified}"
        return f"Decided({self.value!r}, {said})"

    @property
    def answered(self) -> bool:
        return self.outcome.answered

    @property
    def action(self) -> Action:
        return self.outcome.action

    @property
    def text(self) -> str:
        return self.outcome.text

    @property
    def decision(self) -> Decision:
        return self.outcome.decision

    @property
    def reason(self) -> str:
        return self.outcome.decision.reason

    @property
    def confidence(self) -> Confidence | None:
        return self.outcome.confidence

    @property
    def p(self) -> float | None:
        """How likely the answer on trial is right; None where that could not be told."""
        confidence = self.outcome.confidence
        return None if confidence is None else confidence.p

    @property
    def certified(self) -> bool:
        """Whether the policy's promise stands behind it."""
        return self.trace.certified

    @property
    def cost(self) -> Cost:
        return self.outcome.cost

    @property
    def id(self) -> str:
        """Of the decision: feedback and the log go by it."""
        return self.trace.id

    def explain(self) -> dict[str, Any]:
        """The whole decision as plain JSON, as the proxy and the command line tell it; no text of anybody in it."""
        return explanation(self.trace)

    def _repr_html_(self) -> str:
        """The decision, as notebooks show it."""
        from gate.decorator.html import decided_html

        return decided_html(self)

    def fields(self, calibrator: FieldCalibrator | str | Path | None = None) -> tuple[FieldConfidence, ...]:
        """How far each field of a JSON answer, or each argument of a tool call, is to be trusted.

        Also of an answer that is withheld: what of it may be used is then the caller's to say. Told from the samples
        that were drawn for it, and from its tokens, where there are any. ``calibrator``: one that
        `gate.tuning.field_fit.fit_fields` made, or its file; without it p is marked as not calibrated. Raises
        `ConfigError` for one that cannot be used.
        """
        from gate.decorator.field_confidence import fields_of

        return fields_of(self.outcome, self.trace, calibrator)


def _short(p: float | None) -> str:
    return "None" if p is None else f"{p:.4g}"
