"""The policies gate is measured with, and the server that serves one of them, its decision log on.

Their calibrators are fitted by `gate.tuning.fit` on two thousand simulated answers, so that they hold all that a fitted
one does: a curve on top, the covariance, the check of which readings go together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from gate.calibration.logistic import LogisticCalibrator
from gate.signals import SIGNALS
from gate.tuning.fit import Readings, fit
from tests.benchmarks.proxy.upstream import ANSWER, OTHERS, SAMPLES

TOKEN_SIGNALS = ("token_logprob_sum", "token_logprob_min", "token_margin_min")
ANSWERS = 2000
STAGE = "main/closed_book/tier0"
POLICIES = {"one-draft": ("/v1", 1), "five-samples": ("/several/v1", SAMPLES)}
"""By name, where its upstream is on the constant server, and how many answers it asks for beside the draft."""


def write_policy(folder: Path, name: str, upstream: str) -> Path:
    """A policy and its calibrator in ``folder``. Returns the policy's path."""
    base, samples = POLICIES[name]
    several = samples > 1
    signals = (*TOKEN_SIGNALS, "vote_share") if several else TOKEN_SIGNALS
    stage = fit(simulated(signals), signals, {s.name: s.bounds for s in SIGNALS if s.name in signals})
    (folder / f"{name}.json").write_text(LogisticCalibrator(signals=signals, stages={STAGE: stage}).dump(), "utf-8")
    capabilities = {"n": 8}
    policy = {
        "name": name,
        "promise": {"max_error": 0.05, "confidence": 0.95},
        "upstreams": {
            "main": {
                "kind": "openai_chat",
                "base_url": f"{upstream}{base}",
                "model": "m",
                "capabilities": capabilities,
            }
        },
        "ladder": ["main"],
        "tiers": [["draft", "samples", "meanings"] if several else ["draft"]],
        "signals": list(signals),
        "calibrator": f"{name}.json",
        "rule": {"kind": "threshold", "answer_at": 0.5},
    }
    if several:
        policy["evidence"] = {"samples": {"n": samples, "temperature": 1.0}, "meanings": {"judge": "lexical"}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(policy, sort_keys=False), "utf-8")
    return path


def simulated(signals: Sequence[str], seed: int = 0) -> Readings:
    """What the signals say of simulated answers, as long as the constant one, and whether they are right."""
    rng = np.random.default_rng(seed)
    tokens = len(ANSWER.split())
    hard = rng.beta(1, 4, ANSWERS)
    chosen = np.clip(1 - hard[:, None] * rng.random((ANSWERS, tokens)), 0.02, 1 - 1e-4)
    second = (1 - chosen) * OTHERS[0][1]
    known = {
        "token_logprob_sum": np.log(chosen).sum(1),
        "token_logprob_min": np.log(chosen).min(1),
        "token_margin_min": (chosen - second).min(1),
        "vote_share": rng.binomial(SAMPLES, 1 - hard) / SAMPLES,
    }
    right = (rng.random(ANSWERS) < 1 - hard**0.7).astype(np.float64)
    return Readings(np.column_stack([known[name] for name in signals]), right, np.arange(ANSWERS))


def write_server(folder: Path, policy: Path, port: int, log: Path) -> Path:
    """Settings for ``gate serve --config``: the policy, and a decision log. All else is as it comes."""
    settings = {"policies": [str(policy)], "port": port, "log": {"url": f"sqlite:///{log}"}}
    path = folder / f"server-{policy.stem}-{port}.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
    return path
