"""Records that the worker processes of one machine share and outlive them: a mapped file and a lock.

Every process of a folder maps the same file and changes it under one lock (``flock``: it belongs to the open file and
not to the process, so two openings in one process exclude each other, and closing one frees nothing of the other). A
process that is killed frees the lock; what it was changing then may hold one field of the new and one of the old.

Each process holds a lock on a file of its own for as long as it lives. So whether one lives is asked of the system,
also across containers, and a process that happens to get a dead one's number is not taken for it. What a process has
under way is counted in a column of its own and forgotten with it.

Open it in the process that uses it: a fork would share its locks.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gate.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows: one process, in memory
    fcntl = None  # type: ignore[assignment]

RECORDS = 4096
WORKERS = 128
"""Processes at once: more than a server may have, for while it restarts there are twice as many."""
_HEADER = struct.Struct("<8sIIIII")
_MAGIC, _VERSION = b"gatecnt\0", 1
_START = 4096
_ID = 16
_EMPTY = bytes(_ID)
_COUNT = struct.Struct("<I")
_COLUMNS = struct.Struct(f"<{WORKERS}I")
"""What each has under way; their sum stands before them."""
_MANY = 2**31
_SECOND_LOOK = 1.0
"""Seconds after which it is worth asking again who is alive."""


class CounterFile:
    """Records by name, each with the same state and a column for every worker. Use everything within ``with``."""

    def __init__(self, memory: mmap.mmap, fresh: bytes, folder: Path | None, file: int | None) -> None:
        self.memory = memory
        self._fresh = fresh
        self._columns = _ID + len(fresh)
        self._size = self._columns + _COUNT.size + _COLUMNS.size
        self._folder = folder
        self._file = file
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        self._looked: dict[int, float] = {}
        self._worker, self._alive = 0, -1

    @classmethod
    def open(cls, folder: Path | None, fresh: bytes) -> CounterFile:
        """The file ``counters`` of a folder, made where it is not; in memory for this process alone without a folder.

        ``fresh`` is the state of a new record. Raises `ConfigError` where the file is not one of these.
        """
        size = _START + RECORDS * (_ID + len(fresh) + _COUNT.size + _COLUMNS.size)
        if folder is None:
            return cls(mmap.mmap(-1, size), fresh, None, None)
        if fcntl is None:
            raise ConfigError("'state' needs a POSIX system: leave it out, and have one worker")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = _opened(folder / "counters")
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                made = cls(_mapped(file, size, len(fresh), folder / "counters"), fresh, folder, file)
                made._claim(folder)
                fcntl.flock(file, fcntl.LOCK_UN)
            except (OSError, ConfigError):
                os.close(file)
                raise
        except OSError as error:
            raise ConfigError(f"cannot keep counters here: {error}", where=str(folder)) from error
        return made

    def __enter__(self) -> CounterFile:
        self._lock.acquire()
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._lock.release()

    def place(self, name: str) -> int:
        """Where the state of a name begins; a new one's is fresh. Raises `ConfigError` when there is no room left."""
        found = self._places.get(name)
        return found if found is not None else self._found(name)

    def entered(self, place: int) -> None:
        """One more of this process is under way."""
        self._add(place, self._worker, 1)

    def left(self, place: int) -> None:
        """One less."""
        self._add(place, self._worker, -1)

    def under_way(self, place: int) -> int:
        """In all processes."""
        (count,) = _COUNT.unpack_from(self.memory, place - _ID + self._columns)
        return int(count)

    def forget_dead(self, place: int) -> int:
        """What processes had under way here that are no more: forgotten, and how many. Asked once in a second."""
        now = time.monotonic()
        if self._folder is None or now - self._looked.get(place, -_SECOND_LOOK) < _SECOND_LOOK:
            return 0
        self._looked[place] = now
        forgotten = 0
        for worker, count in enumerate(_COLUMNS.unpack_from(self.memory, self._column(place, 0))):
            if count and worker != self._worker and (free := _locked(self._folder, worker)) is not None:
                self._add(place, worker, -count)
                os.close(free)
                forgotten += count
        return forgotten

    def close(self) -> None:
        """Nothing of this process is under way any more."""
        if self.memory.closed:
            return
        with self:
            self._clear(self._worker)
        self.memory.close()
        for each in (self._alive, self._file):
            if each is not None and each >= 0:
                os.close(each)

    def _column(self, place: int, worker: int) -> int:
        return place - _ID + self._columns + (1 + worker) * _COUNT.size

    def _add(self, place: int, worker: int, more: int) -> None:
        """To a worker's count, which cannot fall below nothing, and to the sum."""
        whole = place - _ID + self._columns
        column = whole + (1 + worker) * _COUNT.size
        (held,) = _COUNT.unpack_from(self.memory, column)
        now = max(0, held + more)
        _COUNT.pack_into(self.memory, column, now)
        _COUNT.pack_into(self.memory, whole, max(0, _COUNT.unpack_from(self.memory, whole)[0] + now - held))

    def _found(self, name: str) -> int:
        wanted = hashlib.blake2b(name.encode(), digest_size=_ID).digest()
        first = int.from_bytes(wanted[:4], "little")
        for step in range(RECORDS):
            start = _START + (first + step) % RECORDS * self._size
            held = self.memory[start : start + _ID]
            if held == _EMPTY:
                self.memory[start + _ID : start + self._columns] = self._fresh
                self.memory[start : start + _ID] = wanted  # last: a record that is begun is whole
            if held in (_EMPTY, wanted):
                self._places[name] = start + _ID
                return start + _ID
        said = (
            f"the counters hold {RECORDS} names already, also of keys that are gone: move the file away to begin anew"
        )
        raise ConfigError(said, where=str(self._folder / "counters") if self._folder else "")

    def _used(self) -> Iterator[int]:
        for start in range(_START, _START + RECORDS * self._size, self._size):
            if self.memory[start : start + _ID] != _EMPTY:
                yield start + _ID

    def _claim(self, folder: Path) -> None:
        """The first column whose worker is no more is this process's now."""
        for worker in range(WORKERS):
            free = _locked(folder, worker)
            if free is not None:
                self._worker, self._alive = worker, free
                self._clear(worker)
                return
        raise ConfigError(f"there are {WORKERS} workers here already", where=str(folder))

    def _clear(self, worker: int) -> None:
        for place in self._used():
            self._add(place, worker, -_MANY)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _locked(folder: Path, worker: int) -> int | None:
    """The lock that a worker holds while it lives; None where one holds it."""
    file = _opened(folder / f"worker-{worker}.lock")
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file
    os.close(file)
    return None


def _mapped(file: int, size: int, state: int, path: Path) -> mmap.mmap:
    """The file in memory, begun where it is new; under its lock."""
    ours = _HEADER.pack(_MAGIC, _VERSION, RECORDS, WORKERS, state, 0)
    header = ours[:-4] + struct.pack("<I", zlib.crc32(ours))
    held = os.pread(file, _HEADER.size, 0)
    if held.strip(b"\0") == b"":  # new, or its maker was killed before it was done
        os.posix_fallocate(file, 0, size)  # now, and not when a full disk would kill the process that writes
        os.pwrite(file, header, 0)
    elif held != header or os.fstat(file).st_size != size:
        said = "this is no file of counters of this version of gate: move it away to begin anew"
        raise ConfigError(said, where=str(path))
    return mmap.mmap(file, size)
