"""Does a confidence mean what it says: of the answers given 0.8, are 80 % right.

Every error by bins is biased upwards for small n, and the number of bins changes which of two is the better: state
both, with an interval. A constant at the base rate has none of these errors and tells nothing, so never give one alone.
``confidence`` are probabilities, ``weights`` as in `gate.calibration.arrays.shares`. None without answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.calibration.arrays import Array, Bools, Labels, Numbers, checked_probabilities, shares

_CELLS = 4096
"""Into how many cells [0, 1] is cut for smoothing: far finer than any bandwidth that is found."""


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a reliability diagram."""

    confidence: float
    """Mean over the bin, as is the accuracy."""
    accuracy: float
    count: int
    share: float
    """Of all answers by weight; ``count / n`` where all weigh alike."""


def reliability_bins(
    confidence: Numbers, correct: Labels, bins: int = 10, *, equal_mass: bool = False, weights: Numbers | None = None
) -> tuple[Bin, ...]:
    """The bins of a reliability diagram that hold answers, by rising confidence.

    Equal width: (a, b], the first one closed. Equal mass: answers in order, split as evenly as can be, the first bins
    taking what is left over; those of equal confidence count as their mean, so their order in the data has no effect.
    """
    if bins < 1:
        raise ValueError(f"need at least one bin, got {bins}")
    p, right = checked_probabilities(confidence, correct)
    share = shares(weights, len(p))
    if equal_mass:
        p, hits, share = _in_order(p, right, share)
        place = np.repeat(np.arange(bins), np.diff(_equal_mass_edges(len(p), bins)))
    else:
        # a hair's breadth above the edge still belongs to the bin the edge closes: 0.7000000000000001 is 0.7
        place = np.clip(np.ceil(p * bins - 1e-9).astype(np.intp) - 1, 0, bins - 1)
        hits = right.astype(np.float64)
    held = np.bincount(place, minlength=bins)
    mass, stated, came = (np.bincount(place, weights=share * x, minlength=bins) for x in (np.ones(len(p)), p, hits))
    return tuple(
        Bin(float(stated[b] / mass[b]), float(came[b] / mass[b]), int(held[b]), float(mass[b]))
        for b in np.flatnonzero(held)
    )


def expected_calibration_error(
    confidence: Numbers, correct: Labels, bins: int = 10, *, equal_mass: bool = False, weights: Numbers | None = None
) -> float | None:
    """ECE: sum over the bins of their share times |mean confidence - accuracy| (Naeini et al. 2015)."""
    found = reliability_bins(confidence, correct, bins, equal_mass=equal_mass, weights=weights)
    return float(sum(b.share * abs(b.confidence - b.accuracy) for b in found)) if found else None


def sweep_bins(confidence: Numbers, correct: Labels) -> int | None:
    """The most bins of equal mass for which their accuracies, and those of any fewer bins, do not fall."""
    p, right = checked_probabilities(confidence, correct)
    if not len(p):
        return None
    _, hits, _ = _in_order(p, right, shares(None, len(p)))
    total = np.concatenate([[0.0], np.cumsum(hits)])
    for bins in range(2, len(p) + 1):
        edges = _equal_mass_edges(len(p), bins)
        accuracy = np.diff(total[edges]) / np.diff(edges)
        if (np.diff(accuracy) < -1e-12).any():
            return bins - 1
    return len(p)


def sweep_calibration_error(confidence: Numbers, correct: Labels) -> float | None:
    """ECE with as many bins of equal mass as `sweep_bins` finds: less biased than ten (Roelofs et al. 2022)."""
    bins = sweep_bins(confidence, correct)
    return None if bins is None else expected_calibration_error(confidence, correct, bins, equal_mass=True)


def smooth_calibration_error(
    confidence: Numbers, correct: Labels, *, bandwidth: float | None = None, weights: Numbers | None = None
) -> float | None:
    """smECE: the error without bins (Błasiok and Nakkiran 2024), in [0, 1].

    The residuals ``correct - confidence`` are smoothed by a Gaussian that is reflected at 0 and 1, and the area under
    their absolute value is taken. The bandwidth is the one that equals that area, unless one is given. Computed on a
    grid: exact to about 2e-4.
    """
    if bandwidth is not None and not 0 < bandwidth <= 1:
        raise ValueError(f"bandwidth must be in (0, 1], got {bandwidth}")
    p, right = checked_probabilities(confidence, correct)
    if not len(p):
        return None
    cell = np.minimum((p * _CELLS).astype(np.intp), _CELLS - 1)
    residual = np.bincount(cell, weights=shares(weights, len(p)) * (right - p), minlength=_CELLS) * _CELLS
    # mirrored, a reflecting kernel is a plain one, and smoothing is a product of its waves
    waves = np.fft.rfft(np.concatenate([residual, residual[::-1]]))
    if bandwidth is not None:
        return _smoothed_area(waves, bandwidth)
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _smoothed_area(waves, middle) > middle else (low, middle)
    return high


def _smoothed_area(waves: npt.NDArray[np.complex128], bandwidth: float) -> float:
    damping = np.exp(-0.5 * (bandwidth * np.pi * np.arange(len(waves))) ** 2)
    return float(np.abs(np.fft.irfft(waves * damping, 2 * _CELLS)[:_CELLS]).mean())


def _in_order(p: Array, right: Bools, share: Array) -> tuple[Array, Array, Array]:
    """Confidence, accuracy and weight by rising confidence: [n] each, those that tie having their mean."""
    values, group, sizes = np.unique(p, return_inverse=True, return_counts=True)
    mass, hits = (np.bincount(group, weights=x, minlength=len(values)) for x in (share, share * right))
    return np.repeat(values, sizes), np.repeat(hits / mass, sizes), np.repeat(mass / sizes, sizes)


def _equal_mass_edges(n: int, bins: int) -> npt.NDArray[np.intp]:
    """Where bins of n // bins answers, the first n % bins of them one larger, begin and end: [bins + 1]."""
    sizes = np.full(bins, n // bins)
    sizes[: n % bins] += 1
    return np.concatenate([[0], np.cumsum(sizes)])
