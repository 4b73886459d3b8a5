"""Reports for tests: one as a company would have it, one of nothing, one of texts that mean harm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gate.calibration.logistic import LogisticCalibrator, SignalWeight, StageWeights
from gate.policy import Promise
from gate.tuning.judgements import Judgements
from gate.tuning.report import Example, FrontierPoint, Report, stage_signals
from gate.types import Certificate, Contribution
from tests.tuning.judged import NAN, evaluate, rows, simulated

HOSTILE = "<script>alert('x')</script> & \"quoted\" مرحبا بالعالم \u202eevil 🙂 \x00\x07 \ud800 $x^2$"
NOISE = {
    "semantic_concentration": 0.06,
    "vote_share": 0.08,
    "token_logprob_sum": 0.1,
    "question_in_passages": 0.12,
    "p_true": 0.15,
    "token_margin_min": 0.25,
    "verbalized_top_k": 0.6,
    "question_length": 3.0,
}
"""How loosely each signal follows what the policy knows."""
CERTIFICATE = Certificate(
    alpha=0.05,
    delta=0.05,
    n=1141,
    answered=1095,
    errors=42,
    bound=0.04933,
    segment="customer questions, certify split",
    date="2026-11-25",
    fingerprints={"gate": "0.1.0", "policy": "5a774e102f0d8d03", "upstream:small": "pocket-small:792c58221351fe57"},
)


def calibrator() -> LogisticCalibrator:
    def stage(most: float, n: int) -> StageWeights:
        kept = {
            name: SignalWeight(
                mean=0.9, scale=0.1 + noise, weight=most * 0.05 / noise, missing=-0.03 / noise, low=-9, high=9
            )
            for name, noise in NOISE.items()
        }
        return StageWeights(intercept=1.2, signals=kept, n=n)

    stages = {"small/closed_book/tier0": stage(1.1, 900), "large/with_passages/tier1": stage(0.7, 400)}
    return LogisticCalibrator(signals=tuple(NOISE), stages=stages)


def judged(n: int = 1200) -> Judgements:
    """Eight signals, a segment without labels, and a few unlabelled questions elsewhere."""
    made = simulated(n, seed=9, answer_at=0.78, shape=(6, 0.3))
    rng = np.random.default_rng(2)
    values = np.stack([made.p + rng.normal(0, noise, n) for noise in NOISE.values()], axis=1).astype(np.float32)
    values[rng.random(values.shape) < np.linspace(0, 0.12, len(NOISE))] = np.nan
    segments = np.where(rng.random(n) < 0.02, "warranty", made.segments).astype(object)
    unlabelled = (segments == "warranty") | (rng.random(n) < 0.01)
    return replace(
        made,
        segments=segments,
        correct=np.where(unlabelled, np.nan, made.correct),
        first_correct=np.where(unlabelled, np.nan, made.first_correct),
        signals=tuple(NOISE),
        values=values,
    )


def realistic() -> Report:
    seen = judged()
    return Report(
        policy="balanced",
        summary="at most one answer in twenty wrong, at moderate cost",
        promise=Promise(max_error=0.05),
        evaluation=evaluate(seen, answer_at=0.78),
        data="customer questions, test split",
        date="2026-11-26",
        certificate=CERTIFICATE,
        stages=stage_signals(calibrator(), seen),
        frontier=(
            FrontierPoint("small model alone", 0.00021, 0.41, 0.048, certified=True),
            FrontierPoint("small model, five samples", 0.0009, 0.52, 0.046, certified=True),
            FrontierPoint("small model with passages", 0.0012, 0.71, 0.071),
            FrontierPoint("balanced", 0.0019, 0.93, 0.038, chosen=True, certified=True),
            FrontierPoint("large model alone", 0.0061, 0.94, 0.044, certified=True),
            FrontierPoint("large model, ten samples", 0.0094, 0.95, 0.041, certified=True),
        ),
        examples=(
            Example(
                "q-0417",
                "Which currency is used in Montenegro?",
                "The Montenegrin dinar",
                0.981,
                False,
                (
                    Contribution("vote_share", 1.41),
                    Contribution("p_true", 0.63),
                    Contribution("token_logprob_sum", -0.12),
                ),
            ),
            Example("q-0093", "What is the capital of Nauru?", "Yaren is often called the capital.", 0.962, False),
            Example("q-1002", "Which language is spoken most in Andorra?", "Catalan", None, None),
        ),
        notes=("The test split was used once.",),
    )


def of_nothing() -> Report:
    """No labels, no prices, no certificate, nothing to show."""
    return Report(
        policy="new",
        summary="",
        promise=Promise(max_error=0.01, confidence=0.9),
        evaluation=evaluate(rows([NAN] * 5, [NAN] * 5, [True] * 5, money=[NAN] * 5, seconds=[NAN] * 5), confidence=0.9),
    )


def hostile() -> Report:
    """Every text of it is an attack, and some are long."""
    text = HOSTILE * 2000
    correct = [1.0, 0.0] * 20
    seen = rows(
        [0.95] * 40,
        correct,
        [True] * 40,
        segments=[HOSTILE] * 40,
        stages=[HOSTILE] * 40,
        signals=(HOSTILE,),
        values=[[0.5]] * 40,
    )
    weights = SignalWeight(mean=0, scale=1, weight=1, low=0, high=1)
    stages = {HOSTILE: StageWeights(intercept=0, signals={HOSTILE: weights}, n=40)}
    return Report(
        policy=HOSTILE,
        summary=text,
        promise=Promise(max_error=0.05),
        evaluation=evaluate(seen),
        data=HOSTILE,
        date=HOSTILE,
        certificate=Certificate(0.05, 0.05, 10, 10, 0, 0.26, text, HOSTILE, {HOSTILE: text}),
        void=(HOSTILE,),
        stages=stage_signals(LogisticCalibrator(signals=(HOSTILE,), stages=stages), seen),
        frontier=(FrontierPoint(text, 0.1, 0.5, None), FrontierPoint(HOSTILE, 0.1, 0.5, 0.1, chosen=True)),
        examples=(Example(HOSTILE, text, text, 0.9, False, (Contribution(HOSTILE, 1.0),)),),
        notes=(text,),
    )
