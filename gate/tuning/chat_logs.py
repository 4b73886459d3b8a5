"""Chat logs made into labelled questions: what people asked, what was answered, and what somebody said of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gate.errors import ConfigError
from gate.tuning.columns import COLUMNS, blank, chosen, folded, json_cell, parse_label, references_cell, text_cell
from gate.tuning.conversations import check_asks, question_key, read_messages, without_nulls
from gate.tuning.examples import Example, read_passages, to_json
from gate.tuning.rows import BrokenRow, Row, rows_of, strict_json
from gate.tuning.whole_file import written_whole
from gate.types import Message, Question

_FIRST = 5
"""How many line numbers are kept of each reason."""
_REASONS = 50
"""Different reasons that are told apart: a bound on memory."""
_ENVELOPE = frozenset({"model", "messages", "stream", "stream_options", "n", "gate", "user", "metadata", "store"})
"""Fields of a request that are no part of what was asked."""
_FIELDS = frozenset(
    {"temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "tools", "tool_choice"}
    | {"response_format"}
)
"""Fields of a request where it stands beside other things in one row."""
_RESPONSE = frozenset({"choices", "body", "error", "status_code"})
"""What tells a server's response from an answer that is JSON itself."""
_ANSWERED = ("response", "output", "completion", "answer", "logged_answer")
_IDEAL = tuple(name for name in COLUMNS["references"] if name not in _ANSWERED)
_LABELS = ("label", "correct", "is_correct", "logged_correct")
_RATINGS = ("rating", "feedback", "thumbs", "thumb")


@dataclass
class Tally:
    """How many rows, and where the first of them stand."""

    count: int = 0
    first: list[int] = field(default_factory=list)
    """Line numbers; of Parquet, row numbers. At most five."""

    def add(self, number: int) -> None:
        self.count += 1
        if len(self.first) < _FIRST:
            self.first.append(number)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of the rows of a log: ``rows`` = ``written`` + ``duplicates`` + all that is ``unusable``."""

    rows: int
    written: int
    duplicates: int
    """Rows whose question, normalised, is another row's. The first that says what is right is kept, else the first."""
    with_references: int
    """Of those written."""
    unusable: Mapping[str, Tally]
    """By reason."""
    unread_labels: Mapping[str, Tally]
    """Labels that were none, by reason; their questions are used all the same."""


@dataclass(frozen=True, slots=True)
class _Logged:
    example: Example
    unread: str = ""
    """Why the label was not read."""


@dataclass
class _Pass:
    """The first reading of a log: which row of each question is kept."""

    rows: int = 0
    kept: dict[str, tuple[bool, int]] = field(default_factory=dict)
    """By question: whether it says what is right, and its row."""
    unusable: dict[str, Tally] = field(default_factory=dict)
    unread: dict[str, Tally] = field(default_factory=dict)

    def look_at(self, row: Row | BrokenRow) -> None:
        self.rows += 1
        try:
            logged = _logged(row)
        except ValueError as error:
            _count(self.unusable, str(error), row)
            return
        if logged.unread:
            _count(self.unread, logged.unread, row)
        judged = bool(logged.example.references) or logged.example.logged_correct is not None
        key = question_key(logged.example.question, logged.example.passages)
        before = self.kept.get(key)
        if before is None or (judged and not before[0]):
            self.kept[key] = (judged, row.number)


def _count(tallies: dict[str, Tally], reason: str, row: Row | BrokenRow) -> None:
    if len(tallies) >= _REASONS:
        reason = reason if reason in tallies else "other reasons"
    tallies.setdefault(reason, Tally()).add(row.number)


def import_logs(source: Path, target: Path, *, overwrite: bool = False) -> ImportReport:
    """Write the different questions of a log as examples, which `gate.tuning.examples.read_examples` reads.

    Taken are rows with ``messages`` (an assistant's last one is the logged answer), with a ``request`` or ``body`` and
    a ``response`` as servers and batch files have them, and with columns ``question`` and ``response`` or ``answer``.
    References come from a column such as ``ideal`` or ``references``; an answer that was labelled right is a reference
    too. Ratings are counted and not read: they say what somebody liked, not what is right.

    The log is read twice, so that of the same question asked twice the row that is labelled can be kept. ``target`` is
    written whole or not at all. Raises `ConfigError` when it exists (unless ``overwrite``), or when no row can be used.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise ConfigError("the log would be written over by what is made of it: name another target", where=str(target))
    seen = _Pass()
    for row in rows_of(source):
        seen.look_at(row)
    if not seen.kept:
        raise ConfigError(_nothing(seen), where=str(source))
    written = with_references = 0
    with written_whole(target, overwrite=overwrite) as file:
        for example in _kept(source, seen):
            file.write(to_json(example) + b"\n")
            written += 1
            with_references += bool(example.references)
    duplicates = seen.rows - written - sum(tally.count for tally in seen.unusable.values())
    return ImportReport(seen.rows, written, duplicates, with_references, seen.unusable, seen.unread)


def _nothing(seen: _Pass) -> str:
    if not seen.rows:
        return "this file holds no rows"
    why = "; ".join(f"{reason} ({t.count} rows, from {t.first[0]})" for reason, t in seen.unusable.items())
    return f"no row of this log can be used: {why}"


def _kept(source: Path, seen: _Pass) -> Iterator[Example]:
    """The rows that are kept, in order, each with an id of its own."""
    chosen_rows = {number for _, number in seen.kept.values()}
    ids: set[str] = set()
    for row in rows_of(source):
        if row.number in chosen_rows:
            example = _logged(row).example
            if not example.id or example.id in ids:
                example = dataclasses.replace(example, id=question_key(example.question, example.passages))
            ids.add(example.id)
            yield example


# --- a row -------------------------------------------------------------------------------------------------------


def _logged(row: Row | BrokenRow) -> _Logged:
    """Raises ValueError with the reason why a row cannot be used."""
    if isinstance(row, BrokenRow):
        raise ValueError(row.reason)
    cells = {folded(name): value for name, value in row.values.items()}
    messages, options = _asked(cells, flat=row.flat)
    answer = _answer(cells)
    last = messages[-1].content.strip() if messages[-1].role == "assistant" else None
    if last is not None and answer in ("", last):  # another answer would be one that goes on from there
        answer, messages = last, messages[:-1]
    check_asks(messages)
    label, unread = _label(cells)
    ideal = chosen(cells, _IDEAL)
    references = () if ideal is None else references_cell(ideal, flat=row.flat)
    if label and answer:
        references = tuple(dict.fromkeys((*references, answer)))
    question = Question(messages, options)
    made = Example(
        id=text_cell(chosen(cells, COLUMNS["id"]), "id"),
        question=question,
        references=references,
        segment=text_cell(cells.get("segment"), "segment"),
        passages=read_passages(chosen(cells, COLUMNS["passages"]), flat=row.flat),
        logged_answer=answer or None,
        logged_correct=label if answer else None,
    )
    return _Logged(made, unread)


def _asked(cells: Mapping[str, Any], *, flat: bool) -> tuple[tuple[Message, ...], Mapping[str, Any]]:
    for request in (_object(cells.get("request")), cells):
        body = _object(request.get("body")) or request
        if not blank(body.get("messages")):
            messages = json_cell(body["messages"], "messages", flat=flat)
            left_out = cells.keys() - _FIELDS if body is cells else _ENVELOPE
            options = {name: value for name, value in body.items() if name not in left_out}
            return read_messages(messages), without_nulls(options)
    text = chosen(cells, COLUMNS["question"])
    if isinstance(text, list):
        return read_messages(text), {}
    if text is None:
        raise ValueError("neither messages nor a question")
    return (Message("user", text_cell(text, "question")),), {}


def _answer(cells: Mapping[str, Any]) -> str:
    """What was answered; "" where the log holds a failure, a tool call or nothing."""
    response = _object(cells.get("response"))
    if isinstance(cells.get("response"), str) and response.keys().isdisjoint(_RESPONSE):
        response = {}  # a model may answer in JSON
    body = _object(response.get("body")) or response
    choices = body.get("choices", cells.get("choices"))
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        content = _object(choices[0].get("message")).get("content", choices[0].get("text"))
        return content.strip() if isinstance(content, str) else ""
    for name in _ANSWERED:
        value = cells.get(name)
        if isinstance(value, str) and value.strip() and not (name == "response" and response):
            return value.strip()
    return ""


def _object(value: Any) -> Mapping[str, Any]:
    """The object in a cell, also where its JSON stands there as text; empty where there is none."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = strict_json(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, Mapping) else {}


def _label(cells: Mapping[str, Any]) -> tuple[bool | None, str]:
    """The label, or why there is none."""
    found = chosen(cells, _LABELS)
    if found is not None:
        try:
            return parse_label(found), ""
        except ValueError:
            return None, "a label that is neither yes nor no"
    rated = chosen(cells, _RATINGS) is not None
    return None, "a rating: it says what somebody liked, not what is right" if rated else ""
