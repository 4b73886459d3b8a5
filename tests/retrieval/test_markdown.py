"""Markdown: headings, and what is kept whole."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.retrieval.documents import Part
from gate.retrieval.markdown import document

PAGE = """---
title: "Router H210"
lang: en
---
Before all.

# Setting *up*

Plug it in.
Wait.

Wiring
------
```sh
# no heading

echo hi
```
| a | b |
|---|---|
| 1 | 2 |

After [a link](http://x) ## no heading
### Third ###
"""


def shown(text: str) -> list[tuple[str, int, str]]:
    made = document(text, "name")
    return [(b.part.value, b.level, b.heading or text[b.start : b.end].strip()) for b in made.blocks]


def test_blocks_are_headings_text_and_what_is_kept_whole() -> None:
    assert shown(PAGE) == [
        ("text", 0, "Before all."),
        ("heading", 1, "Setting up"),
        ("text", 0, "Plug it in.\nWait."),
        ("heading", 2, "Wiring"),
        ("whole", 0, "```sh\n# no heading\n\necho hi\n```"),
        ("whole", 0, "| a | b |\n|---|---|\n| 1 | 2 |"),
        ("text", 0, "After [a link](http://x) ## no heading"),
        ("heading", 3, "Third"),
    ]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (PAGE, "Router H210"),
        ("# The `one`\n\n# Two", "The one"),
        ("## Two\ntext", "name"),
        ("", "name"),
        ("---\nno end", "name"),
    ],
)
def test_the_title_is_that_of_the_front_matter_or_the_first_heading(text: str, title: str) -> None:
    assert document(text, "name").title == title


def test_a_fence_that_never_closes_goes_on_to_the_end() -> None:
    assert shown("~~~\ncode\n# no\n```\n") == [("whole", 0, "~~~\ncode\n# no\n```")]


@given(st.text(alphabet="#-=`~| \n\tab[]()*", max_size=200))
def test_blocks_follow_one_another_and_hold_all_that_is_written(text: str) -> None:
    blocks = list(document(text, "name").blocks)
    ends = [0, *(block.end for block in blocks)]
    assert all(ends[place] <= block.start <= block.end for place, block in enumerate(blocks))
    left = "".join(text[a:b] for a, b in zip(ends, [*(b.start for b in blocks), len(text)], strict=True))
    assert not left.strip() or text.startswith("---")
    assert all(text[b.start : b.end].strip() for b in blocks if b.part is not Part.HEADING)


@pytest.mark.parametrize("piece", ["#", "# " * 10, "---\n", "[", "*", "`", "|", " ", "a\n"])
def test_no_text_takes_long(piece: str) -> None:
    began = time.perf_counter()
    document(piece * (200_000 // len(piece)), "name")
    assert time.perf_counter() - began < 2
