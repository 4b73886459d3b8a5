"""Confidence on the growing text: how likely the WHOLE answer is right, told from its beginning alone.

FineCE (Han et al. 2025) has a model say so of its own prefix; here a logistic over the log-probabilities of the tokens
so far does, one for each round and band of lengths, each fitted as any stage is (`gate.tuning.prefix_fit`). It needs no
call and works with any upstream that streams log-probabilities; with any other there is no confidence, and nothing is
released before the end. A reading beyond what was seen in fitting gives none either: no guess.

Backward Confidence Integration corrects each confidence by those that come after it. They are not there yet while a
draft is streamed, so it serves to judge confidences afterwards; what is served is smoothed by those before it.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gate.calibration.logistic import SignalWeight, StageWeights, sigmoid
from gate.errors import ConfigError, StaleCalibrator
from gate.evidence.log_probabilities import margin, negentropy, outcomes, readable
from gate.serving_settings import PrefixSettings
from gate.types import TokenLogprob

Values = tuple[float | None, ...]
"""In the order of `FEATURES`; None where the upstream does not give what it is made of."""
_LOG, _GAP, _ANY = (-math.inf, 0.0), (-1.0, 1.0), (-math.inf, math.inf)
FEATURES: Mapping[str, tuple[float, float]] = {
    "logprob_sum": _LOG,
    "logprob_mean": _LOG,
    "logprob_min": _LOG,
    "margin_min": _GAP,
    "negentropy_mean": _LOG,
    "negentropy_min": _LOG,
    "recent_logprob_mean": _LOG,
    "recent_logprob_min": _LOG,
    "recent_margin_min": _GAP,
    "recent_negentropy_mean": _LOG,
    "recent_negentropy_min": _LOG,
    "weakest_logprob_mean": _LOG,
    "shortness": _ANY,
    "length": _ANY,
}
"""What is read at a position, with its range; higher = more likely right. ``recent``: of the tokens since the position
before. ``weakest``: the least that any position was, of the tokens since the one before it. ``length`` is the logarithm
of the number of tokens; with ``shortness`` opposite to it, either may speak for an answer."""
_NEVER_SURE = 1e-6
"""No p is nearer to 0 or 1: a threshold of 1 is never reached, and nothing is below one of 0."""


class _Window:
    """Running statistics of tokens, in constant time and memory."""

    __slots__ = ("count", "least", "least_margin", "least_negentropy", "listed", "negentropies", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = self.negentropies = self.least = self.least_negentropy = 0.0
        self.least_margin = 1.0
        self.listed = True
        """Whether all tokens came with alternatives."""

    def add(self, logprob: float, gap: float | None, spread: float | None) -> None:
        self.count += 1
        self.total += logprob
        self.least = min(self.least, logprob)
        if gap is None or spread is None:
            self.listed = False
            return
        self.least_margin = min(self.least_margin, gap)
        self.negentropies += spread
        self.least_negentropy = min(self.least_negentropy, spread)

    @property
    def mean(self) -> float:
        return self.total / self.count

    def values(self) -> Values:
        """Mean and least log-probability, least margin, mean and least negentropy."""
        if not self.count:
            return (None,) * 5
        if not self.listed:
            return self.mean, self.least, None, None, None
        return self.mean, self.least, self.least_margin, self.negentropies / self.count, self.least_negentropy


class PrefixFeatures:
    """What can be read off the tokens so far: some microseconds a token, however long the text."""

    __slots__ = ("_all", "_readable", "_recent", "_weakest", "last_entropy")

    def __init__(self) -> None:
        self._all, self._recent = _Window(), _Window()
        self._weakest = 0.0
        self._readable = True
        self.last_entropy: float | None = None
        """Of the last token, in nats; None where its alternatives are not known."""

    @property
    def tokens(self) -> int:
        return self._all.count

    def add(self, token: TokenLogprob) -> None:
        if not readable(token):
            self._readable = False  # what wrote this one wrote the others too
        if not self._readable:
            return
        logprob = min(0.0, token.logprob)
        listed = outcomes(token)
        spread = None if listed is None else min(0.0, negentropy(listed))
        self.last_entropy = None if spread is None else -spread
        gap = margin(token)
        self._all.add(logprob, gap, spread)
        self._recent.add(logprob, gap, spread)

    def values(self) -> Values | None:
        """At this position; None where there is no log-probability to go by."""
        if not self._readable or not self._all.count:
            return None
        weakest = min(self._weakest, self._recent.mean) if self._recent.count else self._weakest
        n = math.log(self._all.count)
        return (self._all.total, *self._all.values(), *self._recent.values(), weakest, -n, n)

    def mark(self) -> None:
        """The position was read: what comes is recent from here on."""
        if self._recent.count:
            self._weakest = min(self._weakest, self._recent.mean)
            self._recent = _Window()


# --- the calibrator ----------------------------------------------------------------------------------------------


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AskedAt(_Part):
    """At which positions it was fitted: elsewhere it would be asked of another population."""

    positions: Literal["sentence", "tokens", "entropy"]
    every: int | None = None
    entropy: float | None = None

    @classmethod
    def of(cls, settings: PrefixSettings) -> AskedAt:
        """Only what bears on the positions."""
        kind = settings.positions
        every = settings.every if kind == "tokens" else None
        return cls(positions=kind, every=every, entropy=settings.entropy if kind == "entropy" else None)

    def __str__(self) -> str:
        match self.positions:
            case "tokens":
                return f"every {self.every} tokens"
            case "entropy":
                return f"where a token's entropy is above {self.entropy:g} nats"
        return "at the end of each sentence"


class Shown(_Part):
    """What held-out questions showed of the thresholds."""

    release_at: float
    stop_below: float
    max_error: float
    """The promise: of the questions of which something was sent before the verdict, so many were wrong at most."""
    confidence: float
    asked: int
    released: int
    """Questions of which something was sent early."""
    wrong: int
    """Of these, with an answer that is not right."""
    bound: float | None = None
    """Upper limit on their share; None where no threshold kept the promise, and nothing is sent early."""
    right: int
    stopped: int
    """Of the right answers."""


class PrefixCalibrator(_Part):
    """A fitted calibrator, as its JSON file holds it."""

    kind: Literal["prefix"] = "prefix"
    version: Literal[1] = 1
    asked_at: AskedAt
    edges: tuple[int, ...] = Field(min_length=1)
    """From so many tokens on each band begins."""
    newest: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Weight of the newest confidence against those before it, in exponential smoothing."""
    rounds: dict[str, tuple[StageWeights, ...]]
    """By `gate.types.Stage.round_key`, one for each band."""
    fitted_on: Mapping[str, str] = {}
    """Fingerprints of what wrote the drafts: ``upstream:<name>``, ``prompt:<name>``, ``retriever``."""
    shown: Shown | None = None

    @model_validator(mode="after")
    def _complete(self) -> PrefixCalibrator:
        if self.edges[0] != 0 or any(a >= b for a, b in pairwise(self.edges)):
            raise ValueError("edges must rise from 0")
        for key, bands in self.rounds.items():
            if len(bands) != len(self.edges):
                raise ValueError(f"round {key!r} must hold weights for each of the {len(self.edges)} bands")
            if any(tuple(band.signals) != tuple(FEATURES) for band in bands):
                raise ValueError(f"round {key!r} must hold the features {list(FEATURES)} in that order")
        return self

    @classmethod
    def load(cls, path: Path) -> PrefixCalibrator:
        """Read a file that ``gate fit-prefix`` wrote. Raises `ConfigError` naming what is wrong with it."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"cannot read the prefix calibrator: {error.strerror}", where=str(path)) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            said = f"not a usable prefix calibrator: {place or 'file'}: {first['msg']}"
            raise ConfigError(said, where=str(path)) from error

    def dump(self) -> str:
        return self.model_dump_json(indent=1, exclude_none=True) + "\n"

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.model_dump_json(exclude_none=True).encode()).hexdigest()[:16]

    def check(self, settings: PrefixSettings, rounds: Iterable[str]) -> None:
        """Raise `StaleCalibrator` where it cannot serve these settings, or knows none of the rounds."""
        if (asked := AskedAt.of(settings)) != self.asked_at:
            raise StaleCalibrator(f"the prefix calibrator was fitted {self.asked_at}, the policy asks it {asked}")
        if not self.rounds.keys() & set(rounds):
            known = f"it was fitted for {sorted(self.rounds)}"
            raise StaleCalibrator(f"the prefix calibrator knows no draft of this policy; {known}")

    def probability(self, values: Values, tokens: int, round_key: str) -> float | None:
        """That the whole answer will be right. None where a reading, the length or the round was never seen."""
        bands = self.rounds.get(round_key)
        if bands is None:
            return None
        fitted = bands[bisect_right(self.edges, tokens) - 1]
        z = fitted.intercept
        for value, learned in zip(values, fitted.signals.values(), strict=True):
            added = learned.missing if value is None else _added(learned, value)
            if added is None:
                return None
            z += added
        p = sigmoid(fitted.recalibration.apply(z) if fitted.recalibration else z)
        return min(1 - _NEVER_SURE, max(_NEVER_SURE, p))

    def smoothed(self, before: float | None, p: float) -> float:
        """The newest confidence, held by those before it."""
        return p if before is None else self.newest * p + (1 - self.newest) * before


def _added(learned: SignalWeight, value: float) -> float | None:
    """To the log-odds; None beyond what was seen."""
    if not learned.within(value):
        return None
    return learned.weight * learned.standardized(learned.clamped(value)) if learned.weight else 0.0


def backward_confidence(scores: Sequence[float], alpha: float = 0.5, depth: int | None = None) -> tuple[float, ...]:
    """Backward Confidence Integration along one text: c'_j = alpha c_j + (1 - alpha) c'_(j+1), and c'_N = c_N.

    ``depth``: how many later scores each is corrected by, all without one. It looks ahead, so it can judge what was
    served, but not serve.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    made = list(scores)
    if depth is None:
        for place in range(len(made) - 2, -1, -1):
            made[place] = alpha * made[place] + (1 - alpha) * made[place + 1]
        return tuple(made)
    for _ in range(depth):  # each time they lean on scores that were corrected once less
        made = [alpha * own + (1 - alpha) * later for own, later in zip(scores, made[1:], strict=False)]
        made.extend(scores[-1:])
    return tuple(made)
