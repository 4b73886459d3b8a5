"""Confidence on the growing text: what is read off the tokens so far, and the calibrator's file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration.logistic import SignalWeight, StageWeights
from gate.calibration.prefix import (
    FEATURES,
    AskedAt,
    PrefixCalibrator,
    PrefixFeatures,
    Values,
    backward_confidence,
)
from gate.calibration.recalibration import Beta
from gate.errors import ConfigError, StaleCalibrator
from gate.serving_settings import PrefixSettings
from gate.types import TokenLogprob

ROUND = "small/closed_book"


def token(p: float, rival: float | None = None) -> TokenLogprob:
    top = () if rival is None else (("a", math.log(p)), ("b", math.log(rival)))
    return TokenLogprob("a", math.log(p), top)


def read(features: PrefixFeatures) -> dict[str, float | None]:
    values = features.values()
    assert values is not None
    return dict(zip(FEATURES, values, strict=True))


# --- features ----------------------------------------------------------------------------------------------------


def test_the_features_of_four_tokens_in_two_sentences() -> None:
    features = PrefixFeatures()
    for p, rival in ((0.5, 0.5), (0.8, 0.1)):
        features.add(token(p, rival))
    features.mark()
    for p, rival in ((0.25, 0.75), (0.9, 0.1)):
        features.add(token(p, rival))
    assert features.tokens == 4
    entropy = [
        math.log(2),
        -(0.8 * math.log(0.8) + 0.2 * math.log(0.1)),  # a tenth is listed and a tenth is left: two outcomes
        -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)),
        -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)),
    ]
    logs = [math.log(p) for p in (0.5, 0.8, 0.25, 0.9)]
    assert read(features) == pytest.approx(
        {
            "logprob_sum": sum(logs),
            "logprob_mean": sum(logs) / 4,
            "logprob_min": math.log(0.25),
            "margin_min": -0.5,
            "negentropy_mean": -sum(entropy) / 4,
            "negentropy_min": -math.log(2),
            "recent_logprob_mean": (logs[2] + logs[3]) / 2,
            "recent_logprob_min": logs[2],
            "recent_margin_min": -0.5,
            "recent_negentropy_mean": -(entropy[2] + entropy[3]) / 2,
            "recent_negentropy_min": -entropy[2],
            "weakest_logprob_mean": (logs[2] + logs[3]) / 2,
            "shortness": -math.log(4),
            "length": math.log(4),
        }
    )
    assert features.last_entropy == pytest.approx(entropy[3])
    features.mark()
    features.add(token(0.99, 0.01))
    assert read(features)["weakest_logprob_mean"] == pytest.approx((logs[2] + logs[3]) / 2), "the weakest stays"


def test_without_alternatives_the_log_probabilities_are_read_all_the_same() -> None:
    features = PrefixFeatures()
    features.add(token(0.5))
    found = read(features)
    assert found["logprob_mean"] == math.log(0.5)
    assert {name for name, value in found.items() if value is None} == {
        name for name in FEATURES if "margin" in name or "negentropy" in name
    }
    assert features.last_entropy is None


def test_there_is_nothing_to_go_by_without_tokens_or_numbers() -> None:
    features = PrefixFeatures()
    assert features.values() is None
    features.add(token(0.5, 0.5))
    features.add(TokenLogprob("a", math.nan))
    assert features.values() is None
    features.add(token(0.5, 0.5))
    assert features.values() is None, "what wrote one that is no number wrote the others too"


def test_a_position_without_a_token_since_the_last_lacks_only_what_is_recent() -> None:
    features = PrefixFeatures()
    features.add(token(0.5, 0.5))
    features.mark()
    features.mark()
    assert {name for name, value in read(features).items() if value is None} == {
        name for name in FEATURES if name.startswith("recent")
    }


@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0), st.booleans()), min_size=1, max_size=30))
def test_every_feature_keeps_its_range(said: list[tuple[float, float, bool]]) -> None:
    features = PrefixFeatures()
    for p, rival, position in said:
        features.add(token(p, rival * (1 - p) or 1e-9))
        values = read(features)
        assert all(low <= values[name] <= high for name, (low, high) in FEATURES.items())  # type: ignore[operator]
        if position:
            features.mark()


# --- the calibrator ----------------------------------------------------------------------------------------------


def weights(intercept: float = 0.0, **changes: Any) -> StageWeights:
    """The mean log-probability alone counts, in units of 0.5 from -1."""
    signals = {name: SignalWeight(mean=0.0, scale=1.0, weight=0.0, low=-50, high=50) for name in FEATURES}
    counts = {"mean": -1.0, "scale": 0.5, "weight": 2.0, "missing": -1.5, "low": -3.0, "high": 0.0}
    signals["logprob_mean"] = SignalWeight(**counts | changes)
    return StageWeights(intercept=intercept, signals=signals, n=100)


def calibrator(**changes: Any) -> PrefixCalibrator:
    held: dict[str, Any] = {
        "asked_at": AskedAt(positions="sentence"),
        "edges": (0, 10),
        "rounds": {ROUND: (weights(), weights(1.0))},
    }
    return PrefixCalibrator(**held | changes)


def values(**said: float | None) -> Values:
    return tuple((dict.fromkeys(FEATURES, 0.0) | said).values())


def test_p_is_the_logistic_of_the_band_that_the_length_falls_into() -> None:
    made = calibrator()
    z = 2.0 * (-0.5 + 1.0) / 0.5
    assert made.probability(values(logprob_mean=-0.5), 9, ROUND) == pytest.approx(1 / (1 + math.exp(-z)))
    assert made.probability(values(logprob_mean=-0.5), 10, ROUND) == pytest.approx(1 / (1 + math.exp(-z - 1)))
    assert made.probability(values(logprob_mean=None), 9, ROUND) == pytest.approx(1 / (1 + math.exp(1.5)))


def test_a_curve_on_top_bends_it() -> None:
    bent = weights().model_copy(update={"recalibration": Beta(a=1, b=1, c=-2)})
    made = calibrator(rounds={ROUND: (bent, bent)})
    assert made.probability(values(logprob_mean=-1.0), 5, ROUND) == pytest.approx(1 / (1 + math.exp(2)))


def test_beyond_what_was_seen_there_is_no_guess() -> None:
    made = calibrator()
    assert made.probability(values(logprob_mean=-3.2), 5, ROUND) is not None, "a tenth of the range is given way"
    assert made.probability(values(logprob_mean=-3.4), 5, ROUND) is None
    assert made.probability(values(length=61.0), 5, ROUND) is None, "however little it weighs"
    assert made.probability(values(), 5, "other/closed_book") is None


def test_p_reaches_neither_end() -> None:
    sure, doomed = (calibrator(rounds={ROUND: (weights(z), weights(z))}) for z in (500.0, -500.0))
    assert sure.probability(values(), 5, ROUND) == 1 - 1e-6
    assert doomed.probability(values(), 5, ROUND) == 1e-6


def test_what_is_served_leans_on_what_came_before() -> None:
    made = calibrator(newest=0.75)
    assert made.smoothed(None, 0.4) == 0.4
    assert made.smoothed(0.4, 0.8) == pytest.approx(0.7)


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.prefix.json"
    path.write_text(calibrator().dump())
    back = PrefixCalibrator.load(path)
    assert back == calibrator()
    assert back.fingerprint == calibrator().fingerprint != calibrator(newest=0.5).fingerprint


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"edges": [0, 0]}, "edges must rise from 0"),
        ({"edges": [1, 10]}, "edges must rise from 0"),
        ({"edges": [0]}, "must hold weights for each of the 1 bands"),
        ({"version": 2}, "version"),
        ({"newest": 0}, "newest"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(change: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "x.prefix.json"
    path.write_text(json.dumps(json.loads(calibrator().dump()) | change))
    with pytest.raises(ConfigError, match=complaint) as caught:
        PrefixCalibrator.load(path)
    assert caught.value.where == str(path)


def test_weights_of_other_features_are_refused() -> None:
    one = weights()
    other = one.model_copy(update={"signals": dict(reversed(one.signals.items()))})
    with pytest.raises(ValueError, match="must hold the features"):
        calibrator(rounds={ROUND: (one, other)})


def test_it_serves_where_it_was_fitted() -> None:
    made = calibrator()
    made.check(PrefixSettings(every=99, release_at=0.5), [ROUND, "large/closed_book"])
    with pytest.raises(StaleCalibrator, match="fitted at the end of each sentence, the policy asks it every 30 tokens"):
        made.check(PrefixSettings(positions="tokens"), [ROUND])
    with pytest.raises(StaleCalibrator, match="knows no draft of this policy"):
        made.check(PrefixSettings(), ["large/closed_book"])


def test_where_it_is_asked_is_what_bears_on_it() -> None:
    assert AskedAt.of(PrefixSettings(every=7, entropy=2.0)) == AskedAt(positions="sentence")
    assert str(AskedAt.of(PrefixSettings(positions="entropy", entropy=2.0))).endswith("above 2 nats")
    assert AskedAt.of(PrefixSettings(positions="tokens", every=7)) == AskedAt(positions="tokens", every=7)


# --- backward confidence integration -----------------------------------------------------------------------------


def test_each_confidence_is_corrected_by_those_after_it() -> None:
    assert backward_confidence((0.6, 0.7, 0.9)) == pytest.approx((0.7, 0.8, 0.9))
    assert backward_confidence((0.6, 0.7, 0.9), depth=0) == (0.6, 0.7, 0.9)
    assert backward_confidence((0.6, 0.7, 0.9), depth=1) == pytest.approx((0.65, 0.8, 0.9))
    assert backward_confidence((0.6, 0.7, 0.9), alpha=1.0) == (0.6, 0.7, 0.9)
    assert backward_confidence(()) == ()
    with pytest.raises(ValueError, match="alpha"):
        backward_confidence((0.5,), alpha=1.5)


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0, 1))
def test_enough_depth_is_all_of_it(scores: list[float], alpha: float) -> None:
    made = backward_confidence(scores, alpha)
    assert backward_confidence(scores, alpha, depth=len(scores)) == pytest.approx(made)
    assert made[-1:] == tuple(scores[-1:])
    assert all(min(scores) - 1e-12 <= each <= max(scores) + 1e-12 for each in made)
