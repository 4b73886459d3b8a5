"""An index as it is read: one state of the file, whatever is written to it meanwhile.

Every connection holds a read transaction of the same state from the beginning. A gateway so serves the index it was
loaded with, the one that its certificate is held against; what was indexed since is served once it is loaded again.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import LifoQueue
from threading import Lock

from gate.errors import ConfigError
from gate.retrieval.index_file import VERSION, embedder_of, is_index, read_only, told
from gate.retrieval.vectors import VectorBlocks
from gate.types import Passage

_CONNECTIONS = 2
"""Searches that run side by side; more wait, some milliseconds each."""
_POSTINGS = 5_000
"""Occurrences of common words that a search looks at: a bound on time. Rare words are always looked at."""
_TRIES = 10


class IndexSnapshot:
    """Raises `ConfigError` when there is no index at ``path``, or one that cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ConfigError("there is no such index: 'gate index FOLDER --out INDEX' makes one", where=str(path))
        if not is_index(path):
            raise ConfigError("this file is no index of 'gate index'", where=str(path))
        self._loading = Lock()
        self._loaded: VectorBlocks | None = None
        with told(path):
            opened, self._state = _of_one_state(path)
        self._free: LifoQueue[sqlite3.Connection] = LifoQueue()
        for connection in opened:
            self._free.put(connection)
        self._closing = weakref.finalize(self, _close, opened)
        with told(path), self._connection() as db:
            meta = dict(db.execute("SELECT name, value FROM meta"))
            if (version := meta.get("version")) != VERSION:
                raise ConfigError(
                    f"was made by another gate (index {version}, not {VERSION}): index anew with --rebuild",
                    where=str(path),
                )
            self.embedder = embedder_of(meta)
            self.count: int = db.execute("SELECT coalesce(sum(passages), 0) FROM documents").fetchone()[0]
            self._common: Mapping[str, int] = dict(db.execute("SELECT term, passages FROM common"))
        if not self.count:
            raise ConfigError("this index holds no passages", where=str(path))

    @property
    def fingerprint(self) -> str:
        """Of the passages and of the embedder of their vectors."""
        by = self.embedder.fingerprint if self.embedder else ""
        return hashlib.sha256(f"{VERSION}\0{by}\0{self._state}".encode()).hexdigest()[:16]

    def close(self) -> None:
        """Nothing can be found any more. Closing twice does nothing."""
        self._closing()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = self._free.get()
        try:
            yield connection
        finally:
            self._free.put(connection)

    def rarities(self, words: Iterable[str]) -> dict[str, float]:
        """How much a word tells, by the passages it stands in: idf = ln(1 + (N - n + .5) / (n + .5))."""
        with self._connection() as db:
            counts = {word: self._count(db, word) for word in words}
        return {word: math.log1p((self.count - n + 0.5) / (n + 0.5)) for word, n in counts.items()}

    def _count(self, db: sqlite3.Connection, word: str) -> int:
        if (common := self._common.get(word)) is not None:
            return common
        found = db.execute("SELECT doc FROM vocabulary WHERE term = ?", (word,)).fetchone()
        return found[0] if found else 0

    def by_words(self, words: Sequence[str], most: int, title_weight: float) -> list[int]:
        """The passages that BM25 puts first, best first. Common words count as far as time allows, rarest first."""
        chosen = self._affordable(words)
        if not chosen:
            return []
        match = " OR ".join(f'"{word}"' for word in chosen)  # in quotes nothing is an operator
        with self._connection() as db:
            rows = db.execute(
                "SELECT rowid FROM words WHERE words MATCH ? AND rank MATCH ? ORDER BY rank LIMIT ?",
                (match, f"bm25({float(title_weight)}, 1.0)", most),
            )
            return [id_ for (id_,) in rows]

    def _affordable(self, words: Sequence[str]) -> list[str]:
        chosen = [word for word in words if word not in self._common]
        left = _POSTINGS
        for word in sorted((word for word in words if word in self._common), key=self._common.__getitem__):
            left -= self._common[word]
            if left < 0 and chosen:
                break
            chosen.append(word)
        return chosen

    @property
    def vectors(self) -> VectorBlocks:
        """All vectors, read with the first search and held in memory from then on."""
        with self._loading:
            if self._loaded is None:
                with told(self.path), self._connection() as db:
                    rows = db.execute("SELECT passage, vector FROM vectors ORDER BY passage")
                    self._loaded = VectorBlocks(self.count, rows)
        return self._loaded

    def passages(self, ids: Sequence[int]) -> list[Passage]:
        """In this order, with a score of nought."""
        marks = ",".join("?" * len(ids))
        asked = f"SELECT id, key, text, title, source, start FROM passages WHERE id IN ({marks})"  # noqa: S608 - marks
        with self._connection() as db:
            rows = {
                id_: Passage(key, text, title=title, source=source, start=start)
                for id_, key, text, title, source, start in db.execute(asked, tuple(ids))
            }
        return [rows[id_] for id_ in ids]


def _of_one_state(path: Path) -> tuple[list[sqlite3.Connection], str]:
    """Connections that all see the same state, with what tells it apart from any other."""
    for _ in range(_TRIES):
        opened = [read_only(path) for _ in range(_CONNECTIONS)]
        states = [_state(connection) for connection in opened]
        if len(set(states)) == 1:
            return opened, states[0]
        _close(opened)
    raise ConfigError("this index is being changed too fast to be read: try again", where=str(path))


def _state(db: sqlite3.Connection) -> str:
    digest = hashlib.sha256()
    for source, of_passages in db.execute("SELECT source, digest FROM documents ORDER BY source"):
        digest.update(f"{source}\0{of_passages}\0".encode())
    return digest.hexdigest()


def _close(opened: Iterable[sqlite3.Connection]) -> None:
    for connection in opened:
        connection.close()
