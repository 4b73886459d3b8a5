"""How wrong the answers let through can be, given how many of a held-out sample were wrong.

The bound is exact for a threshold fixed beforehand (Clopper and Pearson 1934). `certify` chooses among several by
fixed-sequence testing: it walks from the safest to the boldest and stops at the first that fails, so all it passed
hold together at the full delta (Angelopoulos et al. 2021, Learn then Test; Geifman and El-Yaniv 2017 for the setting).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gate.errors import MissingExtra

try:
    from scipy.stats import beta
except ModuleNotFoundError as error:
    raise MissingExtra("scipy", "tune") from error


def upper_bound(errors: int, n: int, delta: float) -> float:
    """One-sided upper limit on an error rate after ``errors`` of ``n``, wrong with probability at most ``delta``."""
    if not 0 <= errors <= n or not 0 < delta < 1:
        raise ValueError(f"need 0 <= errors <= n and 0 < delta < 1, got errors={errors}, n={n}, delta={delta}")
    return 1.0 if errors == n else float(beta.ppf(1 - delta, errors + 1, n - errors))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A threshold and what the whole policy did with it on the certification split."""

    threshold: float
    answered: int
    errors: int


def certify(candidates: Iterable[Candidate], alpha: float, delta: float) -> Candidate | None:
    """The boldest candidate whose error is below ``alpha`` with confidence ``1 - delta``, or None.

    ``candidates`` run from the safest (highest threshold) to the boldest and must have been chosen on other data.
    """
    passed = None
    for candidate in candidates:
        if candidate.answered == 0:  # too cautious to test: says nothing, costs nothing
            continue
        if upper_bound(candidate.errors, candidate.answered, delta) > alpha:
            break
        passed = candidate
    return passed
