"""The doors alike: whatever JSON comes in there is a request or a refusal, and one code path serves them all."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import RequestError
from gate.log.entries import Entry
from gate.proxy.doors import CHAT, DOORS, MESSAGES, RESPONSES, Door
from gate.proxy.json_wire import dumps
from gate.proxy.request_fields import SamplingFields
from gate.proxy.wire_errors import WireError
from tests.proxy.asking import ENDED, JSON, USER, decided, saying
from tests.proxy.door_app import doors
from tests.proxy.fake_gateway import CALLING, GENERATION, outcome_of

ASK = {
    "chat": {"model": "gate", "messages": [USER]},
    "responses": {"model": "gate", "input": "Where is Lagos?"},
    "messages": {"model": "gate", "messages": [USER], "max_tokens": 9},
}


def asking(door: Door, **more: object) -> bytes:
    return json.dumps({**ASK[door.name], **more}).encode()


def test_names_and_paths_are_the_logs_and_no_two_alike() -> None:
    assert [door.name for door in DOORS] == ["chat", "responses", "messages"]
    assert CHAT.name == Entry.__dataclass_fields__["door"].default
    assert len({door.path for door in DOORS}) == 3


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_the_same_question_comes_in_by_each(door: Door) -> None:
    asked = door.parse(asking(door, gate={"explain": True, "abstention": "error"}))
    assert (asked.model, asked.question.text) == ("gate", "Where is Lagos?")
    assert (asked.explain, asked.abstention, asked.n, asked.stream) == (True, "error", 1, False)


OUTCOMES = {
    "answer": outcome_of(GENERATION), "refusal": outcome_of(None), "call": outcome_of(CALLING),
    **{how: outcome for how, (outcome, _, _) in ENDED.items()},
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@pytest.mark.parametrize("how", OUTCOMES)
def test_every_outcome_goes_out_by_each_whole_and_streamed(door: Door, how: str) -> None:
    asked = door.parse(asking(door, stream=True))
    made = decided(OUTCOMES[how])
    whole = dumps(door.reply(asked, made)).decode()
    stream = b"".join(door.events(asked, made))
    assert stream.endswith(b"\n\n")
    assert "feed" in whole
    assert b"feed" in stream
    for word in OUTCOMES[how].text.split():
        assert word in whole
        assert word.encode() in stream
    assert ('"gate":' in whole) == (b'"gate":' in stream) == (not OUTCOMES[how].answered)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_an_error_has_its_message_in_each_shape(door: Door) -> None:
    made = door.error(WireError(422, "said", "gate_abstention", "uncertain", gate={"action": "abstain"}))
    assert made["error"]["message"] == "said"
    assert made["error"]["type"] == "gate_abstention"
    assert made["gate"] == {"action": "abstain"}
    writer = door.writer(door.parse(asking(door, stream=True)), "s1")
    assert b"said" in writer.begin() + writer.fail(WireError(502, "said", "upstream_error"))


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@given(value=JSON)
def test_whatever_json_comes_is_a_request_or_refused(door: Door, value: object) -> None:
    with pytest.raises(RequestError):
        door.parse(json.dumps(value).encode())


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@given(raw=st.binary(max_size=100), more=st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_whatever_stands_beside_a_question_is_taken_or_refused(door: Door, raw: bytes, more: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        door.parse(raw)
    try:
        door.parse(asking(door, **more))
    except RequestError:
        return


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_a_field_that_stands_twice_is_refused_at_each(door: Door) -> None:
    with pytest.raises(RequestError, match="'model' stands twice"):
        door.parse(asking(door).replace(b"{", b'{"model":"other",', 1))


MISTYPED = {
    "temperature": "1", "top_p": [1], "max_tokens": [None], "max_completion_tokens": [None], "stop": {"a": 1},
    "seed": "x", "logprobs": 3, "top_logprobs": True,
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@pytest.mark.parametrize("name", SamplingFields.model_fields)
def test_what_gate_reads_has_its_type_also_where_the_dialect_does_not_know_it(door: Door, name: str) -> None:
    with pytest.raises(RequestError) as refused:
        door.parse(asking(door, **{name: MISTYPED[name]}))
    assert (refused.value.param or "").partition(".")[0] == name


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_two_limits_that_differ_are_refused(door: Door) -> None:
    with pytest.raises(RequestError, match="are the same limit by several names and differ"):
        door.parse(asking(door, max_tokens=5, max_completion_tokens=6))
    assert door.parse(asking(door, max_tokens=5, max_completion_tokens=5))


def test_all_three_over_a_server() -> None:
    with doors(lambda asked: outcome_of(None if asked.explain else GENERATION), []) as url:
        for door in (CHAT, RESPONSES, MESSAGES):
            said = httpx.post(url + door.path, content=asking(door))
            assert said.status_code == 200
            assert GENERATION.text in said.text
            streamed = httpx.post(url + door.path, content=asking(door, stream=True)).content
            assert streamed.startswith(door.keep_alive)
            error = httpx.post(url + door.path, content=asking(door, gate={"abstention": "error", "explain": True}))
            assert error.status_code == 422
            assert error.json()["error"]["message"] == "I do not know."
            assert httpx.post(url + door.path, content=b"{").status_code == 400


def test_unanswered_ones_in_each_way() -> None:
    for door in DOORS:
        assert "gate" in door.reply(door.parse(asking(door)), saying(None))
