"""Label files: the CSV in which people say whether answers are right.

One row an answer. The file opens in spreadsheets: it begins with a byte order mark, and text that a spreadsheet would
run as a formula stands behind an apostrophe, which is taken off again on reading. Any text comes back as it was, as far
as gate goes: some spreadsheets cut a cell after 32767 characters or change the ends of its lines, and then the answer
in it is another one.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.errors import ConfigError
from gate.tuning.columns import folded, missing_column, parse_label
from gate.tuning.rows import sound_rows
from gate.tuning.whole_file import written_whole

COLUMNS = ("id", "answer", "question", "references", "correct", "grader", "suspicion", "note")
_FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20'")
_CONTROL = frozenset("\t\r\n")


@dataclass(frozen=True, slots=True)
class LabelRow:
    """An answer and what is said of it."""

    id: str
    """Of the example."""
    answer: str
    question: str = ""
    references: tuple[str, ...] = ()
    correct: bool | None = None
    grader: str = ""
    """Who said so; whoever changes the label may put a name here."""
    suspicion: float | None = None
    """How likely the label is wrong, where that was estimated, in [0, 1]."""
    note: str = ""


def write_labels(path: Path, rows: Iterable[LabelRow], *, overwrite: bool = False) -> int:
    """Write a label file, whole or not at all; returns how many rows it has.

    Raises `ConfigError` where the file exists: it may hold what somebody wrote by hand. ``overwrite`` says it does not.
    Raises ValueError for two rows of one answer.
    """
    keys: set[tuple[str, str]] = set()
    with written_whole(path, overwrite=overwrite) as file:
        text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogatepass", newline="", write_through=True)
        writer = csv.writer(text, quoting=csv.QUOTE_MINIMAL)
        writer.writerow(COLUMNS)
        for row in rows:
            if (row.id, row.answer) in keys:
                raise ValueError(f"two rows for one answer to the question {row.id!r}")
            keys.add((row.id, row.answer))
            writer.writerow(_escaped(cell) for cell in _cells(row))
        text.detach()
    return len(keys)


def read_label_rows(path: Path) -> Iterator[LabelRow]:
    """Every row of a label file. Raises `ConfigError` with the line of the first that cannot be read.

    Columns may be missing or added, and stand in any order; ``id`` and ``answer`` must be there.
    """
    for row in sound_rows(path):
        cells = {
            folded(name): _unescaped(value) if isinstance(value, str) else value for name, value in row.values.items()
        }
        try:
            yield _row(cells)
        except ValueError as error:
            raise ConfigError(str(error), where=row.where) from error


def read_labels(path: Path) -> dict[tuple[str, str], bool]:
    """The labels of a file by (id, answer); rows whose ``correct`` is empty are left out.

    Raises `ConfigError` for a label that is none, and for an answer that is labelled both right and wrong.
    """
    labels: dict[tuple[str, str], bool] = {}
    for row in read_label_rows(path):
        if row.correct is not None and labels.setdefault((row.id, row.answer), row.correct) is not row.correct:
            raise ConfigError(f"one answer to the question {row.id!r} is labelled right and wrong", where=str(path))
    return labels


def _cells(row: LabelRow) -> Iterator[str]:
    yield from (row.id, row.answer, row.question)
    yield json.dumps(row.references, ensure_ascii=False) if row.references else ""
    yield "" if row.correct is None else ("yes" if row.correct else "no")
    yield row.grader
    yield "" if row.suspicion is None else repr(row.suspicion)
    yield row.note


def _row(cells: Mapping[str, Any]) -> LabelRow:
    for name in ("id", "answer", "correct"):
        if name not in cells:
            raise ValueError(missing_column(name, (name,), cells))
    if not _text(cells, "id"):
        raise ValueError("there is no id: copy it from the row that this one was made of")
    return LabelRow(
        id=_text(cells, "id"),
        answer=_text(cells, "answer"),
        question=_text(cells, "question"),
        references=_references(_text(cells, "references")),
        correct=parse_label(cells["correct"]),
        grader=_text(cells, "grader"),
        suspicion=_share(_text(cells, "suspicion")),
        note=_text(cells, "note"),
    )


def _text(cells: Mapping[str, Any], name: str) -> str:
    value = cells.get(name)
    return "" if value is None else str(value)


def _references(text: str) -> tuple[str, ...]:
    if not text.strip():
        return ()
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise ValueError('references are no JSON list of texts: write them as ["one", "other"]')
    return tuple(listed)


def _share(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text.replace(",", "."))  # as spreadsheets of many languages write it
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"the suspicion {text!r} is no number from 0 to 1: leave it empty where it is not known")
    return value


def _runs(text: str) -> bool:
    """Whether a spreadsheet might take the text for a formula, or for text that was escaped."""
    return text[:1] in _CONTROL or text.lstrip()[:1] in _FORMULA


def _escaped(text: str) -> str:
    return f"'{text}" if _runs(text) else text


def _unescaped(text: str) -> str:
    return text[1:] if text[:1] == "'" and _runs(text[1:]) else text
