"""Hashed n-grams: an embedder that needs no model and no download (feature hashing, Weinberger et al. 2009).

Every word and every run of 3 to 5 characters of the folded text adds +1 or -1 to one of ``dimensions`` places, both
chosen by a hash; counts are dampened to sign(x) sqrt(|x|) and the vector is brought to unit length. Texts that share
words, or parts of words, lie close together. It knows nothing of meaning: "car" and "automobile" are strangers.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from gate.effects import Embed
from gate.errors import UpstreamError
from gate.ports import Price
from gate.types import Vector, Vectors

_MOST = 20_000
"""Characters of a text that are looked at: a bound on work, far above any question."""
_AT_ONCE = 64
"""Texts that are hashed together: a bound on memory."""
_SIZES = (3, 4, 5)
_WORD_WEIGHT = 2.0
_FACTOR = 0x9E3779B97F4A7C15
_INVERSE = pow(_FACTOR, -1, 2**64)
_SPACE = np.uint64(ord(" "))
_VERSION = "1"
Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.intp]


class HashedNgramsOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    dimensions: int = Field(default=512, ge=16, le=8192)


@dataclass(frozen=True, slots=True)
class HashedNgrams:
    """Fits `Embedder`, in this process; some ten microseconds a sentence."""

    kind: ClassVar[str] = "hashed_ngrams"
    Options: ClassVar[type[BaseModel]] = HashedNgramsOptions

    name: str
    dimensions: int = 512
    price: Price = field(default_factory=Price)

    @classmethod
    def from_options(cls, name: str, options: HashedNgramsOptions, price: Price) -> Self:
        return cls(name, options.dimensions, price)

    @property
    def fingerprint(self) -> str:
        return f"{self.kind}-{_VERSION}-{self.dimensions}"

    def complete(self, effect: Embed, cancelled: Callable[[], bool]) -> Vectors:
        rows: list[Vector] = []
        for start in range(0, len(effect.texts), _AT_ONCE):
            if cancelled():
                raise UpstreamError(self.name, "was cancelled")
            made = self.embed(effect.texts[start : start + _AT_ONCE])
            rows += map(tuple, made.tolist())
        return Vectors(tuple(rows))

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """The unit vectors of texts, [texts, dimensions]; all zeros for a text of space alone."""
        folded = [" ".join(unicodedata.normalize("NFKC", text[:_MOST]).casefold().split()) for text in texts]
        lengths = np.array([len(text) + 2 for text in folded], dtype=np.intp)
        # half of a surrogate pair is no code point that can be encoded, but it can be hashed
        joined = "".join(f" {text} " for text in folded).encode("utf-32-le", "surrogatepass")
        points = np.frombuffer(joined, dtype="<u4").astype(np.uint64)
        owner = np.repeat(np.arange(len(texts)), lengths)
        found = [*(_ngrams(points, owner, size) for size in _SIZES), _words(points, owner)]
        mixed = _mixed(np.concatenate([hashes for hashes, _ in found]))
        owners = np.concatenate([places for _, places in found])
        weights = np.where(mixed >> np.uint64(63), -1.0, 1.0)
        weights[len(weights) - len(found[-1][0]) :] *= _WORD_WEIGHT
        places = ((mixed >> np.uint64(20)) % np.uint64(self.dimensions)).astype(np.intp)
        size = len(texts) * self.dimensions
        counts = np.bincount(owners * self.dimensions + places, weights=weights, minlength=size)
        dampened = (np.sign(counts) * np.sqrt(np.abs(counts))).reshape(len(texts), self.dimensions)
        norms = np.linalg.norm(dampened, axis=1, keepdims=True)
        return np.asarray(dampened / np.where(norms > 0.0, norms, 1.0))


def _ngrams(points: Hashes, owner: Places, size: int) -> tuple[Hashes, Places]:
    """A hash of every run of ``size`` code points of one text (Horner's rule modulo 2^64), and whose it is."""
    count = max(0, len(points) - size + 1)
    hashed = np.full(count, size, dtype=np.uint64)
    for place in range(size if count else 0):
        hashed = hashed * np.uint64(_FACTOR) + points[place : place + count]
    within = owner[:count] == owner[size - 1 :] if count else np.zeros(0, dtype=np.bool_)
    return hashed[within], owner[:count][within]


def _words(points: Hashes, owner: Places) -> tuple[Hashes, Places]:
    """A hash of every word, and whose it is: differences of running sums, brought to the same power."""
    powers = np.full(len(points), _FACTOR, dtype=np.uint64)
    powers[:1] = 1
    powers = np.cumprod(powers, dtype=np.uint64)
    inverses = np.full(len(points), _INVERSE, dtype=np.uint64)
    inverses[:1] = 1
    inverses = np.cumprod(inverses, dtype=np.uint64)
    sums = np.cumsum(points * powers, dtype=np.uint64)
    spaces = points == _SPACE
    begins = np.flatnonzero(spaces[:-1] & ~spaces[1:]) + 1
    ends = np.flatnonzero(~spaces[:-1] & spaces[1:])
    return (sums[ends] - sums[begins - 1]) * inverses[begins], owner[begins]


def _mixed(values: Hashes) -> Hashes:
    """Spread the differences over all 64 bits (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
