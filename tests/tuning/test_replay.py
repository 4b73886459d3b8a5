"""Replay of a log: what a policy decides there, what cannot be told, and error rates that uneven audits do not bend."""

from __future__ import annotations

import dataclasses
import json
import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.assemble import assemble
from gate.errors import ConfigError
from gate.gateway import Gateway
from gate.log.jsonl import TraceFile, to_json
from gate.pocket.world import facts_of, unit_hash
from gate.policy import PolicyFile, find, read
from gate.traces import TraceRecord
from gate.tuning.decision_log import ELSEWHERE, NOTHING_GATHERED, Audit, parsed
from gate.tuning.evaluate import evaluate
from gate.tuning.replay import Replayed, replay
from gate.types import Action, Question, Stage
from tests.tuning.logs import Json, decision, policy_in, served, step, written

ZERO, ONE = Stage("small"), Stage("small", tier=1)
OTHER_WAY = "this policy goes another way than was gone, or on where the log ends"


def changed(file: PolicyFile, **rule: Any) -> Gateway:
    """The policy with another rule, and no certificate."""
    policy = file.policy
    update = {"rule": policy.rule.model_copy(update=rule), "certificate": None}
    return assemble(dataclasses.replace(file, policy=policy.model_copy(update=update)))


def everywhere(threshold: float) -> Gateway:
    """``balanced`` with one threshold for all drafts."""
    rounds = [Stage(name, passages).round_key for name in ("small", "large") for passages in (False, True)]
    return changed(read(find("balanced")), answer_at_in=dict.fromkeys(rounds, threshold))


# --- a policy over its own log -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pocket() -> Iterator[tuple[Gateway, list[TraceRecord]]]:
    """What ``balanced`` did with 120 questions it had not seen."""
    gateway = changed(read(find("balanced")))
    facts = sorted(facts_of("test"), key=lambda fact: unit_hash(fact.key, "replay"))[:120]
    yield gateway, [gateway.ask(Question.from_text(fact.question))[1] for fact in facts]
    gateway.close()


@pytest.mark.parametrize("text", [False, True])
def test_a_policy_over_its_own_log_does_what_it_did(
    pocket: tuple[Gateway, list[TraceRecord]], tmp_path: Path, text: bool
) -> None:
    gateway, traces = pocket
    trace = TraceFile(tmp_path / "log.jsonl", text=text)
    for record in traces:
        trace.append(record)
    done = replay(gateway, tmp_path / "log.jsonl", {})
    assert (done.changed, done.gaps) == (0, {})
    assert list(done.judgements.ids) == [record.id for record in traces]
    assert list(done.judgements.actions) == [record.action and record.action.value for record in traces]
    assert list(done.judgements.stages) == [record.steps[-1].decision.stage.key for record in traces]
    p = [record.steps[-1].decision.confidence.p for record in traces if record.steps[-1].decision.confidence]
    assert done.judgements.p.tolist() == pytest.approx(p, abs=1e-5)
    assert done.judgements.money.tolist() == pytest.approx([record.cost.money for record in traces])
    assert {"answer", "abstain"} == set(done.recorded)
    assert len({step.decision.stage.key for record in traces for step in record.steps}) > 4


def test_with_text_and_without_the_same_is_told_of_another_policy(
    pocket: tuple[Gateway, list[TraceRecord]], tmp_path: Path
) -> None:
    _, traces = pocket
    for text in (True, False):
        trace = TraceFile(tmp_path / f"{text}.jsonl", text=text)
        for record in traces:
            trace.append(record)
    looser = everywhere(0.5)
    full, bare = (replay(looser, tmp_path / f"{text}.jsonl", {}) for text in (True, False))
    assert bare.changed > 0
    actions = dict(zip(full.judgements.ids, full.judgements.actions, strict=True))
    assert [actions[id_] for id_ in bare.judgements.ids] == list(bare.judgements.actions)
    stricter = replay(everywhere(0.97), tmp_path / "False.jsonl", {})
    assert [reason.startswith(OTHER_WAY) for reason in stricter.gaps] == [True]
    assert len(stricter.judgements) + sum(stricter.gaps.values()) == len(traces)


# --- decisions without text --------------------------------------------------------------------------------------


def read_of(logprob: float, votes: float | None = None) -> dict[str, float | None]:
    return {"token_logprob_sum": logprob, "vote_share": votes}


SURE, UNSURE = read_of(-0.1), read_of(-2.5)


def over(folder: Path, *log: Json, audits: dict[str, Audit] | None = None, **rule: Any) -> Replayed:
    gateway = changed(policy_in(folder), **rule)
    return replay(gateway, written(folder / "log.jsonl", log), audits or {})


def test_only_what_is_recorded_is_told(tmp_path: Path) -> None:
    at_once = decision("at once", [step(ZERO, "answer", SURE, reason="confident")])
    later = decision("later", [step(ZERO, "gather", UNSURE), step(ONE, "abstain", read_of(-2.5, 0.25))])
    stricter = over(tmp_path, at_once, later, answer_at=0.9)
    assert (list(stricter.judgements.ids), sum(stricter.gaps.values())) == (["later"], 1), "at 0.9 it would gather more"
    looser = over(tmp_path, at_once, later, answer_at=0.3)
    assert looser.judgements.actions.tolist() == ["answer", "answer"]
    assert looser.judgements.stages.tolist() == [ZERO.key, ZERO.key]
    assert (looser.changed, looser.recorded, looser.gaps) == (1, {"answer": 1, "abstain": 1}, {})


def test_a_way_that_failed_then_fails_again(tmp_path: Path) -> None:
    failed = decision("failed", [step(ZERO, "gather", UNSURE), step(ZERO, "abstain", UNSURE)])
    done = over(tmp_path, failed)
    assert (done.judgements.actions.tolist(), done.changed, done.gaps) == (["abstain"], 0, {})


def test_decisions_that_ended_in_an_error_are_told_as_far_as_they_went(tmp_path: Path) -> None:
    down = decision("down", [], error="upstream 'small': cannot be reached")
    left = decision("left", [step(ZERO, "gather", UNSURE)], action=None, error="the caller went away")
    answered = decision("late", [step(ZERO, "answer", SURE)], action=None, error="the caller went away")
    done = over(tmp_path, down, left, answered)
    assert done.judgements.ids.tolist() == ["late"]
    assert (done.recorded, done.changed) == ({"error": 1}, 1)
    assert sorted(done.gaps.values()) == [1, 1]
    assert done.gaps[NOTHING_GATHERED] == 1


def test_a_log_of_which_nothing_can_be_told_says_why(tmp_path: Path) -> None:
    other = decision("other", [step(Stage("huge"), "answer", SURE)])
    with pytest.raises(ConfigError, match=rf"log\.jsonl: no decision can be judged: {ELSEWHERE} \(1\)"):
        over(tmp_path, other)
    with pytest.raises(ConfigError, match=r"log\.jsonl: no decision can be judged: the log is empty"):
        over(tmp_path)


def test_without_a_fitted_calibrator_there_is_no_p_to_decide_on(tmp_path: Path) -> None:
    file = policy_in(tmp_path)
    file = dataclasses.replace(file, policy=file.policy.model_copy(update={"calibrator": "vote_share"}))
    log = written(tmp_path / "log.jsonl", [decision("a", [step(ZERO, "answer", SURE)])])
    with pytest.raises(ConfigError, match="without text only a policy with a fitted calibrator can be judged"):
        replay(assemble(file), log, {})


def test_a_decision_that_stands_twice_is_refused_even_far_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.tuning.parts.SIZE", 1)
    twice = decision("a", [step(ZERO, "answer", SURE)])
    with pytest.raises(ConfigError, match="the decision 'a' stands 2 times in this log"):
        over(tmp_path, twice, decision("b", [step(ZERO, "answer", SURE)]), twice)


def test_a_record_with_text_that_is_none_is_named_in_one_line(tmp_path: Path) -> None:
    broken = {**decision("a", [step(ZERO, "answer", SURE)]), "tape": [{"key": 1}]}
    with pytest.raises(ConfigError, match=r"log\.jsonl:1: not a trace record: ") as caught:
        over(tmp_path, broken)
    assert "\n" not in str(caught.value)


# --- labels ------------------------------------------------------------------------------------------------------


def test_labels_go_with_the_draft_that_was_checked(tmp_path: Path) -> None:
    log = [decision(id_, [step(ZERO, "answer", SURE)]) for id_ in "abc"]
    done = over(tmp_path, *log, audits={"a": Audit(True), "b": Audit(False, 0.5, "vip"), "z": Audit(True)})
    assert done.strangers == 1
    made = done.judgements
    assert made.correct.tolist()[:2] == made.first_correct.tolist()[:2] == [1.0, 0.0]
    assert np.isnan(made.correct[2])
    assert (made.weights.tolist(), made.segments.tolist()) == ([1.0, 2.0, 1.0], ["", "vip", ""])
    with pytest.raises(ConfigError, match="none of the 1 labels bears the id of a decision in this log"):
        over(tmp_path, *log, audits={"z": Audit(True)})


def test_labels_of_last_drafts_say_nothing_of_first_ones_in_general(
    pocket: tuple[Gateway, list[TraceRecord]], tmp_path: Path
) -> None:
    """First drafts that were also the last are those the policy was sure of: their share would flatter the model."""
    gateway, traces = pocket
    trace = TraceFile(tmp_path / "log.jsonl", text=False)
    for record in traces:
        trace.append(record)
    answers = {record.id: Audit(True) for record in traces if record.action is Action.ANSWER}
    made = replay(gateway, tmp_path / "log.jsonl", answers).judgements
    assert np.isnan(made.first_correct).all()
    found = evaluate(made, resamples=2)
    assert found.without_gate.value is None
    assert found.right_of_all.value is None, "no abstention was checked"
    assert found.risk.value == 0


def test_a_label_does_not_go_with_the_answer_of_another_model(
    pocket: tuple[Gateway, list[TraceRecord]], tmp_path: Path
) -> None:
    _, traces = pocket
    large = next(record for record in traces if record.steps[-1].decision.stage.upstream == "large")
    (tmp_path / "log.jsonl").write_bytes(to_json(large) + b"\n")
    never_wrong = {large.id: Audit(True)}
    same = replay(changed(read(find("balanced"))), tmp_path / "log.jsonl", never_wrong).judgements
    other = replay(everywhere(0.0), tmp_path / "log.jsonl", never_wrong).judgements
    assert same.correct.tolist() == [1.0]
    assert np.isnan(same.first_correct).all()
    assert other.stages.tolist() == ["small/closed_book/tier0"]
    assert np.isnan(other.correct).all()


def test_the_risk_is_that_of_all_answers_though_doubtful_ones_are_audited_more_often(tmp_path: Path) -> None:
    """Over 40 rounds of labels: the estimate is centred on the true risk, and the 95 % intervals cover it.

    At least 34 of 40 must (a true 95 % falls below that once in 2,000 times). The share of wrong ones among those that
    were audited is 5 points too high.
    """
    gateway, n = assemble(policy_in(tmp_path)), 1_200
    log, _, p = served(n)
    path, out = written(tmp_path / "log.jsonl", log), np.array([each["action"] == "answer" for each in log])
    chance, rng = np.where(p >= 0.84, 0.05, 1.0), np.random.default_rng(1)
    covered, off, naive = 0, [], []
    for _ in range(40):
        right = rng.random(n) < p
        picked = np.flatnonzero(rng.random(n) < chance)
        audits = {log[i]["id"]: Audit(bool(right[i]), float(chance[i])) for i in picked}
        found = evaluate(replay(gateway, path, audits).judgements, resamples=2)
        risk = float((~right[out]).mean())
        assert found.coverage.value == pytest.approx(out.mean()), "every decision is there: coverage needs no weights"
        assert found.risk.value is not None
        assert found.risk.low is not None
        assert found.risk.high is not None
        covered += found.risk.low <= risk <= found.risk.high
        off.append(found.risk.value - risk)
        naive.append(found.wrong / found.answered_labelled - risk)
    assert covered >= 34
    assert abs(np.mean(off)) < 4 * np.std(off) / np.sqrt(40)
    assert np.mean(naive) > 0.03


# --- size --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory of a process is read where Linux has it")
def test_fifty_thousand_decisions_stream_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, _, _ = served(2_000)
    parts = [json.dumps(each).split(f'"{each["id"]}"') for each in log]
    with (tmp_path / "log.jsonl").open("w") as file:
        for i in range(50_000):
            file.write(f'"d{i}"'.join(parts[i % 2_000]) + "\n")
    sizes = [resident()]

    def watched(line: bytes, where: str) -> Any:
        if where.endswith("000"):
            sizes.append(resident())
        return parsed(line, where)

    monkeypatch.setattr("gate.tuning.parts.parsed", watched)
    done = replay(changed(policy_in(tmp_path)), tmp_path / "log.jsonl", {})
    sizes.append(resident())
    assert len(sizes) == 52
    assert (len(done.judgements), done.changed, done.gaps) == (50_000, 0, {})
    assert (tmp_path / "log.jsonl").stat().st_size > 50e6
    assert max(sizes) - sizes[0] < 60e6, "as objects the file would take some 500 MB"


def resident() -> float:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_memory_does_not_grow_with_the_text_of_a_log(
    pocket: tuple[Gateway, list[TraceRecord]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.tuning.replay._WITH_TEXT", 10)
    gateway, traces = pocket
    peaks = []
    for size in (60, 120):
        path = tmp_path / f"{size}.jsonl"
        with path.open("wb") as file:
            for record in traces[:size]:
                line = json.loads(to_json(record))
                line["outcome"]["text"] = "x" * 100_000
                file.write(json.dumps(line).encode() + b"\n")
        tracemalloc.start()
        replay(gateway, path, {})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000, "sixty texts more are six million characters"


def test_without_text_it_is_not_told_what_a_policy_would_ask_back_or_search_first(tmp_path: Path) -> None:
    gateway = assemble(policy_in(tmp_path))
    log = written(tmp_path / "log.jsonl", [decision("a", [step(ZERO, "answer", SURE)])])
    for changes in ({"clarify_below": {"vote_share": 0.5}}, {"retrieve_first": "fresh"}):
        other = dataclasses.replace(gateway, plan=dataclasses.replace(gateway.plan, **changes))
        with pytest.raises(
            ConfigError, match="without text a policy that asks back or searches first cannot be judged"
        ):
            replay(other, log, {})
