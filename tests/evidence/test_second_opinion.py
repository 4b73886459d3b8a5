"""A second opinion: who is asked, what, and when nobody is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from gate.assemble import assemble
from gate.errors import EvidenceUnavailable, UnknownName, UpstreamError
from gate.evidence import Draft, SecondOpinion, SecondOpinionSource
from gate.policy import read
from gate.ports import Evidence, Profile, Uses
from gate.types import Cost, Generation, Question
from tests.evidence.asking_again import DRAFTED, gathered, reading
from tests.scripted import Answer, Scripted, always

OTHER = SecondOpinionSource(upstream="large")


def opinion(said: Answer, source: SecondOpinionSource = OTHER) -> SecondOpinion:
    fact = gathered(source, reading(), Scripted("large", lambda effect, place: said))
    assert isinstance(fact, SecondOpinion)
    return fact


def test_the_other_upstream_is_asked_once_what_the_draft_was_asked() -> None:
    small, large = Scripted("small", always("Peru")), Scripted("large", always("The Nigeria."))
    round_ = reading("Lagos is a city.", tokens_left=90)
    fact = gathered(OTHER, round_, small, large)
    assert isinstance(fact, SecondOpinion)
    assert (fact.upstream, fact.same, fact.similarity, fact.cost.calls) == ("large", True, 1.0, 1)
    assert small.asked == []
    (asked,) = large.asked
    assert (asked.upstream, asked.messages, asked.n, asked.temperature) == ("large", round_.messages, 1, 0.0)
    assert (asked.cap, asked.extra) == (90, {"tools": ["t"]})


def test_nothing_is_asked_of_it_that_it_may_not_be_able_to_do() -> None:
    large = Scripted("large", always("Nigeria"), profile=Profile(logprobs=False, n=1, seed=False))
    gathered(OTHER, reading(), large)
    assert (large.asked[0].logprobs, large.asked[0].seed) == (None, None)


def test_another_answer_is_not_the_same_and_less_alike() -> None:
    fact = opinion("Niger")
    assert not fact.same
    assert 0.5 < fact.similarity < 1.0
    assert opinion("Niger", SecondOpinionSource(upstream="large", judge="lexical", similarity=80)).same
    assert not opinion("Chad", SecondOpinionSource(upstream="large", judge="lexical")).same


def test_the_upstream_that_drafted_has_no_second_opinion() -> None:
    small = Scripted("small", always("Nigeria"))
    with pytest.raises(EvidenceUnavailable, match="'small' drafted the answer itself"):
        gathered(SecondOpinionSource(upstream="small"), reading(), small)
    assert small.asked == []


def test_no_call_is_spent_on_a_draft_that_says_nothing() -> None:
    large = Scripted("large", always("Nigeria"))
    silent = Evidence().having(Draft(Cost(), Generation("", refusal="no"), "small"))
    with pytest.raises(EvidenceUnavailable, match="says nothing"):
        gathered(OTHER, reading(), large, evidence=silent)
    assert large.asked == []


def test_its_failure_is_the_pipelines_to_see() -> None:
    with pytest.raises(UpstreamError, match="is down"):
        gathered(OTHER, reading(), Scripted("large", lambda e, i: UpstreamError("large", "is down")), evidence=DRAFTED)


def test_the_upstream_is_named_and_looked_up() -> None:
    assert OTHER.uses == Uses(upstreams=("large",))
    assert OTHER.calls(Profile(n=1)) == 1
    for wrong in ({}, {"upstream": ""}, {"upstream": "large", "temperature": 3}):
        with pytest.raises(ValidationError):
            SecondOpinionSource.model_validate(wrong)


POLICY = {
    "name": "mine",
    "promise": {"max_error": 0.1},
    "upstreams": {"small": {"kind": "pocket", "model": "small"}, "other": {"kind": "pocket", "model": "large"}},
    "ladder": ["small"],
    "tiers": [["draft", "samples", "meanings", "second_opinion"]],
    "evidence": {"second_opinion": {"upstream": "other"}},
    "signals": ["vote_share", "second_opinion_agreement", "second_opinion_similarity"],
    "calibrator": "vote_share",
    "rule": {"answer_at": 0.8},
}


def test_a_policy_names_it_and_what_runs_is_hashed(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(POLICY), encoding="utf-8")
    with closing(assemble(read(path))) as gateway:
        assert "upstream:other" in gateway.running
        outcome, _ = gateway.ask(Question.from_text("Where is Lagos?"))
    assert outcome.steps[-1].signals.value("second_opinion_agreement") in {0.0, 1.0}


def test_an_upstream_the_policy_does_not_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**POLICY, "evidence": {"second_opinion": {"upstream": "othr"}}}), encoding="utf-8")
    with pytest.raises(UnknownName, match=r"mine\.yaml:\d+: unknown upstream 'othr'; did you mean 'other'"):
        assemble(read(path))
