"""Bringing an index up to date with its files: what is new is added, what changed replaced, what is gone removed.

Passages are put in by batches, each of which is there or not: a run that was killed is taken up where it was.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gate.errors import ConfigError
from gate.retrieval.chunking import chunks
from gate.retrieval.documents import Document, LeftOut
from gate.retrieval.folders import Listing
from gate.retrieval.index_file import IndexFile, Known, PassageRow
from gate.retrieval.reading import documents

BATCH = 256
"""Passages that are embedded and committed together."""
_NOTED = 100
"""Broken lines of one file that are told one by one."""
Embedding = Callable[[Sequence[str]], npt.NDArray[np.float64]]
"""Unit vectors of texts, [texts, dimensions]."""


@dataclass(slots=True)
class Indexed:
    """What a run did, in files, and what the index now holds."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    other_kinds: Counter[str] = field(default_factory=Counter)


def brought_up_to_date(
    index: IndexFile, listing: Listing, embed: Embedding | None, *, max_bytes: int, advance: Callable[[], None]
) -> Indexed:
    """Make the index hold what the files hold now. ``advance`` is called once for every file.

    A file that can no longer be read is left out, and what the index held of it goes with it.
    """
    done = Indexed(left_out=list(listing.left_out), other_kinds=listing.other_kinds)
    known = index.known()
    for source in known.keys() - listing.files.keys():
        index.remove(source)
        done.removed += 1
    index.commit()
    writing = _Writing(index, embed)
    for source, path in listing.files.items():
        try:
            _bring(writing, done, source, path, known.get(source), max_bytes)
        except ConfigError as error:
            done.left_out.append(LeftOut(source, str(error)))
            writing.drop(source)
            if source in known:
                done.removed += 1
        advance()
    writing.flush()
    done.passages = index.passages()
    if not index.settled:
        index.settle()
    return done


def _bring(writing: _Writing, done: Indexed, source: str, path: Path, known: Known | None, max_bytes: int) -> None:
    try:
        now = path.stat()
        same = known is not None and known.complete and (known.size, known.changed) == (now.st_size, now.st_mtime_ns)
        hash_ = "" if same else _hash(path)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or type(error).__name__}") from error
    if known is not None and known.complete and (same or known.hash == hash_):
        if not same:
            writing.index.touch(known.id, now.st_size, now.st_mtime_ns)
        done.unchanged += 1
        done.left_out += (LeftOut(source, note) for note in known.left_out)
        return
    if known is not None and known.hash == hash_:  # a run ended in the middle of it
        document, skip = known.id, known.passages
    else:
        document, skip = writing.begin(source, now, hash_), 0
    notes = _put_in(writing, source, path, document, skip, max_bytes)
    done.left_out += (LeftOut(source, note) for note in notes)
    if known is None:
        done.added += 1
    else:
        done.changed += 1


def _put_in(writing: _Writing, source: str, path: Path, document: int, skip: int, max_bytes: int) -> list[str]:
    """All passages of a file but the first ``skip``; what of it was left out."""
    notes: list[str] = []
    more = place = 0
    for part in documents(path, max_bytes):
        if isinstance(part, Document):
            for within, chunk in enumerate(chunks(part)):
                if place >= skip:
                    key = part.id + (f"#{within}" if within else "") if part.id else f"{source}#{place}"
                    writing.put(PassageRow(document, key, chunk.text, chunk.title, part.url or source, chunk.start))
                place += 1
        elif len(notes) < _NOTED:
            notes.append(f"{part.where} {part.reason}")
        else:
            more += 1
    if more:
        notes.append(f"{more} more lines")
    if not place:
        raise ConfigError("holds no text" + (f": {notes[0]}" if notes else ""))
    writing.finish(document, notes)
    return notes


@dataclass(slots=True)
class _Writing:
    """Collects passages into batches."""

    index: IndexFile
    embed: Embedding | None
    _rows: list[PassageRow] = field(default_factory=list)
    _finished: list[tuple[int, Sequence[str]]] = field(default_factory=list)

    def begin(self, source: str, now: os.stat_result, hash_: str) -> int:
        return self.index.begin(source, now.st_size, now.st_mtime_ns, hash_)

    def put(self, row: PassageRow) -> None:
        self._rows.append(row)
        if len(self._rows) >= BATCH:
            self.flush()

    def finish(self, document: int, left_out: Sequence[str]) -> None:
        self._finished.append((document, left_out))

    def drop(self, source: str) -> None:
        """A file turned out to be of no use: nothing of it stays."""
        self.flush()
        self.index.remove(source)
        self.index.commit()

    def flush(self) -> None:
        if self._rows:
            vectors = None
            if self.embed is not None:
                made = self.embed([f"{row.title}\n{row.text}" if row.title else row.text for row in self._rows])
                vectors = np.asarray(made, dtype=np.float32)
            self.index.add(self._rows, vectors)
            self._rows.clear()
        for document, left_out in self._finished:
            self.index.finish(document, left_out)
        self._finished.clear()
        self.index.commit()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
