"""Streamed chats: they come to the reply there would be without streaming, whatever servers get wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.effects import STOPPED_EARLY, Generate
from gate.errors import UpstreamError
from gate.live_ports import LiveReply, Piece
from gate.types import Generations, TokenLogprob, ToolCall, Usage
from gate.upstreams.openai_stream import streamed
from tests.upstreams.faulty_server import DONE, chunk, event, listed, written
from tests.upstreams.test_openai_chat import ASKED, JSON, upstream

TOKENS = ("Lagos", " is", " in", " Nigeria")


def stream(*parts: bytes, status: int = 200, headers: dict[str, str] | None = None) -> tuple[list[Piece], LiveReply]:
    reading = upstream().live(status, headers or {})
    return [piece for part in (*parts, b"") for piece in reading.feed(part)], reading


def reply_to(*parts: bytes) -> Generations:
    return stream(*parts)[1].reply()


def failure(*parts: bytes, status: int = 200, headers: dict[str, str] | None = None) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        stream(*parts, status=status, headers=headers)[1].reply()
    return caught.value


def whole(*texts: str, **message: Any) -> bytes:
    """The body that is not streamed."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(texts), **message},
        "finish_reason": "stop",
        "logprobs": listed(*texts) if texts else None,
    }
    usage = {"prompt_tokens": 7, "completion_tokens": len(texts), "total_tokens": 7 + len(texts)}
    return json.dumps({"model": "m-1", "choices": [choice], "usage": usage}).encode()


# --- what is asked -----------------------------------------------------------------------------------------------


def test_the_same_is_asked_as_a_stream_that_is_counted() -> None:
    effect = Generate("mine", ASKED, max_tokens=5, extra={"stream": False, "stream_options": {"x": 1}})
    plain, live = upstream().encode(effect), upstream().encode_live(effect)
    assert live is not None
    assert live.body == {**plain.body, "stream": True, "stream_options": {"include_usage": True}}
    assert live.url == plain.url
    assert live.headers == {**plain.headers, "accept": "text/event-stream"}


def test_a_server_that_does_not_count_streams_is_not_asked_to() -> None:
    effect = Generate("mine", ASKED, counted=False)
    assert "stream_options" not in streamed(upstream().encode(effect), effect).body


def test_streaming_can_be_switched_off() -> None:
    off = upstream(capabilities={"stream": False})
    assert off.encode_live(Generate("mine", ASKED)) is None
    assert (off.profile.stream, upstream().profile.stream) == (False, True)


# --- what comes --------------------------------------------------------------------------------------------------


@given(st.data())
def test_a_stream_comes_to_the_reply_without_it_however_it_is_cut(data: st.DataObject) -> None:
    sent = b"".join(written(*TOKENS))
    places = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    cuts = [sent[begin:end] for begin, end in zip([0, *places], [*places, len(sent)], strict=True) if begin < end]
    pieces, reading = stream(*cuts)
    assert reading.reply() == upstream().decode(200, {}, whole(*TOKENS))
    assert [piece.text for piece in pieces] == list(TOKENS)
    assert tuple(token for piece in pieces for token in piece.tokens) == reading.reply().choices[0].tokens
    assert reading.over


def test_a_token_is_told_as_it_came() -> None:
    pieces, _ = stream(*written("Lagos"))
    assert pieces == [Piece("Lagos", (TokenLogprob("Lagos", -0.1, (("Lagos", -0.1),)),))]


def test_all_that_a_reply_may_hold() -> None:
    def call(index: int, **fields: Any) -> bytes:
        return event({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, **fields}]}}]})

    parts = [
        event({"model": "m-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]}),
        call(0, id="a", type="function", function={"name": "find", "arguments": ""}),
        call(0, function={"arguments": '{"city": '}),
        call(1, id="b", function={"name": "find", "arguments": "{}"}),
        call(0, function={"arguments": '"Lagos"}'}),
        event({"choices": [{"index": 0, "delta": {"refusal": "I will"}}]}),
        event({"choices": [{"index": 0, "delta": {"refusal": " not."}}]}),
        chunk(finish="tool_calls"),
        DONE,
    ]
    pieces, reading = stream(*parts)
    (choice,) = reading.reply().choices
    assert choice.tool_calls == (ToolCall("a", "find", '{"city": "Lagos"}'), ToolCall("b", "find", "{}"))
    assert (choice.text, choice.refusal, choice.finish_reason) == ("", "I will not.", "tool_calls")
    assert pieces == [], "it is of the text that a watcher is told"


@pytest.mark.parametrize(
    "deltas",
    [
        [
            {"id": "a", "function": {"name": "f", "arguments": "1"}},
            {"id": "b", "function": {"name": "g", "arguments": "2"}},
        ],
        [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": "1"}},
            {"index": 0, "id": "b", "function": {"name": "g", "arguments": "2"}},
        ],
        [
            {"index": 5, "id": "a", "function": {"name": "f"}},
            {"index": 5, "id": "a", "function": {"name": "f", "arguments": "1"}},
            "junk",
            {"index": 9, "id": "b", "function": {"name": "g", "arguments": "2"}},
            {"index": 9, "function": 3},
        ],
    ],
    ids=["no index", "one index for all", "name and id again"],
)
def test_calls_are_told_apart_by_index_or_id(deltas: list[Any]) -> None:
    parts = [event({"choices": [{"delta": {"tool_calls": [delta]}}]}) for delta in deltas]
    assert reply_to(*parts, DONE).choices[0].tool_calls == (ToolCall("a", "f", "1"), ToolCall("b", "g", "2"))


# --- what servers get wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "usage"),
    [
        (written(*TOKENS, usage=False), Usage(0, 4)),
        (written(*TOKENS, usage=False, logprobs=False), Usage(0, 4)),
        ([chunk("a"), chunk("b"), event({"choices": [], "usage": {"prompt_tokens": 3}}), DONE], Usage(3, 2)),
        ([chunk("a"), event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}), chunk("b"),
          event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}),
          event({"choices": [], "usage": None}), DONE], Usage(3, 9)),
        ([chunk("a", usage=None), event({"usage": 7}), DONE], Usage(0, 1)),
    ],
    ids=["log-probabilities are counted", "chunks are", "half told", "the last word counts", "no usage at all"],
)  # fmt: skip
def test_tokens_are_counted_where_the_server_does_not(parts: list[bytes], usage: Usage) -> None:
    assert reply_to(*parts).usage == usage


@pytest.mark.parametrize(
    "noise",
    [
        event({"choices": [{"index": 0, "delta": None}]}),
        event({"choices": [{"index": 0}]}),
        event({"choices": [None, 3, {"index": 1, "delta": {"content": "another answer"}}]}),
        event({"choices": None}),
        event({"choices": [], "prompt_filter_results": [{}]}),
        event({}),
        event(None),
        b": keep-alive\n\n",
        b"data:\n\n",
        b"event: ping\ndata:\n\n",
        chunk("", logprobs=None),
    ],
)
def test_what_adds_nothing_is_passed_over(noise: bytes) -> None:
    begun, *others = written(*TOKENS)
    pieces, reading = stream(begun, *(part for other in others for part in (noise, other)))
    assert reading.reply() == upstream().decode(200, {}, whole(*TOKENS))
    assert "".join(piece.text for piece in pieces) == "".join(TOKENS)


def test_the_first_choice_that_comes_is_read() -> None:
    def told(index: int, text: str) -> bytes:
        return event({"choices": [{"index": index, "delta": {"content": text}, "finish_reason": "stop"}]})

    assert reply_to(told(1, "a"), told(0, "b"), DONE).choices[0].text == "a"


def test_a_message_in_the_place_of_a_part_and_parts_of_content_are_read() -> None:
    message = event({"choices": [{"message": {"content": "a"}}]})
    parts = event({"choices": [{"delta": {"content": [{"type": "text", "text": "b"}, {"type": "x"}]}}]})
    assert reply_to(message, parts, DONE).choices[0].text == "ab"


def test_log_probabilities_with_a_gap_are_missing_but_count() -> None:
    parts = [chunk("a", logprobs=listed("a")), chunk("b"), chunk("c", logprobs=listed("c")), DONE]
    pieces, reading = stream(*parts)
    assert reading.reply().choices[0].tokens is None
    assert [len(piece.tokens) for piece in pieces] == [1, 0, 1]
    broken = [chunk("a", logprobs={"content": [{"token": "a", "logprob": None}]}), DONE]
    assert reply_to(*broken).choices[0].tokens is None


def test_an_error_midway_is_the_servers_own() -> None:
    said = {"error": {"message": "out of memory: sk-secret12345", "code": 503, "param": "n"}}
    error = failure(chunk("a"), event(said), DONE, headers={"retry-after": "3"})
    assert (error.status, error.retryable, error.retry_after, error.param) == (503, True, 3.0, "n")
    assert error.said == "out of memory: sk-***"
    assert str(error) == "upstream 'mine': refused with status 503"


@pytest.mark.parametrize(
    "sent",
    [
        b'event: error\ndata: {"message": "no"}\n\n',
        event({"error": "no"}),
        event({"error": {"message": "no"}, "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}),
    ],
)
def test_an_error_in_any_form_is_one(sent: bytes) -> None:
    error = failure(sent)
    assert (error.said, error.status, error.cause) == ("no", 200, "answered with an error")


@pytest.mark.parametrize("text", ["Lagos is in Nigeria", "Lagos"])
def test_a_stream_that_breaks_off_is_no_answer(text: str) -> None:
    sent = b"".join(written(*TOKENS, usage=False))
    before = sent.index(b'"finish_reason": "stop"')
    for end in (1, 4, 10, 100, before):
        error = failure(sent[:end])
        assert error.cause == "broke the connection off before its answer was complete", sent[:end]
        assert error.retryable


def test_only_keep_alives_are_no_answer_either() -> None:
    assert failure(b": wait\n\n: wait\n\n").cause.startswith("broke the connection off")
    assert failure(DONE).cause == "answered without choices"


@pytest.mark.parametrize(
    "end", [[], [b"data: [DONE]"], [b"data: [DONE]\n"], [b"data: {half"], [event({"choices": [], "usage": None})]]
)
def test_what_is_whole_needs_no_last_word(end: list[bytes]) -> None:
    pieces, reading = stream(*written(*TOKENS)[:-2], *end)
    assert reading.whole
    assert reading.reply().choices == upstream().decode(200, {}, whole(*TOKENS)).choices
    assert len(pieces) == 4


def test_the_last_word_is_the_end_even_without_a_reason() -> None:
    pieces, reading = stream(chunk("a"), DONE, chunk("b"), event({"error": "late"}))
    assert (reading.reply().choices[0].text, reading.reply().choices[0].finish_reason) == ("a", "stop")
    assert [piece.text for piece in pieces] == ["a"]


def test_the_last_event_may_lack_its_end() -> None:
    last = chunk(" Nigeria", finish="stop").rstrip()
    pieces, reading = stream(chunk("In"), last)
    assert [piece.text for piece in pieces] == ["In", " Nigeria"]
    assert reading.reply().choices[0].text == "In Nigeria"


@pytest.mark.parametrize("before", [b"", b"\n ", b"\xef\xbb\xbf"])
def test_a_server_that_does_not_stream_is_read_as_ever(before: bytes) -> None:
    body = before.strip(b"\xef\xbb\xbf") + whole(*TOKENS)
    pieces, reading = stream(*(body[i : i + 1] for i in range(len(body))))
    assert reading.reply() == upstream().decode(200, {}, body)
    assert pieces == []
    assert not reading.whole, "nothing tells before its end that it has come"


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"<html>", "answered HTML, not JSON"), (b"", "answered with an empty body"), (b"  ", "an empty body"),
        (b"Internal error", "answered with broken JSON"), (b"[1]", "JSON that is no object"), (b"datum", "broken JSON"),
        (b"{}", "answered without choices"), (b'{"error": "no"}', "answered with an error"),
        (b"data: {}}\n\ndata: x\n\n", "answered with broken JSON"), (b"data: 7\n\n", "JSON that is no object"),
        (b"data: " + b"x" * 5 * 2**20, "sent an event of more than 4 MiB"),
    ],
    ids=["HTML", "nothing", "blank", "text", "list", "near a field", "no choices", "error", "broken", "number", "long"],
)  # fmt: skip
def test_what_is_no_chat_is_named(body: bytes, cause: str) -> None:
    assert cause in failure(body).cause


@pytest.mark.parametrize("body", [event({"error": {"message": "busy"}}), b'{"error": {"message": "busy"}}'])
def test_an_error_status_is_no_stream(body: bytes) -> None:
    error = failure(body, status=429, headers={"retry-after": "2"})
    assert (error.status, error.retryable, error.retry_after) == (429, True, 2.0)
    assert failure(b"", status=302).cause.startswith("answered with status 302")


# --- what is stopped ---------------------------------------------------------------------------------------------


def test_a_reply_that_was_stopped_is_what_there_is() -> None:
    reading = upstream().live(200, {})
    sent = b"".join(written(*TOKENS))
    pieces = []
    for piece in reading.feed(sent):
        pieces.append(piece)
        if len(pieces) == 2:
            break
    stopped = reading.so_far()
    (choice,) = stopped.choices
    assert (choice.text, choice.finish_reason) == ("Lagos is", STOPPED_EARLY), "and nothing of what came with it"
    assert choice.tokens == tuple(token for piece in pieces for token in piece.tokens)
    assert stopped.usage == Usage(0, 2)


def test_a_count_from_before_is_not_believed_of_what_was_stopped() -> None:
    told = {"prompt_tokens": 7, "completion_tokens": 1}
    first, second = (event({"choices": [{"delta": {"content": text}}], "usage": told}) for text in "ab")
    reading = upstream().live(200, {})
    assert len(list(reading.feed(first + second + chunk("c")))) == 3
    assert reading.so_far().usage == Usage(7, 3)


# --- whatever comes ----------------------------------------------------------------------------------------------

CHUNKS = st.one_of(
    JSON.map(event),
    JSON.map(lambda data: event({"choices": [{"index": 0, "delta": data}]})),
    JSON.map(lambda data: event({"choices": [{"index": 0, "delta": {"content": "a", "tool_calls": [data]}}]})),
    JSON.map(lambda data: event({"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": data}}]})),
    JSON.map(lambda data: event({"choices": data, "usage": data, "model": data})),
    st.sampled_from([DONE, *written("a", "b")]),
    st.binary(max_size=10),
)


@given(st.lists(CHUNKS, max_size=6))
def test_anything_is_read_or_refused(parts: list[bytes]) -> None:
    try:
        pieces, reading = stream(*filter(None, parts))
        read = reading.reply()
    except UpstreamError:
        return
    told = "".join(piece.text for piece in pieces)
    assert not told or told == read.choices[0].text
