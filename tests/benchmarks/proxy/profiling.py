"""What gate spends its time on: the server under cProfile, while wrk keeps it busy.

``python -m tests.benchmarks.proxy.profiling FILE serve …`` runs ``gate serve …`` in this process. On SIGUSR1
it starts to profile the thread that serves, and when it is interrupted it writes the table to FILE. The log is written
by another thread, which is not in it.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import signal
import sys
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.proxy.contestants import Contestant
from tests.benchmarks.proxy.load import wrk
from tests.benchmarks.proxy.rounds import AT_HALF, start
from tests.benchmarks.proxy.upstream import ANSWER

SECONDS, ROWS = 5, 40


def profiled(each: Contestant, folder: Path) -> str:
    """The table of a profile of 5 s of load. Raises `CannotStart` and `LoadFailed`."""
    written = folder / "profile.txt"
    python, _, _, *arguments = each.command
    command = (python, "-m", "tests.benchmarks.proxy.profiling", str(written), *arguments)
    server = start(replace(each, command=command), folder)
    try:
        server.wait_until_it_answers(each.asked, ANSWER)
        wrk(each.asked, AT_HALF, 1)
        server.signal(signal.SIGUSR1)
        load = wrk(each.asked, AT_HALF, SECONDS)
    finally:
        server.stop(signal.SIGINT)  # after SIGTERM the server would not come back to write its profile
    return f"{load.requests} requests in {load.seconds:.1f} s under the profiler\n{written.read_text(encoding='utf-8')}"


def main() -> None:
    from gate.cli import main as gate

    target, sys.argv = Path(sys.argv[1]), ["gate", *sys.argv[2:]]
    profile = cProfile.Profile()
    signal.signal(signal.SIGUSR1, lambda *_: profile.enable())
    try:
        gate()
    finally:
        profile.disable()
        text = io.StringIO()
        pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(ROWS)
        target.write_text(text.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    main()
