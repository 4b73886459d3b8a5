"""The vectors of an index in memory, and those closest to a query's: all are compared, none is skipped.

They lie in blocks, within a block dimension by dimension. A query has to look at no more than the dimensions where its
vector is not nought, which for hashed n-grams of a question are a fifth of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_BLOCK = 4096
"""Vectors to a block: what of it a query looks at should stay in a core's own memory."""


class VectorBlocks:
    """``count`` vectors of unit length with their ids, rising: 4 bytes a number."""

    def __init__(self, count: int, rows: Iterable[tuple[int, bytes]]) -> None:
        """``rows``: each an id and a vector in 16-bit floats. Not more than ``count``."""
        self._ids = np.zeros(count, dtype=np.int64)
        self._blocks = np.zeros((0, 0, 0), dtype=np.float32)
        filled = 0
        for id_, blob in rows:
            row = np.frombuffer(blob, dtype="<f2")
            if not filled:
                self._blocks = np.zeros((-(-count // _BLOCK), len(row), _BLOCK), dtype=np.float32)
            self._ids[filled] = id_
            self._blocks[filled // _BLOCK, :, filled % _BLOCK] = row
            filled += 1
        self._ids = self._ids[:filled]

    @property
    def dimensions(self) -> int:
        return int(self._blocks.shape[1])

    def nearest(self, vector: Floats, most: int) -> list[int]:
        """The ids with the largest cosines, best first; of equal ones the lower id."""
        cosines = self._cosines(vector)
        many = len(cosines) > most
        top = np.argpartition(cosines, -most)[-most:] if many else np.arange(len(cosines))
        ids: list[int] = self._ids[top[np.lexsort((self._ids[top], -cosines[top]))]].tolist()
        return ids

    def cosines(self, vector: Floats, ids: Sequence[int]) -> list[float]:
        """Of these."""
        places = np.searchsorted(self._ids, ids)
        rows = self._blocks[places // _BLOCK, :, places % _BLOCK]
        return [float(each) for each in np.einsum("ij,j->i", rows, vector)]

    def _cosines(self, vector: Floats) -> Floats:
        # einsum, and not a matrix product: that goes to many threads, which on a busy machine wait for one another
        used = np.flatnonzero(vector)
        made = np.zeros((len(self._blocks), _BLOCK), dtype=np.float32)
        if len(used) < len(vector):
            part, held = vector[used], np.empty((len(used), _BLOCK), dtype=np.float32)
            for place, block in enumerate(self._blocks):
                np.take(block, used, axis=0, out=held, mode="clip")
                np.einsum("i,ij->j", part, held, out=made[place])
        else:
            for place, block in enumerate(self._blocks):
                np.einsum("i,ij->j", vector, block, out=made[place])
        return made.reshape(-1)[: len(self._ids)]
