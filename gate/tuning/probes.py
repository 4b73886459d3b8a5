"""Fit probes from labelled answers and their internal states: what `gate.evidence.probes` reads at run time.

* ``linear``: logistic regression on all pooled states, the layers at depths of 0.4, 0.5, 0.6 and the last.
* ``contrastive``: layer by layer, with a supervised contrastive loss (InternalInspector, Beigi et al. 2024).
* ``stability``: how fast tokens break when their states are pushed, with a max-margin contrastive loss before the head
  (CCPS, Khanmohammadi et al. 2025), and what the logit lens tells. What answers lack is left out, not guessed.
* ``semantic_entropy``: logistic regression that foretells low semantic entropy without samples, from the states before
  the answer and at its last token (Kossen et al. 2024).
* ``attention``: logistic regression on how the answer looked at the passages. Whether it is right when it looked at
  one place or at many is the model's own: no sign can be given beforehand.
* ``certain_error``: like ``linear``, but fitted to what is wrong and certain (CHOKE, Simhi et al. 2025).

Every choice that labels have a part in is made again for each fold without it, but for two that tell no single label:
the share of right answers, and the parting into folds, each with its share of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.errors import MissingExtra
from gate.evidence.probe_models import Probe, features, joined
from gate.evidence.probes import FOLDS, PROBES, Name, Probes, RoundProbes
from gate.evidence.reference_pool import question_key
from gate.hidden_states.block import Block
from gate.hidden_states.layout import Layout
from gate.tuning.encoder import BY_LAYER, BY_MARGIN
from gate.tuning.probe_parts import QUARTERS, Part, linear, networks
from gate.tuning.probe_targets import certain_errors, entropy_split, error_weights

try:
    from threadpoolctl import threadpool_limits
except ModuleNotFoundError as error:
    raise MissingExtra("threadpoolctl", "tune") from error

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
FEWEST = 100
"""Answers that a probe is fitted on."""
FEWEST_OF_EACH = 10
"""Answers of each class: two for each fold."""
LARGEST = 20_000
"""Answers that probes are fitted on at most, of all rounds together: questions beyond are left out at random."""


@dataclass(frozen=True, slots=True)
class ProbeExample:
    """One labelled answer of a round."""

    question: str
    round_key: str
    """`gate.types.Stage.round_key`."""
    block: Block
    correct: bool
    certainty: float | None
    """Higher = surer, on one scale within a round; None where it is not known."""
    semantic_entropy: float | None
    """In nats, of samples; None where none were drawn."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """An example, and where cross-fitting puts its question."""

    example: ProbeExample
    fold: int
    quarter: int


def fit_probes(
    examples: Sequence[ProbeExample], *, seed: int = 0, progress: Callable[[str], None] = lambda _: None
) -> Probes | None:
    """Probes for every round with `FEWEST` answers, `FEWEST_OF_EACH` of them right and wrong; None when there is none.

    The same for the same examples, in whatever order questions come. A round is fitted for the weights and layout that
    most of its answers are of; the others are left out, and so are blocks with states that are not finite. ``progress``
    is told each probe as its turn comes. About 5 seconds for each 1,000 answers, on one core.
    """
    rounds = _usable(sorted(examples, key=lambda each: question_key(each.question)), seed)
    if not rounds:
        return None
    places = _places(rounds, seed)
    made: dict[str, RoundProbes] = {}
    # on busy cores, threads that wait for each other cost more than they do
    with threadpool_limits(1, user_api="blas"):
        for key, held in rounds.items():
            placed = [_Placed(each, *places[question_key(each.question)]) for each in held]
            probes: dict[Name, Probe] = {}
            for name in PROBES:
                progress(f"fitting probes of {key}: {name}")
                probe = _fit(name, placed, seed)
                if probe is not None:
                    probes[name] = probe
            made[key] = RoundProbes(held[0].block.model, held[0].block.layout, probes)
    keys = np.array(list(places), dtype=np.uint64)
    return Probes(keys, np.array([fold for fold, _ in places.values()], dtype=np.int8), made)


def _usable(examples: Sequence[ProbeExample], seed: int) -> dict[str, list[ProbeExample]]:
    """The examples of each round that can be fitted."""
    sound = [each for each in examples if np.isfinite(np.r_[each.block.states.ravel(), each.block.scales]).all()]
    rounds: dict[str, list[ProbeExample]] = {}
    for each in _at_most(sound, seed):
        rounds.setdefault(each.round_key, []).append(each)
    of_one_model = {key: _of_one_model(held) for key, held in sorted(rounds.items())}
    return {key: held for key, held in of_one_model.items() if _enough(np.array([each.correct for each in held]))}


def _at_most(examples: Sequence[ProbeExample], seed: int) -> list[ProbeExample]:
    """All examples of so many questions, drawn at random, as keep within `LARGEST`."""
    counts = Counter(question_key(each.question) for each in examples)
    keys = list(counts)
    order = np.random.default_rng(seed).permutation(len(keys))
    till = np.cumsum([counts[keys[place]] for place in order])
    kept = {keys[place] for place, total in zip(order, till, strict=True) if total <= LARGEST}
    return [each for each in examples if question_key(each.question) in kept]


def _of_one_model(held: list[ProbeExample]) -> list[ProbeExample]:
    def made_by(each: ProbeExample) -> tuple[str, Layout]:
        return each.block.model, each.block.layout

    most = Counter(map(made_by, held)).most_common(1)[0][0]
    return [each for each in held if made_by(each) == most]


def _enough(targets: Bools) -> bool:
    right = int(targets.sum())
    return len(targets) >= FEWEST and min(right, len(targets) - right) >= FEWEST_OF_EACH


def _places(rounds: Mapping[str, list[ProbeExample]], seed: int) -> dict[int, tuple[int, int]]:
    """Key of each question → its fold and quarter: at random, but each with its share of hard and easy ones."""
    keys = sorted({question_key(each.question) for held in rounds.values() for each in held})
    row = {key: place for place, key in enumerate(keys)}
    sums, counts = np.zeros((2, len(keys), len(rounds)))
    for column, held in enumerate(rounds.values()):
        for each in held:
            sums[row[question_key(each.question)], column] += each.correct
            counts[row[question_key(each.question)], column] += 1
    shares = np.where(counts > 0, sums / np.maximum(1, counts), -1.0)
    order = np.lexsort((np.random.default_rng(seed).random(len(keys)), *shares.T))
    return {keys[place]: (rank % FOLDS, rank // FOLDS % QUARTERS) for rank, place in enumerate(order.tolist())}


def _fit(name: Name, placed: Sequence[_Placed], seed: int) -> Probe | None:
    """A probe of all parts; None where too few examples hold what it needs."""
    rows = _rows(name, placed)
    if rows is None:
        return None
    parts = [rows.part(fold) for fold in (None, *range(FOLDS))]
    match name:
        case "contrastive":
            return joined([networks(part, BY_LAYER, seed) for part in parts])
        case "stability":
            return joined([networks(part, BY_MARGIN, seed) for part in parts])
    return joined([linear(part) for part in parts])


@dataclass(frozen=True, slots=True)
class _Rows:
    """What one probe is fitted on, [n] each but for ``values`` [n, g, q]."""

    name: Name
    values: npt.NDArray[np.float32]
    correct: Bools
    told: Array
    """What the probe needs to know beside the label: see `_told`."""
    folds: npt.NDArray[np.int8]
    quarters: npt.NDArray[np.int8]

    def enough(self) -> bool:
        match self.name:
            case "semantic_entropy":
                return _enough(self.told <= entropy_split(self.told))
            case "certain_error":
                return _enough(self.correct) and certain_errors(self.told, self.correct).sum() >= FEWEST_OF_EACH
        return _enough(self.correct)

    def part(self, fold: int | None) -> Part:
        """What a model may see that leaves out a fold, or none."""
        kept = np.ones(len(self.folds), dtype=np.bool_) if fold is None else self.folds != fold
        told, correct = self.told[kept], self.correct[kept]
        targets, weights, rate = correct, np.ones(len(correct)), _smoothed(self.correct)
        match self.name:
            case "semantic_entropy":
                targets = told <= entropy_split(told)
                rate = _smoothed(targets)
            case "certain_error":
                weights = error_weights(told, correct)
        return Part(self.values[kept], targets.astype(np.float64), weights, self.quarters[kept], rate)


def _rows(name: Name, placed: Sequence[_Placed]) -> _Rows | None:
    """Of the examples that hold what a probe needs; None where these are too few."""
    knowing = [each for each in placed if math.isfinite(_told(name, each.example))]
    read = [(each, features(name, each.example.block)) for each in knowing]
    held = [(each, values) for each, values in read if values is not None]
    if not held:
        return None
    rows = _Rows(
        name,
        np.stack([values for _, values in held]),
        np.array([each.example.correct for each, _ in held], dtype=np.bool_),
        np.array([_told(name, each.example) for each, _ in held]),
        np.array([each.fold for each, _ in held], dtype=np.int8),
        np.array([each.quarter for each, _ in held], dtype=np.int8),
    )
    return rows if rows.enough() else None


def _told(name: Name, example: ProbeExample) -> float:
    """What a probe needs to know beside block and label; nan where it is not known, 0 where nothing is needed."""
    known = {"semantic_entropy": example.semantic_entropy, "certain_error": example.certainty}.get(name, 0.0)
    return math.nan if known is None else known


def _smoothed(right: Bools) -> float:
    """The share that is right, held off 0 and 1."""
    return float((right.sum() + 1) / (len(right) + 2))
