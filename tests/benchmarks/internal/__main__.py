"""Measure what internal states are worth, and what reading them costs a vLLM server.

    make bench-internal
    python -m tests.benchmarks.internal [--limit N] [--no-served] [--rounds N]

Three measures, each in a module of its own: `pocket` (signals on the test facts, and probes taken from one kind of
place to another) and `served` (a vLLM server with the plugin beside one without, under the same load; needs the
environment of 'make test-vllm'). Prints tables with the aim of each and whether it is met; writes
build/bench-internal.json and build/bench-internal.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.internal import served
from tests.benchmarks.internal.pocket import SAMPLES, SETS, Measured, Transfer, measured, transfers, world
from tests.benchmarks.internal.served import Load
from tests.benchmarks.quality import markdown

ROOT = Path(__file__).parents[3]
GAIN, LOSS, BYTES = 0.03, 0.05, 4096
"""The aims: AUROC that internal states add; throughput and latency they may cost; bytes of one answer's reply."""
TOGETHER, ALL, FREE = f"tokens + {SAMPLES} samples", "all", "tokens + internal states"


def number(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None or value != value else format(value, form)


def verdict(aim: str, met: bool, saw: str) -> str:
    return f"Aim: {aim}. **{'Met' if met else 'Not met'}**: {saw}.\n"


def of_signals(found: Sequence[Measured]) -> str:
    text = "### Internal states of the pocket model\n\n"
    for one in found:
        text += (
            f"`{one.stage}`: learned from {one.learned} answers, judged on {one.judged}, {one.accuracy:.0%} right; "
            f"{one.certain_wrong} wrong ones the model was certain of.\n\n"
        )
        rows = [
            (
                f"**{line.name}**" if line.name in SETS else line.name,
                number(line.auroc),
                number(line.aurc),
                number(line.ece),
                number(line.caught, ".0%"),
                number(line.tokens, ".0f"),
            )
            for line in one.lines
        ]
        head = ("signal", "AUROC", "AURC", "ECE", "certain and wrong, caught at 5 % false alarms", "tokens a question")
        text += markdown(head, rows) + "\n"
    return text + of_aims(found)


def of_aims(found: Sequence[Measured]) -> str:
    gains = {one.stage: one.line(ALL).auroc - one.line(TOGETHER).auroc for one in found}
    said = ", ".join(f"{one.stage} {one.gain(ALL, TOGETHER)}" for one in found)
    text = verdict(f"all beats {TOGETHER} by {GAIN} AUROC", min(gains.values()) >= GAIN, said)
    free = {one.stage: one.gain(FREE, f"{SAMPLES} samples") for one in found}
    better = all(one.line(FREE).auroc > one.line(f"{SAMPLES} samples").auroc for one in found)
    least = min(one.line(TOGETHER).tokens / one.line(FREE).tokens for one in found)
    said = ", ".join(f"{stage} {gain}" for stage, gain in free.items())
    return text + verdict(
        f"no extra call beats {SAMPLES} samples, at a tenth of the tokens",
        better,
        f"AUROC against the samples alone {said}; one answer is generated in the place of {SAMPLES + 1}, which with "
        f"prompts counted is {least:.1f} times fewer tokens",
    )


def of_transfer(found: Sequence[Transfer]) -> str:
    rows = [
        (one.round_key, one.about, str(one.judged), one.probe, number(one.own), number(one.other))
        for one in found
        if one.own is not None or one.other is not None
    ]
    head = ("model", "judged on facts about", "n", "probe", "learned from the same kind", "learned from the other kind")
    return "### Transfer\n\nAUROC of each probe.\n\n" + markdown(head, rows) + "\n"


def of_load(found: Sequence[Load]) -> str:
    rows = [
        (
            one.model,
            one.what,
            one.server,
            f"{one.throughput:.0f}",
            f"{one.against('throughput'):+.1%}" if one.base else "",
            f"{1000 * one.latency:.0f}",
            f"{one.against('latency'):+.1%}" if one.base else "",
            f"{one.bytes_added:.0f}" if one.base else "",
        )
        for one in found
    ]
    head = (
        "model",
        "load",
        "server",
        "tokens/s",
        "against plain",
        "latency, ms",
        "against plain",
        "bytes added to a reply",
    )
    text = "### vLLM with the plugin and without\n\nMedians over rounds in turn.\n\n" + markdown(head, rows) + "\n"
    for model in dict.fromkeys(one.model for one in found):
        read = [one for one in found if one.base and one.model == model]
        slower, later = min(one.against("throughput") for one in read), max(one.against("latency") for one in read)
        saw = f"at worst {slower:+.1%} and {later:+.1%}"
        text += verdict(f"throughput and latency lost at most 5 %, {model}", slower >= -LOSS and later <= LOSS, saw)
    most = max(one.bytes_added for one in found)
    return text + verdict("at most 4 KiB a reply", most <= BYTES, f"{most:.0f} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=int, help="only so many facts of each split, to try it")
    parser.add_argument("--no-served", action="store_true", help="leave the vLLM servers out")
    parser.add_argument("--rounds", type=int, default=5, help="of load on each server")
    asked = parser.parse_args()
    parts: list[str] = []
    record: dict[str, Any] = {}

    def say(text: str) -> None:
        parts.append(text)
        print(f"\n{text}", flush=True)

    with world(asked.limit) as found:
        signals = measured(found)
        say(of_signals(signals))
        moved = transfers(found)
        say(of_transfer(moved))
    record["signals"] = [_plain(one) for one in signals]
    record["transfer"] = [asdict(one) for one in moved]
    if not asked.no_served:
        loads = served.measured(asked.rounds)
        say(of_load(loads))
        record["served"] = [asdict(one) for one in loads]
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
    say(f"Measured on {machine}.")
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    (build / "bench-internal.json").write_text(json.dumps({"machine": machine, **record}, indent=1), encoding="utf-8")
    (build / "bench-internal.md").write_text("\n".join(parts), encoding="utf-8")


def _plain(one: Measured) -> dict[str, Any]:
    lines = [{key: getattr(line, key) for key in _KEPT} for line in one.lines]
    return {"stage": one.stage, "learned": one.learned, "judged": one.judged, "accuracy": one.accuracy, "lines": lines}


_KEPT = ("name", "auroc", "aurc", "ece", "caught", "tokens")


if __name__ == "__main__":
    main()
