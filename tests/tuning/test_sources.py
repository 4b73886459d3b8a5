"""Where tuning takes its questions from: what each kind of source can judge, and what it counts as wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.assemble import assemble
from gate.calibration.logistic import LogisticCalibrator
from gate.calibration.unfitted import Unfitted
from gate.errors import ConfigError
from gate.evidence import SamplesSource
from gate.pipeline import Plan
from gate.policy import PolicyFile
from gate.rules import ThresholdRule
from gate.tuning.bounds import trusted
from gate.tuning.collection import Collection, Label
from gate.tuning.decision_log import Audit
from gate.tuning.fitting import confidences, fit_table
from gate.tuning.observing import observed
from gate.tuning.search import Structure
from gate.tuning.sources import CollectionSource, LogSource
from gate.tuning.splits import Shares
from gate.tuning.walk import Terrain, walk
from gate.types import Action, Budget
from tests.tuning.collected import collection_in, gateway_of, policy_in

SHARES = Shares(0.4, 0.4)
Fitted = tuple[CollectionSource, Plan, LogisticCalibrator]


# --- a collection ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PolicyFile, Collection]]:
    folder = tmp_path_factory.mktemp("sources")
    file = policy_in(folder)
    with collection_in(folder, 150, file=file) as collection:
        yield file, collection


@pytest.fixture(scope="module")
def fitted(ground: tuple[PolicyFile, Collection]) -> Fitted:
    file, collection = ground
    source, plan = CollectionSource(collection, SHARES), gateway_of(file).plan
    table = source.table(plan)
    calibrator = fit_table(table, {signal.name: signal.bounds for signal in plan.signals}).calibrator(table.signals, {})
    return source, replace(plan, calibrator=calibrator), calibrator


def test_splits_have_no_question_in_common_and_lose_none(ground: tuple[PolicyFile, Collection]) -> None:
    source = CollectionSource(ground[1], SHARES)
    ids = [[row.example.id for row in source.examined(name)] for name in ("fit", "certify", "test")]
    assert sum(map(len, ids)) == len({id_ for split in ids for id_ in split}) == 150
    assert min(map(len, ids)) > 15
    plan = gateway_of(ground[0]).plan
    assert source.table(plan).ids.tolist() == ids[0]


def test_what_is_counted_is_what_the_pipeline_does_with_the_certify_split(
    ground: tuple[PolicyFile, Collection], fitted: Fitted
) -> None:
    """And the screen by columns says the same."""
    policy, (source, plan, calibrator) = ground[0].policy, fitted
    table = observed(source.examined("certify"), plan)
    for rule in (
        ThresholdRule(answer_at=0.6, gather_above=0.1),
        ThresholdRule(answer_at=0.97),
        ThresholdRule(answer_at=1),
    ):
        counted = source.counted(policy, replace(plan, rule=rule), calibrator)
        walked = walk(Terrain.of(table, confidences(calibrator.stages, table), plan.ladder, len(plan.tiers)), rule)
        assert counted.asked == len(table)
        assert counted.answered == walked.answered.sum()
        assert counted.wrong == (walked.answered & (walked.correct == 0.0)).sum()
        assert counted.money == pytest.approx(walked.costs["money"].mean())
        assert counted.unknown == 0


def test_what_cannot_be_told_counts_as_answered_wrongly(ground: tuple[PolicyFile, Collection], fitted: Fitted) -> None:
    policy, (source, plan, calibrator) = ground[0].policy, fitted
    samples, meanings = plan.tiers[1]
    assert isinstance(samples, SamplesSource)
    more = replace(plan, tiers=(plan.tiers[0], (samples.model_copy(update={"n": 9}), meanings)))  # than was collected
    unsure = ThresholdRule(answer_at=0.99, gather_above=0.0)
    sure = source.counted(policy, replace(plan, rule=unsure.model_copy(update={"gather_above": 1.0})), calibrator)
    counted = source.counted(policy, replace(more, rule=unsure), calibrator)
    assert 0 < counted.unknown <= counted.wrong <= counted.answered <= counted.asked
    assert counted.unknown > counted.asked - sure.answered - 1


def test_a_budget_that_is_too_small_is_part_of_what_is_judged(
    ground: tuple[PolicyFile, Collection], fitted: Fitted
) -> None:
    policy, (source, plan, calibrator) = ground[0].policy, fitted
    free = source.counted(policy, replace(plan, rule=ThresholdRule(answer_at=0.9)), calibrator)
    held = source.counted(policy, replace(plan, rule=ThresholdRule(answer_at=0.9), budget=Budget(calls=1)), calibrator)
    assert held.money < free.money
    assert held.answered < free.answered


def test_variants_and_structures_are_searched_unless_thresholds_alone_are(
    ground: tuple[PolicyFile, Collection],
) -> None:
    file, collection = ground
    plan = assemble(file, Unfitted()).plan
    all_of_it, alone = CollectionSource(collection, SHARES), CollectionSource(collection, SHARES, thresholds_only=True)
    assert len(all_of_it.variants(file.policy, plan)) > 1
    assert [variant.policy for variant in alone.variants(file.policy, plan)] == [file.policy]
    assert len(all_of_it.structures(file.policy)) == 7
    assert alone.structures(file.policy) == [Structure(("small", "large"), (Action.RETRIEVE, Action.ESCALATE))]
    closed = file.policy.model_copy(update={"routes": file.policy.routes.model_copy(update={"retrieve": None})})
    assert alone.structures(closed) == [Structure(("small", "large"), (Action.ESCALATE,))]
    assert {Action.RETRIEVE in s.otherwise for s in all_of_it.structures(closed)} == {False}
    one = closed.model_copy(update={"ladder": ("small",)})
    assert alone.structures(one) == [Structure(("small",), ())]


def test_what_was_left_out_is_said(tmp_path: Path, ground: tuple[PolicyFile, Collection]) -> None:
    assert CollectionSource(ground[1], SHARES).left_out() == ""
    with collection_in(tmp_path, 12, labels=False) as collection:
        rows = list(collection.collected())
        collection.label({(row.example.id, a): Label(True, "exact") for row in rows[:9] for a in row.answers.values()})
        assert CollectionSource(collection, SHARES).left_out() == "3 were not graded"


# --- a log -------------------------------------------------------------------------------------------------------

ONE = """\
name: made-up
promise: {max_error: 0.1}
upstreams: {small: {kind: openai_chat, model: small, base_url: "http://127.0.0.1:9/v1"}}
ladder: [small]
tiers: [[draft]]
signals: [token_logprob_sum]
calibrator: made-up.calibrator.json
rule: {kind: threshold, answer_at: 0.8}
"""
"""One upstream, one tier, one signal, no ways."""


def decision(place: int, value: float, action: Action) -> dict[str, Any]:
    """A line of a log: one step in the first stage."""
    cost = {"calls": 1, "prompt_tokens": 10, "completion_tokens": 2, "seconds": 0.5, "money": 0.001}
    step = {
        "decision": {"action": action, "reason": "", "stage": {"upstream": "small", "passages": False, "tier": 0}},
        "signals": {"readings": [{"signal": "token_logprob_sum", "value": value}]},
        "cost": cost,
    }
    return {"id": f"d{place}", "action": action, "steps": [step], "cost": cost}


def logged(folder: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def truth(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Readings, and which drafts are right: the surer the likelier."""
    value = -rng.exponential(1.0, n)
    return value, rng.random(n) < np.exp(value * 0.8)


@pytest.fixture
def file(tmp_path: Path) -> PolicyFile:
    return policy_in(tmp_path, ONE)


def learn(file: PolicyFile, source: LogSource) -> tuple[Plan, LogisticCalibrator]:
    plan = gateway_of(file).plan
    table = source.table(plan)
    return plan, fit_table(table, {s.name: s.bounds for s in plan.signals}).calibrator(table.signals, {})


def counts(file: PolicyFile, source: LogSource, answer_at: float) -> tuple[Any, LogisticCalibrator]:
    plan, calibrator = learn(file, source)
    policy = file.policy.model_copy(update={"rule": ThresholdRule(answer_at=answer_at)})
    return source.counted(policy, plan, calibrator), calibrator


def log_of(file: PolicyFile, n: int = 900, *, audited: str = "all", chance: float = 1.0) -> LogSource:
    value, right = truth(np.random.default_rng(0), n)
    told = value + np.random.default_rng(1).normal(0, 0.5, n)  # what went by then was another calibrator
    action = np.where(told >= -0.7, Action.ANSWER, Action.ABSTAIN)
    path = logged(file.path.parent, [decision(i, float(value[i]), action[i]) for i in range(n)])
    chosen = [i for i in range(n) if audited == "all" or action[i] == Action.ANSWER]
    return LogSource(path, {f"d{i}": Audit(bool(right[i]), chance) for i in chosen}, SHARES)


def test_a_log_is_counted_by_its_certify_split(file: PolicyFile) -> None:
    source = log_of(file)
    counted, _ = counts(file, source, 0.5)
    value, right = truth(np.random.default_rng(0), 900)
    held_out = [i for i in range(900) if SHARES.split(f"d{i}") == "certify"]
    assert counted.asked == len(held_out)
    assert counted.weighted is None
    assert counted.unknown == 0
    assert counted.money == pytest.approx(0.001)
    risk = 1 - right[value >= np.log(0.5) / 0.8].mean()
    assert counted.wrong / counted.answered == pytest.approx(risk, abs=0.06)
    assert source.left_out() == ""
    assert [v.policy for v in source.variants(file.policy, gateway_of(file).plan)] == [file.policy]
    assert source.structures(file.policy) == [Structure(("small",), ())]


def test_audits_of_one_chance_get_the_exact_limit_whatever_it_is(file: PolicyFile) -> None:
    even, _ = counts(file, log_of(file, chance=0.1), 0.5)
    assert even.weighted is None


def test_audits_of_unequal_chance_are_weighed(file: PolicyFile) -> None:
    source = log_of(file)
    chances = zip(source.audits.items(), cycle((0.25, 1.0)), strict=False)
    uneven = {id_: replace(audit, probability=chance) for (id_, audit), chance in chances}
    counted, _ = counts(file, LogSource(source.path, uneven, SHARES), 0.5)
    assert counted.weighted is not None
    assert set(counted.weighted.weights.tolist()) == {1.0, 4.0}
    assert counted.weighted.answered.sum() == counted.answered
    assert counted.weighted.wrong.sum() == counted.wrong
    assert counted.weighted.least == 0.25
    assert trusted(counted, 0.05) > counted.wrong / counted.answered


def test_answers_that_were_held_back_and_never_audited_count_as_wrong(file: PolicyFile) -> None:
    """Where answers alone were audited, a policy that answers more would look as good as the one that did not."""
    everything, _ = counts(file, log_of(file), 1e-6)
    answers_alone, _ = counts(file, log_of(file, audited="answers"), 1e-6)
    assert answers_alone.asked == everything.asked
    assert answers_alone.unknown > 0.1 * answers_alone.asked
    assert answers_alone.wrong >= everything.wrong
    source = log_of(file, audited="answers")
    counts(file, source, 0.5)
    assert "no abstention was audited" in source.left_out()


def test_what_went_out_at_the_time_is_judged_by_its_labels(file: PolicyFile) -> None:
    """Of what a policy would answer only that is unknown which was held back then."""
    answers_alone, everything = log_of(file, audited="answers"), log_of(file)
    counted, calibrator = counts(file, answers_alone, 0.6)
    read = everything._log(gateway_of(file).plan)
    p, strange = confidences(calibrator.stages, read.table)["small/closed_book/tier0"]
    out = (p >= 0.6) & ~strange & (read.table.splits == "certify")
    held_back = read.recorded == Action.ABSTAIN
    assert counted.unknown == (out & held_back).sum() > 0
    wrong = read.table.stages["small/closed_book/tier0"].correct == 0.0
    assert counted.wrong == (out & (held_back | wrong)).sum()
    assert counted.answered == out.sum()


def test_a_log_of_which_nothing_was_audited_is_refused(file: PolicyFile) -> None:
    source = log_of(file, 30)
    stranger = LogSource(source.path, {"x": Audit(True)}, SHARES)
    with pytest.raises(
        ConfigError, match=r"none of the 1 labels can be used: .* decisions: nobody checked it"
    ) as caught:
        stranger.table(gateway_of(file).plan)
    assert caught.value.where == str(source.path)


def test_decisions_without_a_label_are_left_out_where_abstentions_were_audited_too(file: PolicyFile) -> None:
    source = log_of(file)
    some = dict(list(source.audits.items())[:700])
    half = LogSource(source.path, some, SHARES)
    counted, _ = counts(file, half, 0.5)
    assert counted.unknown == 0
    assert half.left_out() == "200 decisions: nobody checked it"
