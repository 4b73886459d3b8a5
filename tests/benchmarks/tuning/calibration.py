"""How far p can be believed, and how well it ranks, after so many labels: gate beside other libraries.

Questions are drawn to learn from, and all others of the set judge. The peers get the same signals and labels, and learn
and are judged on the same questions (see `peers`). Medians over the re-splits. An error by bins is above 0 by
chance alone: beside ECE stands what gate's own p would show if each were exactly right (`_chance_ece`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gate.calibration.calibration_error import expected_calibration_error
from gate.calibration.metrics import auroc
from gate.calibration.probabilities import probabilities
from gate.calibration.proper_scores import brier
from gate.tuning.fit import Readings as Labelled
from gate.tuning.fit import fit
from tests.benchmarks import peer_environment
from tests.benchmarks.quality import _chance_ece
from tests.benchmarks.tuning.sets import Array, Bools, Places, Readings, resplits

LABELS = (1000, 100)
RESPLITS = 30
FEWEST_TO_JUDGE = 500
GATE = "gate"
SCRIPT = Path(__file__).with_name("peers.py")


@dataclass(frozen=True)
class Measured:
    """A method on a set, medians over re-splits."""

    set: str
    labels: int
    judged_on: int
    method: str
    resplits: int
    ece: float
    chance_ece: float
    brier: float
    auroc: float


def fits(found: Readings, labels: int) -> bool:
    return len(found.right) >= labels + FEWEST_TO_JUDGE


def splits_of(found: Readings, labels: int) -> list[tuple[Places, Places]]:
    """The re-splits from which something can be learned: those whose labels are not all of one kind."""
    drawn = resplits(len(found.right), labels, RESPLITS)
    return [(train, test) for train, test in drawn if 0 < found.right[train].sum() < labels]


def gates(found: Readings, labels: int) -> list[Array]:
    """p of gate's calibrator for the questions that judge, of each re-split (`splits_of`)."""
    made = []
    for train, test in splits_of(found, labels):
        readings = Labelled(found.values[train], found.right[train].astype(np.float64), np.arange(len(train)))
        made.append(probabilities(fit(readings, found.names, found.bounds), found.values[test])[0])
    return made


def peers(sets: Sequence[Readings], processes: int = 2) -> tuple[dict[tuple[str, int, str, int], Array], list[str]]:
    """p of every other method by set, labels, method and re-split; and what could not be had."""
    peer_environment.prepare()
    said: dict[tuple[str, int, str, int], Array] = {}
    lacking: list[str] = []
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(processes) as pool:

        def run(part: int) -> Path:
            given, to = Path(scratch) / f"given{part}.npz", Path(scratch) / f"said{part}.npz"
            np.savez(given, **_given(sets, part, processes))  # type: ignore[arg-type]
            peer_environment.run(SCRIPT, given, to)
            return to

        for to in pool.map(run, range(processes)):
            with np.load(to) as arrays:
                for key in arrays.files:
                    if key == "lacking":
                        lacking = [str(line) for line in arrays[key]]
                        continue
                    place, split, method = key.split("|")
                    labels = LABELS[int(split) // 1000]
                    said[sets[int(place)].name, labels, method, int(split) % 1000] = arrays[key].astype(np.float64)
    return said, lacking


def _given(sets: Sequence[Readings], part: int, processes: int) -> dict[str, object]:
    """What `peers` reads; the re-splits of the second number of labels are numbered from 1000."""
    made: dict[str, object] = {}
    for place, found in list(enumerate(sets))[part::processes]:
        made |= {f"values_{place}": found.values, f"right_{place}": found.right}
        for kind, labels in enumerate(LABELS):
            if fits(found, labels):
                for split, (train, test) in enumerate(splits_of(found, labels)):
                    key = f"{place}_{1000 * kind + split}"
                    made |= {f"train_{key}": train, f"test_{key}": test}
    return made


def measured(
    found: Readings, labels: int, ours: Sequence[Array], theirs: dict[tuple[str, int, str, int], Array]
) -> Iterator[Measured]:
    """gate's row and one for each method that had something to say of the set."""
    tests = [test for _, test in splits_of(found, labels)]
    methods = sorted({method for name, count, method, _ in theirs if (name, count) == (found.name, labels)})
    for method in [GATE, *methods]:
        said = [
            (ours[split] if method == GATE else theirs.get((found.name, labels, method, split)), found.right[test])
            for split, test in enumerate(tests)
        ]
        known = [(p, right) for p, right in said if p is not None and not np.isnan(p).any()]
        if known:
            yield _summary(found, labels, len(tests[0]), method, known)


def _summary(found: Readings, labels: int, n: int, method: str, known: Sequence[tuple[Array, Bools]]) -> Measured:
    def middle(values: Sequence[float | None]) -> float:
        return float(np.median([value for value in values if value is not None]))

    return Measured(
        found.name,
        labels,
        n,
        method,
        len(known),
        ece=middle([expected_calibration_error(p, right) for p, right in known]),
        chance_ece=middle([_chance_ece(p, 10) for p, _ in known]),
        brier=middle([brier(p, right) for p, right in known]),
        auroc=middle([auroc(p, right) for p, right in known]),
    )
