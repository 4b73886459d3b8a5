"""Measure the proxy beside others: requests a second, what each adds to the upstream's latency, memory.

    make bench-proxy                          all of it, about six minutes
    python -m tests.benchmarks.proxy [--only rates memory] [--servers direct one-draft ...] [--seconds 2] [--rounds 3]
    python -m tests.benchmarks.proxy --only memory --million      a million requests instead of a hundred thousand
    python -m tests.benchmarks.proxy --only profile               what gate spends its time on

Needs nginx, the constant upstream, and wrk, the load (Debian: apt-get install nginx wrk). Each server runs one worker
on the first core; nginx and the load share the second. Only loopback is spoken to. Prints tables; writes
build/bench-proxy.json and build/bench-proxy.md. What cannot be had is named with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.proxy import page, upstream
from tests.benchmarks.proxy.contestants import TITLES, Absent, Contestant, contestant, gate
from tests.benchmarks.proxy.load import GATEWAY_CORE, LOAD_CORE, ROOT, Asked, LoadFailed, pinned
from tests.benchmarks.proxy.memory import Grown, grown
from tests.benchmarks.proxy.profiling import profiled
from tests.benchmarks.proxy.rounds import Measured, measure, started
from tests.benchmarks.proxy.server_process import CannotStart, ServerProcess, free_port

MEASURES = ("rates", "memory", "profile")
TOOLS = ("nginx", "wrk")


@contextmanager
def constant_upstream(folder: Path) -> Iterator[Asked]:
    """nginx, and what to ask it. Raises `CannotStart`."""
    with tempfile.TemporaryDirectory() as own:  # its own, which nobody may list
        port = free_port()
        conf = upstream.write(Path(own), port)
        server = ServerProcess(("nginx", "-p", own, "-c", str(conf)), {}, LOAD_CORE, folder / "nginx.log")
        direct = contestant("direct", folder, port)
        assert isinstance(direct, Contestant)
        try:
            server.wait_until_it_answers(direct.asked, upstream.ANSWER)
            yield direct.asked
        finally:
            server.stop()


def rates(given: argparse.Namespace, folder: Path, direct: Asked) -> tuple[str, list[Measured | Absent]]:
    """The table of all contestants."""
    made = [contestant(name, folder, direct.port) for name in TITLES if name in given.servers]
    with started((each for each in made if isinstance(each, Contestant)), folder) as up:
        running = [each for each in up if isinstance(each, Measured)]
        measure(running, direct, rounds=given.rounds, seconds=given.seconds)
    found: dict[str, Measured | Absent] = {each.name: each for each in made if isinstance(each, Absent)}
    found |= {each.name: each for each in up}
    rows = [found[each.name] for each in made]
    return "\n".join((*page.table(rows), "", page.NOTES)), rows


def remembered(requests: int, folder: Path, address: str) -> tuple[str, Grown | None]:
    """The table of gate's memory; None beside the reason where it could not be measured."""
    try:
        memory = grown(gate(page.OURS, folder, address), folder, requests)
    except (CannotStart, LoadFailed) as error:
        return f"not measured: {error}", None
    return "\n".join(page.memory_table(memory)), memory


def spent(folder: Path, address: str) -> str:
    """What gate spends its time on."""
    try:
        return f"```\n{profiled(gate(page.OURS, folder, address), folder)}```"
    except (CannotStart, LoadFailed) as error:
        return f"not measured: {error}"


def main() -> None:
    given = _arguments()
    about = _about()
    lacking = [tool for tool in TOOLS if not shutil.which(tool)]
    if lacking:
        said = f"nothing was measured: {' and '.join(lacking)} cannot be found (Debian: apt-get install nginx wrk)"
        print(said)
        _keep(given.out, {**about, "skipped": said}, said)
        return
    parts, kept, rows, memory = [_heading(about)], dict[str, Any](about), list[Measured | Absent](), None
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, constant_upstream(folder := Path(scratch)) as direct:
        address = f"http://127.0.0.1:{direct.port}"
        if "rates" in given.only:
            text, rows = rates(given, folder, direct)
            kept["rates"] = {row.name: row.told() if isinstance(row, Measured) else row.reason for row in rows}
            parts.append(_said(text, began))
        if "memory" in given.only:
            text, memory = remembered(1_000_000 if given.million else given.requests, folder, address)
            kept["memory"] = memory.told() if memory else text
            parts.append(_said(f"### Memory\n\n{text}", began))
        if "profile" in given.only:
            parts.append(_said(f"### Profile\n\n{spent(folder, address)}", began))
    if {"rates", "memory"} & set(given.only):
        judged = list(page.aims(rows, memory))
        kept["aims"] = {aim.what: {"came": aim.came, "met": aim.met} for aim in judged}
        parts.append(_said("\n".join(("### Aims", "", *(aim.line() for aim in judged))), began))
    _keep(given.out, kept, "\n\n".join(parts))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=("rates", "memory"))
    parser.add_argument("--servers", nargs="+", choices=tuple(TITLES), default=tuple(TITLES))
    parser.add_argument("--seconds", type=int, default=2, help="of each load in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=100_000, help="after which memory is looked at")
    parser.add_argument("--million", action="store_true", help="a million of them")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    return parser.parse_args()


def _about() -> dict[str, Any]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "pinned": bool(pinned(GATEWAY_CORE)),
        "reply bytes": len(json.dumps(upstream.chat_completion(1), separators=(",", ":"))),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown processor")


def _heading(about: dict[str, Any]) -> str:
    if about["pinned"]:
        where = "one worker each, on the first core; nginx and the load on the second"
    else:
        where = "one worker each, not kept to a core: that takes two cores and taskset"
    said = f"{about['date']}; {about['machine']}; {where}; the upstream's reply has {about['reply bytes']:,} bytes"
    print(said, flush=True)
    return said


def _said(text: str, began: float) -> str:
    print(f"\n[{time.monotonic() - began:.0f} s]\n{text}", flush=True)
    return text


def _keep(folder: Path, told: dict[str, Any], text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "bench-proxy.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (folder / "bench-proxy.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
