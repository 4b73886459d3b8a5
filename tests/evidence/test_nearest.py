"""Looking up: worked values, and the same as counting it all out one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.evidence import nearest
from gate.evidence.nearest import Sought, among, closeness, distance, look_up, own_rows, ranked, run_length, skill
from gate.evidence.reference_pool import WHOLE
from tests.evidence.pools import ENCODER, SECOND, two_topics


def test_skill_as_worked_out_and_the_stronger_is_the_first() -> None:
    """Two upstreams with vectors (1, 0) and (0, 1), the question (2, -1): margins 2 and -1."""
    vectors = np.array([[2, -1]], dtype=np.float32)
    identity = np.eye(2, dtype=np.float32)[None]
    odds = skill(vectors, identity, identity, np.zeros((1, 2), dtype=np.float32), np.array([0]))
    assert odds.tolist() == [[2, -1]]
    assert odds[0].argmax() == 0


def test_each_question_is_read_by_its_part() -> None:
    vectors = np.ones((3, 1), dtype=np.float32)
    ones = np.ones((2, 1, 1), dtype=np.float32)
    odds = skill(vectors, ones, ones, np.array([[0.0], [10.0]], dtype=np.float32), np.array([1, 0, 1]))
    assert odds.ravel().tolist() == [11, 1, 11]


@pytest.mark.parametrize(
    ("good", "length"), [([1, 1, 0, 1], 2), ([0, 1, 1, 1], 0), ([1, 1, 1, 1], 4), ([0, 0, 0, 0], 0)]
)
def test_a_run_ends_at_the_first_failure(good: list[int], length: int) -> None:
    assert run_length(np.array([good], dtype=np.bool_)).tolist() == [length]


def test_a_run_has_an_end() -> None:
    assert run_length(np.ones((1, 128), dtype=np.bool_)).tolist() == [nearest.LONGEST_RUN]


def test_closeness_is_the_share_that_lies_further() -> None:
    known = np.array([0.3, 0.1, 0.4, 0.2], dtype=np.float32)
    here, new = np.array([0.05, 0.2, 0.25, 0.5, np.nan]), np.zeros(5, dtype=np.bool_)
    assert closeness(here, known, new).tolist() == [1.0, 0.5, 0.5, 0.0, 0.0]
    assert closeness(here, known[:0], new).tolist() == [0.0] * 5


def test_a_distance_does_not_count_among_those_it_is_compared_with() -> None:
    known = np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32)
    assert closeness(np.array([0.1, 0.4]), known, np.ones(2, dtype=np.bool_)).tolist() == [1.0, 0.0]
    assert closeness(np.array([0.1]), known[:1], np.ones(1, dtype=np.bool_)).tolist() == [0.0]


def test_distance_of_unit_vectors() -> None:
    assert distance(np.array([1.0, 0.0, -1.0, 0.5, 1.0001])) == pytest.approx([0, math.sqrt(2), 2, 1, 0])
    assert np.isnan(distance(np.array([-np.inf])))


def test_among() -> None:
    assert among(np.array([[3, 1, 4]]), np.array([[1, 2, 3]])).tolist() == [[True, True, False]]


@given(st.sets(st.integers(0, 2**64 - 1), min_size=1, max_size=9), st.lists(st.integers(0, 2**64 - 1), max_size=5))
def test_own_rows(pool_keys: set[int], others: list[int]) -> None:
    held = list(pool_keys)
    for keys in ([held[0]], [*held, *others]):
        expected = [held.index(key) if key in pool_keys else -1 for key in keys]
        found = own_rows(np.array(keys, dtype=np.uint64), np.array(held, dtype=np.uint64))
        assert found.tolist() == expected


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(2, 300), st.integers(1, 3000))
def test_the_order_is_that_of_counting_it_out(seed: int, n: int, size: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    pool = rng.normal(size=(size, 6)).astype(np.float32)
    vectors = np.vstack([rng.normal(size=(n, 6)), pool[:3]]).astype(np.float32)
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pool_keys = np.arange(size, dtype=np.uint64)
    keys = np.concatenate([np.arange(10**6, 10**6 + n), np.arange(len(pool[:3]))]).astype(np.uint64)
    crowding, usable = rng.random(size).astype(np.float32) / 2, rng.random(size) < 0.7
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_BLOCK", block)
        order, cosines = ranked(keys, vectors, pool_keys, pool, crowding, usable)
    assert order.shape == cosines.shape == (len(keys), min(size, nearest.RANKED))
    for key, vector, rows, near in zip(keys, vectors, order, cosines, strict=True):
        others = [row for row in range(size) if usable[row] and pool_keys[row] != key]
        others = sorted(others, key=lambda row: -float(vector @ pool[row]))[: nearest.RANKED]
        expected = sorted(2 * float(vector @ pool[row]) - float(crowding[row]) for row in others)[::-1]
        there = np.isfinite(near)
        assert set(rows[there]) <= set(np.flatnonzero(usable))
        assert int(key) not in rows[there]
        assert 2 * near[there] - crowding[rows[there]] == pytest.approx(expected, abs=1e-4)


def sought(*texts: str, answer: str = "Nigeria") -> Sought:
    keys = np.arange(2**40, 2**40 + len(texts), dtype=np.uint64)
    return Sought(keys, ENCODER.rows(texts), ENCODER.rows([answer] * len(texts)), SECOND.rows(texts))


def test_q_and_d_are_what_counting_gives() -> None:
    pool = two_topics()
    asked = sought("In which country is the city of Lagomi?", "What does Bukapol melt at?", "Who sings it?")
    for column in range(2):
        found = look_up(pool, column, asked, 5)
        for row, vector in enumerate(asked.vectors):
            near = np.round(pool.vectors @ vector, 6)
            order = sorted(range(len(near)), key=lambda at: pool.crowding[at] - 2 * near[at])
            says = found.skill[row] >= 0
            q = 0
            for at in order:
                if not pool.predicted_right[WHOLE, at, column] or (pool.correct[at, column] >= 0.5) != says:
                    break
                q += 1
            assert found.similarity[row] == min(q, nearest.LONGEST_RUN)
            gap = np.float32(math.sqrt(max(0.0, 2 - 2 * float(near.max()))))
            shares = []
            for label in (0, 1):
                comparable = (pool.similarity[:, column] > 0) & ((pool.correct[:, column] >= 0.5) == label)
                shares.append(np.mean(pool.nearest[comparable, column] > gap))
            assert found.class_closeness[row] == pytest.approx(min(shares))
            assert found.closeness[row] == pytest.approx(np.mean(pool.nearest[:, column] > gap))
            assert found.correct[row].tolist() == [pool.correct[at, column] for at in order[:5]]


def test_a_new_question_is_known_by_its_topic() -> None:
    found = look_up(
        two_topics(), 0, sought("In which country is the city of Lagomi?", "What does Bukapol melt at?"), 10
    )
    place, chemistry = found.correct.mean(1)
    assert place > 0.7 > 0.4 > chemistry
    assert found.cluster[0] > found.cluster[1]
    assert found.skill[0] > 0 > found.skill[1]
    assert found.text[0] > found.text[1]
    assert found.shared is not None
    assert found.shared.shape == (2, 10)


def test_a_question_far_from_all_is_out_of_distribution() -> None:
    found = look_up(two_topics(), 0, sought("xyzzy qwrtp"), 3)
    assert found.class_closeness.tolist() == found.closeness.tolist() == [0.0]


def test_a_question_of_the_pool_is_read_without_itself() -> None:
    pool = two_topics()
    keys, vectors = pool.keys[7:9], pool.vectors[7:9]
    held = look_up(pool, 0, Sought(keys, vectors), 5)
    assert (held.distances > 1e-3).all()
    new = look_up(pool, 0, Sought(np.array([1, 2], dtype=np.uint64), vectors), 5)
    assert new.distances[:, 0] == pytest.approx([0, 0], abs=1e-3)
    parts = pool.folds[7:9].astype(np.intp) + 1
    models = (pool.skill_projection, pool.skill_loadings, pool.skill_intercepts)
    assert held.skill == pytest.approx(skill(vectors, *models, parts)[:, 0])
    assert new.skill == pytest.approx(skill(vectors, *models, np.full(2, WHOLE))[:, 0])
    assert not np.allclose(held.skill, new.skill)
    assert np.isnan(held.text).all()
    assert held.shared is None
