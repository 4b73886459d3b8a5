"""Traces as JSON lines: one `TraceRecord` a line, appended whole."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from pydantic import TypeAdapter, ValidationError

from gate.errors import ConfigError
from gate.types import TraceRecord

_ADAPTER = TypeAdapter(TraceRecord)


def to_json(record: TraceRecord) -> bytes:
    """One line. The standard library's JSON holds what stricter ones refuse: lone surrogates and infinities."""
    return json.dumps(_ADAPTER.dump_python(record), separators=(",", ":")).encode()


def from_json(line: bytes | str) -> TraceRecord:
    """Raises ValueError for what is no record."""
    return _ADAPTER.validate_python(json.loads(line))


def without_text(record: TraceRecord) -> TraceRecord:
    """The record with numbers and reasons only: no question, no answer, no passages, nothing a server said.

    What stays in words is gate's own: an error is kept as upstream, cause and status, and whatever reason a step gives
    for a missing signal or a closed way is made of those (`UpstreamError.said` is in the tape alone). Such a record can
    be explained but not replayed.
    """
    return dataclasses.replace(record, question=None, tape=(), outcome=None)


class TraceFile:
    """Appends records to a file, one line each. Safe to share between threads of one process.

    Text is dropped unless ``text`` is true: what users write is theirs.
    """

    def __init__(self, path: Path, *, text: bool = False) -> None:
        self._path = path
        self._text = text
        self._lock = Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, record: TraceRecord) -> None:
        line = to_json(record if self._text else without_text(record)) + b"\n"
        with self._lock, self._path.open("ab") as file:
            file.write(line)


def read(path: Path) -> Iterator[TraceRecord]:
    """Every record of a file. Raises `ConfigError` with the line of the first that is broken."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield record_of(line, f"{path}:{number}")
    except OSError as error:
        raise ConfigError(f"cannot read the trace: {error.strerror}", where=str(path)) from error


def record_of(line: bytes | str, where: str) -> TraceRecord:
    """The record of a line. Raises `ConfigError` for what is none."""
    try:
        return from_json(line)
    except ValueError as error:  # pydantic's and JSON's own are both of this kind
        cause = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigError(f"not a trace record: {cause}", where=where) from error
