"""The tables of the decision log, version by version.

Each migration is applied once, all that are due in one transaction, under a lock: several workers may start at once on
the same database. A migration is never changed once it was released; what it would do otherwise, the next one does.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from gate.errors import ConfigError
from gate.log.address import cause, for_writing, is_sqlite, place

_TABLE = "gate_log"
_LOCK = 0x67617465
"""PostgreSQL's advisory locks are numbers: "gate"."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What brings the tables from the version before to this one. ``{serial}``: a primary key that counts."""

    version: int
    statements: tuple[str, ...]


MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE gate_log (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
            (
                "CREATE TABLE gate_decisions (id TEXT NOT NULL PRIMARY KEY, at DOUBLE PRECISION NOT NULL,"
                " door TEXT NOT NULL, key TEXT NOT NULL, request_id TEXT NOT NULL,"
                " policy TEXT NOT NULL, policy_fingerprint TEXT NOT NULL, certified BOOLEAN NOT NULL,"
                " mode TEXT NOT NULL, action TEXT NOT NULL, reason TEXT NOT NULL, stage TEXT NOT NULL,"
                " p DOUBLE PRECISION, threshold DOUBLE PRECISION,"
                " calls BIGINT NOT NULL, prompt_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL,"
                " money DOUBLE PRECISION NOT NULL, seconds DOUBLE PRECISION NOT NULL,"
                " status BIGINT NOT NULL, error TEXT NOT NULL, streamed BOOLEAN NOT NULL, retracted BOOLEAN NOT NULL,"
                " audit DOUBLE PRECISION, full_evidence BOOLEAN NOT NULL,"
                " question_hash TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL)"
            ),
            "CREATE INDEX gate_decisions_at ON gate_decisions (at, id)",
            "CREATE INDEX gate_decisions_policy ON gate_decisions (policy, at, id)",
            "CREATE INDEX gate_decisions_key ON gate_decisions (key, at, id)",
            "CREATE INDEX gate_decisions_hash ON gate_decisions (question_hash) WHERE question_hash <> ''",
            "CREATE TABLE gate_traces (id TEXT NOT NULL PRIMARY KEY, trace TEXT NOT NULL)",
            (
                "CREATE TABLE gate_labels (seq {serial}, decision TEXT NOT NULL, correct BOOLEAN, author TEXT NOT NULL,"
                " source TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, note TEXT NOT NULL, answer TEXT NOT NULL)"
            ),
            "CREATE INDEX gate_labels_decision ON gate_labels (decision, seq)",
            (
                "CREATE TABLE gate_monitors (policy TEXT NOT NULL, policy_fingerprint TEXT NOT NULL,"
                " state TEXT NOT NULL, PRIMARY KEY (policy, policy_fingerprint))"
            ),
        ),
    ),
    Migration(  # the review queue is read often: it must not go through all that was ever labelled
        2,
        (
            "ALTER TABLE gate_decisions ADD COLUMN checked BOOLEAN NOT NULL DEFAULT FALSE",
            (
                "UPDATE gate_decisions SET checked = TRUE WHERE id IN"
                " (SELECT decision FROM gate_labels WHERE correct IS NOT NULL OR source = 'review')"
            ),
            "CREATE INDEX gate_decisions_waiting ON gate_decisions (at, id) WHERE audit IS NOT NULL AND NOT checked",
        ),
    ),
    Migration(  # where gate observes, the first draft is labelled, and what was decided may be about another
        3,
        ("ALTER TABLE gate_decisions ADD COLUMN further BOOLEAN NOT NULL DEFAULT FALSE",),
    ),
    Migration(  # what was volunteered ends no decision's wait for a review
        4,
        (
            (
                "UPDATE gate_decisions SET checked = FALSE WHERE checked AND id NOT IN"
                " (SELECT decision FROM gate_labels WHERE source = 'review')"
            ),
        ),
    ),
)
VERSION = MIGRATIONS[-1].version


def migrate(engine: Engine, to: int = VERSION) -> None:
    """Bring the tables to this version. Raises `ConfigError` for those of a newer gate, and for what is no log."""
    try:
        with engine.connect() as connection:
            if _version(connection) == to:
                return
        with for_writing(engine).begin() as connection:
            if not is_sqlite(engine.url):
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            found = _known(connection, engine, to)
            for migration in MIGRATIONS[found:to]:
                _apply(connection, migration)
    except SQLAlchemyError as error:
        raise ConfigError(f"the decision log cannot be opened: {cause(error)}", where=place(engine.url)) from None


def check(engine: Engine, to: int = VERSION) -> None:
    """Whether `migrate` could: raises as it does, and changes nothing."""
    try:
        with engine.connect() as connection:
            _known(connection, engine, to)
    except SQLAlchemyError as error:
        raise ConfigError(f"the decision log cannot be opened: {cause(error)}", where=place(engine.url)) from None


def _known(connection: Connection, engine: Engine, to: int) -> int:
    found = _version(connection)
    if found > to:
        said = f"a newer gate made this decision log (version {found}; this one knows up to {to}): upgrade gate"
        raise ConfigError(said, where=place(engine.url))
    return found


def hash_key(engine: Engine) -> bytes:
    """The secret of this log: a hash of it is good for finding equal questions in it, and for nothing outside."""
    with engine.connect() as connection:
        return bytes.fromhex(_read(connection, "hash_key"))


def _version(connection: Connection) -> int:
    """0 where there are no tables yet."""
    known = inspect(connection)
    if known.has_table(_TABLE):
        return int(_read(connection, "version"))
    if is_sqlite(connection.engine.url) and known.get_table_names():
        raise ConfigError("this file is no decision log: name another", where=place(connection.engine.url))
    return 0


def _apply(connection: Connection, migration: Migration) -> None:
    counting = "INTEGER PRIMARY KEY" if is_sqlite(connection.engine.url) else "BIGSERIAL PRIMARY KEY"
    for statement in migration.statements:
        connection.exec_driver_sql(statement.replace("{serial}", counting))
    if migration.version == 1:
        told = [{"name": "version", "value": "0"}, {"name": "hash_key", "value": secrets.token_hex(32)}]
        connection.execute(text(f"INSERT INTO {_TABLE} VALUES (:name, :value)"), told)  # noqa: S608 - a name of ours
    moved = text(f"UPDATE {_TABLE} SET value = :value WHERE name = 'version'")  # noqa: S608
    connection.execute(moved, {"value": str(migration.version)})


def _read(connection: Connection, name: str) -> str:
    found = connection.execute(text(f"SELECT value FROM {_TABLE} WHERE name = :name"), {"name": name})  # noqa: S608
    return str(found.scalar_one())
