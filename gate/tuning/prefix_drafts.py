"""Graded drafts of a collection with their positions: what confidence on the growing text is fitted and judged on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.calibration.prefix import FEATURES, AskedAt, PrefixCalibrator
from gate.drivers import Recording, ReplayDriver
from gate.errors import ReplayGap, UpstreamError
from gate.evidence.draft import draft_of
from gate.full_evidence import Seen
from gate.pipeline import Plan, answer
from gate.prefix_watch import positions_of
from gate.tuning.collection import Collected
from gate.tuning.observing import seen_of
from gate.types import Generation

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PrefixDraft:
    """One draft: m positions, the last of which is its end."""

    question: int
    """Drafts of one question share it."""
    round_key: str
    right: bool | None
    """None where nobody knows. What declines, or was cut short, is not right: the answer it would be never goes out."""
    streamed: bool
    """Whether the policy has it written, so that a client may see it grow."""
    characters: int
    places: npt.NDArray[np.int64]
    """[m], where the whole sentences end, in characters."""
    tokens: npt.NDArray[np.int64]
    """[m]."""
    values: npt.NDArray[np.float32]
    """[m, features]; nan where missing, a whole row where there is no log-probability to go by."""

    @classmethod
    def of(
        cls,
        generation: Generation,
        asked_at: AskedAt,
        *,
        question: int,
        round_key: str,
        right: bool | None,
        streamed: bool,
    ) -> PrefixDraft:
        found = positions_of(generation, asked_at)
        lacking = (None,) * len(FEATURES)
        rows = [[math.nan if v is None else v for v in position.values or lacking] for position in found]
        return cls(
            question,
            round_key,
            right,
            streamed,
            len(generation.text),
            np.array([position.at for position in found], dtype=np.int64),
            np.array([position.tokens for position in found], dtype=np.int64),
            np.array(rows, dtype=np.float32).reshape(len(rows), len(FEATURES)),
        )

    @property
    def readable(self) -> npt.NDArray[np.bool_]:
        """[m], where there is something to go by: a position without length has none."""
        return ~np.isnan(self.values[:, -1])

    @property
    def length(self) -> int:
        """In tokens."""
        return int(self.tokens[-1]) if len(self.tokens) else 0


def drafts_of(collected: Iterable[Collected], plan: Plan, asked_at: AskedAt) -> Iterator[PrefixDraft]:
    """Every draft of every question, by each upstream of the ladder, closed book and with passages.

    Which of them the policy has written is seen by running it on the replies. Raises `ReplayGap` where its evidence was
    not collected.
    """
    for number, one in enumerate(collected):
        written = _written(plan, one)
        last: dict[str, Seen] = {}
        for seen in seen_of(plan, one):
            if not seen.stage.memory:  # that draft is the closed-book round's
                last.setdefault(seen.stage.round_key, seen)
        for key, seen in last.items():
            never = seen.declined or seen.cut_short
            yield PrefixDraft.of(
                draft_of(seen.evidence).generation,
                asked_at,
                question=number,
                round_key=key,
                right=False if never else one.correct(seen.draft),
                streamed=key in written,
            )


def _written(plan: Plan, one: Collected) -> frozenset[str]:
    """The rounds that a question goes through; where that cannot be told, its first."""
    try:
        outcome = ReplayDriver(one.tape, plan.prices).run(answer(plan, one.example.asked), Recording())
    except (ReplayGap, UpstreamError):
        return frozenset({plan.opening(one.example.asked).stage(0).round_key})
    return frozenset(step.decision.stage.round_key for step in outcome.steps)


def scores_of(draft: PrefixDraft, calibrator: PrefixCalibrator) -> Array:
    """The confidences [m] that serving it would have given, smoothed; nan where there was none."""
    p = np.full(len(draft.tokens), math.nan)
    before: float | None = None
    for place in np.flatnonzero(draft.readable):
        values = tuple(None if math.isnan(v) else v for v in draft.values[place].tolist())
        said = calibrator.probability(values, int(draft.tokens[place]), draft.round_key)
        if said is not None:
            p[place] = before = calibrator.smoothed(before, said)
    return p


def smoothed(p: Array, newest: float) -> Array:
    """The same smoothing of confidences [m] that are there already."""
    made, before = np.full(len(p), math.nan), math.nan
    for place in np.flatnonzero(~np.isnan(p)):
        made[place] = before = p[place] if math.isnan(before) else newest * p[place] + (1 - newest) * before
    return made


@dataclass(frozen=True, slots=True)
class Watched:
    """What watching a draft with its confidences [m] could have come to before its end."""

    draft: PrefixDraft
    p: Array

    def released_at(self, threshold: float) -> int | None:
        """The first position at which something is sent at this threshold."""
        ready = (self.p >= threshold) & (self.draft.places > 0)
        return _first(ready[:-1])

    def stopped_at(self, threshold: float) -> int | None:
        """The first position at which the writing is stopped."""
        return _first((self.p < threshold)[:-1])

    @property
    def surest(self) -> float:
        """Something is sent before the end at any threshold up to this."""
        ready = self.p[:-1][self.draft.places[:-1] > 0]
        return float(np.nanmax(ready)) if (~np.isnan(ready)).any() else -1.0

    @property
    def least(self) -> float:
        """It is stopped at any threshold above this."""
        p = self.p[:-1]
        return float(np.nanmin(p)) if (~np.isnan(p)).any() else 2.0

    def sent(self, release_at: float, stop_below: float) -> int:
        """How many characters were out before the end."""
        stop = self.stopped_at(stop_below)
        upto = len(self.p) - 1 if stop is None else stop
        ready = self.p[:upto] >= release_at
        return int(self.draft.places[:upto][ready].max(initial=0))

    def saved(self, stop_below: float) -> int:
        """How many tokens were not written."""
        stop = self.stopped_at(stop_below)
        return 0 if stop is None else self.draft.length - int(self.draft.tokens[stop])


def _first(where: npt.NDArray[np.bool_]) -> int | None:
    return int(where.argmax()) if where.any() else None


def watched(drafts: Sequence[PrefixDraft], calibrator: PrefixCalibrator) -> list[Watched]:
    return [Watched(draft, scores_of(draft, calibrator)) for draft in drafts if len(draft.tokens)]
