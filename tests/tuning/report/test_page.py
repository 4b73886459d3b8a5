"""The page as a whole: it stands alone, it is the same for the same report, and a browser takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from gate.tuning.report import Report, render
from tests.tuning.report.reports import hostile, of_nothing, realistic

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
REPORTS = (realistic, of_nothing, hostile)
HEADINGS = (
    "Does confidence mean what it says?",
    "Risk and coverage",
    "Cost and quality",
    "Signals",
    "Confident and wrong",
    "Segments",
    "What a question costs",
    "Worst examples",
    "Certificate",
    "Notes",
    "How to read this",
)
EMPTY = {"meta", "wbr"}


@pytest.fixture(scope="module", params=REPORTS, ids=lambda made: made.__name__)
def page(request: pytest.FixtureRequest) -> str:
    return render(request.param())


class Outline(HTMLParser):
    """Elements in order, open ones on a stack; what HTML asks of a page as we write it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.tables = 0
        self.captions = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        self.tables += tag == "table"
        self.captions += tag == "caption"
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "href", "srcset", "data", "action"}:
                (self.links if (value or "").startswith("#") else self.loads).append(value or "")
        if tag not in EMPTY and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.get_starttag_text() and self.stack and self.stack[-1] == tag:
            self.stack.pop()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)


def test_it_stands_alone(page: str) -> None:
    outline = Outline(page)
    assert not outline.loads
    assert not outline.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not re.search(r"@import|url\((?!#)", page)
    assert not re.search(r"https?://", page)
    assert "default-src &#x27;none&#x27;" in page


def test_it_is_well_formed(page: str) -> None:
    outline = Outline(page)
    assert outline.stack == []
    assert len(outline.ids) == len(set(outline.ids))
    assert set(outline.links) <= {f"#{i}" for i in outline.ids}
    assert outline.tables == outline.captions
    assert page.startswith('<!doctype html>\n<html lang="en">')


def test_its_headings_are_in_order(page: str) -> None:
    levels = Outline(page).headings
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))


def test_every_section_is_there(page: str) -> None:
    found = re.findall(r"<h2>(.*?)</h2>", page)
    assert tuple(found[1:]) == HEADINGS


def test_nothing_is_nan_or_none(page: str) -> None:
    text = re.sub(r"<[^>]*>", " ", page[page.index("<body>") :])
    assert not re.search(r"\b(nan|NaN|None|inf)\b(?!\.)", text)


@pytest.mark.parametrize("made", REPORTS, ids=lambda made: made.__name__)
def test_the_same_report_is_the_same_page(made: Callable[[], Report]) -> None:
    assert render(made()) == render(made())


def test_nothing_is_escaped_twice() -> None:
    assert "&lt;" not in render(realistic())
    assert not re.search("&amp;(lt|gt|amp|quot|#x27);", render(hostile()))


def test_long_texts_do_not_make_a_long_page() -> None:
    page = render(hostile())
    assert "[cut: " in page
    assert len(page) < 200_000
    page.encode("utf-8")


def test_hostile_texts_stay_texts() -> None:
    page = render(hostile())
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in page
    assert "🙂" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", page)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page in")
@pytest.mark.parametrize("made", [realistic, hostile], ids=lambda made: made.__name__)
def test_a_browser_opens_it_without_a_complaint(made: Callable[[], Report], tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(render(made()), encoding="utf-8")
    assert CHROMIUM is not None
    run = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--v=0",
            "--virtual-time-budget=2000",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        timeout=60,
        check=True,
    )
    complaints = [line for line in run.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    assert not complaints
    shown = run.stdout.decode()
    assert tuple(re.findall(r"<h2>(.*?)</h2>", shown)[1:]) == HEADINGS
    # what the browser made of it is what was written: every text is still a text
    assert "<script" not in shown
    assert shown.count("<svg") == 3
