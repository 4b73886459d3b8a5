"""What every stage saw of every question, as columns: what calibrators are fitted on and policies are searched with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.full_evidence import Seen
from gate.types import Stage

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
COSTS = ("money", "calls", "tokens", "seconds")


@dataclass(frozen=True, slots=True)
class Column:
    """One stage of n questions."""

    stage: Stage
    there: Bools
    """Whether the question was seen in this stage."""
    values: npt.NDArray[np.float32]
    """Readings, [n, signals]; nan where missing."""
    correct: Array
    """1 where its draft is right, 0 where wrong, nan where nobody said."""
    answerable: Bools
    """Whether there is a whole answer to let through: the model did not decline, and was not cut short."""
    whole: Bools
    """Whether more evidence may be bought: the draft was not cut short."""
    costs: Mapping[str, Array]
    """What coming here from the stage before cost, by the names of `COSTS`."""

    def where(self, chosen: Any) -> Column:
        return Column(
            self.stage,
            self.there[chosen],
            self.values[chosen],
            self.correct[chosen],
            self.answerable[chosen],
            self.whole[chosen],
            {name: column[chosen] for name, column in self.costs.items()},
        )


@dataclass(frozen=True, slots=True)
class Table:
    """n questions, one row each."""

    ids: npt.NDArray[np.object_]
    segments: npt.NDArray[np.object_]
    splits: npt.NDArray[np.object_]
    """``fit``, ``certify`` or ``test``; "" where the table is of one split alone."""
    weights: Array
    """1, unless labels were not drawn evenly: then one over the chance that this one was."""
    signals: tuple[str, ...]
    stages: Mapping[str, Column]
    """By key, in the order in which questions come to them; also those in which none was seen."""
    complete: bool
    """Whether a stage that was not seen does not exist for that question. In a log it may just not have been needed."""
    failed: Mapping[str, Bools] = field(default_factory=dict)
    """By stage, the questions whose way there was tried and led nowhere, [n]: for them it does not exist either."""

    def __len__(self) -> int:
        return len(self.ids)

    def where(self, chosen: Any) -> Table:
        """The rows of a mask or of indices."""
        return replace(
            self,
            ids=self.ids[chosen],
            segments=self.segments[chosen],
            splits=self.splits[chosen],
            weights=self.weights[chosen],
            stages={key: column.where(chosen) for key, column in self.stages.items()},
            failed={key: rows[chosen] for key, rows in self.failed.items()},
        )

    def of_split(self, split: str) -> Table:
        return self.where(self.splits == split)


@dataclass(frozen=True, slots=True)
class Row:
    """One question, as a table is made of it."""

    id: str
    segment: str
    seen: Sequence[Seen]
    correct: Sequence[bool | None]
    """For each of ``seen``, whether its draft is right."""


@dataclass(slots=True)
class TableMaker:
    """Takes questions one by one and keeps no more of them than their numbers."""

    signals: tuple[str, ...]
    order: Sequence[Stage]
    complete: bool = True
    _rows: list[tuple[str, str, str, float]] = field(default_factory=list)
    _cells: dict[str, _Cells] = field(default_factory=dict)
    _failed: dict[str, list[int]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        self.begin(row.id, row.segment)
        for seen, correct in zip(row.seen, row.correct, strict=True):
            read = {reading.signal: reading.value for reading in seen.vector.readings}
            cost = seen.cost
            self.cell(
                seen.stage.key,
                read,
                correct,
                answerable=not seen.declined and not seen.cut_short,
                whole=not seen.cut_short,
                costs=(cost.money, float(cost.calls), float(cost.tokens), cost.seconds),
            )

    def begin(self, id_: str, segment: str, split: str = "", weight: float = 1.0) -> None:
        """A new question; what follows is of it."""
        self._rows.append((id_, segment, split, weight))

    def cell(
        self,
        stage: str,
        read: Mapping[str, float | None],
        correct: bool | None,
        *,
        answerable: bool,
        whole: bool,
        costs: tuple[float, ...],
    ) -> None:
        """What a stage saw of the question last begun. ``costs`` in the order of `COSTS`."""
        cells = self._cells.setdefault(stage, _Cells())
        values = [read.get(name) for name in self.signals]
        label = np.nan if correct is None else float(correct)
        cells.add(len(self._rows) - 1, values, (label, float(answerable), float(whole), *costs))

    def fail(self, stage: str) -> None:
        """The question last begun tried to come to this stage, in vain."""
        self._failed.setdefault(stage, []).append(len(self._rows) - 1)

    def made(self) -> Table:
        ids, segments, splits, weights = zip(*self._rows, strict=True) if self._rows else ((), (), (), ())
        n = len(ids)
        return Table(
            ids=np.array(ids, dtype=object),
            segments=np.array(segments, dtype=object),
            splits=np.array(splits, dtype=object),
            weights=np.array(weights, dtype=np.float64),
            signals=self.signals,
            stages={s.key: self._cells.pop(s.key, _Cells()).column(s, n, len(self.signals)) for s in self.order},
            complete=self.complete,
            failed={key: np.isin(np.arange(n), rows) for key, rows in self._failed.items()},
        )


_BLOCK = 4096


@dataclass(slots=True)
class _Cells:
    """A stage under construction: only the questions that were seen in it, in blocks of arrays."""

    blocks: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], Array]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    values: list[list[float | None]] = field(default_factory=list)
    others: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, row: int, values: list[float | None], others: tuple[float, ...]) -> None:
        self.rows.append(row)
        self.values.append(values)
        self.others.append(others)
        if len(self.rows) == _BLOCK:
            self._close()

    def _close(self) -> None:
        if self.rows:
            # None becomes nan on the way to an array of floats
            block = (np.array(self.rows, np.int32), np.array(self.values, np.float32), np.array(self.others))
            self.blocks.append(block)
            self.rows, self.values, self.others = [], [], []

    def column(self, stage: Stage, n: int, k: int) -> Column:
        self._close()
        there = np.zeros(n, np.bool_)
        values = np.full((n, k), np.nan, np.float32)
        others = np.zeros((n, 3 + len(COSTS)))
        others[:, 0] = np.nan
        while self.blocks:
            rows, read, rest = self.blocks.pop()
            there[rows], values[rows], others[rows] = True, read.reshape(-1, k), rest
        correct, answerable, whole = others[:, 0].copy(), others[:, 1] > 0, others[:, 2] > 0
        costs = {name: others[:, 3 + place].copy() for place, name in enumerate(COSTS)}
        return Column(stage, there, values, correct, answerable, whole, costs)
