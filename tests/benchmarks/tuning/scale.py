"""How long `gate tune` takes on a long decision log, and how much memory: made-up decisions in the format gate writes.

    python -m tests.benchmarks.tuning.scale [--decisions 1000000]

One upstream, forty signals, no text. The log is written outside the time that is taken. Its lines are put together by
hand, for a million records would take as long to make as to tune on; the first is read back and held against the very
record it stands for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gate.calibration.probabilities import sigmoid
from gate.evidence import Asked, Draft, Meanings, Samples
from gate.log.jsonl import from_json, to_json
from gate.signals import SIGNALS
from gate.traces import TraceRecord
from gate.types import Action, Confidence, Cost, Decision, Reading, SignalVector, Stage, Step

ROOT = Path(__file__).parents[3]
HELD = (Draft, Asked, Samples, Meanings)
CHOSEN = tuple(s for s in SIGNALS if set(s.needs) <= set(HELD) and not s.name.startswith(("tool_", "json_")))[:40]
PART = 50_000
MISSING = 0.05
"""Share of readings that are missing."""
SECONDS, GIGABYTES = 180.0, 3.0
"""The aim."""
Floats = npt.NDArray[np.float64]
POLICY = {
    "name": "logged",
    "promise": {"max_error": 0.1, "confidence": 0.95},
    "upstreams": {"m": {"kind": "openai_chat", "base_url": "http://127.0.0.1:9/v1", "model": "m"}},
    "ladder": ["m"],
    "tiers": [["draft", "question", "samples", "meanings"]],
    "signals": [signal.name for signal in CHOSEN],
    "calibrator": "logged.calibrator.json",
    "rule": {"answer_at": 0.7},
    "routes": {"escalate": False},
}


@dataclass(frozen=True)
class Scale:
    decisions: int
    signals: int
    log_megabytes: float
    seconds: float
    cpu_seconds: float
    gigabytes: float
    """Peak resident memory of the process, of 2^30 bytes."""
    exit_code: int
    said: str
    """Its last words, where it failed."""

    @property
    def met(self) -> bool:
        return self.exit_code == 0 and self.seconds <= SECONDS and self.gigabytes <= GIGABYTES


def measured(decisions: int = 1_000_000) -> Scale:
    with tempfile.TemporaryDirectory(dir=_roomy()) as scratch:
        folder = Path(scratch)
        write(folder, decisions)
        (folder / "logged.yaml").write_text(json.dumps(POLICY), encoding="utf-8")
        command = [sys.executable, "-m", "gate", "tune", "log.jsonl", "--labels", "labels.csv"]
        command += ["--policy", str(folder / "logged.yaml"), "--out", "tuned.yaml", "--json"]
        began = time.monotonic()
        with (folder / "said").open("wb") as said:
            paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
            child = subprocess.Popen(
                command, cwd=folder, stdout=said, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": paths}
            )
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.monotonic() - began
        words = (folder / "said").read_text(encoding="utf-8").strip().splitlines()
        return Scale(
            decisions,
            len(CHOSEN),
            (folder / "log.jsonl").stat().st_size / 1e6,
            seconds,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 2**20,
            child.returncode,
            " ".join(words[-3:])[:300] if child.returncode else "",
        )


def _roomy() -> Path:
    folder = ROOT / "build"
    folder.mkdir(exist_ok=True)
    return folder


# --- decisions ---------------------------------------------------------------------------------------------------


def write(folder: Path, decisions: int) -> None:
    """``log.jsonl`` and ``labels.csv``; all decisions are labelled."""
    parts = [(number, min(PART, decisions - begin)) for number, begin in enumerate(range(0, decisions, PART))]
    with (
        ProcessPoolExecutor(2, get_context("spawn")) as pool,
        (folder / "log.jsonl").open("wb") as log,
        (folder / "labels.csv").open("w", encoding="utf-8") as labels,
    ):
        labels.write("id,correct\n")
        for lines, rows in pool.map(part, parts):
            log.write(lines)
            labels.write(rows)


def part(given: tuple[int, int]) -> tuple[bytes, str]:
    """Lines of the log and of the labels."""
    number, n = given
    rng = np.random.default_rng(number)
    values, p, right = drawn(rng, n)
    ids = [f"{number:04d}{place:08d}" for place in range(n)]
    lines = "".join(line(*one) for one in zip(ids, values.tolist(), p.tolist(), strict=True))
    return lines.encode(), "".join(f"{i},{'true' if r else 'false'}\n" for i, r in zip(ids, right, strict=True))


def drawn(rng: np.random.Generator, n: int) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Readings [n, 40], nan where missing, what was thought of them, and whether the answer was right.

    One hidden ease makes both answers right and readings high, each reading more or less so.
    """
    ease, k = rng.normal(size=n), len(CHOSEN)
    mixed = ease[:, None] * np.linspace(0.1, 0.9, k) + rng.normal(size=(n, k))
    values = np.empty((n, k))
    for place, signal in enumerate(CHOSEN):
        low, high = signal.bounds
        column = mixed[:, place]
        if np.isfinite([low, high]).all():
            values[:, place] = low + (high - low) * sigmoid(column)
        else:
            values[:, place] = -np.exp(-column) if high == 0.0 else column
    values = np.round(values, 6)
    values[rng.random((n, k)) < MISSING] = np.nan
    p = sigmoid(1.0 + 1.5 * ease)
    return values, np.round(p, 6), rng.random(n) < p


def line(id_: str, values: list[float], p: float) -> str:
    readings = ",".join(
        f'{{"signal":"{signal.name}","value":{value!r},"missing":null}}'
        if value == value
        else f'{{"signal":"{signal.name}","value":null,"missing":"not there"}}'
        for signal, value in zip(CHOSEN, values, strict=True)
    )
    before, after = _around()
    answer = "answer" if p >= 0.7 else "abstain"
    made = before.replace("@p", repr(p)).replace("@reason", "confident" if p >= 0.7 else "uncertain")
    return made.replace("@id", id_).replace("@action", answer) + readings + after.replace("@action", answer) + "\n"


_PIECES: list[str] = []


def _around() -> tuple[str, str]:
    """A record as gate writes it, with marks where decisions differ, cut at its readings."""
    if not _PIECES:
        written = to_json(record("@id", [0.5], 0.5)).decode()
        start = written.index('"readings":[') + len('"readings":[')
        end = written.index("]", start)
        before = written[:start].replace('"p":0.5', '"p":@p').replace('"confident"', '"@reason"')
        _PIECES.extend(part.replace('"answer"', '"@action"') for part in (before, written[end:]))
    return _PIECES[0], _PIECES[1]


def record(id_: str, values: list[float], p: float) -> TraceRecord:
    """The record that `line` writes."""
    readings = tuple(_readings(values))
    action, reason = (Action.ANSWER, "confident") if p >= 0.7 or id_ == "@id" else (Action.ABSTAIN, "uncertain")
    confidence, cost = Confidence(p, 0.1, 0.9), Cost(2, 300, 60, 1.5, 0.001)
    step = Step(Decision(action, reason, Stage("m"), confidence, 0.7), SignalVector(readings), cost)
    return TraceRecord(
        id_, "2026-01-01T00:00:00Z", "logged", "0123456789abcdef", False, (step,), action=action, cost=cost
    )


def _readings(values: list[float]) -> Iterator[Reading]:
    for signal, value in zip(CHOSEN, values, strict=False):
        yield Reading(signal.name, None, "not there") if value != value else Reading(signal.name, value)


def check() -> None:
    """Raises AssertionError unless lines written by hand are the records they stand for."""
    values, p, _ = drawn(np.random.default_rng(0), 200)
    for place, (row, sure) in enumerate(zip(values.tolist(), p.tolist(), strict=True)):
        written, meant = line(str(place), row, sure), record(str(place), row, sure)
        if from_json(written) != meant or written.encode() != to_json(meant) + b"\n":
            raise AssertionError(f"not what gate would write: {written}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decisions", type=int, default=1_000_000)
    check()
    print(measured(parser.parse_args().decisions))
