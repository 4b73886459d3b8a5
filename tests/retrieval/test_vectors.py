"""Vectors in blocks: the same as comparing all of them with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from gate.retrieval import vectors
from gate.retrieval.vectors import VectorBlocks


@pytest.mark.parametrize("block", [4, 4096])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_nearest_are_those_of_all(monkeypatch: pytest.MonkeyPatch, block: int, sparse: bool) -> None:
    monkeypatch.setattr(vectors, "_BLOCK", block)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 12)).astype("<f2")
    ids = [3 * place + 1 for place in range(50)]
    held = VectorBlocks(60, ((id_, row.tobytes()) for id_, row in zip(ids, rows, strict=True)))
    asked = rng.normal(size=12).astype(np.float32)
    asked[[1, 5]] = 0.0 if sparse else 1.0
    cosines = rows.astype(np.float32) @ asked
    expected = [ids[place] for place in np.argsort(-cosines)]
    assert held.dimensions == 12
    assert held.nearest(asked, 7) == expected[:7]
    assert held.nearest(asked, 100) == expected
    some = expected[10:13]
    assert held.cosines(asked, some) == pytest.approx(sorted(cosines, reverse=True)[10:13], rel=1e-5)


def test_without_vectors_nothing_is_near() -> None:
    held = VectorBlocks(0, ())
    assert held.dimensions == 0
    assert held.nearest(np.zeros(0, dtype=np.float32), 5) == []


def test_equal_ones_keep_their_order() -> None:
    row = np.ones(4, dtype="<f2").tobytes()
    held = VectorBlocks(5, ((id_, row) for id_ in range(5)))
    assert held.nearest(np.ones(4, dtype=np.float32), 5) == [0, 1, 2, 3, 4]
