"""Full evidence visits every stage, and its tape serves every policy over them."""

from __future__ import annotations

from gate.drivers import Recording, ReplayDriver, ThreadedDriver
from gate.pipeline import answer
from gate.tuning.full_evidence import full_evidence
from gate.types import Action, Question
from tests.scripted import Scripted, always, plan_over, world_of

ASKED = Question.from_text("Where is Lagos?")


def test_every_stage_is_seen_and_any_threshold_can_be_replayed() -> None:
    upstreams = {"small": Scripted("small", lambda e, i: f"{i}"), "large": Scripted("large", always("Nigeria"))}
    plan = plan_over(upstreams, passages=True)
    recording = Recording()
    driver = ThreadedDriver(world_of(upstreams))
    seen = driver.run(full_evidence(plan, ASKED), recording)
    driver.close()
    assert [s.stage.key for s in seen] == [
        "small/closed_book/tier0",
        "small/with_passages/tier0",
        "large/closed_book/tier0",
        "large/with_passages/tier0",
    ]
    assert [s.draft for s in seen] == ["0", "0", "Nigeria", "Nigeria"]
    for threshold, action in ((0.1, Action.ANSWER), (0.8, Action.ANSWER), (0.99, Action.ABSTAIN)):
        outcome = ReplayDriver(recording.tape).run(
            answer(plan_over(upstreams, passages=True, answer_at=threshold), ASKED), Recording()
        )
        assert outcome.action is action
