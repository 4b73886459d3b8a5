"""Where no calibrator is fitted yet, nothing is vouched for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.calibration.unfitted import Unfitted
from gate.drivers import Recording
from gate.errors import StaleCalibrator
from gate.pipeline import answer
from gate.types import Action, Question, SignalVector, Stage
from tests.scripted import Scripted, always, plan_over, world_of
from tests.tuning.collected import run_here

ASKED = Question.from_text("Where is Lagos?")


def test_it_fits_any_policy_and_knows_nothing() -> None:
    Unfitted().check(("a", "b"), (Stage("small"),))
    Unfitted().check((), ())
    with pytest.raises(StaleCalibrator, match="no calibrator is fitted yet: 'gate tune' fits one"):
        Unfitted().confidence(SignalVector(()), Stage("small"))
    assert Unfitted() == Unfitted()


@pytest.mark.parametrize(
    ("on_failure", "action"), [("abstain", Action.ABSTAIN), ("pass_through", Action.ANSWER)], ids=str
)
def test_served_with_it_a_policy_does_what_it_does_without_confidence(on_failure: str, action: Action) -> None:
    upstreams = {"small": Scripted("small", always("Nigeria"))}
    plan = replace(plan_over(upstreams), calibrator=Unfitted(), on_failure=on_failure)  # type: ignore[arg-type]
    outcome = run_here(answer(plan, ASKED), world_of(upstreams), Recording())
    assert (outcome.action, outcome.decision.reason) == (action, "calibrator_failed")
    assert "'gate tune' fits one" in outcome.decision.detail
    assert outcome.confidence is None
