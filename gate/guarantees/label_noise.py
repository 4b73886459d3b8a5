"""The risk among answers when a judge labelled them, and judges err.

A judge that calls three in ten wrong answers right makes every error rate look a third lower, and a bound computed from
its labels is broken many times as often as it says. How often it errs is measured on answers that a person labelled
too; what can then be said of the true risk follows from

    judged wrong = R (1 - a) + (1 - R) b,    so    R = (judged wrong - b) / (1 - a - b)

with R the true risk, a the share of wrong answers the judge accepts, b that of right ones it rejects (Rogan and Gladen
1978). The doubly labelled answers must be drawn like those the bound is for, from what the policy answers: a judge errs
more on the answers that are hard to tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from gate.guarantees.selective_risk import lower_bound, upper_bound


@dataclass(frozen=True, slots=True)
class JudgeError:
    """How a judge did on answers that a person labelled too, as counts."""

    wrong: int
    """Answers that are wrong; of those the judge called ``wrong_accepted`` right."""
    wrong_accepted: int
    right: int
    """Answers that are right; of those the judge called ``right_rejected`` wrong."""
    right_rejected: int

    def __post_init__(self) -> None:
        if not (0 <= self.wrong_accepted <= self.wrong and 0 <= self.right_rejected <= self.right):
            raise ValueError(f"a judge cannot err on more answers than there are: {self}")


def judged_risk(judged_wrong: int, answered: int, judge: JudgeError) -> float | None:
    """The estimate of the true risk, brought into [0, 1]. None where the judge tells nothing, or was not measured."""
    if not (answered and judge.wrong and judge.right):
        return None
    a, b = judge.wrong_accepted / judge.wrong, judge.right_rejected / judge.right
    if a + b >= 1:
        return None
    return min(1.0, max(0.0, (judged_wrong / answered - b) / (1 - a - b)))


def judged_upper_bound(judged_wrong: int, answered: int, delta: float, judge: JudgeError) -> float:
    """One-sided upper limit on the true risk, wrong with probability at most ``delta``.

    A third of ``delta`` each goes to an upper limit on the share judged wrong and on a, and a lower one on b. Where all
    three hold, R (1 - a) + (1 - R) b is at least R (1 - upper a) + (1 - R) lower b whatever R is, which gives the bound
    without supposing that the judge is better than chance. It is 1 when nothing can be said: of a judge that was never
    seen to reject a wrong answer, or that now calls fewer answers wrong than it rejects of right ones, and so is not
    the judge that was measured. Give it to `gate.guarantees.selective_risk.certify` as ``bound``.
    """
    judged = upper_bound(judged_wrong, answered, delta / 3)
    accepted = upper_bound(judge.wrong_accepted, judge.wrong, delta / 3)
    rejected = lower_bound(judge.right_rejected, judge.right, delta / 3)
    telling = 1.0 - accepted - rejected
    return min(1.0, (judged - rejected) / telling) if telling > 0 and judged > rejected else 1.0
