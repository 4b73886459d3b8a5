"""A decision in a notebook: all of it is there, nothing of it is markup of others, and it can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate import Gate
from gate.decorator.decided import Abstained, Decided
from gate.decorator.html import decided_html
from gate.traces import TraceRecord
from gate.types import (
    Action,
    Confidence,
    Contribution,
    Cost,
    Decision,
    Generation,
    Outcome,
    Passage,
    Reading,
    SignalVector,
    Stage,
    Step,
    ToolCall,
)

if TYPE_CHECKING:
    from tests.dashboard.browser import webdriver

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'\x00\ud800{{ 7*7 }}</style>"
_VOID = {"br", "meta", "rect", "line"}


class _Read(HTMLParser):
    """The elements and the text of a piece of HTML; complains of tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data


def a_decision(
    word: str = "Nigeria", action: Action = Action.ANSWER, *, p: float | None = 0.96, **outcome: Any
) -> Decided[str]:
    """Of two steps, with everything that a person's or a model's words can stand in."""
    contributions = (Contribution(f"up {word}", 2.0), Contribution("down", -0.75), Contribution("small", 0.001))
    confidence = None if p is None else Confidence(p, p / 2, (1 + p) / 2, contributions, base=1.9)
    stages = Stage("small"), Stage(f"large {word}", passages=True)
    readings = (
        Reading(f"up {word}", 0.5),
        Reading("down", -0.1),
        Reading("small", 1.0),
        Reading("vote_share", None, f"no samples, {word}"),
        Reading("other", None, f"no samples, {word}"),
    )
    steps = tuple(
        Step(
            Decision(doing, f"uncertain {word}", stage, confidence, 0.9, word),
            SignalVector(readings),
            Cost(1, 10, 2, 0.5, 0.001),
            (word,),
        )
        for doing, stage in zip((Action.ESCALATE, action), stages, strict=True)
    )
    answered = action is Action.ANSWER
    generation = Generation(word, tool_calls=(ToolCall("c", word, word),)) if answered else None
    passages = (Passage("p1", word, title=word, source=word), Passage(word, word))
    made = Outcome(action, word, steps, Cost(2, 20, 4, 1.0, 0.002), generation, "large", passages, ("p1",), **outcome)
    trace = TraceRecord("id1", "", f"policy {word}", "abcdef0123456789", False, steps, outcome=made, action=action)
    return Decided(word if answered else Abstained(made, trace), made, trace)


def test_it_tells_the_whole_decision() -> None:
    read = _Read(decided_html(a_decision(hedged=True, reference="T-7")))
    for said in (
        *(
            "Answered",
            "not certified",
            "Nigeria",
            "96.0\u00a0%",
            "48.0\u00a0% to 98.0\u00a0%",
            "answers from 90\u00a0%",
        ),
        *("up Nigeria", "+2.00", "\u22120.75", "1 more", "no samples, Nigeria", "vote_share", "other"),
        *("small by itself", "Escalate", "large Nigeria with passages", "1\u00a0call", "12\u00a0tokens", "$0.001"),
        *("No promise stands behind it: Nigeria", "policy Nigeria", "abcdef012345", "id1", "2\u00a0calls", "$0.002"),
        *("2\u00a0passages", "cited", "unsure answer shown", "with a person: T-7", "Nigeria(Nigeria)"),
    ):
        assert said in read.text, said
    labels = [value for name, value in read.attributes if name == "aria-label"]
    assert "A decision of gate: answered" in labels
    assert any(label and "p is 96.0" in label and "the threshold 90" in label for label in labels)


@pytest.mark.parametrize(
    ("action", "said"), [(Action.ABSTAIN, "Abstained"), (Action.CLARIFY, "Asked back")], ids=["abstain", "clarify"]
)
def test_both_show_a_decision_without_an_answer(action: Action, said: str) -> None:
    decided = a_decision("I do not know.", action)
    assert isinstance(decided.value, Abstained)
    for shown in (decided._repr_html_(), decided.value._repr_html_()):
        assert said in shown
        assert "I do not know." in shown
    assert decided._repr_html_() == decided.value._repr_html_()


def test_what_could_not_be_told_is_not_shown_as_a_number() -> None:
    read = _Read(decided_html(a_decision(p=None)))
    assert "95 % interval" not in read.text
    assert "Uncertain nigeria" in read.text, "the reason is"
    bare = Outcome(
        Action.ABSTAIN, "", (Step(Decision(Action.ABSTAIN, "cut_short", Stage("m")), SignalVector(()), Cost()),), Cost()
    )
    trace = TraceRecord("i", "", "p", "f", False, bare.steps, outcome=bare, action=Action.ABSTAIN)
    assert "The answer was cut short" in _Read(decided_html(Decided("", bare, trace))).text


def test_a_real_one() -> None:
    with Gate() as gate:
        read = _Read(gate.ask("Where is Nanjing?")._repr_html_())
    assert "China" in read.text
    assert "certified" in read.text
    assert "The promise of policy balanced stands behind it." in read.text
    assert "token_logprob_sum" in read.text


def test_what_others_write_is_never_markup() -> None:
    plain, hostile = _Read(decided_html(a_decision())), decided_html(a_decision(HOSTILE, reference=HOSTILE))
    assert "<script" not in hostile
    assert "<img" not in hostile
    read = _Read(hostile)
    assert read.names == plain.names, "no element came in"
    assert {name for name, _ in read.attributes} == {name for name, _ in plain.attributes}, "nor an attribute"
    assert "{{ 7*7 }}" in read.text
    hostile.encode()  # no half of a surrogate pair


@settings(max_examples=30)
@given(st.text(max_size=40), st.floats(0, 1), st.sampled_from([Action.ANSWER, Action.ABSTAIN, Action.CLARIFY]))
def test_anything_can_be_shown(word: str, p: float, action: Action) -> None:
    html = decided_html(a_decision(word, action, p=p))
    _Read(html)
    assert not re.search(r'="[^"]*(nan|inf)', html)


def test_it_stands_alone() -> None:
    html = decided_html(a_decision())
    assert not re.search(r"<script|https?://|@import|url\(|\son\w+=|\sid=", html), "several may stand on one page"
    style = html[html.index("<style>") : html.index("</style>")]
    selectors = re.findall(r"(?:^|\})\s*([^{}@]+)\{", re.sub(r"@(?:media|container)[^{]*\{", "", style[7:]))
    assert len(selectors) > 40
    assert all(".gate-decided" in part for selector in selectors for part in selector.split(","))


# --- in a browser ------------------------------------------------------------------------------------------------

CONTRASTS = """
const luminance = (c) => {
  const [r, g, b] = c.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}
const numbers = (c) => c.match(/[\\d.]+/g).map(Number)
const ground = (e) => {
  for (; e; e = e.parentElement) {
    const c = numbers(getComputedStyle(e).backgroundColor)
    if (c.length < 4 || c[3] > 0) return c
  }
  return [255, 255, 255]
}
const found = []
for (const e of document.querySelectorAll('.gate-decided *')) {
  if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.getClientRects().length) continue
  const style = getComputedStyle(e)
  const ink = numbers(e.namespaceURI.endsWith('svg') ? style.fill : style.color)
  const [light, dark] = [luminance(ink.slice(0, 3)), luminance(ground(e).slice(0, 3))].sort((a, b) => b - a)
  found.push([(light + 0.05) / (dark + 0.05), e.className.baseVal ?? e.className, e.textContent.slice(0, 40)])
}
return found
"""
JUPYTER = """.jp table { margin-left: auto; table-layout: fixed; border: none } body.jp { background: #fff }
.jp th, .jp td { text-align: right; padding: .5em; white-space: normal; max-width: none }
.jp tbody tr:nth-child(odd) { background: #f00 }"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    from tests.dashboard.browser import CHROMIUM, DRIVER, chromium

    if not (CHROMIUM and DRIVER):
        pytest.skip("no Chromium with chromedriver")
    with chromium(tmp_path_factory.mktemp("profile")) as made:
        yield made


def notebook(folder: Path, theme: str) -> str:
    """A page with several decisions on it and the rules that notebooks have for tables."""
    long = "A long answer. " * 200 + "unbroken" * 60
    shown = [
        a_decision(),
        a_decision(HOSTILE),
        a_decision(long),
        a_decision("I am not sure.", Action.ABSTAIN, p=0.3),
        a_decision("Which one?", Action.CLARIFY, p=None),
    ]
    body = "".join(f"<div class=jp>{decided_html(each)}</div>" for each in shown)
    path = folder / "page.html"
    head = '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    path.write_text(f"{head}<style>{JUPYTER}</style><body class=jp {theme}>{body}", encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize(
    ("theme", "dark_system", "ground"),
    [
        ("", False, "rgb(255, 255, 255)"),
        ("", True, "rgb(22, 27, 33)"),
        ("data-jp-theme-light=true", True, "rgb(255, 255, 255)"),
        ("data-jp-theme-light=false", False, "rgb(22, 27, 33)"),
    ],
    ids=["light", "dark", "light-notebook", "dark-notebook"],
)
def test_it_can_be_read_in_a_browser(
    driver: webdriver.Chrome, tmp_path: Path, theme: str, dark_system: bool, ground: str
) -> None:
    from tests.dashboard.browser import Window

    window = Window(driver, "")
    driver.get(notebook(tmp_path, theme))
    for width in (360, 600, 1100):
        window.shape(width, 900, dark=dark_system)
        window.run("for (const fold of document.querySelectorAll('details')) fold.open = true")
        wide = (
            "return [...document.querySelectorAll('.gate-decided')].filter((e) => e.scrollWidth > e.clientWidth).length"
        )
        assert window.run(wide) == 0, width
        assert window.run("return document.documentElement.scrollWidth <= innerWidth"), width
        window.picture(f"notebook-{width}-{theme or 'plain'}-{'dark' if dark_system else 'light'}")
    assert window.run("return getComputedStyle(document.querySelector('.gate-decided')).backgroundColor") == ground
    found: Any = window.run(CONTRASTS)
    assert len(found) > 100
    assert not [each for each in found if each[0] < 4.5]
    assert window.run("return document.scripts.length + document.images.length") == 0
    striped = "return getComputedStyle(document.querySelector('.gate-decided tbody tr')).backgroundColor"
    assert window.run(striped) == "rgba(0, 0, 0, 0)", "the notebook's own rules for tables stay out"
