"""HTML from plain values: nothing that anyone wrote becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.tuning.report.markup import Html, bar, element, escaped, facts, folded, joined, legend, named, table, theirs


class Read(HTMLParser):
    """Elements and texts as a browser would take them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""
        self.attributes: dict[str, str | None] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


SAFE = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn")))


@given(SAFE)
def test_any_text_comes_back_as_it_was_and_as_text_alone(text: str) -> None:
    read = Read(element("p", text, title=text))
    assert read.tags == ["p"]
    assert read.text == text
    assert read.attributes["title"] == text


@given(st.text())
def test_any_text_can_be_written_as_utf8(text: str) -> None:
    joined((escaped(text), element("p", text), theirs(text), named(text))).encode("utf-8")


@pytest.mark.parametrize("bad", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\ud800", "\uffff", "\r"])
def test_what_html_has_no_place_for_is_replaced(bad: str) -> None:
    assert escaped(f"a{bad}b") == "a\ufffdb"


def test_lines_stay() -> None:
    assert escaped("a\r\nb\n\tc") == "a\nb\n\tc"


def test_html_is_not_escaped_twice_and_a_sum_of_it_is_text_again() -> None:
    inner = element("b", "<")
    assert element("p", inner) == "<p><b>&lt;</b></p>"
    assert escaped(inner) is inner
    assert not isinstance(inner + inner, Html)  # so forgetting to join it shows, and never lets markup in


def test_elements() -> None:
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert element("i", class_="a", aria_label="b") == '<i class="a" aria-label="b"></i>'
    assert element("meta", name="n") == '<meta name="n">'


def test_long_texts_are_cut_with_a_mark_that_is_not_theirs() -> None:
    cut = theirs("x" * 100_000, 50)
    assert Read(cut).text == "x" * 50 + "… [cut: 100,000 characters in all]"
    assert cut.index("</bdi>") < cut.index("[cut")
    assert theirs("x" * 50, 50) == f'<bdi class="theirs">{"x" * 50}</bdi>'
    assert Read(named("y" * 500)).text == "y" * 120 + "…"


def test_names_may_break_where_their_parts_do() -> None:
    assert named("vote_share").replace("<wbr>", "|") == '<bdi class="name theirs">vote_|share|</bdi>'


def test_a_table_says_what_it_is_and_heads_its_rows_and_columns() -> None:
    drawn = table(joined(("All ", named("a_b"))), ("name", "n"), [("<x>", "1"), ("y", "2")])
    assert 'aria-label="All a_b"' in drawn
    assert drawn.count('scope="col"') == drawn.count('scope="row"') == 2
    assert '<td class="number">1</td>' in drawn
    assert "&lt;x&gt;" in drawn
    assert "<caption>All <bdi" in drawn


def test_a_row_of_another_length_is_a_fault() -> None:
    with pytest.raises(ValueError, match="zip"):
        table("t", ("a", "b"), [("1", "2", "3")])


@pytest.mark.parametrize(
    ("value", "largest", "width"), [(0.5, 1, "50.00%"), (2, 1, "100.00%"), (-1, 1, "0.00%"), (0.3, 0, "0.00%")]
)
def test_a_bar_stays_in_its_track(value: float, largest: float, width: float) -> None:
    assert f"width:{width}" in bar(value, largest, "said")


def test_what_is_not_known_has_no_bar() -> None:
    assert bar(None, 1, "not known") == '<span class="unknown">not known</span>'
    assert "left:50.00%" in bar(0.7, 1, "0.7", mark=0.5)


def test_small_parts() -> None:
    assert facts([("a", "b")]) == '<dl class="facts"><div><dt>a</dt><dd>b</dd></div></dl>'
    assert " open=" in folded("s", element("p"), shown=True)
    assert " open=" not in folded("s", element("p"))
    assert 'class="key dot"' in legend(("dot", "a dot"))
