"""OpenAI JSON in and out: what is taken, what is refused and with which field, and what comes back."""

from __future__ import annotations

import json
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.effects import Generate
from gate.errors import ConfigError, GateError, RequestError, UpstreamError, UpstreamTimeout
from gate.proxy.wire import MAX_DEPTH, chunks, completion, dumps, headers, parse_chat_request, wire_error
from gate.types import Action, Budget, Generation, Message, Outcome, Passage
from gate.upstreams.pocket import PocketUpstream
from tests.proxy.fake_gateway import CALLING, GENERATION, FakeGateway, outcome_of

USER = {"role": "user", "content": "Where is Lagos?"}


def body(**fields: object) -> bytes:
    return json.dumps({"model": "gate", "messages": [USER], **fields}).encode()


def record_of(generation: Generation | None) -> tuple[object, object]:
    gateway, outcome = FakeGateway(), outcome_of(generation)
    return outcome, gateway._record(parse_chat_request(body()).question, outcome, None)


def test_a_request_becomes_a_question_and_unknown_fields_are_kept_for_the_upstream() -> None:
    asked = parse_chat_request(body(temperature=0.3, reasoning_effort="low", user="u1", stream=True, n=1, stop=None))
    assert asked.question.text == "Where is Lagos?"
    assert asked.question.options == {"temperature": 0.3, "reasoning_effort": "low", "user": "u1"}
    assert asked.stream
    assert asked.budget == Budget()


def test_the_gate_object_is_taken_out_and_obeyed() -> None:
    asked = parse_chat_request(body(gate={"explain": True, "budget": {"calls": 3, "seconds": 2.5}}))
    assert asked.explain
    assert asked.budget == Budget(calls=3, seconds=2.5)
    assert "gate" not in asked.question.options


def test_messages_keep_their_wire_form_when_they_hold_more_than_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]}
    messages = parse_chat_request(body(messages=[parts, call, USER])).question.messages
    assert [(m.role, m.content) for m in messages] == [
        ("user", "What is this?"),
        ("assistant", ""),
        ("user", "Where is Lagos?"),
    ]
    assert [m.wire for m in messages] == [parts, call, None]


REFUSED = {
    "no messages": ({"messages": []}, "messages"),
    "messages no list": ({"messages": "hi"}, "messages"),
    "system only": ({"messages": [{"role": "system", "content": "Be kind."}]}, "messages"),
    "empty question": ({"messages": [{"role": "user", "content": "  \n"}]}, "messages"),
    "empty parts": ({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, "messages"),
    "null question": ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
    "number as content": ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
    "unknown role": ({"messages": [{"role": "robot", "content": "hi"}]}, "messages.0.role"),
    "several answers": ({"n": 2}, "n"),
    "temperature": ({"temperature": 9}, "temperature"),
    "max_tokens": ({"max_tokens": 0}, "max_tokens"),
    "stream": ({"stream": "maybe"}, "stream"),
    "text as temperature": ({"temperature": "1"}, "temperature"),
    "text as top_p": ({"top_p": "0.5"}, "top_p"),
    "text as max_tokens": ({"max_tokens": "5"}, "max_tokens"),
    "text as seed": ({"seed": "3"}, "seed"),
    "text as stream": ({"stream": "true"}, "stream"),
    "number as stream": ({"stream": 1}, "stream"),
    "float as seed": ({"seed": 3.0}, "seed"),
    "seed beyond 64 bits": ({"seed": 2**64}, "seed"),
    "float as max_completion_tokens": ({"max_completion_tokens": 2.0}, "max_completion_tokens"),
    "float as calls": ({"gate": {"budget": {"calls": 2.0}}}, "gate.budget.calls"),
    "true as one answer": ({"n": True}, "n"),
    "true as max_tokens": ({"max_tokens": True}, "max_tokens"),
    "true as temperature": ({"temperature": True}, "temperature"),
    "text as explain": ({"gate": {"explain": "yes"}}, "gate.explain"),
    "list as gate": ({"gate": []}, "gate"),
    "misspelt gate field": ({"gate": {"explian": True}}, "gate.explian"),
    "misspelt budget field": ({"gate": {"budget": {"cals": 1}}}, "gate.budget.cals"),
    "impossible budget": ({"gate": {"budget": {"calls": 0}}}, "gate.budget.calls"),
}


def test_a_whole_number_is_taken_where_any_number_is() -> None:
    asked = parse_chat_request(body(temperature=1, top_p=1, gate={"budget": {"seconds": 2}}))
    assert asked.question.options == {"temperature": 1, "top_p": 1}
    assert asked.budget == Budget(seconds=2)


NULLED = [
    {"gate": None},
    {"gate": {"budget": None, "explain": None}},
    {"stream_options": None},
    {"stream_options": {"include_usage": None}},
    {"n": None, "stream": None, "temperature": None, "stop": None},
]


@pytest.mark.parametrize("fields", NULLED, ids=str)
def test_a_null_is_a_field_that_was_left_out(fields: dict[str, object]) -> None:
    assert parse_chat_request(body(**fields)) == parse_chat_request(body())


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
@pytest.mark.parametrize(("template", "above"), [({"metadata": "HERE"}, 1), ({"messages": [USER | {"x": "HERE"}]}, 3)])
def test_what_is_nested_too_deep_is_refused(
    template: dict[str, object], above: int, opening: str, closing: str
) -> None:
    def asking(levels: int) -> bytes:
        """A body of so many levels, of which the template has some; text, as Python's own encoder goes less deep."""
        inside = levels - above
        return body(**template).replace(b'"HERE"', (opening * inside + "1" + closing * inside).encode())

    assert parse_chat_request(asking(MAX_DEPTH)).question.text == USER["content"]
    for levels in (MAX_DEPTH + 1, 900, 1000):
        with pytest.raises(RequestError, match="nested too deep: at most 64 levels"):
            parse_chat_request(asking(levels))


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_asked_is_refused_with_the_field_at_fault(case: str) -> None:
    fields, param = REFUSED[case]
    with pytest.raises(RequestError) as caught:
        parse_chat_request(body(**fields))
    assert caught.value.param == param
    assert caught.value.status == 400
    assert len(str(caught.value)) < 500, "a refusal does not repeat the user's text"


def test_a_misspelt_field_gets_the_nearest_one() -> None:
    with pytest.raises(RequestError, match="did you mean 'explain'"):
        parse_chat_request(body(gate={"explian": True}))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"model": NaN}', b"{}" + b"}" * 9])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(RequestError):
        parse_chat_request(raw)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(raw: bytes) -> None:
    with pytest.raises(RequestError):
        parse_chat_request(raw)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["model", "messages", "n", "stream", "gate", "stop", "logprobs", "temperature", "tools", "x"])


@given(st.dictionaries(NAMES, JSON, max_size=6))
def test_arbitrary_fields_are_taken_or_refused(fields: dict[str, object]) -> None:
    try:
        parse_chat_request(json.dumps({"messages": [USER], **fields}).encode())
    except RequestError:
        return


def test_an_answer_is_a_completion_and_counts_every_upstream_token() -> None:
    outcome, record = record_of(GENERATION)
    made = completion(parse_chat_request(body(logprobs=True, top_logprobs=1)), outcome, record)
    choice = made["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": GENERATION.text, "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert made["usage"] == {"prompt_tokens": 60, "completion_tokens": 18, "total_tokens": 78}
    shown = choice["logprobs"]["content"]
    assert [token["token"] for token in shown] == ["Nig", "eria"]
    assert len(shown[0]["top_logprobs"]) == 1
    assert "gate" not in made


def test_log_probabilities_are_shown_only_when_asked_for() -> None:
    outcome, record = record_of(GENERATION)
    assert completion(parse_chat_request(body()), outcome, record)["choices"][0]["logprobs"] is None


def test_a_refusal_is_a_completion_too() -> None:
    outcome, record = record_of(None)
    choice = completion(parse_chat_request(body()), outcome, record)["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": "I do not know."}
    assert choice["finish_reason"] == "stop"


def test_a_tool_call_comes_through() -> None:
    outcome, record = record_of(CALLING)
    choice = completion(parse_chat_request(body()), outcome, record)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "look_up", "arguments": '{"city": "Lagos"}'}


@pytest.mark.parametrize("generation", [GENERATION, None, CALLING], ids=["answer", "refusal", "tool call"])
def test_a_stream_adds_up_to_the_completion(generation: Generation | None) -> None:
    asked = parse_chat_request(body(stream=True, stream_options={"include_usage": True}))
    outcome, record = record_of(generation)
    events = list(chunks(asked, outcome, record))
    assert events[-1] == b"data: [DONE]\n\n"
    parsed = [json.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
    deltas = [chunk["choices"][0]["delta"] for chunk in parsed if chunk["choices"]]
    whole = completion(asked, outcome, record)
    message = whole["choices"][0]["message"]
    assert deltas[0]["role"] == "assistant"
    assert "".join(d.get("content") or "" for d in deltas) == (message["content"] or "")
    assert "".join(d.get("refusal") or "" for d in deltas) == (message["refusal"] or "")
    assert sum(len(d.get("tool_calls", ())) for d in deltas) == len(message.get("tool_calls", ()))
    assert parsed[-1]["usage"] == whole["usage"]
    assert parsed[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


@given(st.text(max_size=60))
def test_streaming_loses_no_character(text: str) -> None:
    outcome = outcome_of(Generation(text))
    record = FakeGateway()._record(parse_chat_request(body()).question, outcome, None)
    events = list(chunks(parse_chat_request(body()), outcome, record))[:-1]
    said = [json.loads(event.removeprefix(b"data: "))["choices"][0]["delta"].get("content") or "" for event in events]
    assert "".join(said) == text.encode("utf-8", "replace").decode()


def test_explain_adds_the_decision_without_any_text() -> None:
    outcome, record = record_of(GENERATION)
    shown = completion(parse_chat_request(body(gate={"explain": True})), outcome, record)["gate"]
    assert shown["action"] == "answer"
    assert shown["confidence"]["contributions"] == {"vote_share": 1.5}
    assert shown["steps"][0]["stage"] == "small/closed_book/tier0"
    assert "Lagos" not in json.dumps(shown)


def test_headers_are_plain_ascii_on_one_line() -> None:
    outcome, record = record_of(GENERATION)
    made = headers("polïcy\r\nx: y", "void; ü", record, outcome)
    assert made["x-gate-policy"] == "pol?cy??x: y"
    assert made["x-gate-confidence"] == "0.9123"
    assert made["x-gate-action"] == "answer"
    assert made["x-gate-decision-id"] == "feed"


def test_lone_surrogates_do_not_break_the_wire() -> None:
    assert json.loads(dumps({"text": ["a\ud800b"]})) == {"text": ["a?b"]}
    assert dumps({"text": "a\ud800b"}, orjson.OPT_INDENT_2) == b'{\n  "text": "a?b"\n}'


ERRORS: list[tuple[GateError, int, str | None]] = [
    (RequestError("no"), 400, None),
    (RequestError("no such model", param="model", status=404), 404, "model_not_found"),
    (RequestError("big", status=413), 413, None),
    (UpstreamTimeout("small", "late"), 504, "upstream_timeout"),
    (UpstreamError("small", "down"), 502, "upstream_error"),
    (UpstreamError("small", "busy", status=429, retry_after=2.2), 429, "rate_limit_exceeded"),
    (UpstreamError("small", "the context length is 512", status=400), 400, "context_length_exceeded"),
    (UpstreamError("small", "refused", said="the context length is 8k", status=400), 400, "context_length_exceeded"),
    (UpstreamError("small", "refused", said="no such stop", status=400), 400, "upstream_refused"),
    (UpstreamError("small", "cannot call tools", status=400), 400, "upstream_refused"),
    (UpstreamError("small", "refused with status 401", status=401), 502, "upstream_error"),
    (ConfigError("broken"), 500, "configuration_error"),
    (GateError("other"), 500, "gate_error"),
]


@pytest.mark.parametrize(("error", "status", "code"), ERRORS, ids=lambda value: type(value).__name__)
def test_every_error_has_the_openai_shape(error: GateError, status: int, code: str | None) -> None:
    made = wire_error(error)
    assert made.status == status
    assert made.body["error"].keys() == {"message", "type", "param", "code"}
    assert made.body["error"]["code"] == code
    assert made.body["error"]["message"] == getattr(error, "in_full", str(error))


@pytest.mark.parametrize(
    ("said", "beyond"),
    [
        ("This model's maximum context length is 4097 tokens. However, you requested 5000 tokens.", True),
        ("Your input exceeds the context window of this model.", True),
        ("context_length_exceeded", True),
        ("the request exceeds the available context size, try increasing it", True),
        ("prompt is too long: 208310 tokens > 200000 maximum", True),
        ("Input is too long for requested model.", True),
        ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", True),
        ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", True),
        ("too many tokens: the total must be at most 4096", True),
        ("'context' is not a known field", False),
        ("Invalid value for 'metadata.context': must be text", False),
        ("images are not allowed in this context", False),
        ("Invalid 'messages[0].name': string too long. Expected a string with maximum length 64.", False),
    ],
)
def test_only_a_prompt_that_does_not_fit_is_called_too_long(said: str, beyond: bool) -> None:
    made = wire_error(UpstreamError("main", f"refused with status 400: {said}", status=400)).body["error"]
    assert made["code"] == ("context_length_exceeded" if beyond else "upstream_refused")
    assert made["param"] == ("messages" if beyond else None)


def test_the_pocket_models_own_words_for_it_are_understood() -> None:
    long = Generate("small", (Message("user", "word " * 9000),))
    with pytest.raises(UpstreamError) as caught:
        PocketUpstream("small").complete(long, lambda: False)
    assert wire_error(caught.value).body["error"]["code"] == "context_length_exceeded"


def test_a_busy_upstreams_wait_is_passed_on() -> None:
    assert wire_error(UpstreamError("small", "busy", status=429, retry_after=2.2)).headers == {"retry-after": "2"}


def ended(action: Action, reason: str, **more: object) -> Outcome:
    plain = outcome_of(None, "Which Lagos?")
    decision = replace(plain.decision, action=action, reason=reason)
    step = replace(plain.steps[-1], decision=decision)
    return replace(plain, action=action, steps=(step,), **more)  # type: ignore[arg-type]


ENDED = {
    "asked back": (ended(Action.CLARIFY, "ambiguous"), "content", {"action": "clarify", "reason": "ambiguous"}),
    "hedged": (
        ended(Action.ABSTAIN, "uncertain", hedged=True),
        "content",
        {"action": "abstain", "reason": "uncertain", "hedged": True},
    ),
    "refused": (ended(Action.ABSTAIN, "no_passages"), "refusal", {"action": "abstain", "reason": "no_passages"}),
    "handed over": (
        ended(Action.ABSTAIN, "uncertain", reference="case-7", passages=(Passage("a", "Lagos."),)),
        "refusal",
        {"action": "abstain", "reason": "uncertain", "reference": "case-7", "found": ["a"]},
    ),
}


@pytest.mark.parametrize("how", ENDED)
def test_whatever_is_not_answered_says_why_and_stands_where_a_client_shows_it(how: str) -> None:
    outcome, key, told = ENDED[how]
    record = FakeGateway()._record(parse_chat_request(body()).question, outcome, None)
    made = completion(parse_chat_request(body()), outcome, record)
    message = made["choices"][0]["message"]
    assert message[key] == "Which Lagos?"
    assert message["refusal" if key == "content" else "content"] is None
    assert (made["gate"], made["choices"][0]["finish_reason"]) == (told, "stop")
    *sent, _ = chunks(parse_chat_request(body(stream=True)), outcome, record)
    events = [orjson.loads(event[6:]) for event in sent]
    assert "".join(event["choices"][0]["delta"].get(key) or "" for event in events) == "Which Lagos?"
    assert [event["gate"] for event in events if "gate" in event] == [told]
    explained = completion(parse_chat_request(body(gate={"explain": True})), outcome, record)["gate"]
    assert told.items() <= explained.items()
    marks = headers("p", "none", record, outcome)
    assert (marks["x-gate-action"], marks["x-gate-reason"]) == (told["action"], told["reason"])
    assert marks.get("x-gate-hedged") == ("true" if outcome.hedged else None)
    assert marks.get("x-gate-reference") == (outcome.reference or None)


def test_an_answer_has_its_reason_in_a_header_and_no_object_beside_it() -> None:
    outcome, record = record_of(GENERATION)
    assert "gate" not in completion(parse_chat_request(body()), outcome, record)  # type: ignore[arg-type]
    assert headers("p", "none", record, outcome)["x-gate-reason"] == "confident"  # type: ignore[arg-type]
