"""Fitting a pool: what it learns, that nothing learns from what it is judged on, and another upstream later."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from gate.calibration.metrics import auroc
from gate.embedders import HashedNgrams
from gate.errors import ConfigError
from gate.evidence import Neighbours
from gate.evidence.reference_pool import ReferencePool, question_key
from gate.ports import Evidence, Missing
from gate.signals.neighbours import NEIGHBOUR_SIGNALS
from gate.tuning import reference_pool, skills
from gate.tuning.reference_pool import FEWEST, Answered, Encoder, LabelledAnswer, facts_of, fit, with_upstream
from tests.evidence.pools import ENCODER, SECOND, answers, named, two_topics

ACCURACY = ("neighbour_accuracy", "neighbour_accuracy_weighted", "sdm_magnitude", "upstream_skill", "text_regressor")


def ranks(facts: Sequence[Neighbours | Missing], rows: Sequence[LabelledAnswer]) -> dict[str, float]:
    """AUROC of every signal that has a value."""
    found = {}
    for signal in NEIGHBOUR_SIGNALS:
        values, labels = [], []
        for fact, row in zip(facts, rows, strict=True):
            assert isinstance(fact, Neighbours)
            value = signal.measure(Evidence({Neighbours: fact}))
            if isinstance(value, float):
                values.append(value)
                labels.append(row.correct)
        if values:
            found[signal.name] = auroc(values, labels)
    return found


def guesses(n: int, seed: int) -> list[LabelledAnswer]:
    """Answers to questions of no pattern, right or wrong by the toss of a coin."""
    chance = random.Random(seed)
    rows = []
    for _ in range(n):
        question = f"{named(chance)} {named(chance)} {named(chance)}?"
        correct = chance.random() < 0.5
        rows += [LabelledAnswer(question, named(chance), upstream, correct) for upstream in ("small", "large")]
    return rows


def test_what_is_learned_holds_for_new_questions_as_it_does_out_of_fold() -> None:
    rows, new = answers(120), answers(80, seed=1)
    for judged in (rows, new):
        found = ranks(facts_of(two_topics(), judged, ENCODER, SECOND), judged)
        assert {name: found[name] > 0.8 for name in ACCURACY} == dict.fromkeys(ACCURACY, True)
    assert two_topics().labelled.all()


def test_of_coins_nothing_is_learned_out_of_fold_though_both_upstreams_tossed_the_same() -> None:
    rows = guesses(300, seed=0)
    pool = fit(rows, ENCODER, SECOND)
    found = ranks(facts_of(pool, rows, ENCODER, SECOND), rows)
    assert {name: 0.4 < rank < 0.6 for name, rank in found.items()} == dict.fromkeys(found, True)
    # a model that saw the labels it is judged on would stand out
    seen = skills.fit(pool.vectors, pool.correct.astype(np.float64), 1, 0.0005).logits(pool.vectors)[:, 0]
    assert auroc(seen.tolist(), (pool.correct[:, 0] > 0.5).tolist()) > 0.9


def test_a_question_never_informs_itself_whoever_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_pool, "_folds", lambda correct, seed: (np.arange(len(correct)) % 5).astype(np.int8))
    monkeypatch.setattr(skills, "RANKS", (1,))
    monkeypatch.setattr(skills, "PENALTIES", (0.002,))
    rows = answers(120)
    asked = rows[10].question
    turned = [replace(row, correct=not row.correct) if row.question == asked else row for row in rows]
    pools = [fit(labelled, ENCODER, SECOND) for labelled in (rows, turned)]
    for upstream in ("small", "large"):
        row = [Answered(asked, "Nigeria", upstream), Answered(rows[30].question, "", upstream)]  # of the same fold
        (one, beside_one), (two, beside_two) = (facts_of(pool, row, ENCODER, SECOND) for pool in pools)
        assert isinstance(one, Neighbours)
        assert isinstance(two, Neighbours)
        assert isinstance(beside_one, Neighbours)
        assert isinstance(beside_two, Neighbours)
        assert (one.distances, one.correct, one.shared) == (two.distances, two.correct, two.shared)
        assert (one.similarity, one.closeness) == (two.similarity, two.closeness)
        # the level is that of all questions, the same for a whole fold
        assert one.skill - beside_one.skill == pytest.approx(two.skill - beside_two.skill, abs=1e-5)
        other = [Answered(rows[12].question, "Nigeria", upstream)]
        one, two = (facts_of(pool, other, ENCODER, SECOND)[0] for pool in pools)
        assert one != two  # to the others its label matters


def test_the_same_question_in_another_spelling_is_the_same() -> None:
    rows = [*answers(60), LabelledAnswer("who ARE you?", "gate", "small", True)]
    again = [
        LabelledAnswer("  Who are\nyou?", "I am", "small", False),
        LabelledAnswer("Who are you?", "", "large", True),
    ]
    pool = fit([*rows, *again], ENCODER)
    assert len(pool.keys) == 61
    place = pool.keys.tolist().index(question_key("who are you?"))
    assert pool.correct[place].tolist() == [0.5, 1.0]


def test_folds_are_alike_and_clusters_come_of_vectors_alone() -> None:
    pool = two_topics()
    shares = [pool.correct[pool.folds == fold].mean() for fold in range(5)]
    assert max(shares) - min(shares) < 0.1
    turned = [replace(row, correct=not row.correct) for row in answers(120)]
    assert (fit(turned, ENCODER, SECOND).clusters == pool.clusters).all()


def test_fitting_repeats() -> None:
    assert fit(answers(120), ENCODER, SECOND) == two_topics()
    assert fit(answers(120), ENCODER, SECOND, seed=1) != two_topics()


def test_labels_that_are_not_there_stay_unknown() -> None:
    rows = [row for place, row in enumerate(answers(120)) if row.upstream == "small" or place % 4 == 1]
    pool = fit(rows, ENCODER)
    assert pool.labelled.mean(0).tolist() == [1.0, 0.5]
    unlabelled = ~pool.labelled[:, 1]
    assert (pool.predicted_right[:, unlabelled, 1] == -1).all()
    facts = facts_of(pool, [Answered(answers(120)[2].question, "", "large")], ENCODER)
    assert isinstance(facts[0], Neighbours)
    assert not np.isnan(facts[0].correct).any()


def test_a_question_without_a_vector_is_left_out_and_has_no_facts() -> None:
    pool = fit([*answers(60), LabelledAnswer(" ", "", "small", True)], ENCODER)
    assert len(pool.keys) == 60
    said = facts_of(pool, [Answered(" ", "x", "small"), Answered("Who?", " ", "small")], ENCODER)
    assert said[0] == Missing("the embedder makes nothing of the question")
    assert isinstance(said[1], Neighbours)
    assert said[1].text is None


def test_an_upstream_that_is_always_right_or_never_answers_has_no_text_model() -> None:
    rows = [replace(row, correct=True) if row.upstream == "large" else replace(row, answer="") for row in answers(60)]
    pool = fit(rows, ENCODER)
    facts = facts_of(pool, [Answered("Who?", "gate", "small"), Answered("Who?", "gate", "large")], ENCODER)
    assert [fact.text for fact in facts if isinstance(fact, Neighbours)] == [None, None]
    assert pool.base_rates[1] == 1


def test_another_upstream_later_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    pool = fit([row for row in answers(120) if row.upstream == "small"], ENCODER, SECOND)
    new = [row for row in answers(120) if row.upstream == "large"]
    stranger = LabelledAnswer("Who are you?", "gate", "large", False)
    grown = with_upstream(pool, [*new, stranger], ENCODER)
    assert grown.upstreams == ("small", "large")
    assert len(grown.keys) == len(pool.keys)
    judged = answers(160, seed=2)
    small = [row for row in judged if row.upstream == "small"]
    assert facts_of(grown, small, ENCODER, SECOND) == facts_of(pool, small, ENCODER, SECOND)
    large = [row for row in judged if row.upstream == "large"]
    found = ranks(facts_of(grown, large, ENCODER, SECOND), large)
    assert {name: found[name] > 0.8 for name in ACCURACY} == dict.fromkeys(ACCURACY, True)
    grown.save(tmp_path / "grown.npz")
    assert ReferencePool.load(tmp_path / "grown.npz") == grown


def test_another_upstream_must_be_one_and_new_and_labelled() -> None:
    for rows, reason in (
        (answers(60), "one upstream that is not in the pool"),
        ([row for row in answers(60) if row.upstream == "small"], "one upstream that is not in the pool"),
        (answers(FEWEST - 1, upstreams=("other",)), "needs 20 labelled questions"),
        (answers(60, seed=9, upstreams=("other",)), "needs 20 labelled questions"),
    ):
        with pytest.raises(ValueError, match=reason):
            with_upstream(two_topics(), rows, ENCODER)


def test_too_little_to_fit_is_an_error_that_says_how_much_there_is() -> None:
    for rows in ([], answers(FEWEST - 1)):
        with pytest.raises(ValueError, match="needs 20 labelled questions of each upstream"):
            fit(rows, ENCODER)


def test_another_embedder_is_refused() -> None:
    other = Encoder.of(HashedNgrams("hashed", 64))
    with pytest.raises(ConfigError, match="fitted with the embedder 'hashed_ngrams-1-512', not 'hashed_ngrams-1-64'"):
        facts_of(two_topics(), answers(4), other)
    with pytest.raises(ConfigError, match="second embedder is"):
        facts_of(two_topics(), answers(4), ENCODER, ENCODER)
    with pytest.raises(ConfigError, match="fitted with the embedder"):
        with_upstream(two_topics(), answers(60, upstreams=("other",)), other)


def test_an_upstream_the_pool_does_not_know_is_missing() -> None:
    assert facts_of(two_topics(), [Answered("Who?", "", "other")], ENCODER) == [
        Missing("the reference pool holds no labels for the upstream 'other'")
    ]


def test_nearly_everything_about_a_pool_is_an_array() -> None:
    arrays = [
        field.name for field in fields(ReferencePool) if isinstance(getattr(two_topics(), field.name), np.ndarray)
    ]
    assert len(arrays) == len(fields(ReferencePool)) - 3


def test_an_encoder_works_in_batches_and_keeps_the_order() -> None:
    texts = [f"question {number}" for number in range(600)]
    rows = ENCODER.rows(texts)
    assert rows.shape == (600, 512)
    assert rows[599].tolist() == pytest.approx(HashedNgrams("x").embed(["question 599"])[0].tolist(), abs=1e-6)
    assert np.isnan(ENCODER.rows([" "])).all()
