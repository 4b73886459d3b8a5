"""The file of an index, as it is written: passages, their words (SQLite FTS5) and their vectors.

SQLite in write-ahead mode: whatever is killed meanwhile, the file holds what was last committed, and whoever reads it
sees one state. `gate.retrieval.index_snapshot` reads it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gate.errors import ConfigError
from gate.retrieval.chunking import VERSION as CHUNKING
from gate.retrieval.folding import folded

VERSION = f"1.{CHUNKING}"
COMMON = 0.01
"""Words that stand in more than this share of the passages, and in 500, are noted with their number: see `settle`."""
_MAGIC = b"SQLite format 3\x00"
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS documents (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, changed INTEGER NOT NULL,
    hash TEXT NOT NULL, passages INTEGER NOT NULL DEFAULT 0, digest TEXT NOT NULL DEFAULT '',
    complete INTEGER NOT NULL DEFAULT 0, left_out TEXT NOT NULL DEFAULT '[]');
CREATE TABLE IF NOT EXISTS passages (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, title TEXT NOT NULL,
    source TEXT NOT NULL, start INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS passages_document ON passages (document);
CREATE TABLE IF NOT EXISTS vectors (passage INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS common (term TEXT PRIMARY KEY, passages INTEGER NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(title, text);
CREATE VIRTUAL TABLE IF NOT EXISTS vocabulary USING fts5vocab(words, row);
COMMIT;
"""
TABLES = frozenset({"meta", "documents", "passages", "vectors", "words"})


@dataclass(frozen=True, slots=True)
class EmbedderRecord:
    """By which embedder an index has its vectors. Written as JSON; no key is among the options."""

    kind: str
    options: dict[str, Any]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the index holds of a file."""

    id: int
    size: int
    changed: int
    """When the file was last written to, in nanoseconds."""
    hash: str
    passages: int
    complete: bool
    """False where a run ended in the middle of it."""
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PassageRow:
    """A passage on its way into the index."""

    document: int
    key: str
    text: str
    title: str
    source: str
    start: int


class IndexFile:
    """An index that is written to, by one process at a time. What is not committed is not there.

    Raises `ConfigError` when another process writes to it, or when the file is none of gate's.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, lock: sqlite3.Connection) -> None:
        self.path = path
        self._db = database
        self._lock = lock

    @classmethod
    def open(cls, path: Path, *, rebuild: bool = False) -> Self:
        """Open an index, or begin one. ``rebuild`` throws away what is there."""
        if path.is_dir():
            raise ConfigError("a folder of this name stands there: name a file", where=str(path))
        if path.is_file() and path.stat().st_size and not is_index(path):
            raise ConfigError("this file is no index of 'gate index': give another --out", where=str(path))
        with told(path), ExitStack() as unless_opened:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _locked(path)
            unless_opened.callback(lock.close)
            if rebuild:
                for suffix in ("", "-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
            database = sqlite3.connect(path, isolation_level=None, timeout=30)
            unless_opened.callback(database.close)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(_SCHEMA)
            database.execute("INSERT OR IGNORE INTO meta VALUES ('version', ?)", (VERSION,))
            made = cls(path, database, lock)
            if (version := made.meta["version"]) != VERSION:
                raise ConfigError(
                    f"was made by another gate (index {version}, not {VERSION}): give --rebuild", where=str(path)
                )
            unless_opened.pop_all()
        return made

    def close(self) -> None:
        """What was not committed is gone."""
        if self._db.in_transaction:
            self._db.rollback()
        self._db.close()
        with suppress(OSError):  # on some systems an open file stays
            _lock_of(self.path).unlink(missing_ok=True)
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- what is there -------------------------------------------------------------------------------------------

    @property
    def meta(self) -> dict[str, str]:
        return dict(self._db.execute("SELECT name, value FROM meta"))

    @property
    def embedder(self) -> EmbedderRecord | None:
        """None without vectors."""
        return embedder_of(self.meta)

    @property
    def begun(self) -> bool:
        """Whether it was settled by which embedder vectors are made, or that none are."""
        return "embedder" in self.meta

    def choose(self, embedder: EmbedderRecord | None) -> None:
        """Settle it, once."""
        said = None
        if embedder is not None:
            said = {"kind": embedder.kind, "options": embedder.options, "fingerprint": embedder.fingerprint}
        self._db.execute("INSERT INTO meta VALUES ('embedder', ?)", (json.dumps(said),))

    def known(self) -> dict[str, Known]:
        """The files that are in it, by where they are."""
        rows = self._db.execute("SELECT source, id, size, changed, hash, passages, complete, left_out FROM documents")
        return {
            source: Known(id_, size, changed, hash_, passages, bool(complete), tuple(json.loads(left_out)))
            for source, id_, size, changed, hash_, passages, complete, left_out in rows
        }

    def passages(self) -> int:
        count: int = self._db.execute("SELECT coalesce(sum(passages), 0) FROM documents").fetchone()[0]
        return count

    # --- changes -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        if self._db.in_transaction:
            self._db.commit()

    def begin(self, source: str, size: int, changed: int, hash_: str) -> int:
        """A file that is new, or other than it was: what was held of it goes. Its number."""
        self.remove(source)
        row = (source, size, changed, hash_)
        made = self._db.execute("INSERT INTO documents (source, size, changed, hash) VALUES (?, ?, ?, ?)", row)
        return int(made.lastrowid or 0)

    def remove(self, source: str) -> None:
        self._begin()
        self._db.execute("DELETE FROM meta WHERE name = 'settled'")
        found = self._db.execute("SELECT id FROM documents WHERE source = ?", (source,)).fetchone()
        if found is None:
            return
        for statement in (
            "DELETE FROM words WHERE rowid IN (SELECT id FROM passages WHERE document = ?)",
            "DELETE FROM vectors WHERE passage IN (SELECT id FROM passages WHERE document = ?)",
            "DELETE FROM passages WHERE document = ?",
            "DELETE FROM documents WHERE id = ?",
        ):
            self._db.execute(statement, found)

    def touch(self, document: int, size: int, changed: int) -> None:
        """The same file, written anew."""
        self._begin()
        self._db.execute("UPDATE documents SET size = ?, changed = ? WHERE id = ?", (size, changed, document))

    def add(self, rows: Sequence[PassageRow], vectors: npt.NDArray[np.float32] | None) -> None:
        """Passages with their vectors, [passages, dimensions]."""
        self._begin()
        if vectors is not None and len(rows):
            self._check(vectors.shape[1])
        digests: dict[int, tuple[str, int]] = {}
        for place, row in enumerate(rows):
            made = self._db.execute(
                "INSERT INTO passages (document, key, text, title, source, start) VALUES (?, ?, ?, ?, ?, ?)",
                (row.document, row.key, row.text, row.title, row.source, row.start),
            )
            folds = (made.lastrowid, folded(row.title), folded(row.text))
            self._db.execute("INSERT INTO words (rowid, title, text) VALUES (?, ?, ?)", folds)
            if vectors is not None:
                blob = vectors[place].astype("<f2").tobytes()
                self._db.execute("INSERT INTO vectors VALUES (?, ?)", (made.lastrowid, blob))
            before, count = digests.get(row.document) or self._digest(row.document)
            told = f"{before}\0{row.key}\0{row.title}\0{row.source}\0{row.start}\0{row.text}"
            digests[row.document] = hashlib.sha256(told.encode()).hexdigest(), count + 1
        for document, (digest, count) in digests.items():
            self._db.execute("UPDATE documents SET digest = ?, passages = ? WHERE id = ?", (digest, count, document))

    def _check(self, dimensions: int) -> None:
        held = int(self.meta.get("dimensions", dimensions))
        if held != dimensions:
            raise ConfigError(
                f"the embedder gave vectors of {dimensions} numbers, after {held} before", where=str(self.path)
            )
        self._db.execute("INSERT OR IGNORE INTO meta VALUES ('dimensions', ?)", (str(dimensions),))

    def _digest(self, document: int) -> tuple[str, int]:
        digest, count = self._db.execute("SELECT digest, passages FROM documents WHERE id = ?", (document,)).fetchone()
        return digest, count

    def finish(self, document: int, left_out: Sequence[str]) -> None:
        """All of a file is in, but for these parts."""
        said = json.dumps(list(left_out))
        self._db.execute("UPDATE documents SET complete = 1, left_out = ? WHERE id = ?", (said, document))

    @property
    def settled(self) -> bool:
        """Whether nothing was changed since ``settle``."""
        return "settled" in self.meta

    def settle(self) -> None:
        """Note the words that stand in many passages: a search then need not count them to know them for common."""
        least = max(500, COMMON * self.passages())
        self._begin()
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('settled', '1')")
        self._db.execute("DELETE FROM common")
        self._db.execute("INSERT INTO common SELECT term, doc FROM vocabulary WHERE doc > ?", (least,))
        self.commit()
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")


def embedder_of(meta: dict[str, str]) -> EmbedderRecord | None:
    said = json.loads(meta.get("embedder", "null"))
    return None if said is None else EmbedderRecord(said["kind"], said["options"], said["fingerprint"])


def is_index(path: Path) -> bool:
    """Whether a file is an index of gate's."""
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return False
        with closing(read_only(path)) as database:
            there = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    except (OSError, sqlite3.Error):
        return False
    return not there or there >= TABLES


def read_only(path: Path) -> sqlite3.Connection:
    """A connection in a transaction that sees the file as it is now."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    try:
        return _begun(address)
    except sqlite3.OperationalError:  # a folder that nothing may be written to: then nobody changes the index either
        return _begun(f"{address}&immutable=1")


def _begun(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None, timeout=30)
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What goes wrong with the file, as the one error that names it."""
    try:
        yield
    except sqlite3.Error as error:
        raise ConfigError(f"this index cannot be used: {error}", where=str(path)) from error
    except OSError as error:
        raise ConfigError(f"this index cannot be used: {error.strerror or error}", where=str(path)) from error


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _locked(path: Path) -> sqlite3.Connection:
    """A lock that ends with the process, however it ends, on any system: an empty database that is held."""
    lock = sqlite3.connect(_lock_of(path), isolation_level=None, timeout=0)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if "locked" not in str(error):
            raise
        raise ConfigError(
            "another 'gate index' is writing to this index: wait until it is done", where=str(path)
        ) from error
    return lock
