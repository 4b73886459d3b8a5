"""Reading the decision log, and what is kept beside the decisions: labels, and the state of the drift monitors.

It blocks: call it on a thread. Lists are read on from a place in them (keysets), never by counting rows off.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    and_,
    case,
    func,
    insert,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from gate.errors import GateError
from gate.guarantees.monitor import DriftMonitor
from gate.log.address import for_writing, is_sqlite, place, unreadable
from gate.log.explain import explanation
from gate.log.jsonl import from_json
from gate.log.kept import Audited, Kept, Label, Sought, Total
from gate.log.queries import REVIEWS_LAST, labelled, later, meant
from gate.log.rows import Keep, clean
from gate.log.tables import DECISIONS, KEPT, LABELS, MONITORS, TRACES, WAITING
from gate.traces import TraceRecord

_COLUMNS = tuple(DECISIONS.columns[name] for name in KEPT)


class LogReader:
    """Fits `gate.log.kept.DecisionReader`. ``keep``: whether labels are kept with the texts that people wrote."""

    def __init__(self, engine: Engine, keep: Keep = "scalars") -> None:
        self._engine = engine
        self._keep = keep

    def recent(self, sought: Sought, limit: int = 50) -> Sequence[Kept]:
        """The newest first; each with the label that counts."""
        asked = select(*_COLUMNS).where(meant(sought)).order_by(DECISIONS.c.at.desc(), DECISIONS.c.id.desc())
        with self._reading() as connection:
            return _labelled(connection, connection.execute(asked.limit(limit)).mappings().all())

    def find(self, decision: str) -> Kept | None:
        """One decision with its explanation. None where it is not there, not yet, or no longer."""
        asked = select(*_COLUMNS, TRACES.c.trace).join(TRACES, TRACES.c.id == DECISIONS.c.id, isouter=True)
        with self._reading() as connection:
            row = connection.execute(asked.where(DECISIONS.c.id == clean(decision))).mappings().one_or_none()
            if row is None:
                return None
            (kept,) = _labelled(connection, [row])
        return replace(kept, explanation=explanation(self._record(row["trace"]))) if row["trace"] else kept

    def trace(self, decision: str) -> TraceRecord | None:
        """The whole trace, as far as it was kept."""
        with self._reading() as connection:
            held = connection.scalar(select(TRACES.c.trace).where(TRACES.c.id == clean(decision)))
        return self._record(held) if held else None

    def waiting(self, limit: int = 50, after: str = "") -> Sequence[Kept]:
        """Drawn for a person to check and not reviewed yet, the oldest first, past the decision ``after``.

        Only a review ends the waiting: were it feedback, those who complain would choose what is checked.
        """
        asked = select(*_COLUMNS).where(text(WAITING)).order_by(DECISIONS.c.at, DECISIONS.c.id).limit(limit)
        with self._reading() as connection:
            if after:  # where it was forgotten meanwhile, what is left is all younger
                known = select(DECISIONS.c.at, DECISIONS.c.id).where(DECISIONS.c.id == clean(after))
                if (at := connection.execute(known).one_or_none()) is not None:
                    asked = asked.where(later(*at))
            return _labelled(connection, connection.execute(asked).mappings().all())

    def waiting_count(self) -> int:
        with self._reading() as connection:
            return int(connection.scalar(select(func.count()).select_from(DECISIONS).where(text(WAITING))) or 0)

    def totals(self, sought: Sought) -> Sequence[Total]:
        """Sums by policy, mode and action, in that order."""
        c = DECISIONS.c
        by = (func.coalesce(c.policy, ""), c.mode, c.action)  # SQLite would else go through all policies' whole index
        sums = [func.sum(each) for each in (c.calls, c.prompt_tokens, c.completion_tokens, c.money)]
        retracted = func.sum(case((c.retracted, 1), else_=0))
        asked = select(*by, func.count(), retracted, *sums, func.avg(c.seconds)).where(meant(sought))
        with self._reading() as connection:
            return [
                Total(policy, mode, action, n, int(withdrawn), int(calls), int(prompt), int(completion), money, seconds)
                for policy, mode, action, n, withdrawn, calls, prompt, completion, money, seconds in connection.execute(
                    asked.group_by(*by).order_by(*by)
                )
            ]

    def spent(self, since: float) -> Sequence[tuple[str, float, int]]:
        """By key: money and tokens of the decisions since then."""
        c = DECISIONS.c
        key = func.coalesce(c.key, "")  # as in `totals`
        asked = select(key, func.sum(c.money), func.sum(c.prompt_tokens + c.completion_tokens)).where(c.at >= since)
        with self._reading() as connection:
            rows = connection.execute(asked.group_by(key).order_by(key))
            return [(key, float(money), int(tokens)) for key, money, tokens in rows]

    def audited(self, policy: str, policy_fingerprint: str = "") -> Sequence[Audited]:
        """See `labelled`. Without a fingerprint, of all versions of the policy."""
        which = meant(Sought(policy=policy))
        if policy_fingerprint:
            which &= DECISIONS.c.policy_fingerprint == policy_fingerprint
        with self._reading() as connection:
            return labelled(connection, which)

    def label(self, label: Label) -> bool:
        """Keep it, beside earlier ones of the same decision. False where there is no such decision.

        Its time is now where it has none. Note and answer are kept only where the log keeps text.
        """
        decision, texts = clean(label.decision), self._keep == "text"
        checked = update(DECISIONS).where(DECISIONS.c.id == decision)
        checked = checked.values(checked=true() if label.source == "review" else DECISIONS.c.checked)
        given = {
            "decision": decision,
            "correct": label.correct,
            "author": clean(label.by),
            "source": label.source,
            "at": label.at or time.time(),
            "note": clean(label.note) if texts else "",
            "answer": clean(label.answer) if texts else "",
        }
        with self._writing() as connection:
            if not connection.execute(checked).rowcount:
                return False
            connection.execute(insert(LABELS).values(given))
            return True

    def monitor(self, policy: str, policy_fingerprint: str) -> DriftMonitor | None:
        with self._reading() as connection:
            held = connection.scalar(select(MONITORS.c.state).where(_of(policy, policy_fingerprint)))
        return self._monitor(held) if held else None

    def update_monitor(
        self, policy: str, policy_fingerprint: str, wrong: bool, weight: float, fresh: DriftMonitor
    ) -> DriftMonitor:
        """The state after one more audited answer, kept; from ``fresh`` on where there is none yet. Each update waits
        for the one before, whichever process made it. Raises ValueError for a weight beyond the state's largest."""
        names = {"policy": clean(policy), "policy_fingerprint": policy_fingerprint}
        begun = (sqlite if is_sqlite(self._engine.url) else postgresql).insert(MONITORS)
        begun = begun.values(**names, state=fresh.model_dump_json()).on_conflict_do_nothing()
        mine = _of(policy, policy_fingerprint)
        with self._writing() as connection:
            connection.execute(begun)
            held = connection.scalar(select(MONITORS.c.state).where(mine).with_for_update())
            moved = self._monitor(str(held)).updated(wrong, weight)
            connection.execute(update(MONITORS).where(mine).values(state=moved.model_dump_json()))
        return moved

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise unreadable(self._engine, error) from None

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with for_writing(self._engine).begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise unreadable(self._engine, error) from None

    def _record(self, held: str) -> TraceRecord:
        try:
            return from_json(held)
        except ValueError:
            raise GateError(f"the decision log {place(self._engine.url)} holds a trace that cannot be read") from None

    def _monitor(self, held: str) -> DriftMonitor:
        try:
            return DriftMonitor.model_validate_json(held)
        except ValueError:
            raise GateError(f"the decision log {place(self._engine.url)} holds a monitor that cannot be read") from None


def _of(policy: str, policy_fingerprint: str) -> ColumnElement[bool]:
    return and_(MONITORS.c.policy == clean(policy), MONITORS.c.policy_fingerprint == policy_fingerprint)


def _labelled(connection: Connection, rows: Sequence[RowMapping]) -> list[Kept]:
    """The decisions, each with its label as in `Kept`."""
    c = LABELS.c
    columns = (c.decision, c.correct, c.author.label("by"), c.source, c.at, c.note, c.answer)
    ids = [row["id"] for row in rows]
    asked = select(*columns).where(c.decision.in_(ids)).order_by(*REVIEWS_LAST)
    found = connection.execute(asked).mappings().all() if ids else ()
    latest = {label["decision"]: Label(**label) for label in found}
    return [Kept(**{name: row[name] for name in KEPT}, label=latest.get(row["id"])) for row in rows]
