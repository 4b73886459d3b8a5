"""Measure the decorator: what it adds to a call, a thousand calls at once, and what gating an agent's actions brings.

    make bench-decorator
    python -m tests.benchmarks.decorator [--only overhead concurrency agents] [--rounds 15]

Prints tables with the aim of each; writes build/bench-decorator.json and build/bench-decorator.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.decorator import agents, concurrency, overhead

ROOT = Path(__file__).parents[3]
MEASURES = ("overhead", "concurrency", "agents")


def measured(name: str, folder: Path, rounds: int) -> tuple[str, Any]:
    """A measure's part of the page, and what goes into the JSON."""
    if name == "overhead":
        rows = overhead.measured(folder, rounds=rounds)
        return f"### What the decorator adds\n\n{overhead.table(rows)}", overhead.told(rows)
    if name == "concurrency":
        policy = overhead.write_policy(folder, overhead.SAMPLES)
        crowds = [concurrency.tasks(policy), concurrency.threads(policy)]
        return f"### At once\n\n{concurrency.table(crowds)}", concurrency.told(crowds)
    found = agents.measured()
    return f"### Actions of an agent\n\n{agents.page(found)}", found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    given = parser.parse_args()
    about = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }
    began, parts, kept = time.monotonic(), [], dict[str, Any](about)
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only:
            text, kept[name] = measured(name, Path(folder), given.rounds)
            parts.append(text)
            print(f"\n[{time.monotonic() - began:.0f} s]\n{text}", flush=True)
    given.out.mkdir(exist_ok=True)
    (given.out / "bench-decorator.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (given.out / "bench-decorator.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
