"""What is kept of a decision, level by level: the row, and a trace that can be read again."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import HealthCheck, given, settings

from gate.log.entries import Entry
from gate.log.jsonl import from_json, without_states, without_text
from gate.log.rows import RowMaker, clean, drafted, question_hash
from gate.log.tables import KEPT
from gate.traces import STATES_NOT_KEPT, TraceRecord
from gate.types import Action, Budget, Cost, Generation, Outcome, Prospect, Question, Stage, ToolCall
from tests.log.decided import ANSWER, QUESTION, SECRETS, START, record, step, worded
from tests.log.test_jsonl import RECORD

SECRET = b"0" * 32
SCALARS, HASHED, TEXT = (RowMaker(keep, SECRET) for keep in ("scalars", "hashed", "text"))  # type: ignore[arg-type]


def named(row: tuple[object, ...]) -> dict[str, object]:
    return dict(zip(KEPT, row, strict=True))


def test_every_number_is_in_its_column() -> None:
    told = dataclasses.replace(record("a", START), error="upstream 'small': is down")
    entry = Entry(
        told, "responses", "team-a", "req-1", "observe", streamed=True, status=502, retracted=True, audit=0.05,
        full_evidence=True, seconds=1.5,
    )  # fmt: skip
    row, trace = SCALARS(entry)
    assert named(row) == {
        "id": "a", "at": START, "door": "responses", "key": "team-a", "request_id": "req-1", "policy": "mine",
        "policy_fingerprint": "abc", "certified": True, "mode": "observe", "action": "answer", "reason": "confident",
        "stage": "small/closed_book/tier0", "p": 0.9, "threshold": 0.8, "calls": 1, "prompt_tokens": 10,
        "completion_tokens": 2, "money": 0.5, "seconds": 1.5, "status": 502, "error": "upstream 'small': is down",
        "streamed": True, "retracted": True, "audit": 0.05, "full_evidence": True, "further": False,
        "question_hash": "", "question": "", "answer": "",
    }  # fmt: skip
    assert from_json(trace) == told


def test_of_what_waits_in_numbers_the_same_row_is_made() -> None:
    for entry in (Entry(worded("a")), Entry(worded("a", action=Action.ABSTAIN), sent=Generation(ANSWER))):
        lean = SCALARS.lean(entry)
        assert SCALARS(lean) == SCALARS(entry)
        assert not [secret for secret in SECRETS if secret in repr(lean)]
        assert HASHED.lean(entry) is TEXT.lean(entry) is entry


def test_what_ended_before_anything_was_decided_has_a_row_too() -> None:
    bare = TraceRecord("a", "not a time", "mine", "abc", False, (), error="upstream 'small': is down")
    row = named(SCALARS(Entry(bare))[0])
    assert (row["action"], row["reason"], row["stage"], row["p"], row["threshold"]) == ("", "", "", None, None)
    assert isinstance(row["at"], float)


@pytest.mark.parametrize("action", [Action.ANSWER, Action.ABSTAIN])
def test_a_level_keeps_what_it_says(action: Action) -> None:
    entry = Entry(worded("a", action=action))
    for make in (SCALARS, HASHED):
        row, trace = make(entry)
        assert not [secret for secret in SECRETS if secret in repr(row) + trace]
        assert from_json(trace) == without_text(entry.record)
    assert named(HASHED(entry)[0])["question_hash"] == question_hash(SECRET, QUESTION)
    row, trace = TEXT(entry)
    kept = named(row)
    assert (kept["question"], kept["answer"]) == (QUESTION, ANSWER), "also of an abstention: it is what was on trial"
    assert kept["question_hash"] == question_hash(SECRET, QUESTION)
    assert all(secret in trace for secret in SECRETS)


def went_on(*ways: tuple[str, bool, float], action: Action = Action.ANSWER) -> TraceRecord:
    """Decided in these stages (upstream, whether memory is on trial beside passages, p), at last as ``action``."""
    steps = []
    for upstream, memory, p in ways:
        stage = Stage(upstream, passages=memory, memory=memory)
        one = step(Action.ESCALATE, p)
        steps.append(dataclasses.replace(one, decision=dataclasses.replace(one.decision, stage=stage)))
    steps[-1] = dataclasses.replace(steps[-1], decision=dataclasses.replace(steps[-1].decision, action=action))
    return dataclasses.replace(worded("a", action=action), steps=tuple(steps))


@pytest.mark.parametrize(
    ("ways", "p", "further"),
    [
        ([("small", False, 0.9)], 0.9, False),
        ([("small", False, 0.3), ("small", False, 0.6)], 0.6, False),
        ([("small", False, 0.3), ("small", False, 0.4), ("large", False, 0.95)], 0.4, True),
        ([("small", True, 0.9)], None, True),
    ],
    ids=["at once", "more evidence of the same", "another model", "memory instead"],
)
def test_where_gate_observes_the_row_is_about_the_draft_that_went_out(
    ways: list[tuple[str, bool, float]], p: float | None, further: bool
) -> None:
    """Labels are of what was sent: beside another draft's confidence they would calibrate nothing."""
    made = went_on(*ways)
    row = named(TEXT(Entry(made, mode="observe", sent=Generation("Kenya")))[0])
    assert (row["answer"], row["p"], row["further"], row["action"]) == ("Kenya", p, further, "answer")
    assert row["threshold"] == (0.8 if p else None)
    assert row["stage"] == made.steps[-1].decision.stage.key
    enforced = named(TEXT(Entry(made))[0])
    assert (enforced["answer"], enforced["p"], enforced["further"]) == (ANSWER, ways[-1][2], False)
    assert named(SCALARS(Entry(made, mode="observe", sent=Generation("Kenya")))[0])["answer"] == ""


def test_with_text_too_nothing_is_kept_from_which_text_could_be_told() -> None:
    held = from_json(TEXT(Entry(worded("a")))[1])
    assert held == dataclasses.replace(without_states(worded("a")), tape=without_states(worded("a")).tape[:2])
    assert held.outcome is not None
    assert held.outcome.generation is not None
    assert held.outcome.generation.states is None
    assert held.outcome.generation.no_states == STATES_NOT_KEPT
    assert [entry.kind for entry in held.tape] == ["generate", "retrieve"], "a replay that embeds says it cannot tell"
    abstained = from_json(TEXT(Entry(worded("a", action=Action.ABSTAIN)))[1])
    assert abstained.outcome is not None
    assert abstained.outcome.withheld is not None
    assert abstained.outcome.withheld.states is None


def test_a_hash_is_the_same_for_equal_questions_of_one_log_alone() -> None:
    assert question_hash(SECRET, "Who?") == question_hash(SECRET, "Who?")
    assert len({question_hash(SECRET, "Who?"), question_hash(SECRET, "who?"), question_hash(b"1" * 32, "Who?")}) == 3
    assert len(question_hash(SECRET, "\ud800")) == 32


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(RECORD)
def test_every_record_comes_back_as_it_went_in(made: TraceRecord) -> None:
    row, trace = TEXT(Entry(made, request_id="\ud800\0"))
    assert from_json(trace) == made
    assert "\n" not in trace
    for value in row:
        if isinstance(value, str):
            value.encode()
            assert "\0" not in value
    assert from_json(SCALARS(Entry(made))[1]) == without_text(made)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_none_are_kept_in_the_trace_and_left_out_of_the_row(number: float) -> None:
    broken = dataclasses.replace(step(), decision=dataclasses.replace(step().decision, threshold=number))
    made = dataclasses.replace(record("a"), steps=(broken,), cost=Cost(1, 10**30, 2, 0.5, number))
    row, trace = SCALARS(Entry(made))
    kept, held = named(row), from_json(trace)
    assert (kept["threshold"], kept["money"], kept["prompt_tokens"], kept["p"]) == (None, 0.0, 2**63 - 1, 0.9)
    assert repr(held.cost.money) == repr(held.steps[0].decision.threshold) == repr(number)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: dataclasses.replace(r, budget=Budget(seconds=math.inf)),
        lambda r: dataclasses.replace(r, budget=Budget(money=math.inf)),
        lambda r: dataclasses.replace(
            r, steps=(dataclasses.replace(s := r.steps[0], decision=dataclasses.replace(
                s.decision, confidence=dataclasses.replace(
                    s.decision.confidence, prospects=(Prospect(Action.RETRIEVE, 0.5, math.inf),)))),)),
        lambda r: dataclasses.replace(r, tape=(dataclasses.replace(r.tape[0], began=math.inf),)),
        lambda r: dataclasses.replace(r, tape=(dataclasses.replace(
            r.tape[1], passages=(dataclasses.replace(r.tape[1].passages[0], score=-math.inf),)),)),
        lambda r: dataclasses.replace(r, outcome=dataclasses.replace(r.outcome, cost=Cost(seconds=math.inf))),
        lambda r: dataclasses.replace(r, outcome=dataclasses.replace(
            r.outcome, generation=None, withheld=dataclasses.replace(
                r.outcome.generation, states=None, tokens=(dataclasses.replace(
                    r.outcome.generation.tokens[0], top=(("a", -math.inf),)),)))),
    ],
    ids=["seconds", "money", "prospect", "began", "score", "outcome", "token"],
)  # fmt: skip
def test_no_infinity_becomes_a_null_wherever_it_stands(change: object) -> None:
    made = without_states(change(worded("a")))  # type: ignore[operator]
    made = dataclasses.replace(made, tape=tuple(entry for entry in made.tape if entry.vectors is None))
    assert from_json(TEXT(Entry(made))[1]) == made


def test_what_orjson_does_not_take_goes_the_slow_way() -> None:
    question = Question(Question.from_text("\ud800").messages, {"seed": 2**80})
    made = dataclasses.replace(record("a"), question=question)
    assert from_json(TEXT(Entry(made))[1]) == made


def test_what_was_drafted_is_text_a_refusal_or_calls() -> None:
    def of(generation: Generation | None, withheld: Generation | None = None) -> str:
        return drafted(Outcome(Action.ANSWER, "said", (), Cost(), generation, withheld=withheld))

    assert of(Generation("Nigeria")) == "Nigeria"
    assert of(None, Generation("Ghana")) == "Ghana"
    assert of(Generation("", refusal="I cannot")) == "I cannot"
    assert of(Generation("", tool_calls=(ToolCall("1", "find", '{"a": 1}'), ToolCall("2", "go", "{}")))) == (
        'find({"a": 1})\ngo({})'
    )
    assert of(None) == drafted(None) == ""


def test_text_is_made_such_that_both_databases_hold_it() -> None:
    assert clean("Où est-ce? 東京") == "Où est-ce? 東京"
    assert clean("a\0b\ud800") == "a\ufffdb?"
    row = named(SCALARS(Entry(record("a"), request_id="x" * 500))[0])
    assert row["request_id"] == "x" * 200


def test_what_is_no_entry_is_refused() -> None:
    with pytest.raises((TypeError, AttributeError)):
        SCALARS(Entry(dataclasses.replace(record("a"), started=None)))  # type: ignore[arg-type]
