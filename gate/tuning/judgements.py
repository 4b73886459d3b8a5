"""What a policy did with many labelled questions, as columns: what metrics and reports are computed from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

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
    """1 where the draft that ``p`` is about (the answer, if it was let through) is right, 0 where wrong, else nan."""
    first_correct: Array
    """The same of the first draft: what would have been said without gate."""
    calls: Array
    tokens: Array
    seconds: Array
    money: Array
    """US dollars."""
    weights: Array
    """How many questions of the traffic each stands for, up to a factor: 1 unless labels were not drawn evenly."""
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
