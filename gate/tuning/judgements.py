"""What a policy did with many labelled questions, as columns: what metrics and reports are computed from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.types import Outcome

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judgements:
    """One row a question, n of them. Strings are object arrays; numbers that are not known are nan."""

    ids: npt.NDArray[np.object_]
    segments: npt.NDArray[np.object_]
    """"" where the question belongs to none."""
    actions: npt.NDArray[np.object_]
    """How it ended: a value of `gate.types.Action`."""
    stages: npt.NDArray[np.object_]
    """Key of the stage it ended in (`gate.types.Stage.key`)."""
    p: Array
    """The last decision's confidence that its draft is right; nan where there was none."""
    correct: Array
    """1 where the draft it is about (the answer, if it was let through) is right, 0 where it is wrong, else nan."""
    first_correct: Array
    """The same of the first draft: what would have been said without gate."""
    calls: Array
    tokens: Array
    seconds: Array
    money: Array
    """US dollars."""
    weights: Array
    """How many questions the label of each stands for, up to a factor: 1 unless labels were not drawn evenly.

    Of what needs no label, such as coverage and cost, each row stands for itself alone.
    """
    signals: tuple[str, ...]
    values: npt.NDArray[np.float32]
    """The last decision's readings, [n, signals]; nan where missing."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.actions == "answer")

    @property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Where ``correct`` is known."""
        return ~np.isnan(self.correct)

    def where(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Judgements:
        """The rows of a mask, [n], or those at some places, in that order."""
        picked: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        return Judgements(**{name: v if name == "signals" else v[chosen] for name, v in picked.items()})

    @classmethod
    def joined(cls, parts: Sequence[Judgements]) -> Judgements:
        """Of the same signals, one after the other; at least one."""
        picked: dict[str, Any] = {f.name: getattr(parts[0], f.name) for f in fields(cls)}
        for name in picked.keys() - {"signals"}:
            picked[name] = np.concatenate([getattr(part, name) for part in parts])
        return cls(**picked)


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """One question's outcome, with what is known of its answer."""

    id: str
    segment: str
    outcome: Outcome
    correct: bool | None
    first_correct: bool | None
    weight: float = 1.0


def judgements_of(rows: Sequence[JudgedRow], signals: tuple[str, ...]) -> Judgements:
    """The rows as columns, with the readings of these signals."""

    def numbers(of: Callable[[JudgedRow], float | bool | None]) -> Array:
        return np.array([np.nan if (value := of(row)) is None else float(value) for row in rows], dtype=np.float64)

    def texts(of: Callable[[JudgedRow], str]) -> npt.NDArray[np.object_]:
        return np.array([of(row) for row in rows], dtype=object)

    read = [{reading.signal: reading.value for reading in row.outcome.steps[-1].signals.readings} for row in rows]
    return Judgements(
        ids=texts(lambda row: row.id),
        segments=texts(lambda row: row.segment),
        actions=texts(lambda row: row.outcome.action.value),
        stages=texts(lambda row: row.outcome.decision.stage.key),
        p=numbers(lambda row: row.outcome.confidence.p if row.outcome.confidence else None),
        correct=numbers(lambda row: row.correct),
        first_correct=numbers(lambda row: row.first_correct),
        calls=numbers(lambda row: row.outcome.cost.calls),
        tokens=numbers(lambda row: row.outcome.cost.tokens),
        seconds=numbers(lambda row: row.outcome.cost.seconds),
        money=numbers(lambda row: row.outcome.cost.money),
        weights=numbers(lambda row: row.weight),
        signals=signals,
        values=np.array([[r.get(name) for name in signals] for r in read], np.float32).reshape(len(rows), len(signals)),
    )
