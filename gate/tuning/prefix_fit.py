"""Fit confidence on the growing text, and choose from where on to send and below what to stop.

Every position of every labelled draft of the fit split is a row whose target is whether the whole draft was right. Each
round and band of lengths is a stage of its own, so that the drafts that come so far are its population, and a draft
weighs 1 in each band it reaches, however many positions it has there.

``release_at`` is tested on the certify split from the safest threshold to the boldest: of the questions of which a
client would have seen something before the verdict, how many had a draft that is not right? What was chosen keeps the
promise with its confidence (`gate.tuning.certification`). Which drafts are written at all is the policy's doing, and a
policy tuned on the same questions was chosen by them too: that dependence is slight, and not corrected for.
``stop_below`` is chosen on the same split by counting, for what it risks is an answer withheld, not a wrong one given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.calibration.logistic import StageWeights
from gate.calibration.prefix import FEATURES, AskedAt, PrefixCalibrator, Shown
from gate.errors import MissingExtra
from gate.policy import Promise
from gate.tuning.certification import Bound, Counted, Foreseen, Tested, start, tested
from gate.tuning.fit import FEWEST, Readings, cross_fit_stages
from gate.tuning.prefix_drafts import PrefixDraft, Watched, smoothed, watched

try:
    from threadpoolctl import threadpool_limits
except ModuleNotFoundError as error:
    raise MissingExtra("threadpoolctl", "tune") from error

Array = npt.NDArray[np.float64]
NEVER_RELEASE, NEVER_STOP = 1.0, 0.0
RELEASES = (0.999, 0.998, 0.995, *(round(0.99 - 0.01 * step, 2) for step in range(70)))
"""Thresholds to send from, the safest first: fixed before any question was asked."""
STOPS = tuple(round(0.005 * step, 3) for step in range(1, 51))
"""Thresholds to stop below, the safest first. An answer that is right once in four times is not doomed."""
NEWEST = (1.0, 0.8, 0.6, 0.4)
"""Weights of the newest confidence that are tried."""
_EDGES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_FEWEST_IN_BAND = 100
"""Drafts that reach a band at least: with fewer it is one with the band before it."""


@dataclass(frozen=True, slots=True)
class FittedPrefix:
    """How fitting came out."""

    calibrator: PrefixCalibrator
    """With what was shown of its thresholds, where some may be used."""
    drafts: int
    """Fitted on."""
    tests: tuple[Tested[float], ...]
    """Of ``release_at``, in order, the first that failed among them."""
    release_at: float
    """`NEVER_RELEASE` where no threshold keeps the promise."""
    stop_below: float
    certified: tuple[Watched, ...]
    """The drafts of the certify split that clients may see grow."""

    @property
    def best_bound(self) -> float | None:
        """The least limit that any threshold shows by itself; None where nothing is ever sent."""
        return min((test.bound for test in self.tests), default=None)


def fit_prefix(
    fit: Sequence[PrefixDraft],
    certify: Sequence[PrefixDraft],
    asked_at: AskedAt,
    promise: Promise,
    bound: Bound,
    *,
    most_stopped: float = 0.01,
    fitted_on: Mapping[str, str] | None = None,
) -> FittedPrefix:
    """Fit on one split and choose thresholds on the other.

    ``most_stopped``: of the right answers, so large a share may be stopped. Raises ValueError with fewer than 20
    labelled drafts of both kinds that have log-probabilities.
    """
    learned = [draft for draft in fit if draft.right is not None and draft.readable.any()]
    made, unseen = fit_bands(learned, asked_at, fitted_on or {})
    served = [one for one in watched(certify, made) if one.draft.streamed]
    asked = len({draft.question for draft in certify})
    before = [one for one in unseen if one.draft.streamed]
    times = asked / max(1, len({draft.question for draft in learned}))
    tests = _tests(before, served, asked, times, promise, bound)
    passed = [test for test in tests if test.passed]
    release_at = passed[-1].candidate if passed else NEVER_RELEASE
    stop_below, right, stopped = stop_threshold(served, most_stopped)
    shown = Shown(
        release_at=release_at,
        stop_below=stop_below,
        max_error=promise.max_error,
        confidence=promise.confidence,
        asked=asked,
        released=passed[-1].counted.answered if passed else 0,
        wrong=passed[-1].counted.wrong if passed else 0,
        bound=passed[-1].bound if passed else None,
        right=right,
        stopped=stopped,
    )
    fitted = made.model_copy(update={"shown": shown})
    return FittedPrefix(fitted, len(learned), tests, release_at, stop_below, tuple(served))


# --- fitting -----------------------------------------------------------------------------------------------------


def fit_bands(
    drafts: Sequence[PrefixDraft], asked_at: AskedAt, fitted_on: Mapping[str, str]
) -> tuple[PrefixCalibrator, list[Watched]]:
    """A calibrator without thresholds, and each draft with the confidences of fits that had not seen its question.

    Raises ValueError with fewer than 20 drafts of both kinds.
    """
    right = sum(draft.right is True for draft in drafts)
    if len(drafts) < FEWEST or not 0 < right < len(drafts):
        got = f"{right} right and {len(drafts) - right} that are not"
        raise ValueError(f"need {FEWEST} labelled drafts with log-probabilities, right and wrong ones, got {got}")
    edges = _edges(drafts)
    rows = _Rows.of(drafts, edges)
    with threadpool_limits(1, user_api="blas"):
        fitted = cross_fit_stages(rows.readings(drafts), tuple(FEATURES), FEATURES)
    unseen = [np.full(len(draft.tokens), np.nan) for draft in drafts]
    for key, each in fitted.items():
        for (number, place), p in zip(rows.stages[key], each.unseen.tolist(), strict=True):
            unseen[number][place] = p
    newest = min(NEWEST, key=lambda weight: _loss(drafts, unseen, weight))
    rounds = {}
    for name in sorted({draft.round_key for draft in drafts}):
        bands = [fitted.get(_stage_key(name, band)) for band in range(len(edges))]
        first = next(band for band in bands if band is not None)
        rounds[name] = tuple(_light((bands[k] or first).stage) for k in range(len(bands)))
    made = PrefixCalibrator(asked_at=asked_at, edges=edges, newest=newest, rounds=rounds, fitted_on=dict(fitted_on))
    return made, [Watched(draft, smoothed(p, newest)) for draft, p in zip(drafts, unseen, strict=True)]


def _stage_key(round_key: str, band: int) -> str:
    return f"{round_key}#{band}"


def _edges(drafts: Sequence[PrefixDraft]) -> tuple[int, ...]:
    """Of the bands: each begins where enough drafts still have a position in it."""
    lengths = np.array([draft.length for draft in drafts])
    return (0, *(edge for edge in _EDGES if int((lengths >= edge).sum()) >= _FEWEST_IN_BAND))


@dataclass(frozen=True, slots=True)
class _Rows:
    """For each stage its rows, as (draft, position)."""

    stages: Mapping[str, list[tuple[int, int]]]

    @classmethod
    def of(cls, drafts: Sequence[PrefixDraft], edges: tuple[int, ...]) -> _Rows:
        stages: dict[str, list[tuple[int, int]]] = {}
        for number, draft in enumerate(drafts):
            bands = np.searchsorted(edges, draft.tokens, side="right") - 1
            for place in np.flatnonzero(draft.readable).tolist():
                stages.setdefault(_stage_key(draft.round_key, int(bands[place])), []).append((number, place))
        return cls(stages)

    def readings(self, drafts: Sequence[PrefixDraft]) -> dict[str, Readings]:
        return {key: _readings(drafts, rows) for key, rows in self.stages.items()}


def _readings(drafts: Sequence[PrefixDraft], rows: Sequence[tuple[int, int]]) -> Readings:
    positions = Counter(number for number, _ in rows)
    return Readings(
        np.stack([drafts[number].values[place] for number, place in rows]),
        np.array([bool(drafts[number].right) for number, _ in rows], dtype=np.float64),
        np.array([drafts[number].question for number, _ in rows], dtype=np.int64),
        np.array([1 / positions[number] for number, _ in rows]),
    )


def _light(stage: StageWeights) -> StageWeights:
    """Without what only an interval, or a check of readings together, would need."""
    return stage.model_copy(update={"covariance": (), "joint": None})


def _loss(drafts: Sequence[PrefixDraft], unseen: Sequence[Array], newest: float) -> float:
    """Mean log-loss of smoothed confidences, each draft weighing 1."""
    total, n = 0.0, 0
    for draft, p in zip(drafts, unseen, strict=True):
        held = smoothed(p, newest)
        held = np.clip(held[~np.isnan(held)], 1e-6, 1 - 1e-6)
        if len(held):
            total -= float(np.log(held if draft.right else 1 - held).mean())
            n += 1
    return total / max(1, n)


# --- thresholds --------------------------------------------------------------------------------------------------


def _tests(
    before: Sequence[Watched], served: Sequence[Watched], asked: int, times: float, promise: Promise, bound: Bound
) -> tuple[Tested[float], ...]:
    """From the threshold that is likeliest to pass, by the fit split, towards bolder ones."""
    at = start([_foreseen(before, threshold) for threshold in RELEASES], times, promise, bound)
    candidates = ((threshold, _counted(served, threshold, asked)) for threshold in RELEASES[at:])
    return tuple(tested(candidates, promise, bound))


def _counted(drafts: Sequence[Watched], threshold: float, asked: int) -> Counted:
    """Questions of which something is sent before the verdict, and those of them with a draft that is not right."""
    sent = [one.draft for one in drafts if one.surest >= threshold]
    wrong = {draft.question for draft in sent if not draft.right}
    return Counted(asked, len({draft.question for draft in sent}), len(wrong), 0.0)


def _foreseen(drafts: Sequence[Watched], threshold: float) -> Foreseen:
    counted = _counted(drafts, threshold, 0)
    places = [(one, one.released_at(threshold)) for one in drafts]
    stated = [1 - float(one.p[place]) for one, place in places if place is not None]
    return Foreseen(counted.answered, counted.wrong, sum(stated) / max(1, len(stated)))


def stop_threshold(drafts: Sequence[Watched], most_stopped: float) -> tuple[float, int, int]:
    """The largest threshold that stops no more than this share of the right drafts; how many these are, and stopped.

    `NEVER_STOP` with too few right drafts to tell, and where it would save no token.
    """
    least = np.array([one.least for one in drafts if one.draft.right])
    if len(least) < FEWEST:
        return NEVER_STOP, len(least), 0
    allowed = [stop for stop in STOPS if (least < stop).sum() <= most_stopped * len(least)]
    chosen = max(allowed, default=NEVER_STOP)
    if not any(one.saved(chosen) for one in drafts):
        chosen = NEVER_STOP
    return chosen, len(least), int((least < chosen).sum())
