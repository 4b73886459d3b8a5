"""Steadiness under perturbation: worked values and what is missing why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import Perturbations
from gate.evidence.meanings import group
from gate.evidence.perturbations import Answers
from gate.ports import Evidence, Missing
from gate.signals.perturbation import PERTURBATION_SIGNALS, PerturbationSplit, agreement, fewness, likeness
from gate.types import Cost

FEELINGS = {"excellent": "good", "great": "good", "fantastic": "good", "bad": "bad", "subpar": "bad"}
BY_NAME = {signal.name: signal for signal in PERTURBATION_SIGNALS}


def evidence(**changes: object) -> Evidence:
    fact = Perturbations(Cost(), **{"answers": {}, "contradictions": (), "missing": {}, **changes})  # type: ignore[arg-type]
    return Evidence({Perturbations: fact})


def test_five_answers_of_two_meanings() -> None:
    labels = group(tuple(FEELINGS), lambda a, b: FEELINGS[a] == FEELINGS[b])
    assert len(set(labels)) == 2
    answers = Answers(tuple(FEELINGS), tuple(labels), labels[0])
    assert fewness(answers) == pytest.approx(0.75)
    assert likeness(answers) == 0.0
    assert agreement(answers) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("texts", "labels", "draft", "values"),
    [
        (("a", "a", "a"), (0, 0, 0), 0, (1.0, 1.0, 1.0)),
        (("a", "a", "a"), (1, 1, 1), 0, (1.0, 1.0, 0.0)),
        (("a", "b", "c"), (0, 1, 2), 0, (0.0, 0.0, 1 / 3)),
        (("big city", "city", "big city"), (0, 1, 0), 1, (0.5, (2 / 3 + 1 + 2 / 3) / 3, 1 / 3)),
        (("a",), (0,), 0, (None, None, 1.0)),
        ((), (), 0, (None, None, None)),
    ],
)
def test_sets_likeness_and_agreement(
    texts: tuple[str, ...], labels: tuple[int, ...], draft: int, values: tuple[float | None, ...]
) -> None:
    answers = Answers(texts, labels, draft)
    for statistic, value in zip((fewness, likeness, agreement), values, strict=True):
        assert statistic(answers) == (None if value is None else pytest.approx(value))


def test_there_are_the_eleven_features_and_four_agreements() -> None:
    endings = [name.rsplit("_", 1)[1] for name in BY_NAME]
    assert [endings.count(ending) for ending in ("sets", "rouge", "agreement", "split")] == [5, 5, 4, 1]


def test_a_family_that_brought_nothing_is_missing_for_its_reason() -> None:
    signal = BY_NAME["perturbation_permutation_sets"]
    assert signal.measure(evidence(missing={"permutation": "it is down"})) == Missing("it is down")
    assert signal.measure(evidence()) == Missing("the policy does not ask for this perturbation")
    assert signal.measure(Evidence()) == Missing("nothing was perturbed")
    one = evidence(answers={"permutation": Answers(("a",), (0,), 0)})
    assert signal.measure(one) == Missing("one answer has no spread")
    assert BY_NAME["perturbation_permutation_agreement"].measure(one) == 1.0


@pytest.mark.parametrize(
    ("contradictions", "value"),
    [
        ((0.1, 0.7, 0.2), pytest.approx(0.3)),
        ((0.0,), 1.0),
        ((1.0 + 1e-9,), 0.0),
        ((), Missing("the policy does not ask for this perturbation")),
    ],
)
def test_the_worst_cut_counts(contradictions: tuple[float, ...], value: object) -> None:
    assert PerturbationSplit().measure(evidence(contradictions=contradictions)) == value


def test_a_draft_that_was_not_split_is_missing_for_its_reason() -> None:
    assert PerturbationSplit().measure(evidence(missing={"split": "one sentence"})) == Missing("one sentence")


@given(st.lists(st.tuples(st.sampled_from(["a", "b c", ""]), st.integers(0, 2)), min_size=2), st.randoms())
def test_the_order_of_the_answers_changes_nothing(pairs, rng) -> None:  # type: ignore[no-untyped-def]
    moved = list(pairs)
    rng.shuffle(moved)
    one, other = (Answers(*map(tuple, zip(*each, strict=True)), draft=0) for each in (pairs, moved))
    assert fewness(one) == fewness(other)
    assert agreement(one) == agreement(other)
    assert likeness(one) == pytest.approx(likeness(other))
