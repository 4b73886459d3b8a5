"""Variants: every one assembles, and what it would have seen is on the tape of the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gate.assemble import assemble
from gate.calibration.unfitted import Unfitted
from gate.gateway import Gateway
from gate.traces import Failure
from gate.tuning.observing import seen_of
from gate.tuning.variants import Variant, variants
from tests.tuning.collected import POLICY, collection_in, gateway_of, policy_in

FAILED = Failure("small", "is down")
EMBEDDERS = "embedders: {hashed: {kind: hashed_ngrams}}\n"


def with_(*changes: tuple[str, str]) -> str:
    text = POLICY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


SAMPLES = ("evidence: {samples: {n: 4, seed: 1}}", "evidence: {samples: {n: 9, seed: 1}}")
NINE = [*(f"2 tiers, {n} samples" for n in (9, 5, 3, 2)), "2 tiers, up to 9 samples"]
CASES = {
    "as it is": (
        with_(SAMPLES),
        [*NINE, "1 tier"],
    ),
    "one tier": (
        with_(("[[draft], [samples, meanings]]", "[[draft, samples, meanings]]")),
        ["1 tier, 4 samples", "1 tier, 2 samples"],
    ),
    "without samples": (
        with_(
            ("[[draft], [samples, meanings]]", "[[draft], [passages]]"),
            ("evidence: {samples: {n: 4, seed: 1}}\n", ""),
            ("vote_share, semantic_concentration", "passage_score"),
        ),
        ["2 tiers", "1 tier"],
    ),
    "nothing to read off the first tier": (
        with_(("[token_logprob_sum, vote_share, semantic_concentration]", "[vote_share]")),
        ["2 tiers, 4 samples", "2 tiers, 2 samples"],
    ),
    "no seed": (
        with_(("n: 4, seed: 1", "n: 5")),
        ["2 tiers, 5 samples", "2 tiers, 3 samples", "2 tiers, 2 samples", "1 tier"],
    ),
    "one answer a request": (
        with_(SAMPLES, ('/v1"', '/v1", capabilities: {n: 1}')),
        [*NINE, "1 tier"],
    ),
    "samples in parts of two": (
        with_(SAMPLES, ('/v1"', '/v1", capabilities: {n: 2}')),
        [*NINE, "1 tier"],
    ),
    "an embedder compares the samples": (
        with_(
            ("samples: {n: 4, seed: 1}", "samples: {n: 4, seed: 1}, meanings: {judge: embedding, embedder: hashed}"),
            ("\nladder", f"\n{EMBEDDERS}ladder"),
        ),
        ["2 tiers, 4 samples", "1 tier"],
    ),
    "a model groups the samples": (
        with_(("samples: {n: 4, seed: 1}", "samples: {n: 4, seed: 1}, meanings: {judge: model}")),
        ["2 tiers, 4 samples", "1 tier"],
    ),
    "the draft is judged beside the samples": (
        with_(("[samples, meanings]]", "[samples, meanings], [p_true]]"), ("vote_share", "p_true, vote_share")),
        ["3 tiers, 4 samples", "2 tiers, 4 samples", "2 tiers, 2 samples", "1 tier"],
    ),
    "the draft is judged by itself": (
        with_(
            ("[samples, meanings]]", "[samples, meanings, p_true]]"),
            ("vote_share", "p_true, vote_share"),
            ("seed: 1}", "seed: 1}, p_true: {brainstormed: 0}"),
        ),
        ["2 tiers, 4 samples", "2 tiers, 2 samples", "1 tier"],
    ),
}


def of(gateway: Gateway) -> list[Variant]:
    return list(variants(gateway.policy, gateway.plan))


@pytest.mark.parametrize("case", sorted(CASES))
def test_every_variant_is_told_from_what_the_whole_policy_asked(tmp_path: Path, case: str) -> None:
    text, labels = CASES[case]
    file = policy_in(tmp_path, text, towns=30)
    gateway = gateway_of(file)
    found = of(gateway)
    assert [variant.label for variant in found] == labels
    assert found[0].policy.tiers == gateway.policy.tiers
    assert found[0].policy.signals == gateway.policy.signals
    with collection_in(tmp_path, 6, file=file) as collection:
        for row in collection.collected():
            whole = {each.stage: each for each in seen_of(gateway.plan, row)}
            for variant in found:
                made = assemble(replace(file, policy=variant.policy), Unfitted())
                seen = seen_of(made.plan, row)
                assert len(seen) == len(whole) * len(made.plan.tiers) / len(gateway.plan.tiers)
                for each in seen:
                    assert each.draft == whole[each.stage].draft
                    if "up to" in variant.label:  # it pays for the prompt in every batch
                        written = each.cost.completion_tokens
                        assert written <= whole[each.stage].cost.completion_tokens
                        continue
                    assert each.cost.tokens <= whole[each.stage].cost.tokens
                    assert each.cost.money <= whole[each.stage].cost.money


def test_fewer_samples_are_read_as_fewer(tmp_path: Path) -> None:
    """The vote share of two is that of the first two of four, not of four."""
    file = policy_in(tmp_path, towns=30)
    gateway = gateway_of(file)
    two = next(variant for variant in of(gateway) if variant.label == "2 tiers, 2 samples")
    plan = assemble(replace(file, policy=two.policy), Unfitted()).plan
    with collection_in(tmp_path, 12, file=file) as collection:
        for row in collection.collected():
            drawn = [e.generations.choices for e in row.tape if e.n == 4 and e.generations]
            seen = [each for each in seen_of(plan, row) if each.stage.tier == 1]
            for each, choices in zip(seen, drawn, strict=True):
                share = sum(choice.text == each.draft for choice in choices[:2]) / 2
                assert each.vector.value("vote_share") == pytest.approx(share)


def test_samples_that_grow_tier_by_tier_are_cut_by_the_tier(tmp_path: Path) -> None:
    text = with_(
        ("[[draft], [samples, meanings]]", "[[draft], [samples, meanings], [samples, meanings]]"),
        ("n: 4, seed: 1", "n: [2, 3], seed: 1"),
    )
    file = policy_in(tmp_path, text, towns=30)
    gateway = gateway_of(file)
    assert [variant.label for variant in of(gateway)] == ["3 tiers", "2 tiers", "1 tier"]
    with collection_in(tmp_path, 4, file=file) as collection:
        for row in collection.collected():
            whole = {each.stage: each.vector for each in seen_of(gateway.plan, row)}
            for variant in of(gateway):
                for each in seen_of(assemble(replace(file, policy=variant.policy), Unfitted()).plan, row):
                    assert each.vector == whole[each.stage] or variant.label == "1 tier"


def test_evidence_that_is_left_out_leaves_no_options_behind(tmp_path: Path) -> None:
    last = of(gateway_of(policy_in(tmp_path, towns=30)))[-1]
    assert (last.policy.tiers, dict(last.policy.evidence)) == ((("draft",),), {})
    assert last.policy.signals == ("token_logprob_sum",)


def test_two_samples_are_the_fewest(tmp_path: Path) -> None:
    made = of(gateway_of(policy_in(tmp_path, POLICY.replace("n: 4", "n: 2"), towns=30)))
    assert [variant.label for variant in made] == ["2 tiers, 2 samples", "1 tier"]


def test_the_number_may_stand_nowhere_but_in_the_default(tmp_path: Path) -> None:
    text = POLICY.replace("evidence: {samples: {n: 4, seed: 1}}\n", "")
    made = of(gateway_of(policy_in(tmp_path, text, towns=30)))
    assert [variant.label for variant in made][:3] == ["2 tiers, 5 samples", "2 tiers, 3 samples", "2 tiers, 2 samples"]
    assert made[1].policy.evidence == {"samples": {"n": 3}}


def test_a_question_whose_samples_failed_is_told_too(tmp_path: Path) -> None:
    """One failed request must not make all variants untellable."""
    file = policy_in(tmp_path, towns=30)
    gateway = gateway_of(file)
    with collection_in(tmp_path, 1, file=file) as collection:
        row = next(collection.collected())
    tape = tuple(replace(e, generations=None, failure=FAILED) if e.n == 4 else e for e in row.tape)
    for variant in of(gateway):
        plan = assemble(replace(file, policy=variant.policy), Unfitted()).plan
        seen = seen_of(plan, replace(row, tape=tape))
        assert all(each.vector.value("vote_share") is None for each in seen)
