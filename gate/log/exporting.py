"""A decision log as files: trace records as JSON lines, and how they were labelled, for replaying and tuning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from gate.log.address import unreadable
from gate.log.entries import Mode
from gate.log.kept import Audited, Label, Sought
from gate.log.queries import counting, labelled, later, meant
from gate.log.tables import DECISIONS, TRACES

_PAGE = 200
"""Traces that are held at a time: with text they may be large."""


@dataclass(frozen=True, slots=True)
class Evidenced:
    """A decision with all the evidence there is for its question."""

    id: str
    mode: Mode
    audit: float | None
    answer: str
    """The draft that is labelled: see `gate.log.kept.Kept`."""
    trace: str
    """As `gate.log.jsonl` reads it."""
    label: Label | None
    """The latest review or, where there is none, the latest feedback that tells; a review may say that it cannot be."""


def lines(engine: Engine, sought: Sought) -> Iterator[str]:
    """The trace records that are meant, the oldest first, each as one line of JSON without its end.

    Raises `GateError` where the log cannot be read.
    """
    for rows in _pages(engine, meant(sought)):
        yield from (row.trace for row in rows)


def evidenced(engine: Engine, sought: Sought) -> Iterator[Evidenced]:
    """The decisions that are meant and have full evidence, the oldest first. Raises `GateError` as `lines`."""
    for rows in _pages(engine, meant(sought) & DECISIONS.c.full_evidence):
        with _reading(engine) as connection:
            given = counting(connection, [row.id for row in rows])
        yield from (Evidenced(row.id, row.mode, row.audit, row.answer, row.trace, given.get(row.id)) for row in rows)


def least_audit(engine: Engine, sought: Sought) -> float | None:
    """The least chance with which any of the decisions of `evidenced` was drawn for a check; None where none was."""
    asked = select(func.min(DECISIONS.c.audit)).where(meant(sought), DECISIONS.c.full_evidence)
    with _reading(engine) as connection:
        least: float | None = connection.scalar(asked)
    return least


def labels(engine: Engine, sought: Sought) -> Sequence[Audited]:
    """The labelled decisions among those that are meant. Raises `GateError` where the log cannot be read."""
    with _reading(engine) as connection:
        return labelled(connection, meant(sought))


def _pages(engine: Engine, which: ColumnElement[bool]) -> Iterator[Sequence[Any]]:
    """Rows of ``at``, ``id``, ``mode``, ``audit``, ``answer`` and ``trace``."""
    c = DECISIONS.c
    asked = select(c.at, c.id, c.mode, c.audit, c.answer, TRACES.c.trace).join(TRACES, TRACES.c.id == c.id).where(which)
    asked = asked.order_by(c.at, c.id).limit(_PAGE)
    page = asked
    while True:
        with _reading(engine) as connection:  # one a page: a long transaction would keep SQLite from tidying up
            rows = connection.execute(page).all()
        yield rows
        if len(rows) < _PAGE:
            return
        page = asked.where(later(rows[-1].at, rows[-1].id))


@contextmanager
def _reading(engine: Engine) -> Iterator[Connection]:
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise unreadable(engine, error) from None
