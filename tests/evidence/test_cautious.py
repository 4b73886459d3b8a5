"""Asking again with a way out: what is asked, and how the reply is held against the draft."""

from __future__ import annotations

import pytest

from gate.drivers import Recording, ThreadedDriver
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence import Cautious, CautiousSource, Draft
from gate.ports import Evidence, Profile, Round
from gate.types import Cost, Generation, Message, Question
from tests.scripted import Scripted, world_of

MESSAGES = (Message("system", "Be brief."), Message("user", "Where is Lagos?"))


def asked(said: str | UpstreamError, draft: str = "Nigeria") -> tuple[Cautious, Scripted]:
    upstream = Scripted("small", lambda effect, place: said)
    round_ = Round(0, Question(MESSAGES, {"temperature": 0.9, "stop": "\n"}), "small", Profile(), MESSAGES)
    evidence = Evidence().having(Draft(Cost(), Generation(draft), ""))
    driver = ThreadedDriver(world_of({"small": upstream}))
    try:
        fact = driver.run(CautiousSource(judge="lexical").gather(round_, evidence), Recording())
    finally:
        driver.close()
    assert isinstance(fact, Cautious)
    return fact, upstream


def test_one_greedy_request_holds_the_conversation_and_the_way_out() -> None:
    fact, upstream = asked("Nigeria.")
    (request,) = upstream.asked
    assert (request.n, request.temperature, request.stop, request.logprobs) == (1, 0.0, ("\n",), 0)
    assert request.messages[0] == MESSAGES[0]
    assert request.messages[1].content.endswith("\n\nWhere is Lagos?")
    assert "I don't know" in request.messages[1].content
    assert (fact.same, fact.similarity, fact.cost.calls) == (True, 1.0, 1)


@pytest.mark.parametrize(("said", "same"), [("nigeria", True), ("in Nigeria", False), ("I don't know", False)])
def test_the_reply_is_held_against_the_draft(said: str, same: bool) -> None:
    fact, _ = asked(said)
    assert fact.same is same
    assert (fact.similarity == 1.0) is same


def test_a_draft_that_says_nothing_costs_no_call_and_a_failure_is_the_upstreams() -> None:
    with pytest.raises(EvidenceUnavailable, match="nothing to compare"):
        asked("Nigeria", draft="  ")
    with pytest.raises(UpstreamError, match="is down"):
        asked(UpstreamError("small", "is down"))


def test_the_prompt_is_among_what_a_certificate_is_held_against() -> None:
    assert CautiousSource().uses.prompts == ("cautious",)
    assert CautiousSource().calls(Profile(n=1)) == 1
