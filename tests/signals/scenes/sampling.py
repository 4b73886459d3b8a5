"""How alike the answers are, and where they lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from gate.evidence import AnswerVectors, Similarities
from gate.evidence.answer_vectors import cosines
from gate.ports import Fact
from gate.types import Cost, Vector

SHARES = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 1e-12])
DIRECTIONS = st.none() | st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any)


def similarities(count: int, shares: list[float]) -> Similarities:
    """A symmetric matrix with 1 on the diagonal and ``shares`` below it."""
    whole = np.eye(count)
    whole[np.tril_indices(count, -1)] = shares
    return Similarities(Cost(), tuple(map(tuple, np.maximum(whole, whole.T).tolist())))


def vectors(directions: list[list[int] | None]) -> AnswerVectors:
    rows: list[Vector | None] = [
        None if way is None else tuple((np.array(way) / np.linalg.norm(way)).tolist()) for way in directions
    ]
    return AnswerVectors(Cost(), "hashed", tuple(rows), tuple(map(tuple, cosines(rows).tolist())))


@st.composite
def facts(draw: st.DrawFn) -> tuple[Fact, ...]:
    made: list[Fact] = []
    if draw(st.booleans()):
        count = draw(st.integers(0, 7))
        pairs = count * (count - 1) // 2
        made.append(similarities(count, draw(st.lists(SHARES, min_size=pairs, max_size=pairs))))
    if draw(st.booleans()):
        seen = vectors(draw(st.lists(DIRECTIONS, max_size=7)))
        left = draw(st.integers(0, len(seen.cosines)))
        made.append(replace(seen, cosines=tuple(row[:left] for row in seen.cosines[:left])))
    return tuple(made)


def sure() -> tuple[Fact, ...]:
    return similarities(4, [1.0, 0.9, 0.9, 0.1, 0.1, 0.1]), vectors([[1, 0, 0], [1, 0, 0], [3, 1, 0], None])


def unsure() -> tuple[Fact, ...]:
    return similarities(4, [0.1, 0.0, 0.2, 0.1, 0.0, 0.1]), vectors([[1, 0, 0], [0, 1, 0], [1, 2, 0], [0, 0, 1]])
