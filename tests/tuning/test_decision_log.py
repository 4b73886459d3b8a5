"""Decision logs as tables: everything that a log tells, and a reason for what it does not."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.assemble import assemble
from gate.calibration.unfitted import Unfitted
from gate.errors import ConfigError
from gate.pipeline import Plan
from gate.tuning.decision_log import ELSEWHERE, NOTHING_GATHERED, UNCHECKED, Audit, logged, records
from gate.tuning.splits import Shares
from gate.types import Stage
from tests.tuning.logs import Json, decision, policy_in, served, step, written

READ = {"token_logprob_sum": -1.0, "vote_share": None}
ZERO, ONE = Stage("small"), Stage("small", tier=1)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return assemble(policy_in(tmp_path)).plan


def lines(*decisions: Json) -> list[tuple[str, Json]]:
    return [(f"log.jsonl:{number}", each) for number, each in enumerate(decisions, 1)]


def answered(id_: str = "a") -> Json:
    return decision(id_, [step(ZERO, "gather", READ), step(ONE, "answer", {**READ, "vote_share": 0.75}, money=0.002)])


def test_a_decision_is_a_row_with_what_each_stage_read_and_cost(plan: Plan) -> None:
    made = logged(lines(answered()), plan, {"a": Audit(True, 0.25, "vip")})
    table = made.table
    assert (list(table.ids), list(table.segments), list(made.recorded)) == (["a"], ["vip"], ["answer"])
    assert table.weights.tolist() == [4.0]
    assert not table.complete
    zero, one = table.stages[ZERO.key], table.stages[ONE.key]
    np.testing.assert_array_equal(zero.values, np.array([[-1.0, np.nan]], np.float32))
    np.testing.assert_array_equal(one.values, np.array([[-1.0, 0.75]], np.float32))
    assert (zero.correct.tolist(), one.correct.tolist()) == ([1.0], [1.0]), "all tiers of a round have the same draft"
    assert [column.tolist() for column in one.costs.values()] == [[0.002], [1], [12], [0.1]]


def test_the_label_is_of_the_last_draft_alone(tmp_path: Path) -> None:
    text = (
        policy_in(tmp_path)
        .path.read_text()
        .replace("ladder: [small]", "ladder: [small, large]\nroutes: {escalate: true}")
    )
    text = text.replace(
        "ladder:", '  large: {kind: openai_chat, model: l, base_url: "http://127.0.0.1:9/v1"}\nladder:', 1
    )
    text = text.replace("logged.calibrator.json", "vote_share")
    two = assemble(policy_in(tmp_path, text)).plan
    went_on = decision("a", [step(ZERO, "escalate", READ), step(Stage("large"), "answer", READ)])
    table = logged(lines(went_on), two, {"a": Audit(False)}).table
    assert np.isnan(table.stages[ZERO.key].correct).all()
    assert table.stages[Stage("large").key].correct.tolist() == [0.0]
    table = logged(lines(went_on), two, {"a": Audit(False, first=True)}).table
    assert table.stages[ZERO.key].correct.tolist() == [0.0], "where gate observes, the first draft is the labelled one"
    assert np.isnan(table.stages[Stage("large").key].correct).all()


def test_what_cannot_be_used_is_counted_by_reason(plan: Plan) -> None:
    log = lines(
        answered(),
        decision("failed", [], error="upstream 'small': cannot be reached"),
        decision("frozen", [step(ZERO, "abstain", {}, reason="certificate_void")]),
        decision("other", [step(Stage("huge"), "answer", READ)]),
        decision("old", [step(ZERO, "answer", {"token_logprob_sum": -1.0})]),
    )
    made = logged(log, plan, {})
    assert list(made.table.ids) == ["a"]
    assert made.left_out == {NOTHING_GATHERED: 2, ELSEWHERE: 1, "it was logged without the signal 'vote_share'": 1}
    assert made.decisions == 5
    assert logged(log, plan, {"a": Audit(True)}, audited_only=True).left_out == {UNCHECKED: 4}


def test_a_decision_that_left_the_stages_of_the_policy_is_told_up_to_there(plan: Plan) -> None:
    log = lines(decision("a", [step(ZERO, "escalate", READ), step(Stage("large"), "answer", READ)]))
    made = logged(log, plan, {"a": Audit(True)})
    assert made.table.stages[ZERO.key].there.tolist() == [True]
    assert np.isnan(made.table.stages[ZERO.key].correct).all(), "the label is of another draft"


def test_a_second_decision_in_one_stage_counts_once_and_tells_which_way_failed(plan: Plan) -> None:
    again = [step(ZERO, "gather", READ, money=0.001), step(ZERO, "abstain", READ, money=0.004)]
    table = logged(lines(decision("a", again), answered("b")), plan, {}).table
    assert table.stages[ZERO.key].costs["money"].tolist() == pytest.approx([0.005, 0.001])
    assert table.stages[ZERO.key].costs["calls"].tolist() == [2, 1]
    assert {key: rows.tolist() for key, rows in table.failed.items()} == {ONE.key: [True, False]}


@pytest.mark.parametrize("reason", ["model_declined", "cut_short"])
def test_a_draft_that_is_no_answer_is_none(plan: Plan, reason: str) -> None:
    column = logged(lines(decision("a", [step(ZERO, "abstain", READ, reason=reason)])), plan, {}).table.stages[ZERO.key]
    assert not column.answerable.any()
    assert column.whole.tolist() == [reason == "model_declined"]


def test_splits_go_by_the_question_where_it_was_kept_else_by_the_id(plan: Plan) -> None:
    asked = {"messages": [{"role": "user", "content": "Where is Lagos?", "wire": None}], "options": {}, "passages": []}
    log = lines(*(decision(f"d{i}", answered()["steps"], question=asked) for i in range(40)))
    assert len(set(logged(log, plan, {}, shares=Shares()).table.splits)) == 1
    apart = lines(*(answered(f"d{i}") for i in range(200)))
    table = logged(apart, plan, {}, shares=Shares(0.5, 0.25)).table
    assert set(table.splits) == {"fit", "certify", "test"}
    assert list(table.splits) == list(logged(apart, plan, {}, shares=Shares(0.5, 0.25)).table.splits)


def test_a_decision_that_stands_twice_is_refused(plan: Plan) -> None:
    with pytest.raises(ConfigError, match=r"log\.jsonl:2: the decision 'a' stands twice in this log"):
        logged(lines(answered(), answered()), plan, {})


def without(made: Json, *path: str | int) -> Json:
    copy = json.loads(json.dumps(made))
    at: Any = copy
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    return copy  # type: ignore[no-any-return]


def reading(value: Any) -> Json:
    return decision("a", [step(ZERO, "answer", {**READ, "vote_share": value})])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (without(answered(), "id"), "it has no 'id'"),
        (without(answered(), "steps"), "it has no 'steps'"),
        (without(answered(), "steps", 0, "decision", "stage"), "it has no 'stage'"),
        (without(answered(), "steps", 0, "cost"), "it has no 'cost'"),
        ({"question": "Where?", "answer": "There"}, "it has no 'id'"),
        ({"id": "a", "steps": 5}, "'int'"),
        ({"id": "a", "steps": [5]}, "'int'"),
        (reading("0.5"), "the signal 'vote_share' reads '0.5', which is no number"),
        (reading(float("inf")), "the signal 'vote_share' reads inf"),
        (reading(float("nan")), "the signal 'vote_share' reads nan"),
    ],
)
def test_a_line_that_is_no_decision_is_named(plan: Plan, line: Json, said: str) -> None:
    with pytest.raises(ConfigError, match=r"^log\.jsonl:2: not a decision of a log: ") as caught:
        logged(lines(answered("first"), line), plan, {})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# --- lines -------------------------------------------------------------------------------------------------------


def test_lines_come_with_their_place_and_blank_ones_are_none(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"id": 1}\n\n  \n{"id": 2, "x": NaN, "y": "\\ud800"}')
    assert [(where, line["id"]) for where, line in records(path)] == [(f"{path}:1", 1), (f"{path}:4", 2)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"id": 1}\n{"id": ', "log.jsonl:2: not JSON: .*the last line is cut off.*delete the line"),
        (b'{"id": 1}\n[1]\n', "log.jsonl:2: not a decision of a log: not an object"),
        (b'{"id": "\xe9"}\n', "log.jsonl:1: not JSON: "),
        ('{"id": 1}\n'.encode("utf-16"), "log.jsonl:1: not JSON: "),
        (b"[" * 100_000, "log.jsonl:1: not JSON: "),
        (b"SQLite format 3\x00more", "log.jsonl: this is a collection, where a decision log is wanted"),
    ],
)
def test_what_is_not_json_is_named_by_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        list(records(path))


@pytest.mark.parametrize("name", ["", "none.jsonl"])
def test_a_log_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read: "):
        list(records(tmp_path / name))


def test_many_decisions_take_memory_for_numbers_alone(tmp_path: Path, plan: Plan) -> None:
    made, _, _ = served(2_000)
    texts = [{**each, "outcome": {"text": "x" * 20_000}} for each in made]
    grown = {}
    for name, log in {"bare": made, "wordy": texts}.items():
        path = written(tmp_path / f"{name}.jsonl", log)
        tracemalloc.start()
        assert len(logged(records(path), plan, {}).table) == 2_000
        grown[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert grown["bare"] < 2_000 * 2_000
    assert grown["wordy"] < grown["bare"] + 500_000


def test_where_memory_was_on_trial_the_label_is_of_what_it_said(tmp_path: Path) -> None:
    text = policy_in(tmp_path).path.read_text().replace("[[draft], [samples, meanings]]", "[[draft, closed_book]]")
    text = text.replace("evidence: {samples: {n: 4, seed: 1}}\n", "").replace("logged.calibrator.json", "none.json")
    text = text.replace("[token_logprob_sum, vote_share]", "[token_logprob_sum]")
    text += "routes: {retrieve: {retriever: w, arbitrate: true}}\nretrievers: {w: {kind: pocket_world}}\n"
    heard = assemble(policy_in(tmp_path, text), Unfitted()).plan
    memory = Stage("small", True, memory=True)
    asked = step(memory, "answer", READ, money=0.002)
    asked["decision"]["stage"]["memory"] = True
    table = logged(lines(decision("a", [step(ZERO, "retrieve", READ), asked])), heard, {"a": Audit(True)}).table
    assert list(table.stages) == [ZERO.key, Stage("small", True).key, memory.key]
    closed, beside, held = table.stages.values()
    assert held.correct[0] == 1.0
    assert np.isnan([closed.correct[0], beside.correct[0]]).all()
    assert [column.costs["money"][0] for column in (beside, held)] == [0.002, 0.0]


@pytest.mark.parametrize(("action", "kept"), [("abstain", ["a", "b"]), ("clarify", ["a", "b"]), ("answer", ["a"])])
def test_what_was_held_back_is_kept_beside_what_was_audited(action: str, kept: list[str], plan: Plan) -> None:
    log = lines(answered(), decision("b", [step(ZERO, action, READ)]))
    made = logged(log, plan, {"a": Audit(True)}, audited_only=True, held_back=True)
    assert list(made.table.ids) == kept
