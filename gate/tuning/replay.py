"""Judge a policy over a decision log without calls: from the recorded replies where they were kept, else from signals.

A record kept with text is run through the pipeline itself. One without holds the readings of the stages it came to:
the policy's calibrator and rule decide on those again, as long as they go the way that was gone. What they cannot tell
is counted with the reason, never guessed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.calibration.logistic import LogisticCalibrator
from gate.errors import ConfigError, ReplayGap, UpstreamError
from gate.gateway import Gateway
from gate.log.jsonl import from_json
from gate.tuning.decision_log import Audit, Records, logged, records
from gate.tuning.fitting import confidences
from gate.tuning.judgements import JudgedRow, Judgements, judgements_of
from gate.tuning.walk import Terrain, walk
from gate.types import Action, Outcome, Stage, TraceRecord

CHUNK = 20_000
"""Decisions held at a time."""
_ELSEWHERE = "the log holds no step of it in a stage that this policy has"
_OTHER_WAY = "this policy goes another way than was gone, and what it would find there was not recorded"
_UNFITTED = "without text only a policy with a fitted calibrator can be judged"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a policy makes of a log."""

    judgements: Judgements
    """Without the signals' values. ``correct`` is nan where nobody checked the draft it would have ended with."""
    recorded: Mapping[str, int]
    """How the same decisions ended at the time, by action."""
    changed: int
    """Of those judged, how many end in another action."""
    gaps: Mapping[str, int]
    """Decisions that cannot be judged, by reason."""


def replay(gateway: Gateway, log: Path, audits: Mapping[str, Audit]) -> Replayed:
    """Judge every decision of a log. Raises `ConfigError` where not one can be."""
    parts: list[Judgements] = []
    recorded: Counter[str] = Counter()
    gaps: Counter[str] = Counter()
    changed = 0
    lines = records(log)
    while chunk := list(islice(lines, CHUNK)):
        with_text = [(where, record) for where, record in chunk if record.get("tape")]
        without = [(where, record) for where, record in chunk if not record.get("tape")]
        for part, then in (_replayed(gateway, with_text, audits, gaps), _decided(gateway, without, audits, gaps)):
            if len(part):
                parts.append(part)
                recorded.update(str(action) for action in then)
                changed += int((part.actions != then).sum())
    if not parts:
        why = "; ".join(f"{reason} ({count})" for reason, count in (+gaps).items()) or "the log is empty"
        raise ConfigError(f"no decision can be judged: {why}", where=str(log))
    return Replayed(Judgements.joined(parts), recorded, changed, +gaps)


# --- with text ---------------------------------------------------------------------------------------------------


def _replayed(
    gateway: Gateway, chunk: Records, audits: Mapping[str, Audit], gaps: Counter[str]
) -> tuple[Judgements, npt.NDArray[np.object_]]:
    rows, then = [], []
    for where, line in chunk:
        record = _record(where, line)
        try:
            outcome = gateway.replay(record)
        except (ReplayGap, UpstreamError) as error:
            gaps[str(error)] += 1
            continue
        rows.append(_row(record, outcome, audits.get(record.id)))
        then.append(record.action.value if record.action else "")
    return judgements_of(rows, ()), np.array(then, dtype=object)


def _record(where: str, line: Mapping[str, Any]) -> TraceRecord:
    try:
        return from_json(json.dumps(line))
    except ValueError as error:
        raise ConfigError(f"not a trace record: {error}", where=where) from error


def _row(record: TraceRecord, outcome: Outcome, audit: Audit | None) -> JudgedRow:
    """What was checked is the draft it ended with at the time: the label is another's where it ends with another."""
    if audit is None or not record.steps:
        return JudgedRow(record.id, "", outcome, None, None)
    checked = record.steps[-1].decision.stage.round_key
    correct = audit.correct if outcome.decision.stage.round_key == checked else None
    first = audit.correct if outcome.steps[0].decision.stage.round_key == checked else None
    return JudgedRow(record.id, audit.segment, outcome, correct, first, 1 / audit.probability)


# --- without -----------------------------------------------------------------------------------------------------


def _decided(
    gateway: Gateway, chunk: Records, audits: Mapping[str, Audit], gaps: Counter[str]
) -> tuple[Judgements, npt.NDArray[np.object_]]:
    plan, calibrator = gateway.plan, gateway.plan.calibrator
    log = logged(chunk, plan, audits)
    gaps[_ELSEWHERE] += log.decisions - len(log.table)
    if not isinstance(calibrator, LogisticCalibrator) or not len(log.table):
        gaps[_UNFITTED] += len(log.table)
        return judgements_of((), ()), np.array((), dtype=object)
    table = log.table
    terrain = Terrain.of(table, confidences(calibrator.stages, table), plan.ladder, len(plan.tiers))
    walked = walk(terrain, gateway.policy.rule)
    gaps[_OTHER_WAY] += int(walked.unknown.sum())
    first = table.stages[Stage(plan.ladder[0]).key]
    nothing = np.zeros((len(table), 0), np.float32)
    stages = np.array([*walked.stages, ""], dtype=object)[walked.stage]
    actions = np.where(walked.answered, Action.ANSWER.value, Action.ABSTAIN.value).astype(object)
    costs = walked.costs
    judged = Judgements(
        table.ids,
        table.segments,
        actions,
        stages,
        walked.p,
        walked.correct,
        first.correct,
        costs["calls"],
        costs["tokens"],
        costs["seconds"],
        costs["money"],
        table.weights,
        (),
        nothing,
    )
    return judged.where(~walked.unknown), log.recorded[~walked.unknown]
