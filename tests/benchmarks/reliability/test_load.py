"""The load: latencies run from when requests were to be sent, it stays on loopback, and responses are judged."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.benchmarks.reliability import accounting
from tests.benchmarks.reliability import load as loading
from tests.benchmarks.reliability.accounting import MODEL_TOO_FAST, TOO_FAST, Kind
from tests.benchmarks.reliability.load import KEYED, OF_TIGHT, Codes, Course, Load, Target, judged, through
from tests.benchmarks.reliability.questions import TENANTS, TIGHT, WITHHELD, Item, asked_in

ITEM, OTHER = Item("0a", "alpha"), Item("0b", "beta")
KEYS = dict.fromkeys(TENANTS, "k")


def said(text: str | None, refusal: str | None = None) -> str:
    return json.dumps({"choices": [{"message": {"content": text, "refusal": refusal}}]})


def judge(
    content: str, status: int = 200, action: str = "answer", kind: str = "application/json", **more: str
) -> tuple[Kind, str]:
    codes = Codes()
    codes.note(ITEM)
    codes.note(OTHER)
    headers = {"content-type": kind, **({"x-gate-action": action} if action else {}), **more}
    return judged(ITEM, status, headers, content, codes)


@pytest.mark.parametrize(
    ("content", "status", "action", "kind"),
    [
        (said(ITEM.right), 200, "answer", Kind.RIGHT),
        (said(ITEM.wrong[1]), 200, "answer", Kind.WRONG),
        (said("garbage"), 200, "answer", Kind.WRONG),
        (said(None, WITHHELD), 200, "abstain", Kind.WITHHELD),
        (said(ITEM.wrong[1]), 200, "abstain", Kind.WRONG),
        (said(ITEM.wrong[1], WITHHELD), 200, "abstain", Kind.WRONG),
        (said(None, f"Perhaps {ITEM.wrong[1]}."), 200, "abstain", Kind.WRONG),
        (said(""), 200, "abstain", Kind.LOST),
        (said(None, "No."), 200, "abstain", Kind.LOST),
        (said(None, WITHHELD), 200, "banana", Kind.LOST),
        (said(ITEM.right), 200, "clarify", Kind.LOST),
        (said(None, WITHHELD), 200, "answer", Kind.LOST),
        ("[]", 200, "answer", Kind.LOST),
        (said(f"x{OTHER.right}"), 200, "answer", Kind.LEAK),
        (said(OTHER.right), 200, "answer", Kind.LEAK),
        (json.dumps({"error": {"message": OTHER.wrong[0], "type": "x"}}), 502, "", Kind.LEAK),
        (json.dumps({"error": {"message": "no room", "type": "x", "code": None}}), 503, "", Kind.REFUSED),
        (json.dumps({"error": {"message": "", "type": "x"}}), 503, "", Kind.LOST),
        (
            json.dumps({"error": {"message": "used", "type": "x", "code": "idempotency_key_reused"}}),
            422,
            "",
            Kind.BLAMED,
        ),
        (json.dumps({"error": {"message": "no", "type": "x"}}), 404, "", Kind.BLAMED),
        (json.dumps({"error": {"message": "under way", "type": "x"}}), 409, "", Kind.REFUSED),
        (json.dumps({"error": {"message": "too fast", "type": "x"}}), 429, "", Kind.REFUSED),
        ("<html>", 502, "", Kind.LOST),
        (said(ITEM.right)[:-3], 200, "answer", Kind.LOST),
        (said(ITEM.right), 200, "", Kind.LOST),
    ],
)
def test_a_response_is_what_it_holds(content: str, status: int, action: str, kind: Kind) -> None:
    assert judge(content, status, action)[0] is kind


@pytest.mark.parametrize(
    ("kind", "code"), [("upstream_error", MODEL_TOO_FAST), ("rate_limit_error", TOO_FAST)], ids=["upstream", "own"]
)
def test_whose_limit_it_was_is_told_apart(kind: str, code: str) -> None:
    content = json.dumps({"error": {"message": "too fast", "type": kind, "code": TOO_FAST}})
    assert judge(content, 429, "") == (Kind.REFUSED, code)


def streamed(*events: Any, done: bool = True) -> str:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join((*lines, "data: [DONE]\n\n" if done else ""))


def delta(text: str) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}}]}


def refused(text: str) -> dict[str, Any]:
    return {"choices": [{"delta": {"refusal": text}}]}


def told(action: str, **more: Any) -> dict[str, Any]:
    return {"choices": [], "gate": {"action": action, **more}}


def error(kind: str) -> dict[str, Any]:
    return {"error": {"message": "broke off", "type": kind}}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (
            streamed(delta(ITEM.right[:4]), delta(ITEM.right[4:]), {"choices": [], "gate": {"action": "answer"}}),
            Kind.RIGHT,
        ),
        (streamed(delta(ITEM.wrong[0]), {"choices": [], "gate": {"action": "answer"}}), Kind.WRONG),
        (streamed(refused(WITHHELD[:9]), refused(WITHHELD[9:]), told("abstain")), Kind.WITHHELD),
        (streamed(delta(ITEM.wrong[0]), refused(WITHHELD), told("abstain", retracted=True)), Kind.WITHHELD),
        (streamed(delta(ITEM.wrong[0]), refused(WITHHELD), told("abstain")), Kind.WRONG),
        (streamed(delta(ITEM.wrong[0]), told("abstain", retracted=True)), Kind.LOST),
        (streamed(refused(WITHHELD), told("banana")), Kind.LOST),
        (streamed(delta(ITEM.wrong[0]), refused(ITEM.right), told("answer", retracted=True)), Kind.RIGHT),
        (streamed(delta(OTHER.right[:4]), delta(OTHER.right[4:]), error("server_error")), Kind.LEAK),
        (streamed(delta(OTHER.right[:4]), delta(OTHER.right[4:]), error("server_error"), done=False), Kind.LEAK),
        (streamed(refused(OTHER.right[:4]), refused(OTHER.right[4:]), told("abstain")), Kind.LEAK),
        (streamed(error("server_error"), done=False), Kind.REFUSED),
        (streamed(error("invalid_request_error")), Kind.BLAMED),
        (streamed(delta(ITEM.right), told("answer")).replace("choices", "ch", 1), Kind.WRONG),
        ("data: [1\n\ndata: [DONE]\n\n", Kind.LOST),
        (streamed(delta(ITEM.right), told("answer")).replace("data: [DONE]", "data: {\n\ndata: [DONE]"), Kind.LOST),
        (
            streamed(delta(OTHER.right[:4]), delta(OTHER.right[4:]), {"choices": [], "gate": {"action": "answer"}}),
            Kind.LEAK,
        ),
        (streamed(delta(ITEM.right)), Kind.LOST),
        (streamed(delta(ITEM.right), done=False), Kind.LOST),
        (streamed(delta(ITEM.right[:4]), {"error": {"message": "broke off", "type": "x"}}), Kind.REFUSED),
        ("", Kind.LOST),
    ],
)
def test_a_stream_is_what_its_last_event_says(content: str, kind: Kind) -> None:
    assert judge(content, action="", kind="text/event-stream; charset=utf-8")[0] is kind


def test_another_question_s_code_in_a_header_is_a_leak() -> None:
    failed = json.dumps({"error": {"message": "no room", "type": "x"}})
    assert judge(said(ITEM.right), **{"x-debug": OTHER.wrong[0]})[0] is Kind.LEAK
    assert judge(failed, 503, "", **{"x-debug": OTHER.right})[0] is Kind.LEAK
    assert judge(failed, 503, "", **{"x-debug": ITEM.right})[0] is Kind.REFUSED


def test_load_goes_to_loopback_only() -> None:
    with pytest.raises(ValueError, match="loopback only, not to http://example"):
        Target(("http://127.0.0.1:1", "http://example.org"), KEYS)


async def answering(seconds: Callable[[], float], stop: Callable[[int], bool] = lambda place: False) -> Any:
    """A server that gives every right answer; before each it may stand still, or close the connection."""
    places = iter(range(100_000))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                asked = json.loads(await reader.readexactly(length))
                item = asked_in(asked["messages"][0]["content"])
                assert item is not None
                if stop(next(places)):
                    return
                await asyncio.sleep(seconds())
                body = said(item.right).encode()
                lines = f"content-type: application/json\r\nx-gate-action: answer\r\ncontent-length: {len(body)}"
                writer.write(f"HTTP/1.1 200 OK\r\n{lines}\r\n\r\n".encode() + body)
        except EOFError:
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def run(course: Course, seconds: Callable[[Load], float], stop: Callable[[int], bool], *, again: bool = False) -> Any:
    made: list[Load] = []

    async def all_of_it() -> Any:
        server = await answering(lambda: seconds(made[0]), stop)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            made.append(Load(Target((url,), KEYS, again, streamed=0.0), 100, rng=random.Random(1)))
            return await through(made[0], course, lambda: None, lambda: None)

    return made, asyncio.run(all_of_it())


def test_a_server_that_stands_still_is_not_let_off() -> None:
    (load,), phases = run(Course(0.1, 0.3, 0.1), lambda load: max(0.0, 0.4 - load.now()), lambda place: False)
    early = [asked for asked in load.asked if asked.at < 0.3]
    assert len(early) > 10, "arrivals wait for no answer"
    assert all(asked.kind is Kind.RIGHT and asked.done >= 0.4 for asked in early)
    assert 0.1 <= phases.began < phases.ended


def test_half_come_with_a_key_some_twice_and_tenants_use_the_same_ones() -> None:
    load = Load(Target(("http://127.0.0.1:1",), {**KEYS, TIGHT: "k"}), 1, rng=random.Random(3))
    drawn = [load._drawn(0.0) for _ in range(2000)]
    assert abs(sum(bool(asked.key) for asked in drawn) / 2000 - KEYED) < 0.05
    assert abs(sum(asked.item.tenant == TIGHT for asked in drawn) / 2000 - OF_TIGHT) < 0.03
    alpha, beta = ({asked.key for asked in drawn if asked.item.tenant == name} for name in TENANTS)
    assert len(alpha & beta) > 100
    assert len({(asked.item.tenant, asked.key) for asked in drawn if asked.key}) == sum(bool(a.key) for a in drawn)
    (whole,), _ = run(Course(0.0, 0.4, 0.1), lambda load: 0.0, lambda place: False)
    repeats = [asked for asked in whole.asked if asked.repeats]
    assert repeats
    for asked in repeats:
        (first,) = (each for each in whole.asked if each.key == asked.key and each.item == asked.item and each != asked)
        assert not first.repeats
    plain = Load(Target(("http://127.0.0.1:1",), {**KEYS, TIGHT: "k"}, plain=True), 1)
    assert not any(asked.key or asked.item.tenant == TIGHT for asked in (plain._drawn(0.0) for _ in range(100)))


def test_who_is_cut_off_asks_again_where_clients_do() -> None:
    stop = [True, False].__getitem__
    (load,), _ = run(Course(0.0, 0.05, 0.05), lambda load: 0.0, lambda place: stop(min(place, 1)), again=True)
    assert {asked.kind for asked in load.asked} == {Kind.RIGHT}
    assert sum(asked.again for asked in load.asked) == 1
    (load,), _ = run(Course(0.0, 0.05, 0.05), lambda load: 0.0, lambda place: stop(min(place, 1)))
    assert sum(asked.kind is Kind.CUT for asked in load.asked) == 1


def test_who_asks_again_for_all_its_time_and_is_told_nothing_has_lost_its_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "PATIENCE", 0.3)
    (load,), _ = run(Course(0.0, 0.05, 0.0), lambda load: 0.0, lambda place: True, again=True)
    assert load.asked
    assert {asked.kind for asked in load.asked} == {Kind.LOST}
    assert all(asked.again for asked in load.asked)


def test_what_is_not_sent_is_counted_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MOST_UNDER_WAY", 2)
    (load,), _ = run(Course(0.0, 0.2, 0.0), lambda load: 0.1, lambda place: False)
    unsent = [asked for asked in load.asked if asked.kind is Kind.UNSENT]
    assert len(unsent) == load.unsent > 2
    assert {asked.kind for asked in load.asked} == {Kind.UNSENT, Kind.RIGHT}


def test_it_is_watched_for_longer_where_it_is_not_back() -> None:
    course = Course(0.4, 0.1, 0.2, longer=6.0)
    (load,), phases = run(course, lambda load: 0.0, lambda place: 30 < place < 170)
    watched = max(asked.at for asked in load.asked) - phases.ended
    assert 0.7 < watched < 6.0
    assert accounting.recovery(load.asked, phases) is not None
    (load,), phases = run(course, lambda load: 0.0, lambda place: False)
    assert max(asked.at for asked in load.asked) - phases.ended < 1.5
