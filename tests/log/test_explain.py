"""The explanation: every number of the decision, and not a word of the user's or the model's."""

from __future__ import annotations

import dataclasses
import json

from gate.errors import UpstreamError
from gate.gateway import Gateway
from gate.log.explain import explanation, sources
from gate.log.jsonl import without_text
from gate.policy import Policy
from gate.traces import TraceRecord
from gate.types import (
    Action,
    Confidence,
    Contribution,
    Cost,
    Decision,
    Outcome,
    Passage,
    Question,
    Reading,
    SignalVector,
    Stage,
    Step,
)
from tests.scripted import Answer, Scripted, plan_over, world_of

CONFIDENCE = Confidence(0.9, 0.8, 0.95, (Contribution("vote_share", 1.5),), base=-0.25, calibrated=True)
FIRST = Step(
    Decision(Action.RETRIEVE, "uncertain", Stage("small"), Confidence(0.4, 0.3, 0.5, calibrated=False), 0.8),
    SignalVector((Reading("vote_share", 0.2), Reading("passage_score", None, "no passage is in the prompt"))),
    Cost(2, 20, 18, 0.25, 0.5),
)
SECOND = Step(
    Decision(Action.ANSWER, "confident", Stage("small", passages=True), CONFIDENCE, 0.8, "in full"),
    SignalVector((Reading("vote_share", 1.0), Reading("passage_score", 0.0))),
    Cost(3, 40, 18, 0.12345678, 0.25),
)
RECORD = TraceRecord(
    "feed", "now", "mine", "abc", True, (FIRST, SECOND), action=Action.ANSWER, cost=FIRST.cost + SECOND.cost
)


def test_every_number_of_the_decision_is_shown() -> None:
    shown = explanation(RECORD)
    assert shown["id"] == "feed"
    assert (shown["policy"], shown["policy_fingerprint"], shown["certified"]) == ("mine", "abc", True)
    assert (shown["action"], shown["reason"], shown["threshold"], shown["error"]) == ("answer", "confident", 0.8, None)
    assert shown["confidence"] == {
        "p": 0.9, "low": 0.8, "high": 0.95, "calibrated": True, "out_of_distribution": False, "base_log_odds": -0.25,
        "contributions": {"vote_share": 1.5},
    }  # fmt: skip
    assert shown["cost"] == {
        "calls": 5, "prompt_tokens": 60, "completion_tokens": 36, "seconds": 0.373457, "money": 0.75,
    }  # fmt: skip


def test_every_step_is_shown_in_order_with_its_own_evidence() -> None:
    first, second = explanation(RECORD)["steps"]
    assert (first["stage"], first["action"], first["reason"]) == ("small/closed_book/tier0", "retrieve", "uncertain")
    assert first["confidence"]["calibrated"] is False
    assert first["cost"] == {"calls": 2, "prompt_tokens": 20, "completion_tokens": 18, "seconds": 0.25, "money": 0.5}
    assert second["stage"] == "small/with_passages/tier0"
    assert second["detail"] == "in full"


def test_a_missing_signal_is_shown_with_its_reason_and_a_zero_as_a_zero() -> None:
    first, second = explanation(RECORD)["steps"]
    assert first["signals"] == {"vote_share": 0.2, "passage_score": {"missing": "no passage is in the prompt"}}
    assert second["signals"] == {"vote_share": 1.0, "passage_score": 0.0}


def test_what_voids_a_certificate_is_shown_with_the_step_it_was_seen_in() -> None:
    seen = dataclasses.replace(SECOND, void=("another model answers",))
    steps = explanation(dataclasses.replace(RECORD, steps=(FIRST, seen)))["steps"]
    assert [step["void"] for step in steps] == [[], ["another model answers"]]


def test_a_question_that_ended_in_an_error_is_explained_by_it() -> None:
    shown = explanation(TraceRecord("feed", "now", "mine", "abc", False, (), error="upstream 'small': is down"))
    assert shown["error"] == "upstream 'small': is down"
    assert shown["steps"] == []
    assert shown["action"] is shown["reason"] is shown["confidence"] is shown["threshold"] is None


def secretive(effect_says: str) -> Gateway:
    """A gateway that searches, escalates into a failure and abstains, over models that say ``effect_says``."""

    def small(effect: object, place: int) -> Answer:
        return f"{effect_says} {place}"

    upstreams = {
        "small": Scripted("small", small),
        "large": Scripted("large", lambda effect, place: UpstreamError("large", "is down")),
    }
    policy = Policy.model_validate(
        {
            "name": "mine",
            "promise": {"max_error": 0.1},
            "upstreams": {name: {"kind": "scripted"} for name in upstreams},
            "ladder": list(upstreams),
            "signals": ["vote_share"],
            "calibrator": "vote_share",
            "rule": {"answer_at": 0.8},
        }
    )
    return Gateway(policy, plan_over(upstreams, passages=True), world_of(upstreams), {})


def test_an_explanation_is_json_and_holds_no_text_of_the_user_the_model_or_the_passages() -> None:
    gateway = secretive("Zanzibar")
    outcome, record = gateway.ask(Question.from_text("Where is Lagos, asks Ophelia?"))
    gateway.close()
    assert [step.decision.action for step in outcome.steps] == [Action.RETRIEVE, Action.ESCALATE, Action.ABSTAIN]
    shown = json.dumps(explanation(record), allow_nan=False)
    for text in ("Ophelia", "Zanzibar", "city in Nigeria", "I do not know"):
        assert text not in shown
    assert "'large': is down" in shown
    assert explanation(without_text(record)) == explanation(record)


def test_sources_say_where_passages_are_from_and_which_bear_the_answer_and_nothing_of_what_they_say() -> None:
    found = (Passage("a", "secret", 1.0, "Lagos", "cities.md", 12), Passage("b", "secret"))
    outcome = Outcome(Action.ANSWER, "Nigeria", (SECOND,), Cost(), passages=found, cited=("a",))
    assert sources(outcome) == [
        {"id": "a", "title": "Lagos", "source": "cities.md", "start": 12, "cited": True},
        {"id": "b", "title": "", "source": "", "start": None, "cited": False},
    ]
