"""Policy files over whoever calls gate: one tier of nothing but the draft, and one that looks at samples too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SIGNALS = ("token_logprob_sum", "token_logprob_min")
POLICY = """\
name: mine
promise: {max_error: 0.1}
upstreams: {mine: {kind: caller, identity: model-1}}
ladder: [mine]
"""
SURE = """\
tiers: [[draft]]
signals: [token_logprob_sum, token_logprob_min]
calibrator: sure.calibrator.json
rule: {answer_at: 0.8}
"""
VOTES = """\
tiers: [[draft, samples, meanings]]
evidence: {samples: {n: 10}}
signals: [vote_share, semantic_concentration]
calibrator: vote_share
rule: {answer_at: 0.7}
"""


def by_draft(folder: Path, more: str = "", *, upstream: str = POLICY) -> Path:
    """Judges by the log-probabilities of the draft: what is said with certainty is let through, as is what has none."""
    weight = {"mean": 0.0, "scale": 1.0, "weight": 1.0, "low": -50.0, "high": 0.0}
    stage: dict[str, Any] = {"intercept": 2.0, "signals": dict.fromkeys(SIGNALS, weight), "n": 100}
    made = {"kind": "logistic", "version": 1, "signals": SIGNALS, "stages": {"mine/closed_book/tier0": stage}}
    (folder / "sure.calibrator.json").write_text(json.dumps(made), encoding="utf-8")
    return _written(folder / "by_draft.yaml", upstream + SURE + more)


def by_votes(folder: Path, more: str = "", *, upstream: str = POLICY) -> Path:
    """Judges by how many samples agree."""
    return _written(folder / "by_votes.yaml", upstream + VOTES + more)


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
