"""Measure gate's routes: on the pocket world, on recorded answers, when sampling stops early, and in searching.

    make bench-routing DATA=folder            a folder of *.jsonl or *.jsonl.gz in the schema of its README
    python -m tests.benchmarks.routing [DATA] [--only pocket recorded adaptive retrieval]

Four measures, each in a module of its own. Without DATA those of recorded answers say that they were skipped.
Prints tables with the aim of each and whether it is met; writes build/bench-routing.json and build/bench-routing.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.routing import adaptive, pocket, recorded, retrieval

ROOT = Path(__file__).parents[3]
MEASURES = ("pocket", "recorded", "adaptive", "retrieval")


def measured(name: str, data: Path | None, questions: int | None) -> tuple[str, Any]:
    """A measure's part of the page, and what goes into the JSON."""
    if name == "pocket":
        ways = pocket.measured(questions)
        return f"### Pocket world, all routes live\n\n{pocket.page(ways)}", [asdict(way) for way in ways]
    if name == "retrieval":
        found = retrieval.measured() if questions is None else retrieval.measured(passages=0)
        return f"### Retrieval\n\n{found.pop('page')}", found
    if data is None or not data.is_dir():
        return f"### {name.capitalize()}\n\nskipped: no folder of recorded answers was given (DATA=folder)\n", None
    if name == "recorded":
        taken = recorded.measured(data)
        return recorded.page(taken), asdict(taken)
    lines = list(adaptive.table(data))
    return "### Stopping early\n\n" + "\n".join(lines) + "\n", lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="a folder of recorded answers")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES)
    parser.add_argument("--questions", type=int, help="of the pocket world, to try it out; no large index then")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    given = parser.parse_args()
    began, parts, kept = time.monotonic(), [], {}
    for name in given.only:
        text, kept[name] = measured(name, given.data, given.questions)
        parts.append(text)
        print(f"\n[{time.monotonic() - began:.0f} s]\n{text}", flush=True)
    given.out.mkdir(exist_ok=True)
    about = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    (given.out / "bench-routing.json").write_text(json.dumps(about | kept, indent=1) + "\n", encoding="utf-8")
    (given.out / "bench-routing.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
