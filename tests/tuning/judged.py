"""Judgements made up for tests: by hand, and of a policy that knows what it knows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from gate.tuning.evaluate import evaluate as _evaluate
from gate.tuning.judgements import Judgements

NAN = float("nan")
evaluate = partial(_evaluate, resamples=60)
"""Few resamples: tests of what surrounds the intervals need not wait for good ones."""


def rows(p: Sequence[float], correct: Sequence[float], answered: Sequence[bool], **columns: Any) -> Judgements:
    """One segment, one stage, one call a question, unless said otherwise."""
    n = len(p)
    made: dict[str, Any] = {
        "ids": np.array([f"q{i}" for i in range(n)], dtype=object),
        "segments": np.full(n, "", dtype=object),
        "actions": np.array(["answer" if let else "abstain" for let in answered], dtype=object),
        "stages": np.full(n, "small/closed_book/tier0", dtype=object),
        "p": np.asarray(p, dtype=np.float64),
        "correct": np.asarray(correct, dtype=np.float64),
        "first_correct": np.asarray(correct, dtype=np.float64),
        "calls": np.ones(n),
        "tokens": np.full(n, 50.0),
        "seconds": np.full(n, 0.5),
        "money": np.full(n, 0.001),
        "weights": np.ones(n),
        "signals": (),
        "values": np.zeros((n, 0), dtype=np.float32),
    }
    made |= {name: v if name == "signals" else np.asarray(v, dtype=made[name].dtype) for name, v in columns.items()}
    return Judgements(**made)


def simulated(n: int, *, seed: int = 0, answer_at: float = 0.8, shape: tuple[float, float] = (4, 1)) -> Judgements:
    """Confidence that means what it says, two signals of which one tells, three segments, costs with a tail."""
    rng = np.random.default_rng(seed)
    p = rng.beta(*shape, n)
    right = rng.random(n) < p
    told = (p + rng.normal(0, 0.1, n)).astype(np.float32)
    told[rng.random(n) < 0.1] = np.nan
    deep = rng.random(n) < 0.3
    calls = 1 + 5 * deep + rng.integers(0, 3, n)
    return rows(
        p.tolist(),
        right.astype(float).tolist(),
        (p >= answer_at).tolist(),
        first_correct=(right & (rng.random(n) < 0.95)).astype(float),
        segments=rng.choice(["billing", "returns", "delivery"], n, p=[0.6, 0.37, 0.03]).astype(object),
        stages=np.where(deep, "large/with_passages/tier1", "small/closed_book/tier0").astype(object),
        calls=calls,
        tokens=calls * 60.0,
        seconds=rng.gamma(2, 0.3, n) * calls,
        money=calls * 0.0004 * (1 + 9 * deep),
        signals=("vote_share", "noise"),
        values=np.stack([told, rng.random(n).astype(np.float32)], axis=1),
    )
