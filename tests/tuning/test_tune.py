"""Tuning from end to end, on a small collection of made-up models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gate.assemble import assemble, load_gateway
from gate.errors import ConfigError
from gate.evidence.meanings import normalize
from gate.guarantees.selective_risk import upper_bound
from gate.log.jsonl import to_json, without_text
from gate.pocket.world import facts_of, unit_hash
from gate.policy import PolicyFile, find, read
from gate.route_settings import AbstainSettings
from gate.rules import ExpectedCostRule
from gate.tuning import tune as tuning
from gate.tuning.bounds import trusted
from gate.tuning.certification import Counted
from gate.tuning.collection import Collection, Label
from gate.tuning.decision_log import Audit
from gate.tuning.judging import judge
from gate.tuning.observing import labelled
from gate.tuning.sources import CollectionSource, LogSource
from gate.tuning.splits import Shares
from gate.tuning.tune import Tuned
from gate.tuning.tuned_files import Paths, write
from gate.types import Action, Question, Stage
from tests.tuning.collected import collection_in, examples, label, policy_in

POLICY = """\
name: made-up
promise: {max_error: 0.15}
costs: {wrong: 0.02, abstain: 0.002}
upstreams:
  small: {kind: openai_chat, model: small, base_url: "http://127.0.0.1:9/v1", price: {prompt: 0.1, completion: 0.4}}
  large: {kind: openai_chat, model: large, base_url: "http://127.0.0.1:9/v1", price: {prompt: 1, completion: 4}}
ladder: [small, large]
tiers: [[draft]]
signals: [token_logprob_sum]
calibrator: made-up.calibrator.json
rule: {kind: threshold, answer_at: 0.8}
"""
SHARES = Shares()
tune = partial(tuning.tune, bound=trusted, calibrator="tuned.calibrator.json")


def mislabel(collection: Collection, share: float) -> None:
    """Label so many answers the other way round: mistakes that no signal tells of."""
    answers = {(row.example.id, answer) for row in collection.collected() for answer in row.answers.values()}
    label(collection, but=[key for key in answers if unit_hash("".join(key), "flip") < share * 2**32])


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PolicyFile, Collection]]:
    folder = tmp_path_factory.mktemp("tune")
    file = policy_in(folder, POLICY)
    with collection_in(folder, 400, file=file) as collection:
        mislabel(collection, 0.08)
        yield file, collection


@pytest.fixture(scope="module")
def tuned(ground: tuple[PolicyFile, Collection]) -> Tuned:
    file, collection = ground
    return tune(file, CollectionSource(collection, SHARES), labels="401 by exact", segment="towns")


def promising(file: PolicyFile, max_error: float) -> PolicyFile:
    promise = file.policy.promise.model_copy(update={"max_error": max_error})
    return replace(file, policy=file.policy.model_copy(update={"promise": promise}))


def test_what_is_chosen_kept_the_promise_on_questions_that_fitted_nothing(
    ground: tuple[PolicyFile, Collection], tuned: Tuned
) -> None:
    file, collection = ground
    assert tuned.policy is not None
    assert tuned.calibrator is not None
    plan = assemble(replace(file, policy=tuned.policy), tuned.calibrator).plan
    held_out = [row for row in collection.collected() if SHARES.of(row.example) == "certify"]
    outcomes = list(judge(plan, held_out))
    answered = sum(one.outcome is not None and one.outcome.answered for one in outcomes)
    wrong = sum(one.wrong for one in outcomes)
    certificate = tuned.policy.certificate
    assert certificate is not None
    assert (certificate.n, certificate.answered, certificate.errors) == (len(held_out), answered, wrong)
    shown = upper_bound(wrong, answered, 1 - file.policy.promise.confidence)
    assert shown <= certificate.bound <= shown + 1e-6
    assert certificate.bound <= certificate.alpha == file.policy.promise.max_error
    assert certificate.delta == pytest.approx(0.05)
    assert (certificate.segment, certificate.labels) == ("towns", "401 by exact")
    assert certificate.models == {"small": "small", "large": "large"}
    assert 0 < wrong < answered < len(held_out)


def test_tests_are_made_in_the_order_of_the_sequence_until_one_fails(tuned: Tuned) -> None:
    assert all(test.passed for test in tuned.tests[:-1])
    options = [test.candidate.option for test in tuned.tests]
    at = tuned.considered.index(options[0])
    assert tuple(options) == tuned.considered[at : at + len(options)]
    assert tuned.best_bound == min(test.bound for test in tuned.tests)


def test_the_cheapest_of_those_that_passed_is_chosen(ground: tuple[PolicyFile, Collection], tuned: Tuned) -> None:
    costs = ground[0].policy.costs

    def cost(done: Counted) -> float:
        open_ = done.asked - done.answered
        return done.money * done.asked + costs.abstain * open_ + costs.wrong * done.wrong

    assert tuned.chosen is not None
    assert cost(tuned.chosen.counted) == min(cost(test.counted) for test in tuned.tests if test.passed)
    assert len({cost(test.counted) for test in tuned.tests if test.passed}) > 1


def test_the_certificate_holds_for_what_runs_then(
    ground: tuple[PolicyFile, Collection], tuned: Tuned, tmp_path: Path
) -> None:
    """Also read back from its files, in another folder."""
    file, _ = ground
    assert tuned.policy is not None
    assert not assemble(replace(file, policy=tuned.policy), tuned.calibrator).void
    paths = Paths(tmp_path / "deep" / "tuned.yaml")
    write(tuned, file, paths, overwrite=False)
    assert read(paths.policy).policy == tuned.policy
    running = assemble(read(paths.policy))
    assert not running.void
    assert running.certificate is not None
    other = read(paths.policy).policy.model_copy(update={"abstain": AbstainSettings(text="No.")})
    assert assemble(replace(file, path=paths.policy, policy=other)).void


def test_a_certificate_holds_in_another_folder_where_paths_read_otherwise(tmp_path: Path) -> None:
    text = (
        POLICY + "routes: {retrieve: {retriever: towns, k: 1}}\nretrievers: {towns: {kind: bm25, path: towns.jsonl}}\n"
    )
    (tmp_path / "here").mkdir()
    file = policy_in(tmp_path / "here", text)
    with collection_in(tmp_path / "here", 120, file=file) as collection:
        done = tune(promising(file, 0.4), CollectionSource(collection, SHARES, thresholds_only=True))
    assert done.policy is not None
    paths = Paths(tmp_path / "there" / "tuned.yaml")
    write(done, file, paths, overwrite=False)
    assert "path: ../here/towns.jsonl" in paths.policy.read_text(encoding="utf-8")
    assert not assemble(read(paths.policy)).void


def test_labels_of_the_certify_split_teach_nothing(ground: tuple[PolicyFile, Collection], tmp_path: Path) -> None:
    """Turned round they change which policies pass; what is fitted and in which order it is tested they do not."""
    file, _ = ground
    with collection_in(tmp_path, 150, file=file) as collection:
        before = tune(file, CollectionSource(collection, SHARES))
        held_out = [row for row in collection.collected() if SHARES.of(row.example) == "certify"]
        label(collection, but=[(row.example.id, answer) for row in held_out for answer in row.answers.values()])
        after = tune(file, CollectionSource(collection, SHARES))
    assert after.considered == before.considered
    assert before.calibrator == before.tests[0].candidate.calibrator == after.tests[0].candidate.calibrator
    assert before.policy is not None
    assert after.policy is None


def test_a_promise_that_cannot_be_kept_gives_no_policy_but_the_best_that_was_shown(
    ground: tuple[PolicyFile, Collection],
) -> None:
    file, collection = ground
    done = tune(promising(file, 0.03), CollectionSource(collection, SHARES))
    assert (done.policy, done.calibrator, done.chosen) == (None, None, None)
    assert [test.passed for test in done.tests] == [False]
    # the others are looked at for what they show, and stay untested: one of them may look better by chance
    assert len(done.beside) == len(done.considered) - 1
    assert done.best_bound == min(done.tests[0].bound, *done.beside) > 0.03


def test_an_answer_without_a_label_counts_as_wrong(ground: tuple[PolicyFile, Collection], tmp_path: Path) -> None:
    file, _ = ground
    with collection_in(tmp_path, 150, file=file) as collection:
        label(collection)
        known = tune(file, CollectionSource(collection, SHARES))
        unsure = {
            (row.example.id, answer): Label(None, "exact")
            for row in collection.collected()
            if SHARES.of(row.example) == "certify" and len(set(row.answers.values())) > 1
            for answer in list(dict.fromkeys(row.answers.values()))[1:]
        }
        collection.label(unsure)
        done = tune(file, CollectionSource(collection, SHARES))
    assert sum(test.counted.unknown for test in known.tests) == 0
    assert done.tests[0].counted.unknown > 0
    assert done.tests[0].counted.answered == known.tests[0].counted.answered
    assert done.tests[0].counted.wrong >= done.tests[0].counted.unknown
    assert done.tests[0].bound > known.tests[0].bound


def test_a_round_that_nobody_ever_came_to_is_no_end_of_it(tmp_path: Path) -> None:
    """Nothing is ever found: the policies that would look for passages are tuned like the others."""
    text = (
        POLICY + "routes: {retrieve: {retriever: towns, k: 1}}\nretrievers: {towns: {kind: bm25, path: none.jsonl}}\n"
    )
    (tmp_path / "none.jsonl").write_text('{"id": "1", "text": "xyzzy"}\n', encoding="utf-8")
    file = policy_in(tmp_path, text)
    with collection_in(tmp_path, 120, file=file) as collection:
        done = tune(promising(file, 0.4), CollectionSource(collection, SHARES, thresholds_only=True))
    assert done.policy is not None
    assert done.calibrator is not None
    assert done.calibrator.stages["large/with_passages/tier0"].n == 0
    assert done.policy.rule.threshold(Stage("large", passages=True)) == 1.0


# --- too little to learn from ------------------------------------------------------------------------------------


def refusal(folder: Path, n: int, relabel: bool | None = None, *, labels: bool = True) -> str:
    file = policy_in(folder, POLICY)
    with collection_in(folder, n, file=file, labels=labels) as collection:
        if relabel is not None:
            answers = {(row.example.id, a): Label(relabel, "exact") for row in collection.collected()
                       for a in row.answers.values()}  # fmt: skip
            collection.label(answers)
        with pytest.raises(ConfigError) as caught:
            tune(file, CollectionSource(collection, SHARES))
        assert caught.value.where == str(collection.path)
        return str(caught.value)


@pytest.mark.parametrize("kind", [True, False])
def test_one_kind_of_label_is_too_little(tmp_path: Path, kind: bool) -> None:
    assert "too little to learn from" in refusal(tmp_path, 60, kind)


def test_ten_questions_are_too_few(tmp_path: Path) -> None:
    said = refusal(tmp_path, 10)
    assert "too little to learn from" in said
    assert "at least 20 questions" in said


def test_without_labels_nothing_is_learned(tmp_path: Path) -> None:
    assert "0 questions of the fit split have labels" in refusal(tmp_path, 30, labels=False)


def test_without_questions_to_certify_on_there_is_no_policy(tmp_path: Path) -> None:
    file = policy_in(tmp_path, POLICY)
    with Collection.create(tmp_path / "collection.db") as collection:
        collection.add([replace(example, split="fit") for example in examples(60)])
    with collection_in(tmp_path, 0, file=file) as collection:
        done = tune(file, CollectionSource(collection, SHARES))
    assert (done.policy, done.tests, done.best_bound) == (None, (), 1.0)


def test_a_log_certifies_first_what_ran_for_it_tells_all_of_that(tmp_path: Path) -> None:
    file = read(find("cost-saver"))
    gateway, audits, log = load_gateway("cost-saver"), {}, tmp_path / "log.jsonl"
    with log.open("wb") as out:
        for fact in facts_of("test")[:260]:
            outcome, record = gateway.ask(Question.from_text(fact.question))
            audits[record.id] = Audit(outcome.answered and normalize(outcome.text) == normalize(fact.answer))
            out.write(to_json(without_text(record)) + b"\n")
    gateway.close()
    done = tune(file, LogSource(log, audits, Shares(0.3, 0.7)), bound=trusted)
    first = done.tests[0]
    assert (first.candidate.policy.rule, first.candidate.calibrator) == (file.policy.rule, gateway.plan.calibrator)
    assert first.counted.unknown == 0
    assert first.passed
    assert done.policy is not None
    assert done.policy.certificate is not None


def test_a_policy_of_least_expected_cost_learns_what_its_ways_come_to(
    ground: tuple[PolicyFile, Collection], tmp_path: Path
) -> None:
    file, collection = ground
    rule = ExpectedCostRule(wrong=1.0, abstain=0.002)
    asked = replace(file, policy=file.policy.model_copy(update={"rule": rule}))
    done = tune(asked, CollectionSource(collection, SHARES))
    assert done.policy is not None
    assert done.calibrator is not None
    assert isinstance(done.policy.rule, ExpectedCostRule)
    prices = [test.candidate.option.rule.wrong for test in done.tests]  # type: ignore[attr-defined]
    assert prices == sorted(prices, reverse=True)  # from the safest to the boldest
    paths = Paths(tmp_path / "tuned.yaml")
    write(done, asked, paths, overwrite=True)
    gateway = load_gateway(str(paths.policy))
    assert gateway.certified
    assert Action.ESCALATE in gateway.plan.routes
    ends = [one.outcome for one in judge(gateway.plan, labelled(collection)) if one.outcome]
    assert {len(end.steps) for end in ends} == {1, 2}
    learned = [test.candidate.calibrator.ways for test in done.tests]
    assert all(ways is None or ways.wrong == price for ways, price in zip(learned, prices, strict=True))
    assert done.calibrator.ways == done.chosen.candidate.calibrator.ways  # type: ignore[union-attr]
