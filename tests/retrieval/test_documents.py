"""Documents: plain text in paragraphs."""

from __future__ import annotations

from gate.retrieval.documents import paragraphs


def test_paragraphs_part_at_empty_lines() -> None:
    text = "\n\nOne\nstill one\n \t\nTwo\r\n\r\nThree"
    assert [text[block.start : block.end].split() for block in paragraphs(text)] == [
        ["One", "still", "one"],
        ["Two"],
        ["Three"],
    ]
    assert list(paragraphs(" \n\n")) == []
