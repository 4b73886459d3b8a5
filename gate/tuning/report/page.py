"""The report of a policy as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from gate.tuning.report import grounds, sections
from gate.tuning.report.contents import Report
from gate.tuning.report.markup import Html, element, joined, theirs
from gate.tuning.report.verdict import verdict
from gate.tuning.report.wording import counted

_SECTIONS: tuple[tuple[str, str, Callable[[Report], Iterator[Html]]], ...] = (
    ("calibration", "Does confidence mean what it says?", sections.calibration),
    ("trade-off", "Risk and coverage", sections.trade_off),
    ("cost-and-quality", "Cost and quality", sections.cost_and_quality),
    ("signals", "Signals", grounds.signals),
    ("confident-wrong", "Confident and wrong", grounds.confident_wrong),
    ("segments", "Segments", sections.segments),
    ("costs", "What a question costs", sections.costs),
    ("examples", "Worst examples", grounds.examples),
    ("certificate", "Certificate", grounds.certificate),
    ("notes", "Notes", grounds.notes),
    ("how-to-read", "How to read this", grounds.how_to_read),
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What the page may load, as a Content-Security-Policy: nothing."""


def render(report: Report) -> str:
    """A whole HTML document, the same for the same report. Write it as UTF-8.

    Raises `MissingExtra` without matplotlib.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{report.policy}: report"),
        Html(f"<style>{_stylesheet()}</style>"),
    )
    body = element("body", _header(report), element("main", *_content(report)), _footer(report))
    return f'<!doctype html>\n<html lang="en">{head}\n{body}</html>\n'


def _stylesheet() -> str:
    return Path(__file__).with_name("report.css").read_text(encoding="utf-8")


def _header(report: Report) -> Html:
    listed = joined(element("li", element("a", title, href=f"#{name}")) for name, title, _ in _SECTIONS)
    return element(
        "header",
        element("p", "Policy report", joined((", ", theirs(report.date, 40))) if report.date else "", class_="kicker"),
        element("h1", theirs(report.policy, 200)),
        element("p", theirs(report.summary), class_="summary") if report.summary else "",
        element("nav", element("ul", listed), aria_label="Sections"),
    )


def _content(report: Report) -> Iterator[Html]:
    found = verdict(report)
    grounds = element("ul", *(element("li", ground) for ground in found.grounds))
    yield element("section", element("h2", found.headline), grounds, class_=f"verdict {found.status}", id="verdict")
    yield sections.tiles(report)
    for name, title, write in _SECTIONS:
        yield element("section", element("h2", title), *write(report), id=name)


def _footer(report: Report) -> Html:
    found = report.evaluation
    of = f"{counted(found.n, 'question')}, {count_labelled(found.labelled)}"
    return element("footer", element("p", "Measured on ", theirs(report.data) if report.data else "these", f": {of}."))


def count_labelled(labelled: int) -> str:
    return f"{labelled:,} labelled" if labelled else "none labelled"
