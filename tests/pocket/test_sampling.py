"""Choosing the next token, without a model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.pocket.sampling import Sampling, choose, log_softmax, nucleus, streams

LOGITS = st.lists(st.floats(-30, 30), min_size=1, max_size=12)


@given(logits=LOGITS, top_p=st.floats(0.01, 1))
def test_a_nucleus_is_the_smallest_likeliest_set(logits: list[float], top_p: float) -> None:
    probabilities = np.exp(log_softmax(np.array([logits])))
    kept = nucleus(probabilities, top_p)[0]
    inside, outside = probabilities[0][kept > 0], probabilities[0][kept == 0]
    assert kept.argmax() == probabilities[0].argmax()
    assert inside.sum() >= top_p - 1e-9
    assert inside.sum() - inside.min() < top_p + 1e-9
    assert outside.size == 0 or outside.max() <= inside.min()


@given(logits=LOGITS, temperature=st.floats(0, 5), top_p=st.floats(0.01, 1), seed=st.integers(0, 2**63))
def test_what_is_forbidden_is_never_chosen(logits: list[float], temperature: float, top_p: float, seed: int) -> None:
    row = np.array([[-np.inf, *logits, -np.inf]], np.float32)
    chosen = choose(row, temperature, top_p, streams(seed, 1))
    assert 0 < chosen[0] < len(logits) + 1


def test_a_stream_depends_on_seed_and_row_alone() -> None:
    few, many = streams(3, 2), streams(3, 5)
    assert [s.random() for s in few] == [s.random() for s in many[:2]]
    assert streams(-1, 1)[0].random() == streams(-1, 1)[0].random()


def test_log_probabilities_are_normalised_and_do_not_overflow() -> None:
    logits = np.array([[0.0, np.log(3.0)], [1e4, 0.0]])
    np.testing.assert_allclose(np.exp(log_softmax(logits)), [[0.25, 0.75], [1.0, 0.0]], atol=1e-12)


def test_greedy_takes_the_most_likely_and_a_temperature_draws_in_proportion() -> None:
    logits = np.log(np.array([[0.2, 0.7, 0.1]]))
    assert choose(logits, 0, 1.0, streams(1, 1))[0] == 1
    drawn = choose(np.repeat(logits, 4000, axis=0), 1.0, 1.0, streams(1, 4000))
    np.testing.assert_allclose(np.bincount(drawn) / 4000, [0.2, 0.7, 0.1], atol=0.03)  # four standard errors


@pytest.mark.parametrize(
    ("how", "rule"),
    [(Sampling(n=0), "n must"), (Sampling(top_p=0.0), "top_p"), (Sampling(temperature=float("nan")), "temperature")],
)
def test_a_broken_rule_is_said_in_words(how: Sampling, rule: str) -> None:
    assert len(how.broken_rules()) == 1
    assert rule in how.broken_rules()[0]
    assert Sampling().broken_rules() == []
