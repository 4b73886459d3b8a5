"""Labelled questions: what a policy is tuned on, and how they come in from files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from gate.errors import ConfigError
from gate.tuning.columns import (
    COLUMNS,
    blank,
    chosen,
    folded,
    json_cell,
    missing_column,
    parse_label,
    references_cell,
    text_cell,
)
from gate.tuning.conversations import check_asks, digest, question_key, read_messages, wire_messages, without_nulls
from gate.tuning.rows import Row, sound_rows
from gate.types import Message, Passage, Question

Split = Literal["", "fit", "certify", "test"]


@dataclass(frozen=True, slots=True)
class Example:
    """A question with the answers that would be right."""

    id: str
    """Unique in its file."""
    question: Question
    references: tuple[str, ...] = ()
    """Answers that count as right; empty where somebody else has to judge."""
    segment: str = ""
    """The part of the traffic it stands for; reports and certificates can be had for each."""
    split: Split = ""
    """What it may be used for; chosen by gate where it is empty."""
    passages: tuple[Passage, ...] = ()
    """What the question is to be answered from, where the file says."""
    logged_answer: str | None = None
    """What was answered when the question was logged."""
    logged_correct: bool | None = None
    """Whether that was right, where somebody said so."""

    @property
    def asked(self) -> Question:
        """The question with its passages."""
        return dataclasses.replace(self.question, passages=self.passages)


def read_examples(path: Path, *, require_references: bool = False) -> Iterator[Example]:
    """The examples of a file: JSON lines (also gzipped), CSV, TSV or Parquet, one at a time.

    The names a column may bear are those of `gate.tuning.columns.COLUMNS`. An example without an id gets a hash of what
    it holds. Raises `ConfigError` with the line of the first that cannot be used: nothing is left out and nothing
    guessed. To know that a file is sound, read it to its end.
    """
    ids: dict[str, int] = {}
    splits: dict[str, tuple[Split, int]] = {}
    for row in sound_rows(path):
        try:
            example = _example(row)
            _check_new(example, row, ids)
            _check_split(example, row, splits)
            if require_references and not example.references:
                raise ValueError(_no_references(row))
        except ValueError as error:
            raise ConfigError(str(error), where=row.where) from error
        yield example
    if not ids:
        raise ConfigError("this file holds no rows", where=str(path))


def _no_references(row: Row) -> str:
    if any(folded(name) in COLUMNS["references"] for name in row.values):
        return "there is no reference answer: write one, or take the row out"
    return missing_column("references", COLUMNS["references"], row.values)


def _check_new(example: Example, row: Row, ids: dict[str, int]) -> None:
    first = ids.setdefault(digest(example.id), row.number)
    if first == row.number:
        return
    if example.id == _content_id(example):
        raise ValueError(f"this row says the same as row {first}: take one out, or give each an id")
    raise ValueError(f"the id {example.id!r} is that of row {first} too: give each row its own")


def _check_split(example: Example, row: Row, splits: dict[str, tuple[Split, int]]) -> None:
    """The same question in two splits would be judged by what was learnt from it."""
    if not example.split:
        return
    split, number = splits.setdefault(question_key(example.question, example.passages), (example.split, row.number))
    if split != example.split:
        one, other = sorted((split, example.split), key=get_args(Split).index)
        raise ValueError(
            f"the same question stands in the {one} and the {other} split (row {number} has it too): keep it in one"
        )


def _example(row: Row) -> Example:
    """Raises ValueError for what cannot be used."""
    cells: dict[str, Any] = {}
    for name, value in row.values.items():
        if cells.setdefault(folded(name), value) is not value:
            raise ValueError(f"two columns are called {folded(name)!r}: rename or delete one")

    def cell(what: str) -> Any:
        return chosen(cells, COLUMNS[what])

    references = cell("references")
    example = Example(
        id=text_cell(cell("id"), "id"),
        question=Question(_messages(cells, row), _options(cell("options"), flat=row.flat)),
        references=() if references is None else references_cell(references, flat=row.flat),
        segment=text_cell(cell("segment"), "segment"),
        split=_split(cell("split")),
        passages=read_passages(cell("passages"), flat=row.flat),
        logged_answer=text_cell(cell("logged_answer"), "logged_answer") or None,
        logged_correct=parse_label(cell("logged_correct")),
    )
    return example if example.id else dataclasses.replace(example, id=_content_id(example))


def _messages(cells: Mapping[str, Any], row: Row) -> tuple[Message, ...]:
    messages, text = chosen(cells, COLUMNS["messages"]), chosen(cells, COLUMNS["question"])
    if messages is None and isinstance(text, list):
        messages, text = text, None
    if messages is None and text is None:
        names = (*COLUMNS["question"], *COLUMNS["messages"])
        there = [name for name in names if name in cells]
        if there:
            raise ValueError(f"the question is empty (column {there[0]!r}): write one, or take the row out")
        raise ValueError(missing_column("question", names, row.values))
    if messages is None:
        return (Message("user", text_cell(text, "question")),)
    asked = read_messages(json_cell(messages, "messages", flat=row.flat))
    check_asks(asked)
    if text is not None and text_cell(text, "question") != Question(asked).text.strip():
        raise ValueError("question and messages ask different things: keep one of the two")
    return asked


def _options(value: Any, *, flat: bool) -> Mapping[str, Any]:
    options = json_cell(value, "options", flat=flat)
    if options is None:
        return {}
    if isinstance(options, Mapping):
        return cast("dict[str, Any]", without_nulls(options))
    raise ValueError(
        "options are generation fields as a JSON object (temperature, max_tokens); "
        "what can be chosen from belongs into the question"
    )


def _split(value: Any) -> Split:
    name = text_cell(value, "split").lower()
    if name not in get_args(Split):
        raise ValueError(f"the split {name!r} is none of fit, certify, test: name one, or leave it empty")
    return cast("Split", name)


def read_passages(value: Any, *, flat: bool) -> tuple[Passage, ...]:
    """The passages of a cell: one text, or a list of texts and of objects with ``text``. Raises ValueError."""
    if value is None:
        return ()
    if flat and isinstance(value, str) and value.lstrip().startswith("["):
        value = json_cell(value, "passages", flat=True)
    made = [_passage(each, place) for place, each in enumerate(value if isinstance(value, list) else [value], 1)]
    return tuple(passage for passage in made if passage.text)


def _passage(value: Any, place: int) -> Passage:
    if not isinstance(value, Mapping):
        return Passage(str(place), text_cell(value, "passages"))
    text = next((value[key] for key in ("text", "content") if not blank(value.get(key))), None)
    if text is None:
        raise ValueError(f"passage {place} has no 'text'")
    return Passage(text_cell(value.get("id"), "passages") or str(place), text_cell(text, "passages"))


# --- and out again -----------------------------------------------------------------------------------------------


def to_json(example: Example) -> bytes:
    """One line, which `read_examples` reads."""
    return json.dumps(_fields(example), separators=(",", ":"), allow_nan=False, default=str).encode()


def _content_id(example: Example) -> str:
    fields = _fields(example)
    return digest({name: fields[name] for name in fields if name not in {"id", "split"}})


def _fields(example: Example) -> dict[str, Any]:
    """What is not empty, under the names it is read by."""
    messages = example.question.messages
    plain = len(messages) == 1 and messages[0].role == "user" and messages[0].wire is None
    fields: dict[str, Any] = {
        "id": example.id,
        **({"question": messages[0].content} if plain else {"messages": wire_messages(messages)}),
        "references": list(example.references),
        "passages": [{"id": passage.id, "text": passage.text} for passage in example.passages],
        "segment": example.segment,
        "split": example.split,
        "options": dict(example.question.options),
        "logged_answer": example.logged_answer,
        "logged_correct": example.logged_correct,
    }
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}
