"""The gate object, abstentions as errors, and what was spent on what."""

from __future__ import annotations

from dataclasses import replace

from gate.proxy.verdicts import abstained, abstention_error, spent_on, told, total, usage
from gate.traces import TapeEntry
from gate.types import Cost, Generation, Generations, Vectors
from tests.proxy.asking import ENDED, LATE, decided, saying
from tests.proxy.fake_gateway import GENERATION, outcome_of


def entry(kind: str, to: str, prompt: int, completion: int, *said: Generation) -> TapeEntry:
    cost = Cost(calls=int(kind == "generate"), prompt_tokens=prompt, completion_tokens=completion, money=0.5)
    made = Generations(said) if said else None
    return TapeEntry("k", kind, cost, made, vectors=None if said else Vectors(()), n=max(1, len(said)), to=to)


def test_an_answer_needs_no_object_and_what_is_none_says_why() -> None:
    assert told(saying(GENERATION), explain=False) is None
    assert told(saying(None), explain=False) == {"action": "abstain", "reason": "confident"}
    both = told([*saying(GENERATION), *saying(None)], explain=False)
    assert both is not None
    assert [one["action"] for one in both["choices"]] == ["answer", "abstain"]


def test_where_the_headers_left_before_the_verdict_it_is_told_whatever_it_is() -> None:
    assert told(saying(GENERATION), explain=False, certificate="none") == LATE
    unsure = told(saying(None), explain=False, certificate="void; x")
    assert unsure == {**LATE, "action": "abstain", "certificate": "void; x"}
    outcome = outcome_of(GENERATION)
    decision = replace(outcome.decision, confidence=None)
    bare = replace(outcome, steps=(replace(outcome.steps[-1], decision=decision),))
    assert told(decided(bare), explain=False, certificate="none") == {**LATE, "confidence": None}
    both = told([*saying(GENERATION), *saying(None)], explain=False, certificate="none")
    assert both is not None
    assert both["certificate"] == "none"
    assert [one["id"] for one in both["choices"]] == ["feed", "feed"]
    whole = told(saying(GENERATION), explain=True, certificate="none")
    assert whole is not None
    assert (whole["certificate"], whole["id"], whole["confidence"]["p"]) == ("none", "feed", 0.9123)
    assert abstention_error(saying(None), certificate="none").body["gate"]["id"] == "feed"


def test_only_where_nothing_came_through_is_it_an_error() -> None:
    assert abstained(saying(None))
    assert abstained(decided(ENDED["hedged"][0]))
    assert not abstained(decided(ENDED["asked back"][0]))
    assert not abstained([*saying(GENERATION), *saying(None)])


def test_an_abstention_as_an_error_tells_what_the_completion_would_have() -> None:
    made = abstention_error(decided(ENDED["handed over"][0]))
    assert made.status == 422
    assert made.body["error"] == {
        "message": "Which Lagos?", "type": "gate_abstention", "param": None, "code": "uncertain",
    }  # fmt: skip
    assert made.body["gate"]["reference"] == "case-7"
    explained = abstention_error(saying(None), explain=True).body["gate"]
    assert explained["steps"][0]["stage"] == "small/closed_book/tier0"


def test_what_the_answer_took_and_what_judging_it_did_stand_apart() -> None:
    other = Generation("Ghana")
    tape = (
        entry("generate", "small", 10, 3, GENERATION),  # of an earlier round
        entry("generate", "small", 20, 3, GENERATION),
        entry("generate", "small", 20, 9, GENERATION, other),
        entry("generate", "large", 7, 1, GENERATION),
        entry("embed", "vectors", 5, 0),
    )
    ((outcome, record),) = saying(GENERATION)
    shown = spent_on(outcome, replace(record, tape=tape))
    assert shown["answer"] == {"calls": 1, "prompt_tokens": 20, "completion_tokens": 3, "money": 0.5}
    assert shown["evidence"] == {"calls": 3, "prompt_tokens": 42, "completion_tokens": 13, "money": 2.0}
    assert [(one["kind"], one["to"], one["requests"], one["prompt_tokens"]) for one in shown["by_kind"]] == [
        ("generate", "small", 3, 50), ("generate", "large", 1, 7), ("embed", "vectors", 1, 5),
    ]  # fmt: skip
    ((refusal, record),) = saying(None)
    assert spent_on(refusal, replace(record, tape=tape))["answer"] is None


def test_usage_is_of_all_answers_and_details_are_never_invented() -> None:
    both = decided(outcome_of(GENERATION), outcome_of(None))
    made = usage(both)
    assert (made["prompt_tokens"], made["completion_tokens"], made["total_tokens"]) == (120, 36, 156)
    assert {*made["prompt_tokens_details"].values(), *made["completion_tokens_details"].values()} == {0}
    assert total(both).calls == 12
