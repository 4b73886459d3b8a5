"""Columns and cells: which column of a row holds what, and what its cells say.

Names are compared without case, and with spaces and hyphens as underscores. Cells that cannot be read raise ValueError
with what is wrong and what would do; whoever knows the row adds where.
"""

from __future__ import annotations

import ast
import datetime
import decimal
import math
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from gate.tuning.rows import strict_json

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "example_id", "question_id", "qid", "uid", "custom_id"),
    "messages": ("messages",),
    "question": ("question", "prompt", "input", "query"),
    "references": (
        "references", "reference", "answers", "answer", "gold", "gold_answer", "gold_answers", "correct_answer",
        "expected", "expected_answer", "expected_output", "ideal", "target",
    ),
    "passages": ("passages", "context", "contexts"),
    "segment": ("segment",),
    "split": ("split",),
    "options": ("options",),
    "logged_answer": ("logged_answer",),
    "logged_correct": ("logged_correct",),
}  # fmt: skip
"""What a labelled question has, and the names its column may bear; where a row has several, the first one counts."""
_LABELS = {
    **dict.fromkeys(("yes", "1", "true", "correct", "right"), True),
    **dict.fromkeys(("no", "0", "false", "incorrect", "wrong"), False),
}
_PARTS = re.compile(r"(?<!\\)\|")


def folded(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def chosen(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The first of these columns that the row has something in, else None."""
    return next((row[name] for name in names if name in row and not blank(row[name])), None)


def blank(value: Any) -> bool:
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def missing_column(wanted: str, names: Iterable[str], found: Iterable[str]) -> str:
    """What to say when a row has none of the columns that would do."""
    known, there = list(names), sorted(found)
    near = next((match for name in known for match in get_close_matches(name, there, n=1, cutoff=0.6)), None)
    hint = f"is it {near!r}? then call it {wanted!r}" if near else f"call it {' or '.join(map(repr, known[:4]))}"
    return f"no column holds the {wanted}: {hint}; the columns are {', '.join(map(repr, there)) or 'none'}"


def text_cell(value: Any, name: str) -> str:
    """What a cell says, without the space around it; numbers and dates as they are written, "" for an empty one."""
    match value:
        case None:
            return ""
        case str():
            return value.strip()
        case bool():
            return "true" if value else "false"
        case int() | decimal.Decimal() | datetime.date():
            return str(value)
        case float() if math.isfinite(value):
            return str(value)
    raise ValueError(f"{name} holds {_shown(value)}, where text is wanted")


def references_cell(value: Any, *, flat: bool) -> tuple[str, ...]:
    """The answers that count as right, without blank or repeated ones.

    A list, one text, or an object with ``text``, ``value`` or ``aliases`` as question sets have them. In a ``flat``
    file: a JSON list, or texts parted by ``|`` (``\\|`` stands for the sign itself). A boolean is "yes" or "no" too.
    """
    if isinstance(value, Mapping):
        parts = [value[key] for key in ("value", "text", "aliases") if key in value]
        value = [each for part in parts for each in _listed(part)]
        if not parts:
            raise ValueError("references are an object with neither 'text' nor 'value': write a list of answers")
    elif flat and isinstance(value, str):
        bare = value.strip()
        value = _list_in(bare) if bare.startswith("[") else [p.replace("\\|", "|") for p in _PARTS.split(value)]
    texts = [text for each in _listed(value) for text in _spellings(each)]
    return tuple(dict.fromkeys(text for text in texts if text))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _spellings(value: Any) -> tuple[str, ...]:
    if isinstance(value, bool):
        return ("yes", "true") if value else ("no", "false")
    return (text_cell(value, "references"),)


def _list_in(text: str) -> list[Any]:
    """A list as JSON has it, or as Python prints it."""
    for read in (strict_json, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, list):
            return value
    raise ValueError(
        f'references begin like a list but are none: {_shown(text)}; write ["one", "other"] or one | other'
    )


def json_cell(value: Any, name: str, *, flat: bool) -> Any:
    """A list or an object, also where a flat file has its JSON in a cell."""
    if not (flat and isinstance(value, str)):
        return value
    try:
        return strict_json(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is no JSON ({error})") from error


def parse_label(value: Any) -> bool | None:
    """Whether an answer was right, as people write it; None for an empty cell.

    yes, no, 1, 0, true, false, correct, incorrect, right and wrong are labels, in any case. Raises ValueError for
    anything else: a label is never guessed.
    """
    if blank(value):
        return None
    if isinstance(value, float) and value in (0.0, 1.0):
        value = int(value)
    label = _LABELS.get(str(value).strip().lower()) if isinstance(value, str | int) else None
    if label is None:
        raise ValueError(
            f"{_shown(value)} is no label: write yes or no (or 1, 0, true, false, correct, incorrect, right, wrong)"
        )
    return label


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
