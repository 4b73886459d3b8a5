"""Groundedness: how each judge is asked, and what becomes of what it says."""

from __future__ import annotations

import dataclasses

import pytest
from pydantic import ValidationError

from gate.errors import EvidenceUnavailable
from gate.evidence import Draft, Groundedness, GroundednessSource
from gate.evidence.groundedness import verdicts_in
from gate.ports import Evidence
from gate.types import Cost, Entailment, Generation, Passage
from tests.evidence.scripted_judge import MAYBE, NO, ROUND, YES, ScriptedJudge, gathered
from tests.scripted import Scripted, always

FOUND = (Passage("a", "Lagos is a city in Nigeria."), Passage("b", "Lagos is large."))
READING = dataclasses.replace(ROUND, passages=FOUND)
TWO = "Lagos is a city in the west of Nigeria. It was the capital of Ghana."


def drafted(text: str) -> Evidence:
    return Evidence().having(Draft(Cost(), Generation(text), "small"))


def test_words_are_counted_without_asking_anyone() -> None:
    upstream = Scripted("small", always("x"))
    fact = gathered(GroundednessSource(), drafted(TWO), upstream=upstream, round_=READING)
    assert fact == Groundedness(Cost(), (3 / 4, 0.0), None)
    assert upstream.asked == []


def test_a_judge_of_entailment_reads_every_passage_for_every_claim_and_the_most_counts() -> None:
    def verdict(premise: str, hypothesis: str) -> Entailment:
        if "Ghana" in hypothesis:
            return NO if "Nigeria" in premise else MAYBE
        return YES if "Nigeria" in premise else MAYBE

    judge = ScriptedJudge(verdict)
    source = GroundednessSource(judge="nli", entailment_judge="nli")
    fact = gathered(source, drafted(TWO), judge=judge, round_=READING)
    assert isinstance(fact, Groundedness)
    assert fact.support == (YES.entailment, MAYBE.entailment)
    assert fact.contradiction == (MAYBE.contradiction, NO.contradiction)
    first, second = TWO.split(". ")
    assert judge.asked[0].pairs == tuple((p.text, claim) for claim in (f"{first}.", second) for p in FOUND)
    assert fact.cost.calls == 0


def test_a_short_answer_is_judged_with_its_question() -> None:
    judge = ScriptedJudge(lambda premise, hypothesis: YES)
    gathered(GroundednessSource(judge="nli", entailment_judge="nli"), drafted("Nigeria"), judge=judge, round_=READING)
    assert {hypothesis for _, hypothesis in judge.asked[0].pairs} == {"Where is Lagos? Nigeria"}


def test_a_model_is_asked_once_about_all_claims() -> None:
    upstream = Scripted("small", always("1. Yes\n2. contradicted"))
    fact = gathered(GroundednessSource(judge="model"), drafted(TWO), upstream=upstream, round_=READING)
    assert isinstance(fact, Groundedness)
    assert (fact.support, fact.contradiction, fact.cost.calls) == ((1.0, 0.0), (0.0, 1.0), 1)
    (asked,) = upstream.asked
    text = asked.messages[-1].content
    assert "[1] Lagos is a city in Nigeria.\n[2] Lagos is large." in text
    assert "1. Lagos is a city in the west of Nigeria.\n2. It was the capital of Ghana." in text
    assert (asked.n, asked.temperature) == (1, 0.0)


def test_a_reply_that_is_no_verdict_on_each_claim_is_none() -> None:
    upstream = Scripted("small", always("1. yes"))
    with pytest.raises(EvidenceUnavailable, match="no verdict on each claim") as raised:
        gathered(GroundednessSource(judge="model"), drafted(TWO), upstream=upstream, round_=READING)
    assert raised.value.cost is not None
    assert raised.value.cost.calls == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1. yes\n2. no", ["yes", "no"]),
        ("2: NO\n 1) Contradicted.", ["contradicted", "no"]),
        ("- 1: **yes**\n- 2: no, nothing", ["yes", "no"]),
        ("1. yes", None),
        ("1. yes\n2. no\n2. yes", None),
        ("1. yes\n3. no", None),
        ("1. yesterday\n2. no", None),
        ("yes, no", None),
        ("", None),
    ],
)
def test_verdicts_are_read_line_by_line(text: str, said: list[str] | None) -> None:
    assert verdicts_in(text, 2) == said


@pytest.mark.parametrize("text", ["", "?!"])
def test_what_says_nothing_claims_nothing(text: str) -> None:
    with pytest.raises(EvidenceUnavailable, match=r"says nothing|makes no claim"):
        gathered(GroundednessSource(), drafted(text), round_=READING)


def test_without_passages_nothing_can_be_grounded() -> None:
    with pytest.raises(EvidenceUnavailable, match="no passage is in the prompt"):
        gathered(GroundednessSource(), drafted("Nigeria"))


def test_each_judge_says_what_it_uses_and_needs() -> None:
    assert [GroundednessSource(judge=judge).calls(ROUND.profile) for judge in ("lexical", "model")] == [0, 1]
    assert GroundednessSource(judge="model", upstream="large").uses.upstreams == ("large",)
    assert GroundednessSource(judge="nli", entailment_judge="x").uses.judges == ("x",)
    with pytest.raises(ValidationError, match="'nli' needs the option 'entailment_judge'"):
        GroundednessSource(judge="nli")
