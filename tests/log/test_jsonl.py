"""The trace file: what goes in comes out, text stays out unless asked for, and a broken line is named."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.errors import ConfigError
from gate.log.jsonl import TraceFile, from_json, read, to_json, without_states, without_text
from gate.traces import STATES_NOT_KEPT, Failure, TapeEntry, TraceRecord
from gate.types import (
    Action,
    Confidence,
    Contribution,
    Cost,
    Decision,
    Generation,
    Generations,
    Message,
    Outcome,
    Passage,
    Question,
    Reading,
    SignalVector,
    Stage,
    Step,
    TokenLogprob,
    ToolCall,
    Usage,
)
from tests.hidden_states.blocks import states as read_states

TEXT = st.text(max_size=12)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
COUNT = st.integers(0, 10**6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=3,
)


def tuples(of: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(of, max_size=2).map(tuple)


COST = st.builds(Cost, COUNT, COUNT, COUNT, NUMBER, NUMBER)
READING = st.builds(Reading, TEXT, NUMBER) | st.builds(Reading, TEXT, st.none(), TEXT)
CONFIDENCE = st.builds(
    Confidence, NUMBER, NUMBER, NUMBER, tuples(st.builds(Contribution, TEXT, NUMBER)), NUMBER,
    st.booleans(), st.booleans(),
)  # fmt: skip
STAGE = st.builds(Stage, TEXT, st.booleans(), COUNT)
DECISION = st.builds(
    Decision, st.sampled_from(Action), TEXT, STAGE, st.none() | CONFIDENCE, st.none() | NUMBER, TEXT
)  # fmt: skip
STEP = st.builds(Step, DECISION, st.builds(SignalVector, tuples(READING)), COST)
TOKEN = st.builds(TokenLogprob, TEXT, NUMBER, tuples(st.tuples(TEXT, NUMBER)))
GENERATION = st.builds(
    Generation, TEXT, TEXT, st.none() | tuples(TOKEN), tuples(st.builds(ToolCall, TEXT, TEXT, TEXT)), st.none() | TEXT
)
GENERATIONS = st.builds(Generations, tuples(GENERATION), st.builds(Usage, COUNT, COUNT), TEXT)
PASSAGE = st.builds(Passage, TEXT, TEXT, NUMBER)
FAILURE = st.builds(Failure, TEXT, TEXT, st.none() | st.integers(100, 599), st.booleans())
TAPE = st.one_of(
    st.builds(TapeEntry, TEXT, TEXT, COST, generations=GENERATIONS),
    st.builds(TapeEntry, TEXT, TEXT, COST, passages=tuples(PASSAGE)),
    st.builds(TapeEntry, TEXT, TEXT, COST, failure=FAILURE),
)
MESSAGE = st.builds(Message, TEXT, TEXT, st.none() | st.dictionaries(TEXT, JSON, max_size=2))
QUESTION = st.builds(Question, tuples(MESSAGE), st.dictionaries(TEXT, JSON, max_size=2))
OUTCOME = st.builds(
    Outcome, st.sampled_from(Action), TEXT, tuples(STEP), COST, st.none() | GENERATION, TEXT, tuples(PASSAGE)
)
RECORD = st.builds(
    TraceRecord, TEXT, TEXT, TEXT, TEXT, st.booleans(), tuples(STEP), st.none() | QUESTION, tuples(TAPE),
    st.none() | OUTCOME, st.none() | TEXT, st.none() | st.sampled_from(Action), COST,
)  # fmt: skip

DECIDED = Decision(Action.ANSWER, "confident", Stage("small"), Confidence(0.9, 0.8, 0.95), 0.8)
STEPS = (Step(DECIDED, SignalVector((Reading("vote_share", 1.0),)), Cost(2, 20, 18, 0.1, 0.00005)),)
SECRETS = ("Where is Lagos?", "Nigeria", "Lagos is a city")


def record(id_: str = "a") -> TraceRecord:
    question, answer, found = SECRETS
    generation = Generation(answer, tokens=(TokenLogprob(answer, -0.1),))
    passages = (Passage("lagos", found, 2.0),)
    outcome = Outcome(Action.ANSWER, answer, STEPS, Cost(calls=2), generation, "small", passages)
    tape = (
        TapeEntry("k1", "generate", Cost(calls=1), Generations((generation,))),
        TapeEntry("k2", "retrieve", Cost(), passages=passages),
    )
    return TraceRecord(
        id_, "2026-01-01T00:00:00.000+00:00", "mine", "abc", True, STEPS, Question.from_text(question), tape, outcome,
        action=Action.ANSWER, cost=Cost(calls=2),
    )  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(RECORD)
def test_every_record_comes_back_as_it_went_in_on_one_line(made: TraceRecord) -> None:
    line = to_json(made)
    assert b"\n" not in line
    assert from_json(line) == made
    assert from_json(line.decode()) == made


def test_text_is_dropped_unless_asked_for(tmp_path: Path) -> None:
    bare, full = tmp_path / "bare.jsonl", tmp_path / "full.jsonl"
    TraceFile(bare).append(record())
    TraceFile(full, text=True).append(record())
    assert all(secret in full.read_text() and secret not in bare.read_text() for secret in SECRETS)
    assert list(read(full)) == [record()]
    (kept,) = read(bare)
    assert kept == without_text(record())
    assert (kept.question, kept.tape, kept.outcome) == (None, (), None)
    assert (kept.steps, kept.action, kept.cost) == (STEPS, Action.ANSWER, Cost(calls=2))


def test_text_that_is_no_unicode_can_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    made = TraceRecord("a", "now", "mine", "abc", False, (), Question.from_text("Where is L\ud800gos?"))
    TraceFile(path, text=True).append(made)
    assert [kept.id for kept in read(path)] == ["a"]


def test_a_signal_at_the_end_of_its_range_comes_back() -> None:
    steps = (Step(DECIDED, SignalVector((Reading("token_logprob_sum", -math.inf),)), Cost()),)
    made = TraceRecord("a", "now", "mine", "abc", False, steps)
    assert from_json(to_json(made)) == made


def test_lines_appended_by_many_threads_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "trace.jsonl"
    file = TraceFile(path, text=True)

    def work(number: int) -> None:
        for turn in range(20):
            file.append(record(f"{number}-{turn}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [kept.id for kept in read(path)]
    assert sorted(ids) == sorted(f"{number}-{turn}" for number in range(8) for turn in range(20))
    assert [id_ for id_ in ids if id_.startswith("3-")] == [f"3-{turn}" for turn in range(20)]


def test_a_file_that_exists_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    for id_ in ("a", "b"):
        TraceFile(path).append(record(id_))
    assert [kept.id for kept in read(path)] == ["a", "b"]


@pytest.mark.parametrize(
    "broken",
    [b"{", b"not json", b"[]", b"{}", b"\xff\xfe", to_json(record())[:-5], b'{"id": 1}', b"null"],
    ids=["brace", "words", "list", "empty", "bytes", "cut", "partial", "null"],
)
def test_a_broken_line_is_named_after_the_whole_ones_were_given(broken: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(to_json(record()) + b"\n\n" + broken + b"\n" + to_json(record("b")) + b"\n")
    records = read(path)
    assert next(records).id == "a"
    with pytest.raises(ConfigError, match="not a trace record") as caught:
        next(records)
    assert caught.value.where == f"{path}:3"


def test_a_reading_with_value_and_reason_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(to_json(record()).replace(b'"missing":null', b'"missing":"why"'))
    with pytest.raises(ConfigError, match="needs a value or a reason"):
        list(read(path))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(ConfigError, match="cannot read the trace") as caught:
            list(read(path))
        assert caught.value.where == str(path)


@pytest.mark.parametrize(("text", "states", "kept"), [(True, False, False), (True, True, True), (False, True, False)])
def test_internal_states_are_kept_only_when_asked_for(text: bool, states: bool, kept: bool, tmp_path: Path) -> None:
    answer = Generation("Paris", states=read_states(), no_states="")
    decision = Decision(Action.ANSWER, "confident", Stage("small"))
    outcome = Outcome(Action.ANSWER, "Paris", (Step(decision, SignalVector(()), Cost()),), Cost(), answer)
    entry = TapeEntry("k", "generate", Cost(), generations=Generations((answer, Generation("Rome"))))
    passages = TapeEntry("p", "retrieve", Cost(), passages=())
    asked, tape = Question.from_text("Where?"), (entry, passages)
    record = TraceRecord("1", "now", "p", "f", True, outcome.steps, asked, tape, outcome)
    path = tmp_path / "trace.jsonl"
    TraceFile(path, text=text, states=states).append(record)
    assert (read_states().features in path.read_text(encoding="utf-8")) is kept
    (back,) = read(path)
    if kept:
        assert back == record
    elif text:
        assert back.tape[0].generations is not None
        first, second = back.tape[0].generations.choices
        assert (first.text, first.states, first.no_states) == ("Paris", None, STATES_NOT_KEPT)
        assert second == Generation("Rome")
        assert back.outcome is not None
        assert back.outcome.generation == first


def test_internal_states_of_an_answer_that_was_held_back_are_no_more_kept_than_of_one_that_went_out() -> None:
    held_back = Generation("Paris", states=read_states())
    outcome = Outcome(Action.ABSTAIN, "I do not know.", STEPS, Cost(), withheld=held_back)
    bare = without_states(TraceRecord("1", "now", "p", "f", True, STEPS, Question.from_text("Where?"), (), outcome))
    assert bare.outcome == Outcome(
        Action.ABSTAIN, "I do not know.", STEPS, Cost(), withheld=Generation("Paris", no_states=STATES_NOT_KEPT)
    )
