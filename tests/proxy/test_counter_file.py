"""Shared records: found by name, counted by worker, forgotten with the dead, and refused where they are not ours."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.proxy import counter_file as module
from gate.proxy.counter_file import CounterFile

FRESH = b"fresh123"
WORKER = """
import sys
from pathlib import Path
from gate.proxy.counter_file import CounterFile

file = CounterFile.open(Path(sys.argv[1]), b"fresh123")
with file:
    for name in sys.argv[2:]:
        file.entered(file.place(name))
print("entered", flush=True)
sys.stdin.read()
"""


@contextmanager
def other(folder: Path, *names: str) -> Iterator[subprocess.Popen[str]]:
    """Another process, with one more of each name under way."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), *names],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "entered\n"
        yield process
        process.kill()


def under_way(file: CounterFile, name: str) -> int:
    with file:
        return file.under_way(file.place(name))


def forgotten(file: CounterFile, name: str) -> int:
    with file:
        file._looked.clear()
        return file.forget_dead(file.place(name))


@pytest.mark.parametrize("on_disk", [True, False])
def test_records_are_found_again_by_their_names(tmp_path: Path, on_disk: bool) -> None:
    with closing(CounterFile.open(tmp_path if on_disk else None, FRESH)) as file, file:
        places = {name: file.place(name) for name in map(str, range(500))}
        assert len({*places.values()}) == 500
        assert all(file.memory[place : place + 8] == FRESH for place in places.values())
        file.memory[places["7"] : places["7"] + 8] = b"changed!"
        file._places.clear()
        assert {name: file.place(name) for name in places} == places
        assert file.memory[places["7"] : places["7"] + 8] == b"changed!"


def test_what_was_kept_is_there_after_a_restart_and_what_was_under_way_is_not(tmp_path: Path) -> None:
    with closing(CounterFile.open(tmp_path / "deep" / "state", FRESH)) as file, file:
        file.memory[file.place("a") : file.place("a") + 8] = b"changed!"
        file.entered(file.place("a"))
        assert file.under_way(file.place("a")) == 1
    with closing(CounterFile.open(tmp_path / "deep" / "state", FRESH)) as file, file:
        assert file.memory[file.place("a") : file.place("a") + 8] == b"changed!"
        assert file.under_way(file.place("a")) == 0
    assert (tmp_path / "deep" / "state" / "counters").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "deep" / "state").stat().st_mode & 0o777 == 0o700


def test_a_count_does_not_fall_below_nothing() -> None:
    with closing(CounterFile.open(None, FRESH)) as file, file:
        place = file.place("a")
        file.left(place)
        assert file.under_way(place) == 0
        file.entered(place)
        file.entered(place)
        file.left(place)
        assert file.under_way(place) == 1


def test_two_openings_have_columns_of_their_own_and_exclude_each_other(tmp_path: Path) -> None:
    one, two = CounterFile.open(tmp_path, FRESH), CounterFile.open(tmp_path, FRESH)
    with one:
        one.entered(one.place("a"))
        entered = threading.Event()

        def enter() -> None:
            with two:
                two.entered(two.place("a"))
                entered.set()

        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.05)
    thread.join(10)
    assert under_way(one, "a") == under_way(two, "a") == 2
    assert forgotten(one, "a") == 0, "the other lives"
    two.close()
    two.close()
    assert under_way(one, "a") == 1
    one.close()


def test_what_a_killed_process_had_under_way_is_forgotten(tmp_path: Path) -> None:
    with closing(CounterFile.open(tmp_path, FRESH)) as file:
        with other(tmp_path, "a", "a", "b") as process:
            assert under_way(file, "a") == 2
            assert forgotten(file, "a") == 0
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            assert under_way(file, "a") == 2, "nobody has looked"
            assert forgotten(file, "a") == 2
        with file:
            assert file.forget_dead(file.place("b")) == 1, "each record has its own second"
            assert (file.under_way(file.place("a")), file.under_way(file.place("b"))) == (0, 0)


def test_whoever_takes_a_dead_workers_column_begins_with_nothing(tmp_path: Path) -> None:
    with other(tmp_path, "a", "b") as process:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    with closing(CounterFile.open(tmp_path, FRESH)) as file:
        assert file._worker == 0
        assert (under_way(file, "a"), under_way(file, "b")) == (0, 0)


def test_it_looks_for_the_dead_once_in_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    with closing(CounterFile.open(tmp_path, FRESH)) as file, file:
        place = file.place("a")
        file._add(place, 9, 3)
        assert file.forget_dead(place) == 3
        file._add(place, 9, 3)
        assert file.forget_dead(place) == 0
        now = 6.0
        assert file.forget_dead(place) == 3


@pytest.mark.parametrize("spoilt", ["magic", "version", "checksum", "size", "other"])
def test_a_file_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path, spoilt: str) -> None:
    CounterFile.open(tmp_path, FRESH).close()
    path = tmp_path / "counters"
    held = bytearray(path.read_bytes())
    if spoilt == "size":
        del held[-1:]
    elif spoilt == "other":
        held = bytearray(b"my diary")
    else:
        held[{"magic": 0, "version": 8, "checksum": 24}[spoilt]] ^= 1
    path.write_bytes(held)
    with pytest.raises(ConfigError, match="no file of counters of this version of gate: move it away") as caught:
        CounterFile.open(tmp_path, FRESH)
    assert caught.value.where == str(path)
    assert path.read_bytes() == held
    with pytest.raises(ConfigError, match="no file of counters"):
        CounterFile.open(tmp_path, FRESH + b"more")


def test_a_file_that_was_not_finished_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "counters").write_bytes(bytes(9000))
    CounterFile.open(tmp_path, FRESH).close()
    CounterFile.open(tmp_path, FRESH).close()


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "aside").write_text("theirs")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "counters").symlink_to(tmp_path / "aside")
    for folder in (tmp_path / "file", tmp_path / "linked"):
        with pytest.raises(ConfigError, match="cannot keep counters here") as caught:
            CounterFile.open(folder, FRESH)
        assert caught.value.where == str(folder)
    assert (tmp_path / "aside").read_text() == "theirs"


def test_there_is_an_end_to_names_and_to_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECORDS", 3)
    monkeypatch.setattr(module, "WORKERS", 2)
    with closing(CounterFile.open(tmp_path, FRESH)) as one, closing(CounterFile.open(tmp_path, FRESH)):
        with one:
            for name in "abc":
                one.place(name)
            with pytest.raises(ConfigError, match="hold 3 names already"):
                one.place("d")
        with pytest.raises(ConfigError, match="there are 2 workers here already"):
            CounterFile.open(tmp_path, FRESH)


def test_without_posix_there_is_memory_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "fcntl", None)
    with closing(CounterFile.open(None, FRESH)) as file, file:
        file.entered(file.place("a"))
        assert file.forget_dead(file.place("a")) == 0
    with pytest.raises(ConfigError, match="'state' needs a POSIX system"):
        CounterFile.open(tmp_path, FRESH)
