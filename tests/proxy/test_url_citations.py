"""URL citations: at the number, over the whole answer without one, and none for passages without an address."""

from __future__ import annotations

import json

from gate.proxy.chat_replies import completion
from gate.proxy.chat_requests import parse_chat_request
from gate.proxy.doors import CHAT
from gate.proxy.url_citations import url_citations
from gate.traces import TraceRecord
from gate.types import Action, Cost, Decision, Generation, Outcome, Passage, SignalVector, Stage, Step

FOUND = (
    Passage("a", "text", title="Lagos", source="https://x.org/lagos"),
    Passage("b", "text", source="HTTP://x.org/b"),
    Passage("c", "text", source="file.md"),
)
STEP = Step(Decision(Action.ANSWER, "confident", Stage("small", passages=True)), SignalVector(()), Cost())


def outcome(text: str, *cited: str, cites: bool = True, action: Action = Action.ANSWER) -> Outcome:
    said = Generation(text, cites=cites)
    return Outcome(action, text, (STEP,), Cost(), said, "small", FOUND, cited)


def made(of: Outcome) -> list[tuple[int, int, str, str]]:
    for each in url_citations(of):
        assert each["type"] == "url_citation"
    inner = [each["url_citation"] for each in url_citations(of)]
    return [(one["start_index"], one["end_index"], one["url"], one["title"]) for one in inner]


def test_a_citation_stands_where_its_number_does() -> None:
    said = "Nigeria [1], it says [2][1]."
    assert made(outcome(said, "a", "b")) == [
        (8, 11, "https://x.org/lagos", "Lagos"),
        (21, 24, "HTTP://x.org/b", "b"),
        (24, 27, "https://x.org/lagos", "Lagos"),
    ]
    assert said[8:11] == "[1]"


def test_without_a_number_it_is_the_whole_answer() -> None:
    assert made(outcome("Nigeria", "a")) == [(0, 7, "https://x.org/lagos", "Lagos")]
    assert made(outcome("arr[1]", "b", cites=False)) == [(0, 6, "HTTP://x.org/b", "b")]


def test_what_has_no_address_or_bears_nothing_is_not_there() -> None:
    assert made(outcome("Nigeria [3]", "c")) == []
    assert made(outcome("Nigeria")) == []
    assert made(outcome("I do not know", "a", action=Action.ABSTAIN)) == []


def test_the_message_the_stream_and_the_gate_object_carry_them() -> None:
    asked = {"model": "gate", "messages": [{"role": "user", "content": "Where?"}], "gate": {"explain": True}}
    request = parse_chat_request(json.dumps(asked).encode())
    said, record = outcome("Nigeria [1]", "a"), TraceRecord("1", "now", "p", "f", False, (STEP,))
    body = completion(request, [(said, record)])
    assert body["choices"][0]["message"]["annotations"] == url_citations(said)
    assert [passage["cited"] for passage in body["gate"]["passages"]] == [True, False, False]
    events = [json.loads(event[6:]) for event in CHAT.events(request, [(said, record)]) if b"[DONE]" not in event]
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    assert [delta["annotations"] for delta in deltas if "annotations" in delta] == [url_citations(said)]
    assert events[-1]["gate"]["passages"][0]["id"] == "a"
    bare = outcome("Nigeria [3]", "c")
    assert "annotations" not in completion(request, [(bare, record)])["choices"][0]["message"]
