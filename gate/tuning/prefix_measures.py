"""How good confidence on the growing text is, and what serving by it would have done: on drafts that fitted nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.calibration.calibration_error import expected_calibration_error
from gate.calibration.metrics import auroc
from gate.calibration.prefix import backward_confidence
from gate.tuning.certification import Bound, Counted
from gate.tuning.prefix_drafts import Watched

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of the tokens of a draft, after which it is looked at."""
BINS = 10
"""Of equal mass, for the calibration error."""
DELTA = 0.05


@dataclass(frozen=True, slots=True)
class AtShare:
    """Confidence when so much of each draft was written."""

    share: float
    n: int
    """Drafts with a label and a confidence by then. Those whose first sentence is longer have none yet."""
    auroc: float | None
    ece: float | None
    auroc_backward: float | None
    """With Backward Confidence Integration, which knows the confidences that came after: hindsight, not served."""
    ece_backward: float | None
    released: float
    """Share of all drafts of which something was sent by then."""
    stopped: float
    """Share of the wrong drafts that were stopped by then."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What clients would have seen before the verdicts. The mode ``hold`` shows nothing and saves nothing."""

    questions: int
    released: int
    """Of which something was sent before the verdict."""
    wrong: int
    """Of these, with a draft that is not right."""
    bound: float | None
    """Upper limit on their share, with 95 % confidence; None where nothing was sent."""
    sent: float
    """Share of all characters that were sent before the end of their draft, of right drafts."""
    right: int
    right_stopped: int
    tokens: int
    """Of the drafts that are not right."""
    saved: int
    """Of these, not written."""

    @property
    def saved_share(self) -> float:
        return self.saved / self.tokens if self.tokens else 0.0


def exposed(
    drafts: Sequence[Watched], release_at: float, stop_below: float, bound: Bound, questions: int | None = None
) -> Exposure:
    """``drafts`` are those that clients may see grow; ``questions`` how many were asked, more where some have none."""
    sent_of = [one.sent(release_at, stop_below) for one in drafts]
    shown = {one.draft.question for one, sent in zip(drafts, sent_of, strict=True) if sent}
    wrong = {one.draft.question for one, sent in zip(drafts, sent_of, strict=True) if sent and not one.draft.right}
    right = [one for one in drafts if one.draft.right]
    doomed = [one for one in drafts if not one.draft.right]
    early = sum(sent for one, sent in zip(drafts, sent_of, strict=True) if one.draft.right)
    counted = Counted(len(shown), len(shown), len(wrong), 0.0)
    return Exposure(
        questions=len({one.draft.question for one in drafts}) if questions is None else questions,
        released=len(shown),
        wrong=len(wrong),
        bound=bound(counted, DELTA) if shown else None,
        sent=early / max(1, sum(one.draft.characters for one in right)),
        right=len(right),
        right_stopped=sum(one.stopped_at(stop_below) is not None for one in right),
        tokens=sum(one.draft.length for one in doomed),
        saved=sum(one.saved(stop_below) for one in doomed),
    )


def by_round(drafts: Sequence[Watched]) -> dict[str, list[Watched]]:
    found: dict[str, list[Watched]] = {}
    for one in drafts:
        found.setdefault(one.draft.round_key, []).append(one)
    return found


def at_shares(drafts: Sequence[Watched], release_at: float, stop_below: float) -> tuple[AtShare, ...]:
    labelled = [one for one in drafts if one.draft.right is not None]
    return tuple(_at_share(labelled, share, release_at, stop_below) for share in SHARES)


def _at_share(drafts: Sequence[Watched], share: float, release_at: float, stop_below: float) -> AtShare:
    served = [_by_then(one, one.p, share) for one in drafts]
    corrected = [_by_then(one, _backward(one.p), share) for one in drafts]
    known = [place for place, p in enumerate(served) if p is not None]
    p, later = (np.array([found[place] for place in known], dtype=np.float64) for found in (served, corrected))
    right = np.array([bool(drafts[place].draft.right) for place in known], dtype=np.bool_)
    doomed = [one for one in drafts if not one.draft.right]
    return AtShare(
        share,
        len(known),
        auroc(p, right),
        expected_calibration_error(p, right, BINS, equal_mass=True),
        auroc(later, right),
        expected_calibration_error(later, right, BINS, equal_mass=True),
        _share_of(drafts, [one.released_at(release_at) for one in drafts], share),
        _share_of(doomed, [one.stopped_at(stop_below) for one in doomed], share),
    )


def _reached(one: Watched, share: float) -> npt.NDArray[np.bool_]:
    """[m], the positions that come by then."""
    return np.asarray(one.draft.tokens <= share * one.draft.length + 1e-9)


def _by_then(one: Watched, p: npt.NDArray[np.float64], share: float) -> float | None:
    """The newest confidence."""
    said = p[_reached(one, share) & ~np.isnan(p)]
    return float(said[-1]) if len(said) else None


def _backward(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    there = ~np.isnan(p)
    made = p.copy()
    made[there] = backward_confidence(p[there].tolist())
    return made


def _share_of(drafts: Sequence[Watched], places: Sequence[int | None], share: float) -> float:
    """Of the drafts, those whose place was reached by then."""
    hit = [place is not None and bool(_reached(one, share)[place]) for one, place in zip(drafts, places, strict=True)]
    return sum(hit) / max(1, len(hit))
