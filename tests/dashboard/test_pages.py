"""The pages as a person sees them: colours that can be told apart, and everything in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gate.dashboard.pages import STATIC, Pages, asset
from gate.dashboard.serving import LogHealth
from gate.log.kept import Sought
from tests.dashboard.app import Made
from tests.dashboard.fake_reader import FakeServing, a_decision, busy
from tests.proxy.live_server import live

if TYPE_CHECKING:
    from tests.dashboard.browser import Window, webdriver

HERE = Path(__file__).parents[2] / "gate" / "dashboard"
STYLE = (HERE / "static" / "style.css").read_text(encoding="utf-8")
TEXTS = [
    *(("--ink", ground) for ground in ("--paper", "--ground", "--raised", "--open-ground", "--bad-ground")),
    *(("--muted", ground) for ground in ("--paper", "--ground", "--raised", "--open-ground")),
    *(("--accent", ground) for ground in ("--paper", "--ground", "--raised", "--accent-ground")),
    *((f"--{name}", f"--{name}-ground") for name in ("good", "bad", "open")),
    *((f"--{name}", "--paper") for name in ("good", "bad", "ask", "open")),
    ("--on-accent", "--accent"),
]
MARKS = [
    ("--fill", "--track"),
    ("--fill", "--paper"),
    ("--bad", "--track"),
    ("--ink", "--track"),
    ("--muted", "--paper"),
]


CUT_OFF = """return Array.from(document.querySelectorAll('table')).filter((table) =>
  table.getClientRects().length && table.scrollWidth > table.closest('.card, .facet').clientWidth + 1
).map((table) => table.className)"""
"""Tables that are wider than the card they stand in, which hides what is too much."""


def colours(dark: bool) -> dict[str, str]:
    schemes = re.split(r"@media \(prefers-color-scheme: dark\)", STYLE)
    found = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", schemes[0]))
    return found | dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", schemes[1])) if dark else found


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_what_it_should_be() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_can_be_read_and_every_mark_be_seen(dark: bool) -> None:
    held = colours(dark)
    weak = {pair: contrast(held[pair[0]], held[pair[1]]) for pair in TEXTS}
    assert not {pair: found for pair, found in weak.items() if found < 4.5}
    marks = {pair: contrast(held[pair[0]], held[pair[1]]) for pair in MARKS}
    assert not {pair: found for pair, found in marks.items() if found < 3}


def test_nothing_is_loaded_from_elsewhere_and_the_script_is_small() -> None:
    script = (HERE / "static" / "script.js").read_text(encoding="utf-8")
    assert len(script.splitlines()) <= 150
    for file in (*HERE.glob("templates/*.html"), *HERE.glob("static/*")):
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|url\(", text), file.name
    assert "innerHTML" not in script
    assert "eval" not in script


def test_templates_escape_and_mark_nothing_of_others_as_safe() -> None:
    marked = [f.name for f in HERE.glob("templates/*.html") if re.search(r"\|\s*safe|autoescape", f.read_text())]
    assert marked == ["icons.html"]
    assert "{{ paths[name or" in (HERE / "templates" / "icons.html").read_text()
    said = Pages().html("message", visit=None, title="<b>", said="\x00\ud800é")
    assert "&lt;b&gt;" in said
    assert "\ufffd\ufffdé" in said


def test_a_file_has_another_address_when_it_has_other_content() -> None:
    addresses = {asset(name) for name in STATIC}
    assert len(addresses) == len(STATIC)
    assert all(re.fullmatch(r"/dashboard/static/[\w.]+\?v=[0-9a-f]{12}", address) for address in addresses)


# --- in a browser ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    from tests.dashboard.browser import CHROMIUM, DRIVER, chromium

    if not (CHROMIUM and DRIVER):
        pytest.skip("no Chromium with chromedriver")
    with chromium(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture(scope="module")
def made() -> Made:
    return Made(reader=busy(400))


@pytest.fixture(scope="module")
def address(made: Made) -> Iterator[str]:
    with live(made.app) as url:
        yield url


@pytest.fixture
def window(driver: webdriver.Chrome, address: str) -> Iterator[Window]:
    from tests.dashboard.browser import Window

    shown = Window(driver, address)
    shown.scripts(run=True)
    shown.shape(1280, 900)
    driver.delete_all_cookies()
    shown.log_in()
    yield shown
    shown.scripts(run=True)


def paths(made: Made) -> list[str]:
    assert made.reader is not None
    newest = made.reader.recent(Sought(), 60)
    abstained = next(kept for kept in newest if kept.action == "abstain")
    failed = next((kept for kept in newest if not kept.action), newest[0])
    decisions = [f"/decisions/{kept.id}" for kept in (newest[0], abstained, failed)]
    return ["", "/decisions", *decisions, "/quality", "/quality?policy=support", "/spend?days=14", "/review"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_page_is_wider_than_a_phone_and_none_complains(window: Window, made: Made, dark: bool) -> None:
    for number, path in enumerate(paths(made)):
        for width, height in ((1280, 900), (820, 1100), (360, 740)):
            window.shape(width, height, dark=dark)
            window.open(path)
            window.run("for (const fold of document.querySelectorAll('details')) fold.open = true")
            assert int(str(window.run("return document.documentElement.scrollWidth"))) <= width, (path, width)
            shown = window.run("return getComputedStyle(document.body).backgroundColor")
            assert shown == ("rgb(14, 18, 22)" if dark else "rgb(244, 246, 248)")
            assert len(window.all("h1")) == 1
            assert window.run(CUT_OFF) == [], (path, width)
            window.picture(f"{number}-{width}-{'dark' if dark else 'light'}")
    assert window.complaints() == []


def test_text_of_others_runs_nowhere_in_a_browser(driver: webdriver.Chrome) -> None:
    from tests.dashboard.browser import Window
    from tests.dashboard.test_routes import hostile

    made, _ = hostile()
    with live(made.app) as url:
        shown = Window(driver, url)
        driver.delete_all_cookies()
        shown.shape(360, 740)
        shown.log_in()
        for path in ("", "/decisions", "/decisions/d0", "/decisions/e0", "/quality", "/spend", "/review"):
            shown.open(path)
            assert shown.run("return document.documentElement.scrollWidth") == 360, path
            assert len(shown.all("script")) == 1
            assert shown.all("img") == []
        assert shown.complaints() == [], "the policy had nothing to forbid"


def test_filtering_and_reading_one_decision(window: Window) -> None:
    window.open("/decisions")
    window.find("select[name=policy]").send_keys("strict")
    window.find("select[name=action]").send_keys("Abstained")
    window.press("form.filters button")
    assert "policy=strict" in window.driver.current_url
    assert "action=abstain" in window.driver.current_url
    rows = window.all("tr[data-id]")
    assert rows
    assert all("Abstained" in row.text and "strict" in row.text for row in rows)
    window.press("tr[data-id] .when a")
    assert window.find("h1").text == "Abstained"
    assert window.all("table.waterfall")
    window.find("button.copy").click()
    window.until(lambda: window.find("button.copy").get_attribute("aria-label") == "Copied")
    assert window.complaints() == []


def test_a_queue_is_worked_off_with_the_keyboard_alone(window: Window, made: Made) -> None:
    window.open("/review")
    before = len(made.labels)
    question = window.find(".large").text
    assert window.run("return document.activeElement.hasAttribute('data-keys')") is True
    page = window.find("html")
    window.driver.switch_to.active_element.send_keys("2")
    window.until(lambda: len(made.labels) == before + 1)
    assert made.labels[-1].correct is False
    assert made.labels[-1].by == "ops"
    window.until(lambda: page not in window.all("html"))
    assert window.find("[role=status]").text.startswith("Saved.")
    field = window.find("textarea[name=note]")
    field.send_keys("a 3 in a note presses nothing")
    assert len(made.labels) == before + 1
    window.press("button[value=unclear]")
    assert made.labels[-1].note == "a 3 in a note presses nothing"
    assert made.labels[-1].correct is None
    assert question
    assert window.complaints() == []


def test_the_list_refreshes_itself_and_can_be_paused(window: Window, made: Made) -> None:
    assert made.reader is not None
    hurried = "{const real = window.setTimeout; window.setTimeout = (f, ms) => real(f, ms > 3000 ? 100 : ms)}"
    added = window.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": hurried})
    window.open("/decisions")
    window.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    made.reader.add(a_decision("fresh1", at=made.now))  # type: ignore[attr-defined]
    window.until(lambda: window.all("tr[data-id=fresh1]"))
    assert window.find("[data-live-said]").get_attribute("textContent") == "1 new decision"
    window.find("[data-live-toggle]").click()
    window.until(lambda: window.find("[data-live-word]").text == "Paused")
    made.reader.add(a_decision("fresh2", at=made.now + 1))  # type: ignore[attr-defined]
    window.run("return new Promise((done) => setTimeout(done, 400))")
    assert not window.all("tr[data-id=fresh2]")
    window.find("[data-live-toggle]").click()
    window.until(lambda: window.all("tr[data-id=fresh2]"))
    made.serving.viewers, kept = {}, made.serving.viewers
    window.until(lambda: window.find("[data-live-word]").text == "Logged out")
    made.serving.viewers = kept
    assert window.complaints() == []


def test_everything_works_without_scripts(driver: webdriver.Chrome) -> None:
    from tests.dashboard.browser import Window

    reader = busy(200)
    made = Made(reader=reader, serving=FakeServing(health=LogHealth("text")))
    with live(made.app) as url:
        window = Window(driver, url)
        driver.delete_all_cookies()
        window.scripts(run=False)
        try:
            window.open("/login")
            window.find("#key").send_keys("key-review")
            window.find("button.primary").click()
            window.until(lambda: window.all("form.verdict"))
            assert not window.find("[data-with-script]").is_displayed()
            first = window.find("form.verdict").get_attribute("action")
            window.find("textarea[name=answer]").send_keys("China")
            window.find("button[value=wrong]").click()
            window.until(lambda: window.all("[role=status]"))
            assert (made.labels[-1].correct, made.labels[-1].answer) == (False, "China")
            assert window.find("form.verdict").get_attribute("action") != first
            window.open("/decisions")
            assert window.find(".without-script").is_displayed()
            assert not window.find("[data-live-toggle]").is_displayed()
            window.find(".when a").click()
            window.until(lambda: window.all("table.waterfall") or window.all(".step"))
            window.find("form.who button").click()
            window.until(lambda: window.all("#key"))
        finally:
            window.scripts(run=True)
        assert window.complaints() == []


def test_the_skip_link_is_the_first_stop(window: Window) -> None:
    from selenium.webdriver.common.keys import Keys

    window.open("/decisions")
    window.find("body").send_keys(Keys.TAB)
    first = window.driver.switch_to.active_element
    assert first.text == "Skip to content"
    first.send_keys(Keys.ENTER)
    assert window.run("return document.activeElement.id") == "main"
