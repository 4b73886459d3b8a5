"""A real PostgreSQL server of the tests' own, in a folder of its own, on a unix socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STAND_IN = """
CREATE TYPE vector;
CREATE FUNCTION vector_in(cstring) RETURNS vector LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION vector_out(vector) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE vector (INPUT = vector_in, OUTPUT = vector_out, LIKE = text);
CREATE CAST (vector AS text) WITHOUT FUNCTION;
CREATE FUNCTION numbers(vector) RETURNS float8[] LANGUAGE sql IMMUTABLE AS
  $$ SELECT translate($1::text, '[]', '{}')::float8[] $$;
CREATE FUNCTION cosine_distance(vector, vector) RETURNS float8 LANGUAGE sql IMMUTABLE AS
  $$ SELECT 1 - sum(a * b) / sqrt(sum(a * a) * sum(b * b)) FROM unnest(numbers($1), numbers($2)) AS pairs(a, b) $$;
CREATE OPERATOR <=> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = cosine_distance);
"""
"""What the search needs of pgvector, for servers without that extension: its type as text, its cosine distance."""


@contextmanager
def postgres() -> Iterator[str]:
    """The address of an empty database with vectors. Skips where there is no PostgreSQL, saying so."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg is an extra: pip install 'gate-llm[postgres]'")
    programs = _programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL server here")
    folder = Path(tempfile.mkdtemp(prefix="gate-pg-"))
    as_user: list[str] = []
    if os.geteuid() == 0:  # initdb refuses root
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    data = folder / "data"
    initdb = [programs / "initdb", "-D", data, "-U", "gate", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    settings = f"-c fsync=off -c listen_addresses='' -c unix_socket_directories={folder}"
    control = [*as_user, programs / "pg_ctl", "-D", data, "-w"]
    try:
        quietly(*as_user, *initdb, cwd=folder)
        quietly(*control, "-o", settings, "-l", folder / "log", "start", cwd=folder)
        try:
            dsn = f"postgresql://gate@/postgres?host={folder}"
            with psycopg.connect(dsn, autocommit=True) as connection:
                known = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone()
                connection.execute("CREATE EXTENSION vector" if known else STAND_IN)
            yield dsn
        finally:
            quietly(*control, "-m", "immediate", "stop", cwd=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def quietly(*command: str | Path, cwd: Path) -> None:
    subprocess.run([str(part) for part in command], cwd=cwd, check=True, stdout=subprocess.DEVNULL, timeout=60)


def _programs() -> Path | None:
    """The folder of the server's programs: Debian keeps them off the path."""
    found = shutil.which("initdb")
    listed = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(listed) if (folder / "pg_ctl").is_file()), None)
