"""A collection: labelled questions, every reply that was had for them, and what was made of the answers. One file.

SQLite in write-ahead mode, so that nothing that was paid for is lost however the process ends, and so that a collection
of any size is read row by row. ``gate collect`` fills it, ``gate grade`` labels its answers, ``gate tune`` and
``gate eval`` read it. It holds the questions and answers in clear: treat it as the traffic it came from.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter

from gate.errors import ConfigError
from gate.traces import TapeEntry
from gate.tuning.conversations import digest, question_key
from gate.tuning.examples import Example, Split
from gate.types import Cost

VERSION = 1
_AT_ONCE = 64
"""Questions read at a time."""
SHARES = "shares"
"""Name under which ``meta`` holds how a collection was split, once a policy was tuned on it."""
MAGIC = b"SQLite format 3\x00"
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS examples (
    place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, request TEXT NOT NULL UNIQUE, question TEXT NOT NULL,
    example BLOB NOT NULL,
    tape BLOB, answers TEXT, cost TEXT, failure TEXT);
CREATE INDEX IF NOT EXISTS examples_question ON examples (question);
CREATE TABLE IF NOT EXISTS journal (place INTEGER NOT NULL, entry BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS journal_place ON journal (place);
CREATE TABLE IF NOT EXISTS labels (
    id TEXT NOT NULL, answer TEXT NOT NULL, correct INTEGER, grader TEXT NOT NULL, reason TEXT NOT NULL,
    human INTEGER NOT NULL, PRIMARY KEY (id, answer, human));
INSERT OR IGNORE INTO meta VALUES ('version', '{VERSION}');
COMMIT;
"""  # noqa: S608 - a number of ours
"""All of it or none: a process that is killed meanwhile leaves no half of it."""
_TABLES = frozenset({"meta", "examples", "journal", "labels"})
_EXAMPLE = TypeAdapter(Example)
_TAPE = TypeAdapter(tuple[TapeEntry, ...])
_ENTRY = TypeAdapter(TapeEntry)
_COST = TypeAdapter(Cost)


@dataclass(frozen=True, slots=True)
class Label:
    """Whether an answer is right, and who says so. ``correct`` is None where the grader could not tell."""

    correct: bool | None
    grader: str
    reason: str = ""
    human: bool = False


@dataclass(frozen=True, slots=True)
class Collected:
    """One question with everything known of it. ``labels`` are by answer text; a person's goes before a grader's."""

    place: int
    example: Example
    tape: tuple[TapeEntry, ...]
    answers: Mapping[str, str]
    """The draft of each round, by `gate.types.Stage.round_key`."""
    labels: Mapping[str, Label]

    def correct(self, answer: str) -> bool | None:
        label = self.labels.get(answer)
        return None if label is None else label.correct


@dataclass(frozen=True, slots=True)
class Added:
    """What became of the questions of a file."""

    new: int
    known: int
    """Already in the collection, from an earlier run."""
    repeated: int
    """The same question again under another id: asked once."""


class Collection:
    """The file. Safe to share between threads of one process."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: Path, *, alone: bool = False) -> Self:
        """Open a collection, or begin one where there is none. ``alone``: no other process may have it open meanwhile,
        and so it may lie on a volume of the network. Raises `ConfigError`."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make the folder: {error.strerror}", where=str(path.parent)) from error
        return cls._open(path, alone)

    @classmethod
    def open(cls, path: Path, *, alone: bool = False) -> Self:
        """Open one that is there. Raises `ConfigError`."""
        if not path.is_file():
            raise ConfigError("there is no such collection: 'gate collect' makes one", where=str(path))
        return cls._open(path, alone)

    @classmethod
    def _open(cls, path: Path, alone: bool) -> Self:
        if path.is_file() and path.stat().st_size and not is_collection(path):
            raise ConfigError("this file is no collection of 'gate collect'", where=str(path))
        with _told(path), ExitStack() as unless_prepared:
            connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            unless_prepared.callback(connection.close)
            if alone:  # write-ahead mode then needs no memory shared between processes
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            _prepare(connection, path)
            unless_prepared.pop_all()
        return cls(path, connection)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def meta(self) -> dict[str, str]:
        """What is said of the whole: ``version``, ``policy`` (name), ``running`` (JSON of fingerprints)."""
        return dict(self._rows("SELECT name, value FROM meta"))

    def remember(self, **said: str) -> None:
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", said.items())

    # --- questions -----------------------------------------------------------------------------------------------

    def add(self, examples: Iterable[Example]) -> Added:
        """Put questions in. Raises `ConfigError`, with nothing put in, when one contradicts what is there."""
        became: Counter[str] = Counter()
        with self._writing():
            became.update(map(self._add, examples))
        return Added(became["new"], became["known"], became["repeated"])

    def _add(self, example: Example) -> str:
        id_, request, packed = _text(example.id), _request_key(example), _packed(_EXAMPLE.dump_python(example))
        question = question_key(example.question, example.passages)
        self._check_split(example, question)
        twin = self._db.execute("SELECT id, example FROM examples WHERE request = ?", (request,)).fetchone()
        if twin is None:
            if self._db.execute("SELECT 1 FROM examples WHERE id = ?", (id_,)).fetchone():
                raise ConfigError(f"the id {example.id!r} stands for another question already", where=str(self.path))
            row = (id_, request, question, packed)
            self._db.execute("INSERT INTO examples (id, request, question, example) VALUES (?, ?, ?, ?)", row)
            return "new"
        if twin[0] != id_:
            return "repeated"
        self._check_kept(_EXAMPLE.validate_python(_unpacked(twin[1])), example)
        self._db.execute("UPDATE examples SET example = ? WHERE id = ?", (packed, id_))
        return "known"

    def _check_kept(self, held: Example, example: Example) -> None:
        """What a policy was fitted on must not come to judge it."""
        split = self._db.execute("SELECT 1 FROM meta WHERE name = ?", (SHARES,)).fetchone()
        if split and held.split != example.split:
            raise ConfigError(
                f"a policy was tuned on this collection with the question {example.id!r} in "
                f"{_splits(held.split, example.split)[0]}: keep it there, or collect anew",
                where=str(self.path),
            )

    def _check_split(self, example: Example, question: str) -> None:
        """The same question must not be tuned on and judged on, whatever instructions it comes with."""
        for (packed,) in self._db.execute("SELECT example FROM examples WHERE question = ?", (question,)).fetchall():
            held: Example = _EXAMPLE.validate_python(_unpacked(packed))
            if held.id != example.id and held.split != example.split:
                splits = " and ".join(_splits(held.split, example.split))
                raise ConfigError(
                    f"the questions {held.id!r} and {example.id!r} are the same, but are in {splits}: what is tuned on "
                    "one must not be judged on the other; give both the same split, or none",
                    where=str(self.path),
                )

    def todo(self) -> list[int]:
        """Places of the questions without full evidence."""
        return [place for (place,) in self._rows("SELECT place FROM examples WHERE tape IS NULL ORDER BY place")]

    def example(self, place: int) -> Example:
        ((packed,),) = self._rows("SELECT example FROM examples WHERE place = ?", (place,))
        found: Example = _EXAMPLE.validate_python(_unpacked(packed))
        return found

    def place_todo(self, id_: str) -> int | None:
        """Where the question of this id stands; None where there is none, or it has full evidence."""
        found = self._rows("SELECT place FROM examples WHERE id = ? AND tape IS NULL", (_text(id_),))
        return int(found[0][0]) if found else None

    def count(self) -> tuple[int, int]:
        """Questions, and those of them with full evidence."""
        ((all_, done),) = self._rows("SELECT count(*), count(tape) FROM examples")
        return all_, done

    @property
    def has_replies(self) -> bool:
        """Whether any reply is held, of a question that is finished or under way."""
        if self.count()[1]:
            return True
        begun = self._rows("SELECT entry FROM journal")
        return any(_ENTRY.validate_python(_unpacked(packed)).failure is None for (packed,) in begun)

    def spent(self) -> Cost:
        """What all that was collected cost."""
        finished = self._rows("SELECT cost FROM examples WHERE cost IS NOT NULL")
        begun = self._rows("SELECT entry FROM journal")
        costs = [_COST.validate_python(json.loads(cost)) for (cost,) in finished]
        costs += [_ENTRY.validate_python(_unpacked(packed)).cost for (packed,) in begun]
        return sum(costs, Cost())

    # --- evidence ------------------------------------------------------------------------------------------------

    def journal(self, place: int, entries: Sequence[TapeEntry]) -> None:
        """Keep replies of a question under way, and what failed: it cost something too."""
        rows = [(place, _packed(_ENTRY.dump_python(entry))) for entry in entries]
        self._write("INSERT INTO journal VALUES (?, ?)", rows)

    def journaled(self, place: int) -> list[TapeEntry]:
        rows = self._rows("SELECT entry FROM journal WHERE place = ? ORDER BY rowid", (place,))
        return [_ENTRY.validate_python(_unpacked(packed)) for (packed,) in rows]

    def finish(self, place: int, tape: Sequence[TapeEntry], answers: Mapping[str, str], cost: Cost) -> None:
        """A question's evidence is complete."""
        row = (_packed(_TAPE.dump_python(tuple(tape))), _text(dict(answers)), _text(_COST.dump_python(cost)))
        with self._writing():
            self._db.execute(
                "UPDATE examples SET tape = ?, answers = ?, cost = ?, failure = NULL WHERE place = ?", (*row, place)
            )
            self._db.execute("DELETE FROM journal WHERE place = ?", (place,))

    def fail(self, place: int, reason: str) -> None:
        """A request of the question failed. It stays to be done."""
        self._write("UPDATE examples SET failure = ? WHERE place = ?", [(_text(reason), place)])

    def failure(self, place: int) -> str | None:
        """Why it could not be finished when it was last tried; None where it was not tried, or is finished."""
        ((reason,),) = self._rows("SELECT failure FROM examples WHERE place = ?", (place,))
        return None if reason is None else str(json.loads(reason))

    def cost(self, place: int) -> Cost:
        """What a finished question cost."""
        ((cost,),) = self._rows("SELECT cost FROM examples WHERE place = ?", (place,))
        found: Cost = _COST.validate_python(json.loads(cost))
        return found

    def collected(self) -> Iterator[Collected]:
        """Every question with full evidence, in the order of the file; one at a time in memory."""
        columns = "SELECT place, example, tape, answers FROM examples"
        query = f"{columns} WHERE place > ? AND tape IS NOT NULL ORDER BY place LIMIT {_AT_ONCE}"
        place = 0
        while rows := self._rows(query, (place,)):
            for place, packed, tape, answers in rows:
                example: Example = _EXAMPLE.validate_python(_unpacked(packed))
                held = _TAPE.validate_python(_unpacked(tape))
                yield Collected(place, example, held, json.loads(answers), self.labels_of(example.id))

    # --- labels --------------------------------------------------------------------------------------------------

    def label(self, labels: Mapping[tuple[str, str], Label]) -> None:
        """Labels by (id of the question, answer). A grader's never takes the place of a person's."""
        rows = [
            (
                _text(id_),
                _text(answer),
                None if label.correct is None else int(label.correct),
                _text(label.grader),
                _text(label.reason),
                label.human,
            )
            for (id_, answer), label in labels.items()
        ]
        self._write("INSERT OR REPLACE INTO labels VALUES (?, ?, ?, ?, ?, ?)", rows)

    def labels_of(self, id_: str, *, human: bool | None = None) -> dict[str, Label]:
        """Labels of a question's answers: a person's where there is one, unless ``human`` asks for one kind alone."""
        rows = self._rows(
            "SELECT answer, correct, grader, reason, human FROM labels WHERE id = ? ORDER BY human", (_text(id_),)
        )
        return {
            json.loads(answer): Label(
                None if correct is None else bool(correct), json.loads(grader), json.loads(reason), bool(by)
            )
            for answer, correct, grader, reason, by in rows
            if human is None or bool(by) == human
        }

    # --- the database --------------------------------------------------------------------------------------------

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock, _told(self.path), closing(self._db.execute(query, values)) as cursor:
            return cursor.fetchall()

    def _write(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        with self._writing():
            self._db.executemany(statement, rows)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """All that is written within, or nothing of it."""
        with self._lock, _told(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:  # the database itself ends it when the disk is full
                    self._db.execute("ROLLBACK")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the database has against it (a full disk, a file that is damaged or locked), as `ConfigError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise ConfigError(f"cannot use this collection: {error}", where=str(path)) from error


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file. Raises `ConfigError`, with nothing changed, for one that holds others."""
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if there and not there >= _TABLES:
        raise ConfigError("this is a database of something else, no collection of 'gate collect'", where=str(path))
    db.execute("PRAGMA synchronous=NORMAL")
    if not there:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(_SCHEMA)
    held = db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    if held != (str(VERSION),):
        raise ConfigError(f"written in format {held and held[0]}; this gate reads {VERSION}", where=str(path))


def is_collection(path: Path) -> bool:
    """Whether a file is SQLite's, and so not a log of JSON lines."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error


def _request_key(example: Example) -> str:
    """The same for requests that are the same: a word or a mark less may be another question (C and C++)."""
    asked = example.asked
    said = [[message.role, message.content, message.wire] for message in asked.messages]
    return digest([said, dict(asked.options), [passage.text for passage in asked.passages]])


def _splits(*splits: Split) -> list[str]:
    return [f"the {split} split" if split else "no split" for split in splits]


def _packed(value: Any) -> bytes:
    return zlib.compress(_text(value).encode(), 1)


def _unpacked(packed: bytes) -> Any:
    return json.loads(zlib.decompress(packed))


def _text(value: Any) -> str:
    """The standard library's JSON holds what stricter ones refuse: lone surrogates and infinities."""
    return json.dumps(value, separators=(",", ":"))
