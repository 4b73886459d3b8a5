"""Hashed n-grams: an embedder that needs no model and no download (feature hashing, Weinberger et al. 2009).

Every word and every run of 3 to 5 characters of the folded text adds +1 or -1 to one of ``dimensions`` places, both
chosen by a hash; counts are dampened to sign(x) sqrt(|x|) and the vector is brought to unit length. Texts that share
words, or parts of words, lie close together. It knows nothing of meaning: "car" and "automobile" are strangers.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Callable
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
_SIZES = (3, 4, 5)
_WORD_WEIGHT = 2.0
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_VERSION = "1"


class HashedNgramsOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    dimensions: int = Field(default=512, ge=16, le=8192)


@dataclass(frozen=True, slots=True)
class HashedNgrams:
    """Fits `Embedder`, in this process; about 30 microseconds a sentence."""

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
        for text in effect.texts:
            if cancelled():
                raise UpstreamError(self.name, "was cancelled")
            rows.append(tuple(self.embed(text).tolist()))
        return Vectors(tuple(rows))

    def embed(self, text: str) -> npt.NDArray[np.float64]:
        """The unit vector of a text, [dimensions]; all zeros for a text without a letter, digit or sign."""
        words = unicodedata.normalize("NFKC", text[:_MOST]).casefold().split()
        if not words:
            return np.zeros(self.dimensions)
        # half of a surrogate pair is no code point that can be encoded, but it can be hashed
        points = np.frombuffer(f" {' '.join(words)} ".encode("utf-32-le", "surrogatepass"), dtype="<u4")
        hashes = [_ngrams(points.astype(np.uint64), size) for size in _SIZES]
        named = np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words], dtype=np.uint64)
        weights = np.concatenate([np.ones(sum(map(len, hashes))), np.full(len(named), _WORD_WEIGHT)])
        mixed = _mixed(np.concatenate([*hashes, named]))
        signs = np.where(mixed >> np.uint64(63), -1.0, 1.0)
        places = ((mixed >> np.uint64(20)) % np.uint64(self.dimensions)).astype(np.intp)
        counts = np.bincount(places, weights=signs * weights, minlength=self.dimensions)
        dampened = np.sign(counts) * np.sqrt(np.abs(counts))
        length = float(np.linalg.norm(dampened))
        return dampened / length if length else dampened


def _ngrams(points: npt.NDArray[np.uint64], size: int) -> npt.NDArray[np.uint64]:
    """A hash of every run of ``size`` code points (Horner's rule modulo 2^64)."""
    if len(points) < size:
        return np.zeros(0, dtype=np.uint64)
    hashed = np.full(len(points) - size + 1, size, dtype=np.uint64)
    for place in range(size):
        hashed = hashed * _FACTOR + points[place : len(points) - size + 1 + place]
    return hashed


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread the differences over all 64 bits (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
