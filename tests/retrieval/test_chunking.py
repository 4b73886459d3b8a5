"""Chunking: titles, positions, and where a passage ends."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.retrieval import markdown
from gate.retrieval.chunking import ENOUGH, MOST, Chunk, chunks
from gate.retrieval.documents import Document, paragraphs

SENTENCE = "The quick brown fox number {} jumps over the lazy dog. "


def of(text: str) -> list[Chunk]:
    return list(chunks(markdown.document(text, "name")))


def sentences(count: int) -> str:
    return "".join(SENTENCE.format(place) for place in range(count)).strip()


def test_a_passage_knows_the_headings_above_it() -> None:
    found = of("# Router\nIntro.\n## Setup\nPlug it in.\n### Wires\nRed.\n## Reset\nHold it.\n")
    assert [(chunk.title, chunk.text) for chunk in found] == [
        ("Router", "Intro."),
        ("Router › Setup", "Plug it in."),
        ("Router › Setup › Wires", "Red."),
        ("Router › Reset", "Hold it."),
    ]


def test_a_heading_with_nothing_beneath_it_can_be_found() -> None:
    assert [chunk.text for chunk in of("# A\n## Closed on Mondays\n## B\ntext")] == ["## Closed on Mondays", "text"]


def test_short_paragraphs_of_a_section_stay_together() -> None:
    (only,) = of("One.\n\nTwo.\n\nThree.")
    assert only.text == "One.\n\nTwo.\n\nThree."


def test_a_long_section_is_cut_between_sentences_and_goes_on_with_the_last_one() -> None:
    found = of(sentences(60))
    assert len(found) > 2
    for before, after in pairwise(found):
        assert before.text.endswith(".")
        assert after.text.startswith("The quick")
        assert after.start < before.start + len(before.text), "a sentence stands in both"
        assert before.text.endswith(after.text.partition(". ")[0] + ".")


def test_a_passage_ends_with_the_paragraph_that_makes_it_long_enough() -> None:
    paragraph = sentences(10)
    first, *_ = of("\n\n".join([paragraph] * 6))
    assert ENOUGH <= len(first.text) <= MOST
    assert first.text.endswith("number 9 jumps over the lazy dog.")


def test_nothing_is_repeated_across_sections() -> None:
    found = of(f"# A\n{sentences(3)}\n# B\nBe.")
    assert found[-1].text == "Be."


def test_code_and_tables_stay_whole_where_they_fit() -> None:
    code = "```\n" + "\n".join(f"line {place} of code. It goes on" for place in range(25)) + "\n```"
    found = of(f"{sentences(12)}\n\n{code}\n\n{sentences(12)}")
    assert sum(code in chunk.text for chunk in found) == 1
    assert "line 3" not in "".join(chunk.text for chunk in found if code not in chunk.text)
    long = "\n".join(f"| row {place} | {'x' * 40} |" for place in range(100))
    assert all(row in long.splitlines() for chunk in of(long) for row in chunk.text.splitlines())


def test_scripts_without_spaces_are_cut_too() -> None:
    found = of("東京は日本の首都である。" * 500)
    assert all(len(chunk.text) <= MOST and chunk.text.endswith("。") for chunk in found)
    assert all(len(chunk.text) <= MOST for chunk in of("字" * 5000))


PIECES = ["# A\n", "## B\n", "\n\n", "Some words here. ", "x" * 700, "```\n", "| t |\n", "no end ", "!? ", "\t"]


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_a_passage_is_a_run_of_its_document_and_no_word_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    made = markdown.document(text, "name")
    found = list(chunks(made))
    covered = [False] * len(text)
    for chunk in found:
        assert text[chunk.start : chunk.start + len(chunk.text)] == chunk.text
        assert 0 < len(chunk.text) <= MOST
        assert chunk.text == chunk.text.strip()
        covered[chunk.start : chunk.start + len(chunk.text)] = [True] * len(chunk.text)
    for block in made.blocks:
        if not block.heading and block.level == 0:
            assert all(covered[place] for place in range(block.start, block.end) if not text[place].isspace())


@pytest.mark.parametrize("piece", ["a", "a ", "a. ", "a.\n", "\n\na", "1) a\n", "-", "。"])
def test_a_text_of_any_kind_is_cut_in_time_that_grows_with_its_length(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    began = time.process_time()
    assert all(len(chunk.text) <= MOST for chunk in chunks(Document(text, paragraphs(text))))
    assert time.process_time() - began < 2
