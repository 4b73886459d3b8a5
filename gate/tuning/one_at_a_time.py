"""One process at a time works on a file: a lock beside it, which ends with the process however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gate.errors import ConfigError


@contextmanager
def one_at_a_time(path: Path, busy: str) -> Iterator[None]:
    """Raises `ConfigError`, which says ``busy``, where another process is within the same block for the same file, and
    where the lock cannot be made beside it."""
    if os.name != "posix":  # there is no such lock, and nobody is kept out
        yield
        return
    beside = path.resolve().with_name(f".{path.name}.lock")
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot make a lock beside this file: {error.strerror}", where=str(path)) from error
    try:
        try:
            held = _held(lock, beside)
        except OSError as error:
            said = f"the file system of this file knows no locks ({error.strerror}): put it on another"
            raise ConfigError(said, where=str(path)) from error
        if not held:
            raise ConfigError(busy, where=str(path))
        try:
            yield
        finally:
            beside.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _held(lock: int, beside: Path) -> bool:
    """False where another process holds it, or took it away meanwhile. Raises `OSError` where there are no locks."""
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(lock).st_ino == beside.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
