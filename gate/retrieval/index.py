"""An index that 'gate index' made: searched by words and by vectors together, never by vectors alone.

Vectors of any fixed size cannot tell all sets of passages apart (Weller et al. 2025), and names and numbers least of
all; words miss what is said otherwise. Each finds its hundred best, and reciprocal rank fusion makes one order of both.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.effects import Retrieve
from gate.embedders.hashed_ngrams import HashedNgrams, HashedNgramsOptions
from gate.errors import ConfigError, UpstreamError
from gate.evidence.words import STOP_WORDS
from gate.ports import Price
from gate.retrieval.bm25 import MAX_TERMS
from gate.retrieval.folding import folded_words
from gate.retrieval.fusion import fused, is_exact
from gate.retrieval.index_snapshot import IndexSnapshot
from gate.retrieval.reranking import Reranker
from gate.types import Passage, Vector

_DEPTH = 100
"""Passages that each way of searching puts forward."""
_RERANKED = 50
TITLE_WEIGHT = 2.0
LEXICAL, LEXICAL_EXACT = 3.0, 32.0
"""What the rank by words counts, that by vectors counting 1; and for a query with names or numbers, where vectors only
part what words leave close together. Chosen on one half of the queries of the benchmark, with hashed n-grams."""


class IndexOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(min_length=1)
    """The index; in a policy, relative to the policy."""
    embedder: str = ""
    """The policy's embedder that makes the query's vector: the one the index was made with. Empty: made in place,
    for an index with vectors of ``hashed_ngrams``."""
    lexical: float = Field(default=1.0, ge=0, le=100)
    """Multiplies what the rank by words counts. 0 searches by vectors alone."""
    reranker: str = ""
    """A folder with a cross-encoder of relevance in ONNX, which puts the best 50 in order: slower, and better. In a
    policy, relative to the policy."""


class IndexRetriever:
    """Fits `Retriever`. A passage's score lies in [0, 1] and can be compared between queries.

    It is the mean of the share of the query's words that stand in the passage, each weighed by how rare it is, and of
    the cosine, where there are vectors; but never above the score of the passage before it, so that scores fall along
    the fused order. With a re-ranker it is the re-ranker's.
    """

    kind: ClassVar[str] = "index"
    Options: ClassVar[type[BaseModel]] = IndexOptions

    def __init__(self, name: str, options: IndexOptions) -> None:
        self.name = name
        self.embedder = options.embedder
        self._options = options
        self._index = IndexSnapshot(Path(options.path))
        self._own = self._embedder_in_place()
        self._reranker = Reranker.read(name, Path(options.reranker)) if options.reranker else None

    @classmethod
    def from_options(cls, name: str, options: IndexOptions) -> Self:
        """Raises `ConfigError` when there is no such index, or none that fits the options."""
        return cls(name, options)

    @property
    def fingerprint(self) -> str:
        """Of the passages, of their vectors' embedder, and of what bears on their order."""
        by = self._reranker.fingerprint if self._reranker else ""
        told = (
            f"1\0{self._index.fingerprint}\0{self._options.lexical!r}\0{by}\0{TITLE_WEIGHT}\0{LEXICAL}\0{LEXICAL_EXACT}"
        )
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def check_embedder(self, fingerprint: str) -> None:
        """Raise `ConfigError` unless the policy's embedder is the one that the vectors are of."""
        held = self._index.embedder
        if self.embedder and held is not None and held.fingerprint != fingerprint:
            raise ConfigError(
                f"the vectors of this index are by {held.fingerprint!r}, and {self.embedder!r} is {fingerprint!r}: "
                "name the embedder it was made with, or index anew with --rebuild",
                where=self._options.path,
            )

    def close(self) -> None:
        """Nothing can be found any more. Closing twice does nothing."""
        self._index.close()

    def _embedder_in_place(self) -> HashedNgrams | None:
        held, where = self._index.embedder, self._options.path
        if self.embedder:
            if held is None:
                raise ConfigError(
                    "this index has no vectors: leave out 'embedder', or index anew with one", where=where
                )
            return None
        if held is None:
            if not self._options.lexical:
                raise ConfigError("this index has no vectors: 'lexical' cannot be 0", where=where)
            return None
        if held.kind != HashedNgrams.kind:
            raise ConfigError(
                f"this index was made with the embedder {held.kind!r}: name one of the policy's under 'embedder'",
                where=where,
            )
        try:
            made = HashedNgrams.from_options(self.name, HashedNgramsOptions.model_validate(held.options), Price())
        except ValidationError as error:
            raise ConfigError("this index was made with options that are unknown: index anew", where=where) from error
        if made.fingerprint != held.fingerprint:
            said = f"the vectors of this index are by {held.fingerprint!r}, not {made.fingerprint!r}"
            raise ConfigError(f"{said}: index anew with --rebuild", where=where)
        return made

    # --- searching -----------------------------------------------------------------------------------------------

    def complete(self, effect: Retrieve, cancelled: Callable[[], bool]) -> tuple[Passage, ...]:
        """The best passages. Raises `UpstreamError` when the query's vector is missing or of another length."""
        if cancelled():
            raise UpstreamError(self.name, "was cancelled")
        vector = self._vector(effect.query, effect.vector)
        words = _telling(effect.query)
        order = self._order(effect.query, words, vector, max(_DEPTH, effect.k))
        if self._reranker and order:
            return self._reranked(self._reranker, effect, order, cancelled)
        return self._scored(order[: effect.k], words, vector)

    def search(self, query: str, k: int, vector: Vector | None = None) -> tuple[Passage, ...]:
        """The same, for callers without an effect."""
        return self.complete(Retrieve(self.name, query, k, vector), lambda: False)

    def _vector(self, query: str, given: Vector | None) -> npt.NDArray[np.float32] | None:
        """None without vectors, and for a query that has no direction."""
        if self._own is not None:
            made = self._own.embed([query])[0]
        elif not self.embedder:
            return None
        elif given is None:
            raise UpstreamError(self.name, f"was asked without the query's vector by {self.embedder!r}")
        else:
            made = np.asarray(given, dtype=np.float64)
        if len(made) != (held := self._index.vectors.dimensions):
            raise UpstreamError(self.name, f"was asked with a vector of {len(made)} numbers; its own have {held}")
        return made.astype(np.float32) if made.any() else None

    def _order(self, query: str, words: Sequence[str], vector: npt.NDArray[np.float32] | None, depth: int) -> list[int]:
        weight = self._options.lexical * (LEXICAL_EXACT if is_exact(query) else LEXICAL)
        rankings: list[tuple[float, Sequence[int]]] = []
        if weight:
            rankings.append((weight, self._index.by_words(words, depth, TITLE_WEIGHT)))
        if vector is not None:
            rankings.append((1.0, self._index.vectors.nearest(vector, depth)))
        return [id_ for id_, _ in fused(rankings)]

    def _scored(
        self, order: Sequence[int], words: Sequence[str], vector: npt.NDArray[np.float32] | None
    ) -> tuple[Passage, ...]:
        found = self._index.passages(order)
        rarity = self._index.rarities(words) if found else {}
        cosines = self._index.vectors.cosines(vector, order) if vector is not None and found else None
        least, scored = 1.0, []
        for place, passage in enumerate(found):
            score = _share(rarity, passage)
            if cosines is not None:
                score = (score + min(1.0, max(0.0, cosines[place]))) / 2
            least = min(least, score)
            scored.append(dataclasses.replace(passage, score=least))
        return tuple(scored)

    def _reranked(
        self, reranker: Reranker, effect: Retrieve, order: Sequence[int], cancelled: Callable[[], bool]
    ) -> tuple[Passage, ...]:
        found = self._index.passages(order[: max(_RERANKED, effect.k)])
        texts = [f"{passage.title}\n{passage.text}".strip() for passage in found]
        scores = reranker.scores(effect.query, texts, cancelled)
        best = sorted(range(len(found)), key=lambda place: -scores[place])[: effect.k]
        return tuple(dataclasses.replace(found[place], score=scores[place]) for place in best)


def _telling(query: str) -> list[str]:
    """The words of a query, each once, without stop words where there are others."""
    words = dict.fromkeys(folded_words(query))
    return list(islice([word for word in words if word not in STOP_WORDS] or words, MAX_TERMS))


def _share(rarity: dict[str, float], passage: Passage) -> float:
    total = sum(rarity.values())
    held = set(folded_words(f"{passage.title} {passage.text}"))
    return sum(told for word, told in rarity.items() if word in held) / total if total else 0.0
