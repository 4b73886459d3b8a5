"""Which files a policy is made of, and whether any has changed: by a look at each, and by content after that."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from gate.errors import ConfigError
from gate.policy import find

_LARGE = 32 * 2**20
"""Bytes beyond which a file is told apart by its time and size alone: indexes are read seldom, and not for this."""
_MOST = 100
"""Files of a folder that are looked at."""
_LONGEST = 300
"""Characters of what can be a path."""


@dataclass(frozen=True, slots=True)
class Sight:
    """One file as it was seen. ``digest`` is of its content, "" where it is not there."""

    stat: tuple[int, int, int] | None
    """Time in nanoseconds, size and inode."""
    digest: str


Sights = Mapping[Path, Sight]
_NOTHING = Sight(None, "")


def sights_of(paths: Iterable[Path], before: Sights | None = None) -> dict[Path, Sight]:
    """What is seen of each now; content is read only where a look shows something else than ``before``."""
    known = before or {}
    return {path: _look(path, known.get(path)) for path in paths}


def changed(before: Sights, now: Sights) -> bool:
    """Whether the content of any file that was seen before is another now."""
    return any(now.get(path, _NOTHING).digest != sight.digest for path, sight in before.items())


def files_of(source: str) -> frozenset[Path]:
    """The policy file, and whatever it says that may be a file beside it: one that is not there may come.

    What cannot be read as YAML names none.
    """
    try:
        path = find(source)
    except ConfigError:
        return frozenset()
    try:
        said = tuple(_texts(yaml.safe_load(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        said = ()
    named = (path.parent / text for text in said if _may_be_path(text))
    return frozenset((path, *(file for place in named for file in _inside(place))))


def _may_be_path(text: str) -> bool:
    return len(text) <= _LONGEST and text.isprintable() and text.strip("./ ") != ""


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for each in value.values():
                yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)


def _inside(path: Path) -> Iterator[Path]:
    """The file itself; of a folder the files in it."""
    try:
        if not path.is_dir():
            yield path
            return
        listed = sorted(entry.path for entry in os.scandir(path) if entry.is_file())
    except OSError:
        return
    yield from map(Path, listed[:_MOST])


def _look(path: Path, before: Sight | None) -> Sight:
    try:
        found = path.stat()
        stat = found.st_mtime_ns, found.st_size, found.st_ino
        if before is not None and before.stat == stat:
            return before
        if found.st_size > _LARGE:
            return Sight(stat, f"{stat[0]}:{stat[1]}")
        return Sight(stat, hashlib.sha256(path.read_bytes()).hexdigest())
    except (OSError, ValueError):  # not there, no path at all, or gone meanwhile
        return _NOTHING
