"""Questions to the decision log that several ask: which decisions are meant, and how they were labelled in the end."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, or_, select, tuple_

from gate.log.kept import Audited, Label, Sought
from gate.log.rows import clean
from gate.log.tables import DECISIONS, LABELS

_place = tuple_(DECISIONS.c.at, DECISIONS.c.id)
"""Where a decision stands in the order of time."""
_TELLING = or_(LABELS.c.correct.is_not(None), LABELS.c.source == "review")
"""Labels that say something: who reviewed it may say that it cannot be told."""
REVIEWS_LAST = (LABELS.c.source == "review", LABELS.c.seq)
"""The order of labels in which the last one counts: what was volunteered yields to a review, however late it came."""


def meant(sought: Sought) -> ColumnElement[bool]:
    """The condition on a decision."""
    c = DECISIONS.c
    wanted: list[ColumnElement[bool]] = []
    if sought.policy:
        wanted.append(c.policy == clean(sought.policy))
    if sought.action:
        wanted.append(c.action == sought.action)
    if sought.keys is not None:
        wanted.append(c.key.in_([clean(key) for key in sought.keys]))
    if sought.since is not None:
        wanted.append(c.at >= sought.since)
    if sought.before is not None:
        earlier = _place < tuple_(sought.before, clean(sought.before_id)) if sought.before_id else c.at < sought.before
        wanted.append(earlier)
    return and_(True, *wanted)


def later(at: float, id_: str) -> ColumnElement[bool]:
    """The condition that a decision comes after one of this time and id."""
    return _place > tuple_(at, id_)


def counting(connection: Connection, ids: Sequence[str]) -> dict[str, Label]:
    """The label that counts of each of these decisions that has one: see `labelled`. One that says neither right nor
    wrong is a reviewer's."""
    c = LABELS.c
    asked = select(c.decision, c.correct, c.author, c.source, c.at, c.note, c.answer)
    asked = asked.where(c.decision.in_(ids), _TELLING).order_by(*REVIEWS_LAST)
    return {row[0]: Label(*row) for row in connection.execute(asked)} if ids else {}


def labelled(connection: Connection, which: ColumnElement[bool]) -> list[Audited]:
    """The decisions that have a label, in the order in which they were labelled last.

    The latest review counts or, where there is none, the latest feedback. One that says neither right nor wrong is
    none, unless it is a review.
    """
    c = DECISIONS.c
    columns = (c.id, c.p, c.action, c.mode, c.audit, c.further, LABELS.c.correct, LABELS.c.source == "review")
    asked = select(*columns).join(LABELS, LABELS.c.decision == c.id)
    latest: dict[str, Audited] = {}
    seen: set[str] = set()
    for id_, *told, correct, reviewed in connection.execute(asked.where(which, _TELLING).order_by(LABELS.c.seq)):
        if reviewed:
            seen.add(id_)
        elif id_ in seen:
            continue
        latest.pop(id_, None)
        if correct is not None:
            p, action, mode, audit, further = told
            latest[id_] = Audited(id_, p, correct, action, mode, audit, further, bool(reviewed))
    return list(latest.values())
