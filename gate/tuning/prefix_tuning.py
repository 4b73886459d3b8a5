"""From a graded collection to confidence on the growing text: the fit, its thresholds, and how good both are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gate.calibration.prefix import AskedAt
from gate.errors import ConfigError
from gate.gateway import Gateway
from gate.policy import Promise
from gate.tuning.certification import Bound
from gate.tuning.collection import Collection
from gate.tuning.observing import labelled
from gate.tuning.prefix_drafts import PrefixDraft, drafts_of, watched
from gate.tuning.prefix_fit import NEVER_RELEASE, NEVER_STOP, FittedPrefix, fit_prefix
from gate.tuning.prefix_measures import AtShare, Exposure, at_shares, by_round, exposed
from gate.tuning.splits import split_by


@dataclass(frozen=True, slots=True)
class PrefixTuned:
    """What ``gate fit-prefix`` found."""

    fitted: FittedPrefix
    split: str
    """That it was judged on: ``test``, or ``certify`` where no question is kept for tests."""
    shares: Mapping[str, tuple[AtShare, ...]]
    """Of each round by itself: who writes tells much already, and pooled it would seem the text that does."""
    exposure: Exposure
    labels: str

    @property
    def useful(self) -> bool:
        """Whether anything is ever sent early, or stopped."""
        return self.fitted.release_at < NEVER_RELEASE or self.fitted.stop_below > NEVER_STOP


def tune_prefix(
    gateway: Gateway,
    collection: Collection,
    asked_at: AskedAt,
    promise: Promise,
    bound: Bound,
    *,
    labels: str = "",
    most_stopped: float = 0.01,
    progress: Callable[[str], None] = lambda _: None,
) -> PrefixTuned:
    """Fit on the fit split, choose thresholds on the certify split, judge on the test split.

    ``gateway`` is the policy that decides which drafts are written. Raises `ConfigError` where too few drafts have
    log-probabilities or labels, and `ReplayGap` where the collection lacks the policy's evidence.
    """
    progress("reading drafts")
    splits = _drafts(gateway, collection, asked_at)
    if not any(draft.readable.any() for draft in splits["fit"]):
        raise ConfigError(
            "no draft of the fit split has log-probabilities by token: with such upstreams, stream in the mode 'hold'",
            where=str(collection.path),
        )
    progress("fitting")
    ran = _ran(gateway)
    try:
        fitted = fit_prefix(
            splits["fit"], splits["certify"], asked_at, promise, bound, most_stopped=most_stopped, fitted_on=ran
        )
    except ValueError as error:
        raise ConfigError(f"too little to learn from: {error}", where=str(collection.path)) from error
    split = "test" if splits["test"] else "certify"
    judged = [one for one in watched(splits[split], fitted.calibrator) if one.draft.streamed]
    asked = len({draft.question for draft in splits[split]})
    return PrefixTuned(
        fitted,
        split,
        {key: at_shares(of, fitted.release_at, fitted.stop_below) for key, of in by_round(judged).items()},
        exposed(judged, fitted.release_at, fitted.stop_below, bound, asked),
        labels,
    )


def _drafts(gateway: Gateway, collection: Collection, asked_at: AskedAt) -> dict[str, list[PrefixDraft]]:
    shares = split_by(collection, None)
    rows: dict[str, list[PrefixDraft]] = {}
    for split in ("fit", "certify", "test"):
        of_split = (row for row in labelled(collection) if shares.of(row.example) == split)
        rows[split] = list(drafts_of(of_split, gateway.plan, asked_at))
    return rows


def _ran(gateway: Gateway) -> dict[str, str]:
    """What wrote the drafts."""
    wrote = {f"upstream:{name}" for name in gateway.policy.ladder} | {"retriever"}
    return {name: print_ for name, print_ in gateway.running.items() if name in wrote or name.startswith("prompt:")}


def record(tuned: PrefixTuned) -> dict[str, Any]:
    """All of it as plain values."""
    fitted = tuned.fitted
    shown = fitted.calibrator.shown
    return {
        "asked_at": fitted.calibrator.asked_at.model_dump(exclude_none=True),
        "release_at": fitted.release_at,
        "stop_below": fitted.stop_below,
        "shown": shown.model_dump() if shown else None,
        "best_bound": fitted.best_bound,
        "fitted_on": fitted.drafts,
        "newest": fitted.calibrator.newest,
        "tests": [
            {
                "release_at": test.candidate,
                "released": test.counted.answered,
                "wrong": test.counted.wrong,
                "bound": test.bound,
                "passed": test.passed,
            }
            for test in fitted.tests
        ],
        "judged_on": tuned.split,
        "shares": {key: [asdict(each) for each in shares] for key, shares in tuned.shares.items()},
        "exposure": {**asdict(tuned.exposure), "saved_share": tuned.exposure.saved_share},
        "labels": tuned.labels,
    }
