"""Labels for a decision log: which decisions somebody checked, and how they were picked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from gate.errors import ConfigError
from gate.tuning.columns import folded, missing_column, parse_label
from gate.tuning.decision_log import Audit
from gate.tuning.rows import sound_rows

_ID, _LABEL, _CHANCE = ("id",), ("correct", "label", "is_correct"), ("probability", "audit_probability")
_DRAFTS = {"": False, "last": False, "first": True}


def read_audits(path: Path) -> dict[str, Audit]:
    """By id of the decision, from a table of any kind that examples may come in.

    Columns: ``id``, ``correct`` (of the answer that went out, or of the draft that was held back), and where decisions
    were not picked evenly ``probability``, the chance with which this one was; ``segment`` may be there, and ``draft``:
    ``first`` where the label is of the first draft, whatever came after it, as where gate only observed. Rows whose
    ``correct`` is empty are left out. Raises `ConfigError` with the line of the first that cannot be used.
    """
    audits: dict[str, Audit] = {}
    for row in sound_rows(path):
        cells = {folded(name): value for name, value in row.values.items()}
        try:
            id_, audit = _read(cells)
            if audit is not None and audits.setdefault(id_, audit) != audit:
                raise ValueError(f"the decision {id_!r} is labelled twice, differently")
        except ValueError as error:
            raise ConfigError(str(error), where=row.where) from error
    if not audits:
        raise ConfigError("no row holds a label", where=str(path))
    return audits


def _read(cells: dict[str, Any]) -> tuple[str, Audit | None]:
    def cell(names: tuple[str, ...], what: str) -> Any:
        for name in names:
            if name in cells:
                return cells[name]
        raise ValueError(missing_column(what, names, cells))

    correct = parse_label(cell(_LABEL, "correct"))
    id_ = str(cell(_ID, "id") or "").strip()
    if not id_:
        raise ValueError("there is no id: give that of the decision, as it stands in the log")
    if correct is None:
        return id_, None
    chance = next((cells[name] for name in _CHANCE if name in cells), None)
    return id_, Audit(correct, _probability(chance), str(cells.get("segment") or ""), _first(cells.get("draft")))


def _first(cell: Any) -> bool:
    name = str(cell or "").strip().lower()
    if name not in _DRAFTS:
        raise ValueError(f"the draft {cell!r} is none of first, last")
    return _DRAFTS[name]


def _probability(cell: Any) -> float:
    if cell is None or str(cell).strip() == "":
        return 1.0
    try:
        value = float(str(cell).replace(",", "."))  # as spreadsheets of many languages write it
    except ValueError:
        value = math.nan
    if not 0.0 < value <= 1.0:
        raise ValueError(f"the probability {cell!r} is no number above 0 and at most 1")
    return value
