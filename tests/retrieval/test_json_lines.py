"""JSON lines as documents: rows, and lines that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gate.retrieval.documents import Document, LeftOut
from gate.retrieval.json_lines import Row, documents, row_of


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ('{"id": "a", "text": "b"}', Row("a", "b")),
        (b'{"id": 7, "text": "b", "title": "t", "url": "u"}', Row("7", "b", "t", "u")),
        ('{"id": "a", "text": "b", "title": 3}', Row("a", "b")),
        ('{"id": "a"}', None),
        ("[]", None),
        ("{", None),
        (b"\xff", None),
        ('{"id": "a", "text": "\\ud800"}', None),
        ("[" * 100_000, None),
    ],
)
def test_a_row_is_an_object_with_id_and_text(line: str | bytes, row: Row | None) -> None:
    assert row_of(line) == row


def test_broken_lines_are_named_and_the_others_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [
        {"id": "a", "text": "One", "title": "T", "url": "http://x"},
        {"id": "a", "text": "again"},
        {"id": "b", "text": " "},
    ]
    path.write_text(
        "".join(json.dumps(row) + "\n" for row in rows) + "\n{cut\n" + json.dumps({"id": "c", "text": "Two"})
    )
    found = list(documents(path, 10_000))
    assert [(each.id, each.title, each.url) for each in found if isinstance(each, Document)] == [
        ("a", "T", "http://x"),
        ("c", "", ""),
    ]
    left_out = [(each.where, each.reason[:12]) for each in found if isinstance(each, LeftOut)]
    assert left_out == [("line 2", "has the id '"), ("line 3", "has an empty"), ("line 5", 'is not {"id"')]


def test_a_line_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "text": "b"}\n' + "x" * 5000)
    *_, last = documents(path, 1000)
    assert isinstance(last, LeftOut)
    assert "--max-file-mb" in last.reason
