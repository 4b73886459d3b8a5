"""Judge a policy over a decision log without calls: from the recorded replies where they were kept, else from signals.

A record kept with text is run through the pipeline itself. One without holds the readings of the stages it came to:
the policy's calibrator and rule decide on those again, as long as they go the way that was gone. What they cannot tell
is counted with the reason, never guessed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.calibration.logistic import LogisticCalibrator
from gate.errors import ConfigError, ReplayGap, UpstreamError
from gate.full_evidence import draft_key
from gate.gateway import Gateway
from gate.log.jsonl import record_of
from gate.traces import TraceRecord
from gate.tuning.decision_log import Audit, LogTable, Records, logged
from gate.tuning.fitting import confidences
from gate.tuning.judgements import JudgedRow, Judgements, judgements_of
from gate.tuning.parts import LOCAL, Work, map_records
from gate.tuning.table import COSTS, Table
from gate.tuning.walk import Terrain, walk
from gate.types import Action, Outcome, Stage

_TEXTS = frozenset({"ids", "segments", "actions", "stages"})
_WITH_TEXT = 200
"""Decisions with text that are held at a time."""
_OTHER_WAY = (
    "this policy goes another way than was gone, or on where the log ends, and what it would find was not recorded"
)
_OTHERWISE = "without text a policy that asks back or searches first cannot be judged"
_UNFITTED = "without text only a policy with a fitted calibrator can be judged"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a policy makes of a log."""

    judgements: Judgements
    """Without the signals' values. ``correct`` is nan where nobody checked the draft it would have ended with, and
    ``first_correct`` everywhere unless all drafts that were checked are first ones."""
    recorded: Mapping[str, int]
    """How the same decisions ended at the time, by action."""
    changed: int
    """Of those judged, how many end in another action."""
    gaps: Mapping[str, int]
    """Decisions that cannot be judged, by reason."""
    strangers: int
    """Labels of decisions that are not in the log."""


def replay(
    gateway: Gateway,
    log: Path,
    audits: Mapping[str, Audit],
    *,
    work: Work | None = None,
    on: str = LOCAL,
    folder: Path | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Replayed:
    """Judge every decision of a log.

    ``on``, ``folder`` and ``progress``: see `gate.tuning.parts.map_records`; where they are given, so is the ``work``:
    a `gate.tuning.anywhere.Judged` of the same policy and audits. Raises `ConfigError` where not one decision can be
    judged, where one stands twice, and for labels that are of another log.
    """
    judged, recorded, gaps, checked = list[Judgements](), Counter[str](), Counter[str](), set[str]()
    changed = 0
    for row in map_records(log, work or JudgedHere(gateway, audits), on=on, folder=folder, progress=progress):
        judged += [] if row["judgements"] is None else [judgements_in(row["judgements"])]
        recorded.update(row["recorded"])
        gaps.update(row["gaps"])
        changed += row["changed"]
        checked.update(row["checked"])
    if audits and not checked:
        raise ConfigError(f"none of the {len(audits)} labels bears the id of a decision in this log", where=str(log))
    if not judged:
        why = "; ".join(f"{reason} ({count})" for reason, count in gaps.items()) or "the log is empty"
        raise ConfigError(f"no decision can be judged: {why}", where=str(log))
    made = Judgements.joined(judged)
    repeated, count = Counter(made.ids).most_common(1)[0]
    if count > 1:
        raise ConfigError(f"the decision {repeated!r} stands {count} times in this log: take one out", where=str(log))
    if np.isnan(made.first_correct[np.isin(made.ids, list(audits))]).any():
        # first drafts that were checked are then those that were let through: they say nothing of first drafts at large
        made = replace(made, first_correct=np.full(len(made), np.nan))
    return Replayed(made, recorded, changed, gaps, len(audits) - len(checked))


@dataclass(frozen=True, slots=True)
class JudgedHere:
    """Makes one row of a part of a log: what this gateway makes of it. Fits `gate.tuning.parts.Work`, but for JSON."""

    gateway: Gateway
    audits: Mapping[str, Audit]
    fingerprint: str = ""

    def rows(self, records: Records) -> Iterator[Mapping[str, Any]]:
        """One."""
        judging = _Judging(self.gateway, self.audits)
        judging.decide(logged(judging.without_text(records), self.gateway.plan, self.audits))
        judging.close()
        yield {
            "judgements": Judgements.joined(judging.parts) if judging.parts else None,
            "recorded": judging.recorded,
            "gaps": +judging.gaps,
            "changed": judging.changed,
            "checked": sorted(judging.checked),
        }


def columns_of(judged: Judgements) -> dict[str, Any]:
    """Judgements as JSON, but for the signals, of which a replay keeps none."""
    return {f.name: getattr(judged, f.name).tolist() for f in fields(judged) if f.name not in {"signals", "values"}}


def judgements_in(held: Judgements | Mapping[str, Any]) -> Judgements:
    """Them, out of what `columns_of` made where it did."""
    if isinstance(held, Judgements):
        return held
    made: dict[str, Any] = {
        name: np.array(column, dtype=object if name in _TEXTS else np.float64) for name, column in held.items()
    }
    return Judgements(**made, signals=(), values=np.zeros((len(made["ids"]), 0), np.float32))


@dataclass(slots=True)
class _Judging:
    """A log on its way to judgements."""

    gateway: Gateway
    audits: Mapping[str, Audit]
    parts: list[Judgements] = field(default_factory=list)
    recorded: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    checked: set[str] = field(default_factory=set)
    """Ids of the decisions of the log that have a label."""
    _rows: list[JudgedRow] = field(default_factory=list)
    _then: list[str] = field(default_factory=list)

    def without_text(self, log: Records) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Runs the decisions that were kept with text, one by one; the others are left to who asked."""
        for where, line in log:
            if (id_ := str(line.get("id"))) in self.audits:
                self.checked.add(id_)
            if line.get("tape"):
                self._run(record_of(json.dumps(line), where))
            else:
                yield where, line

    def _run(self, record: TraceRecord) -> None:
        try:
            outcome = self.gateway.replay(record)
        except (ReplayGap, UpstreamError) as error:
            self.gaps[str(error)] += 1
            return
        self._rows.append(_row(record, outcome, self.audits.get(record.id)))
        self._then.append(record.action.value if record.action else "error")
        if len(self._rows) == _WITH_TEXT:
            self.close()

    def close(self) -> None:
        """Make numbers of the decisions that are held with their text."""
        self._take(judgements_of(self._rows, ()), np.array(self._then, dtype=object))
        self._rows, self._then = [], []

    def decide(self, log: LogTable) -> None:
        """Judge decisions without text."""
        self.gaps.update(log.left_out)
        calibrator = self.gateway.plan.calibrator
        if not len(log.table):
            return
        plan = self.gateway.plan
        if plan.clarify_below or plan.retrieve_first != "never":
            self.gaps.update({_OTHERWISE: len(log.table)})
        elif isinstance(calibrator, LogisticCalibrator):
            judged, known = _decided(self.gateway, calibrator, log.table)
            self.gaps.update({_OTHER_WAY: int((~known).sum())})
            self._take(judged.where(known), log.recorded[known])
        else:
            self.gaps.update({_UNFITTED: len(log.table)})

    def _take(self, judged: Judgements, then: npt.NDArray[np.object_]) -> None:
        if len(judged):
            self.parts.append(judged)
            self.recorded.update(then)
            self.changed += int((judged.actions != then).sum())


def _row(record: TraceRecord, outcome: Outcome, audit: Audit | None) -> JudgedRow:
    """What was checked is the draft it ended with at the time: the label is another's where it ends with another."""
    if audit is None or not record.steps:
        return JudgedRow(record.id, "", outcome, None, None)
    checked = audit.of([step.decision.stage for step in record.steps])
    correct = audit.correct if draft_key(outcome.decision.stage) == checked else None
    opening = outcome.steps[0].decision.stage
    first = audit.correct if draft_key(opening) == checked and not opening.passages else None
    return JudgedRow(record.id, audit.segment, outcome, correct, first, 1 / audit.probability)


def _decided(
    gateway: Gateway, calibrator: LogisticCalibrator, table: Table
) -> tuple[Judgements, npt.NDArray[np.bool_]]:
    """What the policy decides by the readings alone, and where these tell it: [n]."""
    plan = gateway.plan
    terrain = Terrain.of(table, confidences(calibrator.stages, table), plan.ladder, len(plan.tiers))
    walked = walk(terrain.looking_ahead(table, calibrator.ways), gateway.policy.rule)
    judged = Judgements(
        ids=table.ids,
        segments=table.segments,
        actions=np.where(walked.answered, Action.ANSWER.value, Action.ABSTAIN.value).astype(object),
        stages=np.array([*walked.stages, ""], dtype=object)[walked.stage],
        p=walked.p,
        correct=walked.correct,
        first_correct=table.stages[Stage(plan.ladder[0]).key].correct,
        **{kind: walked.costs[kind] for kind in COSTS},
        weights=table.weights,
        signals=(),
        values=np.zeros((len(table), 0), np.float32),
    )
    return judged, ~walked.unknown
