"""Tables from a decision log: what was decided in service, with labels for the answers that somebody checked.

A log holds only the stages that each question came to. So it tells of other policies no more than that: what would have
gone another way, or let through an answer that nobody checked, is unknown, and unknown counts as wrong wherever a
promise is at stake. The log is read line by line; of each line only numbers are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from gate.errors import ConfigError
from gate.pipeline import Plan
from gate.tuning.conversations import question_key
from gate.tuning.observing import stages_of
from gate.tuning.splits import Shares
from gate.tuning.table import Table, TableMaker
from gate.types import Action, Message, Question, Stage


@dataclass(frozen=True, slots=True)
class Audit:
    """Somebody checked whether the answer (or what was held back) was right."""

    correct: bool
    probability: float = 1.0
    """The chance with which this decision was picked to be checked."""
    segment: str = ""


@dataclass(frozen=True, slots=True)
class LogTable:
    """What a log tells of the decisions that a policy's stages can be seen in."""

    table: Table
    recorded: npt.NDArray[np.object_]
    """What was done at the time: a value of `gate.types.Action`; "" where it ended in an error."""
    decisions: int
    """All there are, with those left out."""


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
    """Decisions of a log as a table: all, or those audited, and where ``held_back`` those beside that were abstentions.

    Raises `ConfigError` for a line that is no decision.
    """
    maker = TableMaker(tuple(signal.name for signal in plan.signals), stages_of(plan), complete=False)
    known = {stage.key for stage in maker.order}
    decisions, recorded = 0, []
    for where, record in log:
        decisions += 1
        audit = audits.get(str(record.get("id")))
        if audit is None and audited_only and not (held_back and record.get("action") == Action.ABSTAIN):
            continue
        try:
            if _add(maker, known, record, audit, shares):
                recorded.append(record.get("action") or "")
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"not a decision of a log: {type(error).__name__}: {error}", where=where) from error
    return LogTable(maker.made(), np.array(recorded, dtype=object), decisions)


def records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The lines of a log. Raises `ConfigError` for what is not JSON."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}:{number}", _parsed(line, f"{path}:{number}")
    except OSError as error:
        raise ConfigError(f"cannot read the log: {error.strerror}", where=str(path)) from error


def _parsed(line: bytes, where: str) -> Mapping[str, Any]:
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
) -> bool:
    gone_through = _stages(record["steps"])
    steps = [step for step in gone_through if step[0] in known]
    if not steps:
        return False
    last = gone_through[-1][0].rpartition("/")[0]  # all tiers of a round have the same draft
    split = shares.split(_split_key(record)) if shares else ""
    maker.begin(record["id"], audit.segment if audit else "", split, 1 / audit.probability if audit else 1.0)
    for key, step, cost in steps:
        reason = step["decision"]["reason"]
        maker.cell(
            key,
            {reading["signal"]: reading["value"] for reading in step["signals"]["readings"]},
            audit.correct if audit and key.rpartition("/")[0] == last else None,
            answerable=reason not in ("model_declined", "cut_short"),
            whole=reason != "cut_short",
            costs=cost,
        )
    return True


def _stages(steps: list[Any]) -> list[tuple[str, Any, tuple[float, ...]]]:
    """Each stage once, as it was decided last: a way that failed leads to a second decision in the same stage."""
    merged: list[tuple[str, Any, tuple[float, ...]]] = []
    for step in steps:
        stage = step["decision"]["stage"]
        key = Stage(stage["upstream"], stage["passages"], stage["tier"]).key
        paid = step["cost"]
        cost = (paid["money"], paid["calls"], paid["prompt_tokens"] + paid["completion_tokens"], paid["seconds"])
        if merged and merged[-1][0] == key:
            cost = tuple(a + b for a, b in zip(cost, merged.pop()[2], strict=True))
        merged.append((key, step, cost))
    return merged


def _split_key(record: Mapping[str, Any]) -> str:
    """The question where the log kept it, so that the same question is never in two splits; else the id."""
    question = record.get("question")
    if not question:
        return str(record["id"])
    messages = tuple(Message(m["role"], m["content"], m.get("wire")) for m in question["messages"])
    return question_key(Question(messages))
