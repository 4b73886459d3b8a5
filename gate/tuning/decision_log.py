"""Tables from a decision log: what was decided in service, with labels for the answers that somebody checked.

A log holds only the stages that each question came to. So it tells of other policies no more than that: what would have
gone another way, or let through an answer that nobody checked, is unknown, and unknown counts as wrong wherever a
promise is at stake. What was tried and failed then is taken to fail again. The log is read line by line; of each line
only numbers are kept.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from gate.errors import ConfigError
from gate.full_evidence import draft_key
from gate.pipeline import Plan
from gate.tuning.collection import is_collection
from gate.tuning.conversations import question_key
from gate.tuning.observing import stages_of
from gate.tuning.splits import Shares
from gate.tuning.table import Table, TableMaker
from gate.tuning.walk import opened
from gate.types import Action, Message, Question, Stage

UNCHECKED = "nobody checked it"
NOTHING_GATHERED = "nothing was gathered for it: it ended before there was a draft"
ELSEWHERE = "it began in a stage that this policy does not have"


@dataclass(frozen=True, slots=True)
class Audit:
    """Somebody checked whether the answer (or what was held back) was right."""

    correct: bool
    probability: float = 1.0
    """The chance with which this decision was picked to be checked."""
    segment: str = ""
    first: bool = False
    """Whether the first draft was checked, whatever came after it: where gate observes, that one went out."""

    def of(self, stages: Sequence[Stage]) -> str:
        """Which draft was checked of a decision that came to these stages."""
        return stages[0].round_key if self.first else draft_key(stages[-1])


@dataclass(frozen=True, slots=True)
class LogTable:
    """What a log tells of the decisions that a policy's stages can be seen in."""

    table: Table
    recorded: npt.NDArray[np.object_]
    """What was done at the time: a value of `gate.types.Action`, or ``error``."""
    left_out: Mapping[str, int]
    """Decisions of the log that are not in the table, by reason."""

    @property
    def decisions(self) -> int:
        """All there are, with those left out."""
        return len(self.table) + sum(self.left_out.values())


Records = Iterable[tuple[str, Mapping[str, Any]]]
"""``file:line`` and the JSON of every line."""


def logged(
    log: Records,
    plan: Plan,
    audits: Mapping[str, Audit],
    *,
    shares: Shares | None = None,
    audited_only: bool = False,
    held_back: bool = False,
) -> LogTable:
    """Decisions of a log as a table: all, or those audited, and where ``held_back`` those beside of which nothing
    was let through.

    Raises `ConfigError` for a line that is no decision.
    """
    maker = TableMaker(tuple(signal.name for signal in plan.signals), stages_of(plan), complete=False)
    known = {stage.key for stage in maker.order}
    left_out: Counter[str] = Counter()
    recorded: list[str] = []
    seen: set[str] = set()
    for where, record in log:
        try:
            id_ = str(record["id"])
            audit = audits.get(id_)
            kept = audit or not audited_only or (held_back and record["action"] in (Action.ABSTAIN, Action.CLARIFY))
            reason = _add(maker, known, record, audit, shares) if kept else UNCHECKED
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"not a decision of a log: {_fault(error)}", where=where) from error
        if reason:
            left_out[reason] += 1
            continue
        if id_ in seen:
            raise ConfigError(f"the decision {id_!r} stands twice in this log: take one out", where=where)
        seen.add(id_)
        recorded.append(str(record.get("action") or "error"))
    return LogTable(maker.made(), np.array(recorded, dtype=object), left_out)


def _fault(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The lines of a log. Raises `ConfigError` for what is not JSON."""
    if is_collection(path):
        raise ConfigError("this is a collection, where a decision log is wanted", where=str(path))
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}:{number}", parsed(line, f"{path}:{number}")
    except OSError as error:
        raise ConfigError(f"cannot read the log: {error.strerror}", where=str(path)) from error


def parsed(line: bytes, where: str) -> Mapping[str, Any]:
    """One line. Raises `ConfigError` for what is not a JSON object."""
    try:
        try:
            parsed = orjson.loads(line)
        except orjson.JSONDecodeError:  # lone surrogates and infinities are in the standard library's reach alone
            parsed = json.loads(line)
    except (ValueError, RecursionError) as error:
        cut = "" if line.endswith(b"\n") else " (the last line is cut off: was the writer killed? delete the line)"
        raise ConfigError(f"not JSON: {error}{cut}", where=where) from error
    if not isinstance(parsed, dict):
        raise ConfigError("not a decision of a log: not an object", where=where)
    return parsed


def _add(
    maker: TableMaker, known: set[str], record: Mapping[str, Any], audit: Audit | None, shares: Shares | None
) -> str:
    """The reason why it cannot be added, if there is one."""
    steps = _stages(record["steps"])
    if not steps or not steps[0].readings:
        return NOTHING_GATHERED
    lacking = set(maker.signals) - steps[0].readings.keys()
    if lacking:
        return f"it was logged without the signal {min(lacking)!r}"
    mine = list(takewhile(lambda step: step.stage.key in known, steps))
    if not mine:
        return ELSEWHERE
    draft = audit.of([step.stage for step in steps]) if audit else ""
    split = shares.split(_split_key(record)) if shares else ""
    maker.begin(str(record["id"]), audit.segment if audit else "", split, 1 / audit.probability if audit else 1.0)
    for step in mine:
        correct = audit.correct if audit and draft_key(step.stage) == draft else None
        whole, costs = step.reason != "cut_short", step.cost
        if step.stage.memory:  # it was the likelier of two: of the draft beside it only the readings are told
            beside = replace(step.stage, memory=False).key
            maker.cell(beside, step.readings, None, answerable=True, whole=True, costs=costs)
            costs = (0.0,) * len(costs)
        answerable = whole and step.reason != "model_declined"
        maker.cell(step.stage.key, step.readings, correct, answerable=answerable, whole=whole, costs=costs)
    for key in _failed(steps, maker.order):
        maker.fail(key)
    return ""


@dataclass(frozen=True, slots=True)
class _Step:
    stage: Stage
    action: str
    reason: str
    readings: Mapping[str, float | None]
    cost: tuple[float, ...]
    """In the order of `gate.tuning.table.COSTS`."""
    tried: tuple[str, ...] = ()
    """What was done here before, and led nowhere."""


def _step(step: Mapping[str, Any]) -> _Step:
    decision, paid = step["decision"], step["cost"]
    stage = decision["stage"]
    return _Step(
        Stage(stage["upstream"], stage["passages"], stage["tier"], stage.get("memory", False)),
        decision["action"],
        decision["reason"],
        {reading["signal"]: _value(reading) for reading in step["signals"]["readings"]},
        (paid["money"], paid["calls"], paid["prompt_tokens"] + paid["completion_tokens"], paid["seconds"]),
    )


def _value(reading: Mapping[str, Any]) -> float | None:
    value = reading["value"]
    if value is None or (isinstance(value, float | int) and math.isfinite(value)):
        return value
    raise ValueError(f"the signal {reading['signal']!r} reads {value!r}, which is no number")


def _stages(steps: Sequence[Mapping[str, Any]]) -> list[_Step]:
    """Each stage once, as it was decided last: a way that failed leads to a second decision in the same stage."""
    merged: list[_Step] = []
    for step in map(_step, steps):
        if merged and merged[-1].stage == step.stage:
            before = merged.pop()
            cost = tuple(a + b for a, b in zip(before.cost, step.cost, strict=True))
            step = replace(step, cost=cost, tried=(*before.tried, before.action))
        merged.append(step)
    return merged


def _failed(steps: Iterable[_Step], stages: Iterable[Stage]) -> set[str]:
    """The stages that a way would have led to that failed."""
    ladder = list(dict.fromkeys(stage.upstream for stage in stages))
    failed: set[str] = set()
    for step in steps:
        stage = step.stage
        if stage.upstream not in ladder:
            break
        if Action.GATHER in step.tried:
            failed.add(Stage(stage.upstream, stage.passages, stage.tier + 1).key)
        if Action.RETRIEVE in step.tried:
            failed.add(Stage(stage.upstream, True).key)
        if Action.ESCALATE in step.tried and (to := opened(ladder, (stage.upstream, stage.passages), Action.ESCALATE)):
            failed.add(Stage(*to).key)
    return failed


def _split_key(record: Mapping[str, Any]) -> str:
    """The question where the log kept it, so that the same question is never in two splits; else the id."""
    question = record.get("question")
    if not question:
        return str(record["id"])
    messages = tuple(Message(m["role"], m["content"], m.get("wire")) for m in question["messages"])
    return question_key(Question(messages))
