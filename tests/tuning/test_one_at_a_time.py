"""A lock beside a file: who is kept out, and what stays of it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.tuning.one_at_a_time import one_at_a_time

HOLDS = (
    "import sys, pathlib; from gate.tuning.one_at_a_time import one_at_a_time\n"
    "with one_at_a_time(pathlib.Path(sys.argv[1]), 'busy'): print('in', flush=True); sys.stdin.read()"
)


def test_another_process_is_kept_out_until_the_first_is_gone_or_killed(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"in\n"
        with pytest.raises(ConfigError, match="at work") as caught, one_at_a_time(path, "another is at work"):
            pass
        assert str(path) in str(caught.value)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        with one_at_a_time(path, "another is at work"):
            pass


def test_nothing_stays_of_it_however_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "c.db"
    for _ in range(2):
        with pytest.raises(MemoryError), one_at_a_time(path, "busy"):
            raise MemoryError
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_not_said_to_be_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuses(_: int, __: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuses)
    with pytest.raises(ConfigError, match="knows no locks") as caught, one_at_a_time(tmp_path / "c.db", "busy"):
        pass
    assert "busy" not in str(caught.value)


def test_a_lock_that_was_taken_away_meanwhile_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: (tmp_path / ".c.db.lock").unlink())
    with pytest.raises(ConfigError, match="at work"), one_at_a_time(tmp_path / "c.db", "another is at work"):
        pass


def test_where_no_lock_can_be_made_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot make a lock"), one_at_a_time(tmp_path / "file" / "c.db", "busy"):
        pass
