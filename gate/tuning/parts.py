"""A log in parts: the same work on each, here or in a Ray cluster, over logs larger than memory, and never done twice.

A part is so many lines, one after the other. What came of it stands in a file that is named by what went in: the lines
and the work's fingerprint. The file is there whole or not at all. So a run that was killed goes on where it was, and
one over a log that has grown does what is new. The rows come in the order of the log, wherever they were made.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from gate.errors import ConfigError, GateError, MissingExtra
from gate.tuning.collection import is_collection
from gate.tuning.decision_log import Records, parsed
from gate.tuning.joining import CLIENT, place_of
from gate.tuning.whole_file import written_whole

SIZE, BYTES = 20_000, 16 * 2**20
"""The most lines of a part, and the bytes after which it takes no more: of those kept with text it holds few."""
LOCAL, ACROSS = "local", "ray"
"""Where parts are done: in this process, or in the Ray cluster of this machine. Another is ``host:6379``."""
Rows = Iterable[Mapping[str, Any]]


class Work(Protocol):
    """What is done with the records of a part. Where a cluster does it, it is pickled: plain values and paths."""

    @property
    def fingerprint(self) -> str:
        """Another where the same records would give other rows."""
        ...

    def rows(self, records: Records) -> Rows:
        """JSON objects. Raises `GateError`."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of a log, by where they lie in it."""

    log: str
    number: int
    first_line: int
    offset: int
    """Bytes before it. ``length``: its bytes."""
    length: int
    digest: str

    def records(self) -> Records:
        """One line after the other. Raises `ConfigError` for what is not JSON; and at the end where the log has changed
        since it was parted."""
        left, said = self.length, hashlib.sha256()
        try:
            with Path(self.log).open("rb") as file:
                file.seek(self.offset)
                number = self.first_line
                while left > 0 and (line := file.readline(left)):
                    left -= len(line)
                    said.update(line)
                    if line.strip():
                        yield f"{self.log}:{number}", parsed(line, f"{self.log}:{number}")
                    number += 1
        except OSError as error:
            raise ConfigError(f"cannot read the log: {error.strerror}", where=self.log) from error
        if said.hexdigest() != self.digest:
            raise ConfigError("the log has changed since the work on it began: run it again", where=self.log)

    def file_in(self, folder: Path, work: Work) -> Path:
        """Where what came of it stands."""
        named = hashlib.sha256(f"{self.digest} {work.fingerprint}".encode()).hexdigest()
        return folder / f"{named[:32]}.jsonl"


def parts_of(log: Path, size: int | None = None) -> Iterator[Part]:
    """Reads the log once, a part at a time. Raises `ConfigError`."""
    if is_collection(log):
        raise ConfigError("this is a collection, where a decision log is wanted", where=str(log))
    place, most = str(log), size or SIZE
    number, line, offset = 0, 1, 0
    try:
        with log.open("rb") as file:
            while (lines := _lines(file, most))[0]:
                count, length, digest = lines
                yield Part(place, number, line, offset, length, digest)
                number, line, offset = number + 1, line + count, offset + length
    except OSError as error:
        raise ConfigError(f"cannot read the log: {error.strerror}", where=str(log)) from error


def _lines(file: BinaryIO, most: int) -> tuple[int, int, str]:
    """The next lines of a part: how many, their bytes, and their digest."""
    count, length, said = 0, 0, hashlib.sha256()
    for line in islice(file, most):
        count, length = count + 1, length + len(line)
        said.update(line)
        if length >= BYTES:
            break
    return count, length, said.hexdigest()


def map_records(
    log: Path,
    work: Work,
    *,
    on: str = LOCAL,
    folder: Path | None = None,
    size: int | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Iterator[Mapping[str, Any]]:
    """The rows that the work makes of a log, in its order.

    ``on``: ``local``, ``ray`` (the cluster of this machine) or ``host:6379``. ``folder``: where finished parts stand; a
    cluster needs one that all its nodes see, as they must see the log and the policy. ``progress`` is called after each
    part. Raises `ConfigError`, and what the work raises: `ConfigError` instead from a cluster.
    """
    if on == LOCAL and folder is None:
        for part in parts_of(log, size):
            yield from work.rows(part.records())
            progress()
        return
    folder = checked(on, folder)
    parts = list(parts_of(log.resolve(), size))
    todo = [part for part in parts if not _is_whole(part.file_in(folder, work))]
    _do(todo, work, folder, on, progress)
    for part in parts:
        yield from _kept(part.file_in(folder, work))


def checked(on: str, folder: Path | None) -> Path:
    """The folder of the parts, in full; it is made. Raises `ConfigError` where parts cannot be done there, or not on
    this, and `MissingExtra` without Ray: before anything else is begun."""
    if folder is None:
        raise ConfigError("a cluster needs a folder that all its nodes see for finished parts: give --parts")
    if on not in {LOCAL, ACROSS}:
        _check_address(on)
    if on != LOCAL and find_spec("ray") is None:
        raise MissingExtra("ray", "ray")
    folder = folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder of the parts cannot be made: {error.strerror}", where=str(folder)) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError("the folder of the parts cannot be written", where=str(folder))
    return folder


def _check_address(on: str) -> None:
    host, _, port = on.rpartition(":")
    if on.startswith(CLIENT):
        at = f"{host.removeprefix(CLIENT)}:6379"
        said = f"work on logs does not go through Ray Client ({on}): on a node of that cluster, give --on {ACROSS}"
        raise ConfigError(f"{said} or --on {at}")
    if not host or not port.isdigit():
        raise ConfigError(f"this runs on {LOCAL}, {ACROSS} or host:6379, not on {on!r}")
    place_of(on)


def _do(todo: list[Part], work: Work, folder: Path, on: str, progress: Callable[[], None]) -> None:
    if on == LOCAL:
        for part in todo:
            finish(part, work, folder)
            progress()
    elif todo:
        from gate.tuning.ray_parts import finish_on_ray

        finish_on_ray(todo, work, folder, on, progress)


def finish(part: Part, work: Work, folder: Path) -> None:
    """Do the work on one part, and keep what came of it. The last line says how many rows there are, and their digest:
    what a volume of the network kept only a piece of is seen."""
    count, said = 0, hashlib.sha256()
    with written_whole(part.file_in(folder, work), overwrite=True) as file:
        for row in work.rows(part.records()):
            line = json.dumps(row, separators=(",", ":")).encode() + b"\n"
            file.write(line)
            said.update(line)
            count += 1
        file.write(_closing(count, said.hexdigest()))


def _closing(count: int, digest: str) -> bytes:
    return json.dumps({"rows": count, "sha256": digest}).encode() + b"\n"


def try_to_finish(part: Part, work: Work, folder: Path) -> str:
    """As `finish`; what was wrong, or ""."""
    try:
        finish(part, work, folder)
    except GateError as error:
        return str(error)
    return ""


def _is_whole(path: Path) -> bool:
    """Whether a part is there as it was written; one that is not is done anew."""
    count, said, last = 0, hashlib.sha256(), None
    try:
        with path.open("rb") as file:
            for line in file:
                if last is not None:
                    said.update(last)
                    count += 1
                last = line
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(f"a finished part cannot be read: {error.strerror}", where=str(path)) from error
    return last == _closing(count, said.hexdigest())


def _kept(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open("rb") as file:
            last = None
            for line in file:
                if last is not None:
                    yield json.loads(last)
                last = line
    except (OSError, ValueError) as error:
        raise ConfigError(f"a finished part cannot be read: {error}; run this again", where=str(path)) from error
