"""Certify a whole policy: test a sequence of them, from the safest to the boldest, on questions that fitted nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from gate.errors import MissingExtra
from gate.guarantees.selective_risk import errors_allowed, in_sequence
from gate.policy import Promise

try:
    from scipy.special import betaln
except ModuleNotFoundError as error:
    raise MissingExtra("scipy", "tune") from error

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


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a policy would have done with the questions it was chosen on."""

    answered: int
    wrong: int
    """Of those answered."""
    stated: float
    """What its own confidences, of calibrators that had not seen the question, put the share of wrong ones at."""


_STATED_COUNTS_FOR = 100.0
"""Answers. A few dozen that happen to be right say less of a policy than confidences that hold for all others."""


def start(foreseen: Sequence[Foreseen], times: float, promise: Promise, bound: Bound) -> int:
    """Where to begin in the sequence: at the candidate likeliest to pass when ``times`` as many questions test it.

    The very safest may answer too little to prove anything. Its errors will be beta-binomial: what was seen, on top of
    what its confidences state.
    """
    delta = 1 - promise.confidence

    def chance(one: Foreseen) -> tuple[float, float]:
        answered = round(times * one.answered)
        if not answered:
            return 0.0, -1.0
        limit = bound(Counted(one.answered, one.answered, one.wrong, 0.0), delta)
        allowed = most_errors(answered, promise, bound)
        right = one.answered - one.wrong + 0.5 + _STATED_COUNTS_FOR * (1 - one.stated)
        wrong = one.wrong + 0.5 + _STATED_COUNTS_FOR * one.stated
        return _beta_binomial_cdf(allowed, answered, wrong, right), -limit

    chances = [chance(one) for one in foreseen]
    return max(range(len(chances)), key=chances.__getitem__, default=0)


def _beta_binomial_cdf(k: int, n: int, a: float, b: float) -> float:
    """P[at most k of n] when the chance of each is drawn from Beta(a, b). `scipy.stats` has it and takes its time."""
    j = np.arange(k + 1)
    choices = -np.log(n + 1) - betaln(n - j + 1, j + 1)
    return float(np.exp(choices + betaln(j + a, n - j + b) - betaln(a, b)).sum())


def most_errors(answered: int, promise: Promise, bound: Bound) -> int:
    """With how many wrong of so many answers the promise can still be certified; -1 where not even with none."""

    def limit(wrong: int, answers: int, delta: float) -> float:
        return bound(Counted(answers, answers, wrong, 0.0), delta)

    allowed = errors_allowed(answered, promise.max_error, 1 - promise.confidence, bound=limit)
    return -1 if allowed is None else allowed
