"""Server-sent events: what the standard says, and that no cut of the bytes makes a difference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.upstreams.sse import Event, EventReader, TooLong

Read = list[Event | str]


def read(*cuts: bytes, most: int = 1000, rest: bool = True) -> Read:
    """The events, with what had begun at the end, and the error that ended it."""
    reader, events = EventReader(most), list[Event | str]()
    try:
        for cut in cuts:
            for event in reader.feed(cut):
                events.append(event)
    except TooLong:
        return [*events, "too long"]
    last = reader.rest() if rest else None
    return events if last is None else [*events, last]


@pytest.mark.parametrize(
    ("sent", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [Event(b"a"), Event(b"b")]),
        (b"data: a\r\n\r\ndata: b\r\rdata:c\n\n", [Event(b"a"), Event(b"b"), Event(b"c")]),
        (b"data: a\r\n\ndata: b\n\r\n", [Event(b"a"), Event(b"b")]),
        (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [Event(b"a")]),  # a mark is one at the very start alone
        (b": hello\n\n:\n\ndata: a\n: between\ndata: b\n\n", [Event(b"a\nb")]),
        (b"data:  two\n\ndata:\n\ndata\n\n", [Event(b" two"), Event(b""), Event(b"")]),
        (b"event: error\ndata: a\n\ndata: b\n\n", [Event(b"a", "error"), Event(b"b")]),
        (b"event: ping\n\ndata: a\n\n", [Event(b"a")]),
        (b"id: 7\nretry: 10\nfoo: bar\ndata: a\n\n", [Event(b"a")]),
        ("data: Zürich 東京\n\n".encode(), [Event("Zürich 東京".encode())]),
        (b"data: a\n\ndata: b\n", [Event(b"a"), Event(b"b")]),
        (b"data: a\n\ndata: b", [Event(b"a"), Event(b"b")]),
        (b"data: a\n\nevent: b", [Event(b"a")]),
        (b"\n\n\r\n", []),
        (b"", []),
    ],
)
def test_what_the_standard_says(sent: bytes, events: Read) -> None:
    assert read(sent) == events


def test_an_event_is_there_as_soon_as_it_has_ended() -> None:
    reader = EventReader()
    assert list(reader.feed(b"data: a\r\n\r")) == [Event(b"a")], "whatever follows the \\r"
    assert list(reader.feed(b"\ndata: b\n")) == []
    assert list(reader.feed(b"\n")) == [Event(b"b")]


@pytest.mark.parametrize(("data", "done"), [(b"[DONE]", True), (b" [DONE] ", True), (b"DONE", False), (b"", False)])
def test_openais_last_word(data: bytes, done: bool) -> None:
    assert Event(data).done is done


@pytest.mark.parametrize(
    "long",
    [
        b"data: " + b"x" * 60 + b"\n\n",
        b"data: 0123456789\n" * 5 + b"\n",
        b":" + b"x" * 60,
        b"x" * 51,
        b"y" * 60 + b"\r",
    ],
)
def test_more_than_an_event_may_have_is_refused_behind_what_came_before(long: bytes) -> None:
    assert read(b"data: a\n\n" + long, most=50) == [Event(b"a"), "too long"]
    assert read(b"data: a\n\n", *(long[i : i + 1] for i in range(len(long))), most=50) == [Event(b"a"), "too long"]


def test_many_short_events_are_no_long_one() -> None:
    assert len(read(b"data: 0123456789\n\n" * 50, most=50)) == 50


def test_a_long_line_in_many_cuts_is_put_together_once() -> None:
    """A copy of it for every cut would take minutes."""
    reader = EventReader(10**6)
    assert all(list(reader.feed(b"x")) == [] for _ in range(200_000))


PARTS = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data",
        b"event: e",
        b":c",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\xef\xbb\xbf",
        b"\xc3\xbc",
        b"[DONE]",
        b" ",
    ]
)


@given(st.lists(PARTS, max_size=25).map(b"".join), st.data(), st.sampled_from([8, 20, 1000]))
def test_however_the_bytes_are_cut_the_events_are_the_same(sent: bytes, data: st.DataObject, most: int) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    cuts = [sent[begin:end] for begin, end in zip([0, *places], [*places, len(sent)], strict=True)]
    assert read(*cuts, most=most) == read(sent, most=most) == read(*(bytes([byte]) for byte in sent), most=most)
