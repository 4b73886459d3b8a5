"""One ranking of several: reciprocal rank fusion (Cormack, Clarke, Buettcher 2009), and how much each counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gate.evidence.words import STOP_WORDS, names, words

_CONSTANT = 60.0


def fused(rankings: Iterable[tuple[float, Sequence[int]]]) -> list[tuple[int, float]]:
    """Ids with the sum of ``weight / (60 + rank)`` over the rankings that hold them, best first, ranks from 1.

    With weights of 1, ranks 1 and 3 make .032266. Equal sums keep the order in which the ids first came.
    """
    sums: dict[int, float] = {}
    for weight, ids in rankings:
        for rank, id_ in enumerate(ids, 1):
            sums[id_] = sums.get(id_, 0.0) + weight / (_CONSTANT + rank)
    return sorted(sums.items(), key=lambda pair: -pair[1])


def is_exact(query: str) -> bool:
    """Whether a query asks for something by its name or number: a capitalised word beyond the first, or a digit."""
    named = any(name.casefold() not in STOP_WORDS for name in names(query))
    return named or any(any(map(str.isdigit, word)) for word in words(query))
