"""Decision logs made up for tests: single decisions by hand, and a service simulated for many.

The simulated service asks one upstream in two tiers. What it reads of a question follows from how well the model knows
the answer, and so does whether the answer is right.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gate.calibration.logistic import LogisticCalibrator, SignalWeight, StageWeights
from gate.policy import PolicyFile, read
from gate.types import Stage

Json = dict[str, Any]
SIGNALS = ("token_logprob_sum", "vote_share")
POLICY = """\
name: logged
promise: {max_error: 0.15}
upstreams:
  small: {kind: openai_chat, model: small, base_url: "http://127.0.0.1:9/v1"}
ladder: [small]
tiers: [[draft], [samples, meanings]]
evidence: {samples: {n: 4, seed: 1}}
signals: [token_logprob_sum, vote_share]
calibrator: logged.calibrator.json
rule: {kind: threshold, answer_at: 0.8}
"""
FREE = {"calls": 1, "prompt_tokens": 10, "completion_tokens": 2, "seconds": 0.1, "money": 0.001}


def step(
    stage: Stage, action: str, readings: Mapping[str, float | None], *, reason: str = "uncertain", **cost: float
) -> Json:
    """One step as a log has it."""
    listed = [
        {"signal": name, "value": value, "missing": "not here" if value is None else None}
        for name, value in readings.items()
    ]
    where = {"upstream": stage.upstream, "passages": stage.passages, "tier": stage.tier}
    decision = {"action": action, "reason": reason, "stage": where, "confidence": None, "threshold": None, "detail": ""}
    return {"decision": decision, "signals": {"readings": listed}, "cost": {**FREE, **cost}}


def decision(id_: str, steps: Iterable[Json], **fields: Any) -> Json:
    """One decision without text; it ended as its last step did, unless ``action`` says otherwise."""
    listed = list(steps)
    action = listed[-1]["decision"]["action"] if listed else None
    return {
        "id": id_,
        "started": "2026-01-01T00:00:00+00:00",
        "policy": "logged",
        "policy_fingerprint": "f",
        "certified": False,
        "steps": listed,
        "question": None,
        "tape": [],
        "outcome": None,
        "error": None,
        "action": action,
        "cost": dict.fromkeys(FREE, 0),
        "budget": {"calls": None, "tokens": None, "seconds": None, "money": None},
        **fields,
    }


def written(path: Path, decisions: Iterable[Json]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(each) + "\n" for each in decisions)
    return path


def labels_in(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A table of labels, JSON lines."""
    path.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows), encoding="utf-8")
    return path


def policy_in(folder: Path, text: str = POLICY) -> PolicyFile:
    """The policy of the simulated service, with its calibrator beside it: p is the share of right answers."""
    path = folder / "logged.yaml"
    path.write_text(text, encoding="utf-8")
    weights = StageWeights(
        intercept=0.0,
        signals={
            "token_logprob_sum": SignalWeight(mean=-2.0, scale=1.0, weight=1.0, low=-9.0, high=0.0),
            "vote_share": SignalWeight(mean=0.5, scale=0.25, weight=1.0, low=0.0, high=1.0),
        },
        n=1000,
    )
    stages = {Stage("small", tier=tier).key: weights for tier in (0, 1)}
    (folder / "logged.calibrator.json").write_text(LogisticCalibrator(signals=SIGNALS, stages=stages).dump())
    return read(path)


def served(n: int, *, seed: int = 0, first: int = 0) -> tuple[list[Json], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """n decisions of the policy of `policy_in`, what is right [n], and p of the last decision [n]."""
    rng = np.random.default_rng(seed)
    known = rng.normal(0.5, 1.5, n)
    logprob = np.clip(known - 2.0 + rng.normal(0, 0.3, n), -8.9, 0.0)
    votes = rng.binomial(4, 1 / (1 + np.exp(-1.5 * known))) / 4
    at_once, after = 1 / (1 + np.exp(-(logprob + 2))), 1 / (1 + np.exp(-(logprob + 2 + 4 * (votes - 0.5))))
    p = np.where(at_once >= 0.8, at_once, after)
    right = rng.random(n) < p
    made = []
    for i in range(n):
        zero = {"token_logprob_sum": float(logprob[i]), "vote_share": None}
        if at_once[i] >= 0.8:
            steps = [step(Stage("small"), "answer", zero, reason="confident")]
        else:
            one, ended = {**zero, "vote_share": float(votes[i])}, "answer" if after[i] >= 0.8 else "abstain"
            steps = [step(Stage("small"), "gather", zero), step(Stage("small", tier=1), ended, one)]
        made.append(decision(f"d{first + i}", steps))
    return made, right, p
