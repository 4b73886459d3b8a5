"""HTML from plain values: whatever is not HTML already is escaped, so that no text of a user becomes markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Controls, halves of surrogate pairs and non-characters: no HTML document may hold them."""
_EMPTY = frozenset({"meta", "wbr"})
_LONGEST_NAME = 120


class Html(str):
    """Text that is HTML."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """Text as HTML shows it; characters that HTML has no place for are replaced."""
    if isinstance(text, Html):
        return text
    return Html(html.escape(_UNSHOWABLE.sub("\ufffd", text.replace("\r\n", "\n")), quote=True))


def element(name: str, /, *children: str, **attributes: str) -> Html:
    """``<name attributes>children</name>``. Python's ``class_`` and ``aria_label`` are ``class`` and ``aria-label``."""
    named = "".join(f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"' for key, value in attributes.items())
    if name in _EMPTY:
        return Html(f"<{name}{named}>")
    return Html(f"<{name}{named}>{''.join(map(escaped, children))}</{name}>")


def joined(parts: Iterable[str]) -> Html:
    return Html("".join(map(escaped, parts)))


def theirs(text: str, most: int = 600) -> Html:
    """A text of a user or a model: cut with a mark, and kept to its own direction of writing."""
    if len(text) > most:
        mark = element("span", f"… [cut: {len(text):,} characters in all]", class_="cut")
        return joined((element("bdi", text[:most], class_="theirs"), mark))
    return element("bdi", text, class_="theirs")


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: int = 1) -> Html:
    """A table whose first column heads the rows and whose columns from ``numeric`` on hold numbers.

    It scrolls sideways where the page is too narrow for it.
    """
    kinds = ["" if i < numeric else "number" for i in range(len(heads))]
    head = joined(_cell("th", h, kind, scope="col") for h, kind in zip(heads, kinds, strict=True))
    body = joined(
        element(
            "tr",
            _cell("th", row[0], kinds[0], scope="row"),
            *(_cell("td", cell, kind) for cell, kind in zip(row[1:], kinds[1:], strict=True)),
        )
        for row in rows
    )
    said = Html(re.sub("<[^>]*>", "", escaped(caption)))
    drawn = element("table", element("caption", caption), element("thead", element("tr", head)), element("tbody", body))
    return element("div", drawn, class_="scroll", role="group", tabindex="0", aria_label=said)


def _cell(name: str, content: str, kind: str, **attributes: str) -> Html:
    return element(name, content, **(attributes | ({"class_": kind} if kind else {})))


def bar(value: float | None, largest: float, said: str, *, mark: float | None = None) -> Html:
    """A number with a bar of its share of ``largest`` beside it; ``mark``: where on the same scale a line stands."""
    if value is None:
        return element("span", said, class_="unknown")
    width = min(1.0, max(0.0, value / largest)) if largest > 0 else 0.0
    line = "" if mark is None else element("i", style=f"left:{mark / largest:.2%}")
    track = element("span", element("b", style=f"width:{width:.2%}"), line, class_="bar", aria_hidden="true")
    return element("span", track, element("span", said, class_="figure"), class_="measured")


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """A list of names and what each is."""
    return element(
        "dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs), class_="facts"
    )


def words(text: str) -> Html:
    """A paragraph."""
    return element("p", text)


def named(text: str) -> Html:
    """A name of something in the policy, which may break after an underscore or a slash."""
    kept = text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…"
    pieces = (part for piece in re.split("(?<=[_/])", kept) for part in (piece, element("wbr")))
    return element("bdi", *pieces, class_="name theirs")


def legend(*keys: tuple[str, str]) -> Html:
    """What the marks of a drawing stand for: (class of the mark in the stylesheet, words)."""
    listed = (
        element("li", element("span", class_=f"key {kind}".strip(), aria_hidden="true"), said) for kind, said in keys
    )
    return element("ul", *listed, class_="legend")


def figure(drawn: Html, keys: Html, caption: str = "", kind: str = "drawn") -> Html:
    return element("figure", drawn, keys, element("figcaption", caption) if caption else "", class_=kind)


def beside(left: Html, right: Html) -> Html:
    return element("div", left, right, class_="beside")


def folded(summary: str, content: Html, *, shown: bool = False) -> Html:
    opened = {"open": "open"} if shown else {}
    return element("details", element("summary", summary), content, **opened)
