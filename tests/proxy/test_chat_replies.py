"""Chat completions and chunks: what comes back."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.proxy.chat_replies import ChatEvents, completion
from gate.proxy.chat_requests import parse_chat_request
from gate.proxy.doors import CHAT
from gate.proxy.spoken import RefusalIn
from gate.proxy.wire_errors import WireError
from gate.types import Generation, Outcome
from tests.proxy.asking import ENDED, LATE, body, decided, saying
from tests.proxy.fake_gateway import CALLING, GENERATION, outcome_of


def test_an_answer_is_a_completion_and_counts_every_upstream_token() -> None:
    answer = saying(GENERATION)
    made = completion(parse_chat_request(body(logprobs=True, top_logprobs=1)), answer)
    choice = made["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": GENERATION.text, "refusal": None}
    assert choice["finish_reason"] == "stop"
    counted = made["usage"]
    assert [counted[f"{name}_tokens"] for name in ("prompt", "completion", "total")] == [60, 18, 78]
    assert counted["completion_tokens_details"]["reasoning_tokens"] == 0
    assert counted["prompt_tokens_details"]["cached_tokens"] == 0
    shown = choice["logprobs"]["content"]
    assert [token["token"] for token in shown] == ["Nig", "eria"]
    assert len(shown[0]["top_logprobs"]) == 1
    assert "gate" not in made


def test_log_probabilities_are_shown_only_when_asked_for() -> None:
    answer = saying(GENERATION)
    assert completion(parse_chat_request(body()), answer)["choices"][0]["logprobs"] is None


def test_a_refusal_is_a_completion_too() -> None:
    answer = saying(None)
    choice = completion(parse_chat_request(body()), answer)["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": "I do not know."}
    assert choice["finish_reason"] == "stop"


def test_a_tool_call_comes_through() -> None:
    answer = saying(CALLING)
    choice = completion(parse_chat_request(body()), answer)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "look_up", "arguments": '{"city": "Lagos"}'}


@pytest.mark.parametrize("generation", [GENERATION, None, CALLING], ids=["answer", "refusal", "tool call"])
def test_a_stream_adds_up_to_the_completion(generation: Generation | None) -> None:
    asked = parse_chat_request(body(stream=True, stream_options={"include_usage": True}))
    answer = saying(generation)
    events = list(CHAT.events(asked, answer))
    assert events[-1] == b"data: [DONE]\n\n"
    parsed = [json.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
    deltas = [chunk["choices"][0]["delta"] for chunk in parsed if chunk["choices"]]
    whole = completion(asked, answer)
    message = whole["choices"][0]["message"]
    assert deltas[0]["role"] == "assistant"
    assert "".join(d.get("content") or "" for d in deltas) == (message["content"] or "")
    assert "".join(d.get("refusal") or "" for d in deltas) == (message["refusal"] or "")
    assert sum(len(d.get("tool_calls", ())) for d in deltas) == len(message.get("tool_calls", ()))
    assert parsed[-1]["usage"] == whole["usage"]
    assert parsed[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


@given(st.text(max_size=60))
def test_streaming_loses_no_character(text: str) -> None:
    answer = saying(Generation(text))
    events = list(CHAT.events(parse_chat_request(body()), answer))[:-1]
    said = [json.loads(event.removeprefix(b"data: "))["choices"][0]["delta"].get("content") or "" for event in events]
    assert "".join(said) == text.encode("utf-8", "replace").decode()


def test_explain_adds_the_decision_without_any_text() -> None:
    answer = saying(GENERATION)
    shown = completion(parse_chat_request(body(gate={"explain": True})), answer)["gate"]
    assert shown["action"] == "answer"
    assert shown["confidence"]["contributions"] == {"vote_share": 1.5}
    assert shown["steps"][0]["stage"] == "small/closed_book/tier0"
    assert "Lagos" not in json.dumps(shown)


@pytest.mark.parametrize("how", ENDED)
def test_whatever_is_not_answered_says_why_and_stands_where_a_client_shows_it(how: str) -> None:
    outcome, key, told = ENDED[how]
    answer = decided(outcome)
    made = completion(parse_chat_request(body()), answer)
    message = made["choices"][0]["message"]
    assert message[key] == "Which Lagos?"
    assert message["refusal" if key == "content" else "content"] is None
    assert (made["gate"], made["choices"][0]["finish_reason"]) == (told, "stop")
    *sent, _ = CHAT.events(parse_chat_request(body(stream=True)), answer)
    events = [orjson.loads(event[6:]) for event in sent]
    assert "".join(event["choices"][0]["delta"].get(key) or "" for event in events) == "Which Lagos?"
    assert [event["gate"] for event in events if "gate" in event] == [told]
    explained = completion(parse_chat_request(body(gate={"explain": True})), answer)["gate"]
    assert told.items() <= explained.items()


def test_an_answer_has_no_object_beside_it() -> None:
    answer = saying(GENERATION)
    assert "gate" not in completion(parse_chat_request(body()), answer)


def test_several_answers_are_choices_of_one_completion_with_a_verdict_each() -> None:
    asked = parse_chat_request(body(n=3))
    answers = decided(outcome_of(GENERATION), outcome_of(None), outcome_of(Generation("Ghana")))
    made = completion(asked, answers)
    assert made["id"] == "chatcmpl-feed"
    assert [choice["index"] for choice in made["choices"]] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in made["choices"]] == [GENERATION.text, None, "Ghana"]
    assert [verdict["action"] for verdict in made["gate"]["choices"]] == ["answer", "abstain", "answer"]
    assert [verdict["index"] for verdict in made["gate"]["choices"]] == [0, 1, 2]
    assert made["usage"]["total_tokens"] == 3 * 78
    assert "gate" not in completion(asked, decided(*(outcome_of(GENERATION),) * 3))
    explained = completion(parse_chat_request(body(n=2, gate={"explain": True})), answers[:2])["gate"]["choices"]
    assert [each["id"] for each in explained] == ["feed", "feed1"]


def test_a_stream_of_several_answers_adds_up_to_each() -> None:
    asked = parse_chat_request(body(n=2, stream=True))
    *sent, _ = CHAT.events(asked, decided(outcome_of(GENERATION), outcome_of(None)))
    said = {0: "", 1: ""}
    ends = []
    for event in sent:
        (choice,) = orjson.loads(event[6:])["choices"]
        said[choice["index"]] += choice["delta"].get("content") or choice["delta"].get("refusal") or ""
        ends += [choice["index"]] if choice["finish_reason"] else []
    assert said == {0: GENERATION.text, 1: "I do not know."}
    assert ends == [0, 1]
    assert "choices" in orjson.loads(sent[-1][6:])["gate"]


@pytest.mark.parametrize(
    ("where", "content", "refusal"),
    [("refusal", None, "I do not know."), ("content", "I do not know.", None), ("both", *["I do not know."] * 2)],
)
def test_a_refusal_stands_where_the_policy_wants_it(where: RefusalIn, content: str | None, refusal: str | None) -> None:
    message = completion(parse_chat_request(body()), saying(None), where)["choices"][0]["message"]
    assert message == {"role": "assistant", "content": content, "refusal": refusal}
    *sent, _ = CHAT.events(parse_chat_request(body(stream=True)), saying(None), where)
    deltas = [orjson.loads(event[6:])["choices"][0]["delta"] for event in sent]
    for key, said in (("content", content), ("refusal", refusal)):
        assert ("".join(delta.get(key) or "" for delta in deltas) or None) == said
    assert completion(parse_chat_request(body()), saying(GENERATION), where)["choices"][0]["message"]["refusal"] is None


def live(sent: str, outcome: Outcome) -> list[dict[str, Any]]:
    """The events of a stream that had sent so much when the verdict came."""
    writer = ChatEvents(parse_chat_request(body(stream=True)), "s1")
    events = [writer.begin(), writer.text(sent), *writer.end(decided(outcome))]
    assert events[-1] == b"data: [DONE]\n\n"
    return [orjson.loads(event[6:]) for event in events[:-1]]


def test_a_stream_that_began_before_the_verdict_goes_on_where_it_was() -> None:
    events = live("Nigeria is", outcome_of(GENERATION))
    deltas = [event["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content") or "" for delta in deltas) == GENERATION.text
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert {event["id"] for event in events} == {"chatcmpl-s1"}
    assert [event["gate"] for event in events if "gate" in event] == [events[-1]["gate"]] == [LATE]


def test_what_was_sent_and_may_not_stand_is_withdrawn() -> None:
    events = live("Ghana is", outcome_of(None))
    deltas = [event["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Ghana is"
    assert "".join(delta.get("refusal") or "" for delta in deltas) == "I do not know."
    assert events[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert events[-1]["gate"] == {**LATE, "action": "abstain", "retracted": True}


def test_an_answer_written_anew_withdraws_the_one_that_was_sent() -> None:
    events = live("Ghana is", outcome_of(GENERATION))
    assert events[-1]["gate"] == {**LATE, "retracted": True}
    assert "".join(e["choices"][0]["delta"].get("refusal") or "" for e in events) == GENERATION.text


def test_the_verdict_is_in_the_very_last_chunk_also_where_one_counts_tokens() -> None:
    for more in ({"stream_options": {"include_usage": True}}, {"gate": {"explain": True}}):
        writer = ChatEvents(parse_chat_request(body(stream=True, **more)), "s1")
        *sent, _ = [writer.begin(), *writer.end(saying(GENERATION), certificate="certified")]
        events = [orjson.loads(event[6:]) for event in sent]
        assert [place for place, event in enumerate(events) if "gate" in event] == [len(events) - 1]
        assert events[-1]["choices"] == []
        assert (events[-1]["gate"]["id"], events[-1]["gate"]["certificate"]) == ("feed", "certified")
        assert events[-1]["gate"]["confidence"]["p"] == 0.9123


def test_the_whole_stream_tells_the_verdict_only_where_headers_could_not() -> None:
    request = parse_chat_request(body(stream=True, n=2))
    both = decided(outcome_of(GENERATION), outcome_of(GENERATION))
    assert b'"gate":' not in b"".join(ChatEvents(request, "s1").whole(both))
    *_, last, _ = ChatEvents(request, "s1").whole(both, certificate="none")
    gate = orjson.loads(last[6:])["gate"]
    assert gate["certificate"] == "none"
    assert [(one["index"], one["id"], one["action"]) for one in gate["choices"]] == [
        (0, "feed", "answer"), (1, "feed1", "answer"),
    ]  # fmt: skip


def test_a_stream_that_fails_says_so_and_ends() -> None:
    failed = ChatEvents(parse_chat_request(body(stream=True)), "s1").fail(WireError(502, "down", "upstream_error"))
    event, done, _ = failed.split(b"\n\n")
    assert orjson.loads(event[6:])["error"]["message"] == "down"
    assert done == b"data: [DONE]"
