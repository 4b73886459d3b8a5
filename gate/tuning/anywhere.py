"""Work on a log that any process can do: it holds where the policy lies, and each process loads that once.

What it depends on is in its fingerprint, so that no finished part is taken for another policy's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from gate import __version__
from gate.assemble import assemble
from gate.errors import ConfigError, ReplayGap, UpstreamError
from gate.gateway import Gateway
from gate.log.jsonl import record_of
from gate.policy import read
from gate.tuning.audits import read_audits
from gate.tuning.decision_log import Records
from gate.tuning.replay import JudgedHere, columns_of
from gate.types import Stage


@dataclass(frozen=True, slots=True)
class Judged:
    """A replay of each part: one row, in which `gate.tuning.replay.replay` finds its judgements."""

    policy: str
    labels: str
    fingerprint: str

    @classmethod
    def by(cls, policy: Path, labels: Path | None) -> Judged:
        """Raises `ConfigError` where the policy cannot be loaded."""
        mark = _mark("judged", policy, labels)
        return cls(str(policy.resolve()), str(labels.resolve()) if labels else "", mark)

    def rows(self, records: Records) -> Iterator[Mapping[str, Any]]:
        labels = Path(self.labels) if self.labels else None
        _check(self.fingerprint, "judged", Path(self.policy), labels)
        audits = read_audits(labels) if labels else {}
        for row in JudgedHere(_gateway(self.policy), audits).rows(records):
            yield {**row, "judgements": None if row["judgements"] is None else columns_of(row["judgements"])}


@dataclass(frozen=True, slots=True)
class Signals:
    """The signals of every step of each decision: as the policy computes them now from what was replied, where that was
    kept; else as they were logged."""

    policy: str
    fingerprint: str

    @classmethod
    def of(cls, policy: Path) -> Signals:
        """Raises `ConfigError` where the policy cannot be loaded."""
        return cls(str(policy.resolve()), _mark("signals", policy, None))

    def rows(self, records: Records) -> Iterator[Mapping[str, Any]]:
        _check(self.fingerprint, "signals", Path(self.policy), None)
        gateway = _gateway(self.policy)
        for where, line in records:
            yield from _computed(gateway, line, where) if line.get("tape") else _as_logged(line, where)


def _computed(gateway: Gateway, line: Mapping[str, Any], where: str) -> Iterator[Mapping[str, Any]]:
    record = record_of(json.dumps(line), where)
    try:
        steps = gateway.replay(record).steps
    except (ReplayGap, UpstreamError) as error:
        yield {"id": record.id, "gap": str(error)}
        return
    for at, step in enumerate(steps):
        held, p = step.decision, step.decision.confidence
        readings = {reading.signal: reading.value for reading in step.signals.readings}
        yield _row(record.id, at, held.stage.key, held.action.value, p.p if p else None, readings, computed=True)


def _as_logged(line: Mapping[str, Any], where: str) -> Sequence[Mapping[str, Any]]:
    rows = []
    try:
        for at, step in enumerate(line["steps"]):
            held, place = step["decision"], step["decision"]["stage"]
            stage = _stage_key(place)
            p = held["confidence"] and held["confidence"]["p"]
            readings = {reading["signal"]: reading["value"] for reading in step["signals"]["readings"]}
            rows.append(_row(str(line["id"]), at, stage, held["action"], p, readings, computed=False))
    except (KeyError, TypeError) as error:
        raise ConfigError(f"not a decision of a log: it has no {error}", where=where) from error
    return rows


def _stage_key(place: Mapping[str, Any]) -> str:
    return Stage(place["upstream"], place["passages"], place["tier"], place.get("memory", False)).key


def _row(
    id_: str, at: int, stage: str, action: str, p: float | None, readings: Mapping[str, float | None], *, computed: bool
) -> Mapping[str, Any]:
    return {"id": id_, "step": at, "stage": stage, "action": action, "p": p, "computed": computed, "signals": readings}


def _gateway(policy: str) -> Gateway:
    file = read(Path(policy), certificate=False)
    return _assembled(policy, hashlib.sha256(file.path.read_bytes()).hexdigest())


@lru_cache(maxsize=4)
def _assembled(policy: str, digest: str) -> Gateway:
    return assemble(read(Path(policy), certificate=False))


def _mark(what: str, policy: Path, labels: Path | None) -> str:
    running = [what, __version__, dict(_gateway(str(policy.resolve())).running)]
    said = json.dumps(running, sort_keys=True).encode() + (labels.read_bytes() if labels else b"")
    return hashlib.sha256(said).hexdigest()


def _check(fingerprint: str, what: str, policy: Path, labels: Path | None) -> None:
    """A node that has another version of a file would give other rows."""
    if _mark(what, policy, labels) != fingerprint:
        said = "this node has another policy, or other labels, than where the work was asked for"
        raise ConfigError(said, where=str(policy))
