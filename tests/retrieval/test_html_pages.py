"""HTML pages: what is read on them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.retrieval.html_pages import charset, document

PAGE = """<!doctype html><html><head><title>Opening
 hours</title><style>p {color: red}</style><script>let x = "<p>no</p>";</script></head>
<body><nav><a href="/">Home</a></nav>
<h1>When we <em>open</em></h1><p>On weekdays from 8&nbsp;to&#32;6,
not on <b>holidays</b>.<p>Ring twice.
<h2>Prices</h2><table><tr><th>What</th><th>Euro</th></tr><tr><td>Key</td><td>4 &euro;</td></tr></table>
<pre>  one
  two</pre><ul><li>first<li>second</ul></body></html>"""


def test_text_is_read_without_scripts_styles_and_navigation() -> None:
    page = document(PAGE, "name")
    assert page.title == "Opening hours"
    assert [(b.part.value, b.level, page.text[b.start : b.end]) for b in page.blocks] == [
        ("heading", 1, "When we open"),
        ("text", 0, "On weekdays from 8 to 6, not on holidays."),
        ("text", 0, "Ring twice."),
        ("heading", 2, "Prices"),
        ("whole", 0, "What | Euro\nKey | 4 €"),
        ("whole", 0, "  one\n  two"),
        ("text", 0, "first"),
        ("text", 0, "second"),
    ]


def test_a_page_without_title_has_that_of_its_first_heading_or_file() -> None:
    assert document("<h2>Prices</h2>", "name").title == "Prices"
    assert document("<p>Text", "name").title == "name"


@pytest.mark.parametrize(
    ("page", "name"),
    [
        (b'<meta charset="latin-1">', "latin-1"),
        (b"<META http-equiv=x content='text/html; charset=cp1252'>", "cp1252"),
        (b"", "utf-8"),
    ],
)
def test_a_page_says_its_encoding(page: bytes, name: str) -> None:
    assert charset(page) == name


PIECES = "<p> </p> <table> <td> <tr> </table> <pre> </pre> <h1> </h1> a b <nav> </nav> &lt; < <!-- --> <br/> <title>"


@given(st.lists(st.sampled_from([*PIECES.split(), " ", "\n", "</title>"]), max_size=30))
def test_any_page_is_read_and_blocks_follow_one_another(pieces: list[str]) -> None:
    page = document("".join(pieces), "name")
    ends = [0, *(block.end for block in page.blocks)]
    assert all(ends[place] <= block.start < block.end for place, block in enumerate(page.blocks))
    assert all(page.text[block.start : block.end].strip() for block in page.blocks)


@pytest.mark.parametrize("piece", ["<", "<!--", "<a ", "<p>", "<table>", "<![CDATA[", "&", "a "])
def test_no_page_takes_long(piece: str) -> None:
    began = time.perf_counter()
    document(piece * (400_000 // len(piece)), "name")
    assert time.perf_counter() - began < 2
