"""The clock that is set: whatever Python code asks for the time of day, and no other clock."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.reliability.worlds import Setup, _clock

_ASKED = """
import calendar, datetime, json, time
from datetime import UTC, date
made = {
    "time": time.time(),
    "time_ns": time.time_ns() / 1e9,
    "clock_gettime": time.clock_gettime(time.CLOCK_REALTIME),
    "gmtime": calendar.timegm(time.gmtime()),
    "localtime": time.mktime(time.localtime()),
    "ctime": time.mktime(time.strptime(time.ctime())),
    "strftime": time.mktime(time.strptime(time.strftime("%Y-%m-%d %H:%M:%S"), "%Y-%m-%d %H:%M:%S")),
    "now": datetime.datetime.now().timestamp(),
    "now in UTC": datetime.datetime.now(UTC).timestamp(),
    "today": datetime.datetime.today().timestamp(),
}
at = datetime.datetime.fromtimestamp(0, UTC)
real = type(at).__mro__[1](2026, 1, 1)
print(json.dumps({
    "made": made,
    "date": date.today().isoformat() == datetime.datetime.now().date().isoformat(),
    "fixed": [time.gmtime(0).tm_year, at.year],
    "real": isinstance(real, datetime.datetime) and isinstance(real, date) and not isinstance("", date),
    "monotonic": time.monotonic(),
}))
"""


def test_all_that_is_asked_for_the_time_of_day_goes_by_it(tmp_path: Path) -> None:
    environment = {**os.environ, **_clock(Setup("c", clock=True), tmp_path)}
    (tmp_path / "clock").write_bytes(struct.pack("<d", 86_400.0 * 3))
    ran = subprocess.run([sys.executable, "-c", _ASKED], env=environment, capture_output=True, check=True)
    said = json.loads(ran.stdout)
    ahead = {name: value - time.time() for name, value in said["made"].items()}
    assert {name for name, seconds in ahead.items() if abs(seconds - 86_400 * 3) > 30} == set()
    assert (said["date"], said["fixed"], said["real"]) == (True, [1970, 1970], True)
    assert abs(said["monotonic"] - time.monotonic()) < 30
