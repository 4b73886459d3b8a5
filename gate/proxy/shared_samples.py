"""What the workers of one server have counted, in files that each of them reads.

A worker takes a numbered place, by a lock that ends with its process, however that ends. Its file holds what it counted
and what those before it at this place did, so that counts outlive workers, and there are never more files than there
were workers at once. A gauge ends with the worker that set it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import orjson

from gate.errors import ConfigError

Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""Family, sample and labels."""
Samples = dict[Key, float]
Merge = Literal["count", "sum", "largest", "own"]
"""How the samples of a family come together. ``count``: over workers and their predecessors. Of a state, which ends
with its worker: the ``sum`` of all workers', the ``largest``, or its ``own``, and the largest where it has none."""
How = Callable[[str], Merge]
_MOST = 1024


class SharedSamples:
    """One worker's place in a folder that only this server writes. One thread at a time."""

    def __init__(self, folder: Path, layout: str) -> None:
        """What was written with another ``layout`` does not count. Raises `ConfigError` where the folder cannot be
        written."""
        self._folder = folder
        self._layout = layout
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._number, self._lock = _place(folder)
        except OSError as error:
            raise ConfigError(f"cannot keep the workers' counts: {error.strerror}", where=str(folder)) from error
        self._before = self._read(self._number)

    def _file(self, number: int) -> Path:
        return self._folder / f"worker-{number}.json"

    def _read(self, number: int) -> Samples:
        try:
            held = orjson.loads(self._file(number).read_bytes())
            if held["layout"] != self._layout:
                return {}
            return {
                (family, name, tuple((label, value) for label, value in labels)): float(number)
                for family, name, labels, number in held["samples"]
            }
        except (OSError, ValueError, TypeError, KeyError):  # not there yet, or no file of ours
            return {}

    def write(self, samples: Samples, how: How) -> Samples:
        """Keep the samples of this process, and return them with those of its predecessors added."""
        inherited = {key: value for key, value in self._before.items() if how(key[0]) == "count"}
        added = {**inherited, **{key: value + inherited.get(key, 0.0) for key, value in samples.items()}}
        told = orjson.dumps({"layout": self._layout, "samples": [(*key, value) for key, value in added.items()]})
        fresh = self._file(self._number).with_suffix(".new")
        fresh.write_bytes(told)
        fresh.replace(self._file(self._number))  # whoever reads it reads a whole one
        return added

    def others(self) -> list[tuple[Samples, bool]]:
        """What the other places hold, and whether a worker is at each."""
        numbers = (int(path.stem.rpartition("-")[2]) for path in self._folder.glob("worker-*.json"))
        return [
            (self._read(number), _taken(self._folder, number)) for number in sorted(numbers) if number != self._number
        ]

    def close(self) -> None:
        """Leave the place to another."""
        os.close(self._lock)


def summed(own: Samples, others: Iterable[tuple[Samples, bool]], how: How) -> Samples:
    """What all workers show together; beside the samples of each other place, whether a worker is there."""
    total = dict(own)
    for samples, alive in others:
        for key, value in samples.items():
            merge = how(key[0])
            if merge == "count" or (alive and merge == "sum"):
                total[key] = total.get(key, 0.0) + value
            elif alive and (merge == "largest" or key not in own):
                total[key] = max(total.get(key, value), value)
    return total


def _place(folder: Path) -> tuple[int, int]:
    """The first place nobody holds, and the lock that holds it."""
    for number in range(_MOST):
        lock = os.open(_lock_file(folder, number), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return number, lock
    raise ConfigError(f"{_MOST} workers share it already", where=str(folder))


def _taken(folder: Path, number: int) -> bool:
    """Whether a worker holds the place. A shared lock: two that ask at once do not take each other for one."""
    try:
        lock = os.open(_lock_file(folder, number), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _lock_file(folder: Path, number: int) -> Path:
    return folder / f"worker-{number}.lock"
