"""What every stage saw of every question, as columns: what calibrators are fitted on and policies are searched with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.tuning.full_evidence import Seen
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
    """``fit``, ``certify`` or ``test``."""
    weights: Array
    """1, unless labels were not drawn evenly: then one over the chance that this one was."""
    signals: tuple[str, ...]
    stages: Mapping[str, Column]
    """By key, in the order in which questions come to them."""
    complete: bool
    """Whether a stage that was not seen does not exist for that question. In a log it may just not have been needed."""

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
        )

    def of_split(self, split: str) -> Table:
        return self.where(self.splits == split)

    def reading(self, signals: Sequence[str], stages: Iterable[str]) -> Table:
        """With fewer signals and stages."""
        places = [self.signals.index(name) for name in signals]
        kept = {key: self.stages[key] for key in stages if key in self.stages}
        columns = {key: replace(column, values=column.values[:, places]) for key, column in kept.items()}
        return replace(self, signals=tuple(signals), stages=columns)


@dataclass(frozen=True, slots=True)
class Row:
    """One question, as a table is made of it."""

    id: str
    segment: str
    split: str
    seen: Sequence[Seen]
    correct: Sequence[bool | None]
    """For each of ``seen``, whether its draft is right."""
    weight: float = 1.0


@dataclass(slots=True)
class TableMaker:
    """Takes rows one by one and keeps no more of them than their numbers."""

    signals: tuple[str, ...]
    order: Sequence[Stage]
    complete: bool = True
    _rows: list[tuple[str, str, str, float]] = field(default_factory=list)
    _cells: dict[str, _Cells] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        place = len(self._rows)
        self._rows.append((row.id, row.segment, row.split, row.weight))
        for seen, correct in zip(row.seen, row.correct, strict=True):
            cells = self._cells.setdefault(seen.stage.key, _Cells())
            cells.rows.append(place)
            by_name = {reading.signal: reading.value for reading in seen.vector.readings}
            cells.values.append(np.array([_number(by_name.get(name)) for name in self.signals], dtype=np.float32))
            cells.correct.append(np.nan if correct is None else float(correct))
            cells.answerable.append(not seen.declined and not seen.cut_short)
            cells.whole.append(not seen.cut_short)
            cells.costs.append((seen.cost.money, float(seen.cost.calls), float(seen.cost.tokens), seen.cost.seconds))

    def made(self) -> Table:
        ids, segments, splits, weights = zip(*self._rows, strict=True) if self._rows else ((), (), (), ())
        n = len(ids)
        stages = [stage for stage in self.order if stage.key in self._cells or not self.complete]
        return Table(
            ids=np.array(ids, dtype=object),
            segments=np.array(segments, dtype=object),
            splits=np.array(splits, dtype=object),
            weights=np.array(weights, dtype=np.float64),
            signals=self.signals,
            stages={
                stage.key: self._cells.get(stage.key, _Cells()).column(stage, n, len(self.signals)) for stage in stages
            },
            complete=self.complete,
        )


@dataclass(slots=True)
class _Cells:
    """A stage under construction: only the questions that were seen in it."""

    rows: list[int] = field(default_factory=list)
    values: list[npt.NDArray[np.float32]] = field(default_factory=list)
    correct: list[float] = field(default_factory=list)
    answerable: list[bool] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    costs: list[tuple[float, ...]] = field(default_factory=list)

    def column(self, stage: Stage, n: int, k: int) -> Column:
        rows = np.array(self.rows, dtype=np.intp)

        def spread(cells: Any, kind: Any, fill: Any, *shape: int) -> Any:
            made = np.full((n, *shape), fill, dtype=kind)
            made[rows] = cells
            return made

        costs = np.array(self.costs, dtype=np.float64).reshape(-1, len(COSTS))
        return Column(
            stage,
            spread(True, np.bool_, False),
            spread(np.array(self.values).reshape(-1, k), np.float32, np.nan, k),
            spread(self.correct, np.float64, np.nan),
            spread(self.answerable, np.bool_, False),
            spread(self.whole, np.bool_, False),
            {name: spread(costs[:, i], np.float64, 0.0) for i, name in enumerate(COSTS)},
        )


def _number(value: float | None) -> float:
    return np.nan if value is None else value
