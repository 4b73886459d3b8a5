"""Every page over the wire: what it shows, what it refuses, and that no text becomes markup."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import anyio
import pytest

from gate.dashboard.pages import HEADERS
from gate.dashboard.routes import dashboard_routes
from gate.dashboard.serving import LogHealth
from gate.errors import ConfigError
from gate.log.kept import Label
from gate.traces import Failure, TapeEntry
from gate.types import Action, Certificate, Cost, Generation, Generations, Message, Passage, Question
from tests.dashboard.app import Made, send
from tests.dashboard.fake_reader import ADMIN, ASKED, NOW, POLICIES, FakeReader, FakeServing, a_decision, busy

EVIL = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}\u202e\x00\ud800"


def get(made: Made, *paths: str, key: str = "key-admin") -> list[tuple[int, str]]:
    async def main() -> list[tuple[int, str]]:
        async with made.logged_in(key) as client:
            replies = [await client.get(f"/dashboard{path}") for path in paths]
            return [(reply.status_code, reply.text) for reply in replies]

    return anyio.run(main)


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).replace("\u00a0", " ").split())


def test_the_overview_says_what_is_promised_and_what_became_of_it() -> None:
    ((status, page),) = get(Made(reader=busy(400)), "")
    assert status == 200
    said = text_of(page)
    for expected in (
        "≤ 5 % wrong among answers",
        "21 wrong of 1,080 answered, 1,141 asked",
        "Certificate void",
        "upstream large is not the model that was certified",
        "No certificate",
        "Observing",
        "ALARM: strict breaks its promise.",
        "180 answers, 7 wrong",
        "Used retrieved passages",
        "Went to a stronger model",
    ):
        assert expected in said, expected


def test_the_overview_warns_of_a_log_with_gaps() -> None:
    serving = FakeServing(health=LogHealth("scalars", 9_999, 17, "the disk is full"))
    ((_, page),) = get(Made(serving=serving), "")
    assert "17 decisions were not kept" in text_of(page)
    assert "the disk is full" in page


def test_without_a_log_every_page_says_what_to_set() -> None:
    made = Made(reader=None, serving=FakeServing(health=None))
    home, *others = get(made, "", "/decisions", "/decisions/rows", "/decisions/d0", "/quality", "/spend", "/review")
    assert home[0] == 200
    assert "No decision log is kept" in home[1]
    for status, page in others:
        assert status == 200
        assert "url: sqlite:///decisions.db" in page


def test_the_list_filters_and_leads_on() -> None:
    made = Made(reader=busy(300))
    everything, narrow, nothing = get(
        made, "/decisions", "/decisions?policy=strict&action=abstain", "/decisions?key=nobody"
    )
    assert everything[1].count("data-id=") == 50
    older = re.search(r'href="(/dashboard/decisions\?before=[^"]+)"', everything[1])
    assert older
    rows = re.findall(r"<tr role=\"row\" data-id.*?</tr>", narrow[1], re.S)
    assert rows
    assert all("Abstained" in row and "strict" in row for row in rows)
    assert "No decision matches." in nothing[1]
    ((_, second),) = get(made, older[1].removeprefix("/dashboard").replace("&amp;", "&"))
    assert not set(re.findall(r'data-id="(\w+)"', second)) & set(re.findall(r'data-id="(\w+)"', everything[1]))
    assert "data-live=" not in second, "only the newest page changes by itself"


def test_a_decision_is_explained_step_by_step() -> None:
    reader = busy(60)
    kept = next(k for k in reader.rows.values() if k.action == "abstain" and k.mode == "enforce")
    ((status, page),) = get(Made(reader=reader), f"/decisions/{kept.id}")
    assert status == 200
    said = text_of(page)
    assert kept.question in page
    for step in reader.traces[kept.id].steps:
        for reading in step.signals.readings:
            assert reading.signal in said
            if reading.missing:
                assert f"missing: {reading.missing}" in said
    for expected in (
        "Average question",
        "This draft",
        "ways considered",
        "not sure enough",
        "Draft (not sent)",
        "Calls",
    ):
        assert expected in said, expected


def test_without_kept_text_the_page_says_how_to_keep_it() -> None:
    reader = FakeReader()
    reader.add(a_decision(question="", answer="", audit=0.05))
    made = Made(reader=reader, serving=FakeServing(health=LogHealth("scalars")))
    decision, review = get(made, "/decisions/d0", "/review")
    assert "keep: text" in decision[1]
    assert "The log keeps numbers only" in review[1]


def test_quality_says_how_many_labels_there_are_and_that_they_are_too_few() -> None:
    reader = FakeReader()
    for number in range(12):
        reader.add(a_decision(f"d{number}", audit=0.1, label=Label(f"d{number}", number > 0, "me", "review")))
    few, none, unknown = get(Made(reader=reader), "/quality", "/quality?policy=support", "/quality?policy=nope")
    assert "12 labels: too few to judge by." in text_of(few[1])
    assert "No label yet: too few to judge by." in text_of(none[1])
    assert "It takes labelled answers to draw this." in none[1]
    assert unknown[0] == 404


def test_spend_by_key() -> None:
    made = Made(reader=busy(200))
    ((_, page),) = get(made, "/spend?days=14")
    assert all(key in page for key in ("chat-app", "support-bot", "notebook", "batch-eval"))
    assert "Last 14 days" in page


def test_labelling_leads_to_the_next_and_the_label_is_kept() -> None:
    async def main() -> None:
        reader = FakeReader()
        for number in range(3):
            reader.add(a_decision(f"w{number}", at=NOW - 9 + number, audit=0.05, question=ASKED[number][0]))
        made = Made(reader=reader)
        async with made.logged_in("key-review") as client:
            page = await client.get("/dashboard/review")
            assert ASKED[0][0] in page.text
            assert "1 in 20" in page.text
            fields = {"verdict": "wrong", "answer": "Ouagadougou", "note": "a note", "from": "queue"}
            reply = await send(client, "/dashboard/review/w0", fields)
            assert reply.headers["location"] == "/dashboard/review?after=w0&saved=w0"
            following = await client.get(reply.headers["location"])
            assert ASKED[1][0] in following.text
            assert "2</b> left" in following.text
        assert made.labels == [Label("w0", False, "notebook", "review", NOW, "a note", "Ouagadougou")]
        kept = reader.rows["w0"].label
        assert kept is not None
        assert kept.by == "notebook"

    anyio.run(main)


def test_labelling_on_a_decisions_page_leads_back_to_it() -> None:
    async def main() -> None:
        reader = FakeReader()
        reader.add(a_decision())
        async with Made(reader=reader).logged_in() as client:
            reply = await send(client, "/dashboard/review/d0", {"verdict": "unclear", "from": "decision"})
            assert reply.headers["location"] == "/dashboard/decisions/d0?saved=1#label"
            assert "Cannot tell" in (await client.get("/dashboard/decisions/d0")).text

    anyio.run(main)


@pytest.mark.parametrize(
    "path",
    [
        "/decisions/%3Cscript%3E",
        "/decisions/..%2f..%2fetc",
        "/decisions/" + "x" * 99,
        "/review/a%20b",
        "/review?after=%22x",
        "/gone",
    ],
)
def test_what_can_be_no_id_is_not_found(path: str) -> None:
    ((status, page),) = get(Made(), path)
    assert status == 404
    assert "script>" not in page.replace("</script>", "")


def test_other_methods_find_nothing() -> None:
    async def main() -> None:
        async with Made().logged_in() as client:
            for method in ("PUT", "DELETE", "PATCH"):
                assert (await client.request(method, "/dashboard/decisions")).status_code == 404
            assert (await client.post("/dashboard/decisions")).status_code == 404

    anyio.run(main)


class Markup(HTMLParser):
    """What of a page a browser would run or load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.harmful: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.harmful += [name for name in names if name.startswith("on") or name == "style"]
        self.harmful += [tag] if tag in {"img", "iframe", "object", "embed", "base", "style"} else []
        led = [names.get(name) or "/" for name in ("href", "src", "action") if name in names]
        self.harmful += [to for to in led if not to.startswith(("/dashboard", "#"))]


def hostile() -> tuple[Made, str]:
    """A server in which every text that is not gate's own is an attack."""
    certificate = Certificate(0.05, 0.05, 9, 9, 0, 0.04, EVIL, EVIL, {})
    live = dataclasses.replace(
        POLICIES[0], name=EVIL, fingerprint=EVIL, summary=EVIL, certificate=certificate, void=(EVIL,)
    )
    reader = busy(40)
    chosen = next(k for k in reader.rows.values() if k.explanation.get("steps"))
    record = reader.traces[chosen.id]
    assert record.outcome is not None
    step = {**chosen.explanation["steps"][0], "stage": EVIL, "reason": EVIL, "detail": EVIL, "void": [EVIL]}
    step["signals"] = {EVIL: {"missing": EVIL}}
    step["confidence"] = {**step["confidence"], "contributions": {EVIL: 1.5, "b": 2.0}}
    reader.rows = {}
    for name, more in (("d0", {}), ("w0", {"audit": 0.05, "label": None}), ("e0", {"action": "", "error": EVIL})):
        label = Label(name, False, EVIL, "feedback", NOW, EVIL, EVIL)
        common = {
            "policy": EVIL, "policy_fingerprint": EVIL, "key": EVIL, "request_id": EVIL, "reason": EVIL, "stage": EVIL,
            "door": EVIL, "question": EVIL, "answer": EVIL, "question_hash": EVIL, "label": label,
            "explanation": {"steps": [step]}, "audit": 0.5,
        }  # fmt: skip
        reader.add(a_decision(name, **(common | more)))
    failed = TapeEntry(EVIL, EVIL, Cost(), Generations((Generation(EVIL),)), failure=Failure(EVIL, EVIL), to=EVIL)
    reader.traces["d0"] = dataclasses.replace(
        record,
        question=Question((Message(EVIL, EVIL), Message("user", EVIL))),
        tape=(failed,),
        outcome=dataclasses.replace(
            record.outcome, action=Action.ABSTAIN, text=EVIL + EVIL, passages=(Passage(EVIL, EVIL, title=EVIL),)
        ),
    )
    viewers = {"ops": dataclasses.replace(ADMIN, name=EVIL), EVIL: dataclasses.replace(ADMIN, name=EVIL)}
    return Made(reader=reader, serving=FakeServing((live,), LogHealth("text", 1, 2, EVIL), viewers)), EVIL


@pytest.mark.parametrize(
    "path",
    ["", "/decisions", "/decisions/rows", "/decisions/d0", "/decisions/e0", "/quality", "/spend", "/review",
     "/review/d0", "/decisions?policy=%3Cscript%3Ealert('x')%3C/script%3E&key=%22%3E%3Cimg"],
)  # fmt: skip
def test_no_text_becomes_markup(path: str) -> None:
    made, _ = hostile()
    ((status, page),) = get(made, path)
    assert status == 200
    ours = re.findall(r"<script[^>]*>", page)
    assert ours == [tag for tag in ours if tag.startswith('<script src="/dashboard/static/script.js?v=')]
    assert "<img" not in page
    assert Markup(page).harmful == []
    assert "49" not in re.findall(r"onerror=alert\(1\)&gt;(\d+)", page)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", page)
    if path != "/decisions?policy=%3Cscript%3Ealert('x')%3C/script%3E&key=%22%3E%3Cimg":
        assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page, "the payload is there, as text"


@pytest.mark.parametrize("path", ["/login", "", "/decisions", "/nothing", "/decisions/rows", "/static/no.css"])
def test_every_reply_forbids_what_it_has_no_use_for(path: str) -> None:
    async def main() -> None:
        async with Made(reader=busy(20)).logged_in() as client:
            reply = await client.get(f"/dashboard{path}")
            assert reply.headers["cache-control"] == "no-store"
            for name, value in HEADERS.items():
                assert reply.headers[name] == value
            policy = reply.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert " style=" not in reply.text
            assert "<style" not in reply.text

    anyio.run(main)


def test_files_are_kept_by_browsers_until_they_change() -> None:
    async def main() -> None:
        async with Made().client() as client:
            for name, kind in (("style.css", "text/css"), ("script.js", "javascript"), ("icon.svg", "image/svg+xml")):
                reply = await client.get(f"/dashboard/static/{name}")
                assert reply.status_code == 200
                assert kind in reply.headers["content-type"]
                assert "immutable" in reply.headers["cache-control"]
            for name in ("../pages.py", "..%2fpages.py", "login.html", "nothing"):
                assert (await client.get(f"/dashboard/static/{name}")).status_code in (303, 404)

    anyio.run(main)


def test_a_short_secret_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="32 bytes"):
        dashboard_routes(None, FakeServing(), lambda key: None, secret=b"x", label=lambda label: None)
