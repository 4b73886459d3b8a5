"""Certify a whole policy: test a sequence of them, from the safest to the boldest, on questions that fitted nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from gate.guarantees.selective_risk import in_sequence
from gate.policy import Promise

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Weighted:
    """What stands behind counts of decisions that were not audited evenly; [n] each."""

    wrong: npt.NDArray[np.bool_]
    answered: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float64]
    """One over the chance that this one was audited."""
    least: float
    """The least chance that any decision had."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a policy did with the certify split."""

    asked: int
    answered: int
    wrong: int
    """Of those answered. What could not be told counts as answered and wrong."""
    money: float
    """A question, in US dollars."""
    unknown: int = 0
    """Of those wrong, the ones that could not be told."""
    weighted: Weighted | None = None


Bound = Callable[[Counted, float], float]
"""Upper limit on the share of wrong answers among those let through, itself wrong with probability at most delta."""


@dataclass(frozen=True, slots=True)
class Tested(Generic[T]):
    """A policy of the sequence and how its test came out."""

    candidate: T
    counted: Counted
    bound: float
    passed: bool


def tested(candidates: Iterable[tuple[T, Counted]], promise: Promise, bound: Bound) -> Iterator[Tested[T]]:
    """Test one after another, up to and with the first that fails: all that passed hold together at the full delta.

    The order must have been chosen on other data (see `gate.guarantees.selective_risk.in_sequence`). A candidate that
    answers nothing says nothing: it is passed over.
    """
    delta = 1 - promise.confidence
    limits = ((each, bound(each[1], delta)) for each in candidates if each[1].answered)
    for (candidate, counted), limit, passed in in_sequence(limits, promise.max_error):
        yield Tested(candidate, counted, limit, passed)


def start(expected: Sequence[Counted], promise: Promise, bound: Bound) -> int:
    """Where to begin in the sequence: at the candidate that other data make likeliest to pass.

    The very safest may answer too little to prove anything.
    """
    delta = 1 - promise.confidence
    limits = [bound(c, delta) if c.answered else 1.0 for c in expected]
    return min(range(len(limits)), key=limits.__getitem__, default=0)
