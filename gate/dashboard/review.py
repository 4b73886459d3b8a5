"""The review queue: which answers wait for a person, and what the person said of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gate.dashboard.forms import one_of, text_of
from gate.dashboard.serving import Viewer
from gate.log.kept import DecisionReader, Kept, Label

LISTED = 12
_BATCH = 100
_MOST_LOOKED_AT = 1000
"""Rows of the queue that are looked at for a reviewer of some policies only."""
VERDICTS: Mapping[str, bool | None] = {"right": True, "wrong": False, "unclear": None}


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits, from some place on."""

    shown: Kept | None
    following: tuple[Kept, ...]
    left: int
    more: bool
    """Whether ``left`` is only how many were counted."""


def queue(reader: DecisionReader, viewer: Viewer, after: str = "") -> Queue:
    """The first that waits past ``after`` and those that follow it; at the end it begins again. Blocks."""
    if viewer.admin or viewer.policies is None:
        rows = reader.waiting(LISTED, after) or (reader.waiting(LISTED) if after else ())
        left, more = reader.waiting_count(), False
    else:
        theirs, more = _theirs(reader, viewer)
        place = reader.find(after) if after else None
        later = [kept for kept in theirs if place is None or (kept.at, kept.id) > (place.at, place.id)]
        rows, left = later or theirs, len(theirs)
    return Queue(rows[0] if rows else None, tuple(rows[1:LISTED]), left, more)


def reviewable(reader: DecisionReader, decision: str, viewer: Viewer) -> Kept | None:
    """A decision that the viewer may label: an admin any, a reviewer what was drawn and what its key asked. Blocks."""
    kept = reader.find(decision)
    if kept is None:
        return None
    drawn = kept.audit is not None and viewer.sees(kept.policy)
    return kept if viewer.admin or drawn or kept.key == viewer.name else None


def label_of(kept: Kept, fields: Mapping[str, str], viewer: Viewer, now: float) -> Label:
    """What the form says. Raises `RequestError` where it says too much or nothing."""
    verdict = one_of(fields, "verdict", tuple(VERDICTS), "none")
    return Label(
        decision=kept.id,
        correct=VERDICTS[verdict],
        by=viewer.name,
        source="review",
        at=now,
        note=text_of(fields, "note", 2000),
        answer=text_of(fields, "answer", 4000),
    )


def _theirs(reader: DecisionReader, viewer: Viewer) -> tuple[list[Kept], bool]:
    found: list[Kept] = []
    looked, after = 0, ""
    while looked < _MOST_LOOKED_AT:
        batch = reader.waiting(_BATCH, after)
        found.extend(kept for kept in batch if viewer.sees(kept.policy))
        looked += len(batch)
        if len(batch) < _BATCH:
            return found, False
        after = batch[-1].id
    return found, True
