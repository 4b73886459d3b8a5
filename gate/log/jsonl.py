"""Traces as JSON lines: one `TraceRecord` a line, appended whole."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from pydantic import TypeAdapter, ValidationError

from gate.errors import ConfigError
from gate.traces import STATES_NOT_KEPT, TraceRecord
from gate.types import Generation, Generations

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
    brought = record.brought and dataclasses.replace(record.brought, passages=())
    return dataclasses.replace(record, question=None, tape=(), outcome=None, brought=brought)


def without_states(record: TraceRecord) -> TraceRecord:
    """The record without what was read inside models. A replay that needs it then says that it cannot tell."""
    tape = tuple(
        entry if entry.generations is None else dataclasses.replace(entry, generations=_bare(entry.generations))
        for entry in record.tape
    )
    outcome = record.outcome
    if outcome is not None:
        kept, held_back = (each and _stateless(each) for each in (outcome.generation, outcome.withheld))
        outcome = dataclasses.replace(outcome, generation=kept, withheld=held_back)
    return dataclasses.replace(record, tape=tape, outcome=outcome)


def _bare(held: Generations) -> Generations:
    return dataclasses.replace(held, choices=tuple(map(_stateless, held.choices)))


def _stateless(generation: Generation) -> Generation:
    if generation.states is None:
        return generation
    return dataclasses.replace(generation, states=None, no_states=STATES_NOT_KEPT)


class TraceFile:
    """Appends records to a file, one line each. Safe to share between threads of one process.

    Text is dropped unless ``text`` is true: what users write is theirs. Internal states, from which text can be told,
    are kept beside it where ``states`` is true too.
    """

    def __init__(self, path: Path, *, text: bool = False, states: bool = False) -> None:
        self._path = path
        self._text = text
        self._states = states
        self._lock = Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, record: TraceRecord) -> None:
        kept = record if self._text else without_text(record)
        line = to_json(kept if self._states else without_states(kept)) + b"\n"
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
