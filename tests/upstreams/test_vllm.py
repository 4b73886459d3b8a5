"""What vLLM is sent beside the chat dialect, where its answers end, and that no reply's states can break anything."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.effects import STOPPED_EARLY, Generate, ReadStates
from gate.errors import UpstreamError
from gate.hidden_states.block import packed, pooled, unpacked
from gate.hidden_states.layout import Layout
from gate.ports import Price
from gate.types import Generation, InternalStates, Message
from gate.upstreams.openai_chat import OpenAIChat, OpenAIChatOptions
from gate.upstreams.vllm import VllmChat, VllmOptions
from tests.upstreams.faulty_server import DONE, chunk
from tests.upstreams.test_openai_chat import JSON

ASKED = (Message("system", "Be brief."), Message("user", "Where is Lagos?"))
READ = (*ASKED, Message("assistant", "Nigeria"))
NEUTRAL = {
    "temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0,
    "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
}  # fmt: skip
LAYOUT = Layout.at(8, 64)
ROWS = np.random.default_rng(0).normal(size=(3, LAYOUT.row_length)).astype(np.float32)
BLOCK = packed(pooled(LAYOUT, "0123456789abcdef", ROWS))
SENT = json.loads(json.dumps(asdict(BLOCK)))


def upstream(**options: object) -> VllmChat:
    made = VllmOptions(base_url="http://127.0.0.1:1/v1", model="m", **options)
    return VllmChat.from_options("mine", made, Price())


def body_of(effect: Generate, **options: object) -> dict[str, Any]:
    return dict(upstream(**options).encode(effect).body)


def decoded(choices: list[dict[str, Any]], sent: Any = None) -> tuple[Generation, ...]:
    reply = {"choices": choices, "kv_transfer_params": sent}
    return upstream().decode(200, {}, json.dumps(reply).encode()).choices


def answers(n: int) -> list[dict[str, Any]]:
    return [{"index": i, "message": {"content": f"answer {i}"}, "finish_reason": "stop"} for i in range(n)]


# --- what is sent ------------------------------------------------------------------------------------------------


def test_sampling_is_spelled_out_for_a_models_folder_may_say_otherwise() -> None:
    body = body_of(Generate("mine", ASKED))
    assert body.pop("messages") == [{"role": m.role, "content": m.content} for m in ASKED]
    assert body == {"model": "m", **NEUTRAL}


def test_what_was_asked_stands() -> None:
    asked = Generate("mine", ASKED, n=64, temperature=0.7, top_p=0.9, max_tokens=20, seed=3, logprobs=20)
    body = body_of(replace(asked, extra={"top_k": 5, "min_p": 0.1}))
    del body["messages"]
    assert body == {
        "model": "m", **NEUTRAL, "n": 64, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_p": 0.1,
        "max_tokens": 20, "seed": 3, "logprobs": True, "top_logprobs": 20,
    }  # fmt: skip


def test_its_address_and_headers_are_those_of_the_chat_dialect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    chat = OpenAIChat.from_options(
        "mine", OpenAIChatOptions(base_url="http://127.0.0.1:1/v1", model="m", api_key_env="MY_KEY"), Price()
    )
    ours, theirs = (each.encode(Generate("mine", ASKED)) for each in (upstream(api_key_env="MY_KEY"), chat))
    assert (ours.url, ours.headers) == (theirs.url, theirs.headers)
    assert ours.headers["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in repr(upstream(api_key_env="MY_KEY"))
    assert upstream().fingerprint != chat.fingerprint, "it samples otherwise, so no certificate of the other holds"


@pytest.mark.parametrize("temperature", [0.0, 1e-6])
def test_several_greedy_answers_are_refused_before_anything_is_sent(temperature: float) -> None:
    with pytest.raises(UpstreamError, match="one answer at temperature 0, not 5") as caught:
        body_of(Generate("mine", ASKED, n=5, temperature=temperature))
    assert caught.value.status == 400
    assert not caught.value.retryable
    assert body_of(Generate("mine", ASKED, temperature=temperature))["temperature"] == temperature
    assert body_of(Generate("mine", ASKED, n=5))["n"] == 5


def test_what_it_can_do() -> None:
    profile = upstream().profile
    assert (profile.top_logprobs, profile.n, profile.logprobs, profile.seed, profile.states) == (
        20,
        64,
        True,
        True,
        True,
    )
    plain = upstream(capabilities={"states": False, "n": 2})
    assert (plain.profile.states, plain.profile.n, plain.profile.top_logprobs) == (False, 2, 20)
    with pytest.raises(ValidationError, match="states"):
        OpenAIChatOptions(base_url="http://127.0.0.1:1/v1", model="m", capabilities={"states": True})


# --- internal states are asked for -------------------------------------------------------------------------------


def test_states_are_asked_for_where_they_can_be_had() -> None:
    asked = Generate("mine", ASKED, n=2, states=ReadStates(passages=("Lagos is in Nigeria.",)))
    body = body_of(asked)
    assert body.pop("kv_transfer_params") == {"gate_states": {}}
    assert body == body_of(replace(asked, states=None)), "the answer is the same with or without them"
    assert "kv_transfer_params" not in body_of(asked, capabilities={"states": False})


def test_what_is_read_inside_is_not_streamed() -> None:
    """vLLM's chunks have no place for it."""
    asked = Generate("mine", ASKED, states=ReadStates())
    assert upstream().encode_live(asked) is None
    assert upstream(capabilities={"stream": False}).encode_live(replace(asked, states=None)) is None
    for streamed in (
        upstream(capabilities={"states": False}).encode_live(asked),
        upstream().encode_live(replace(asked, states=None)),
    ):
        assert streamed is not None
        options = {"include_usage": True, "continuous_usage_stats": True}
        assert streamed.body == {**body_of(replace(asked, states=None)), "stream": True, "stream_options": options}


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_an_answer_is_given_to_be_read(limit: str) -> None:
    body = body_of(Generate("mine", READ, max_tokens=30, states=ReadStates(given=True)), max_tokens_field=limit)
    assert body["messages"][-1] == {"role": "assistant", "content": "Nigeria"}
    assert body["kv_transfer_params"] == {"gate_states": {"given": "Nigeria"}}
    assert (body["continue_final_message"], body["add_generation_prompt"], body[limit]) == (True, False, 1)


def test_only_the_assistants_answers_are_read() -> None:
    with pytest.raises(UpstreamError, match="not a message of 'user'"):
        body_of(Generate("mine", ASKED, states=ReadStates(given=True)))


# --- where an answer ends ----------------------------------------------------------------------------------------


def listed(*tokens: str) -> dict[str, Any]:
    return {"content": [{"token": token, "logprob": -0.1 * (place + 1)} for place, token in enumerate(tokens)]}


@pytest.mark.parametrize(
    ("text", "tokens", "finish", "stop", "kept"),
    [
        (" Nigeria", [" Nig", "eria", "<e>"], "stop", None, 2),
        (" Nigeria", [" Nig", "eria", "<|eot|>"], "stop", 128009, 2),
        (" Nigeria<e>", [" Nig", "eria", "<e>"], "stop", None, 3),
        (" Nig", [" Nig", "er"], "length", None, 2),
        (" Nig", [" Nig"], "length", None, 1),
        ("", ["<e>"], "stop", None, 0),
        (None, ["{", "}", "<e>"], "tool_calls", None, 2),
        (" Nige", [" Nig", "eria"], "stop", "ria", 2),
        (" Nigeria", [" Nig", "eria", ".", "\n"], "stop", ".\n", 2),
        ("of thought", ["deep", "</t>", "of", " thought", "."], "stop", ".", 4),
        ("x", ["x", "\ufffd", "\ufffd"], "stop", "\u00e9", 3),
    ],
)
def test_the_tokens_are_those_of_the_text(
    text: str | None, tokens: list[str], finish: str, stop: object, kept: int
) -> None:
    choice = {"message": {"content": text}, "finish_reason": finish, "stop_reason": stop, "logprobs": listed(*tokens)}
    (read,) = decoded([choice])
    assert read.tokens is not None
    assert [token.token for token in read.tokens] == tokens[:kept]
    assert read.text == (text or "")


@pytest.mark.parametrize("stop", [None, 128009])
def test_a_streamed_answer_ends_where_a_whole_one_does(stop: object) -> None:
    """Its last chunk lists the token that ended it, with no text."""
    parts = [
        chunk("", logprobs=None),
        chunk(" Nig", logprobs=listed(" Nig")),
        chunk("eria", logprobs=listed("eria")),
        chunk("", logprobs=listed("<e>"), finish="stop", stop_reason=stop),
        DONE,
    ]
    reading = upstream().live(200, {})
    pieces = [piece for part in (*parts, b"") for piece in reading.feed(part)]
    choice = {"message": {"content": " Nigeria"}, "finish_reason": "stop", "stop_reason": stop}
    tokens = [one for text in (" Nig", "eria", "<e>") for one in listed(text)["content"]]
    assert reading.reply().choices == decoded([{**choice, "logprobs": {"content": tokens}}])
    assert [piece.text for piece in pieces] == [" Nig", "eria"]
    assert tuple(token for piece in pieces for token in piece.tokens) == reading.reply().choices[0].tokens


def test_a_stop_string_cuts_the_tokens_of_a_stream_too() -> None:
    parts = [
        chunk(" Nig", logprobs=listed(" Nig")),
        chunk("eria", logprobs=listed("eria", ".")),
        chunk("", logprobs=listed("\n"), finish="stop", stop_reason=".\n"),
        DONE,
    ]
    reading = upstream().live(200, {})
    pieces = [piece for part in parts for piece in reading.feed(part)]
    assert [piece.text for piece in pieces] == [" Nig", "eria"]
    (read,) = reading.reply().choices
    assert (read.text, [token.token for token in read.tokens or ()]) == (" Nigeria", [" Nig", "eria"])


def test_a_stopped_answer_keeps_its_last_token() -> None:
    reading = upstream().live(200, {})
    assert len(list(reading.feed(chunk(" Nig", logprobs=listed(" Nig")) + chunk("er", logprobs=listed("er"))))) == 2
    (read,) = reading.so_far().choices
    assert (read.text, len(read.tokens or ()), read.finish_reason) == (" Niger", 2, STOPPED_EARLY)


def test_without_log_probabilities_there_is_nothing_to_cut() -> None:
    assert decoded(answers(1))[0].tokens is None


# --- internal states come back -----------------------------------------------------------------------------------


def test_every_answer_gets_its_own_states_by_its_index() -> None:
    other = packed(pooled(LAYOUT, "0123456789abcdef", ROWS[:2]))
    sent = {"gate_states": {"0": SENT, "1": asdict(other), "2": {"missing": "it was empty"}}}
    third, first, second = decoded([answers(3)[2], answers(3)[0], answers(3)[1]], sent)
    assert (first.states, first.no_states) == (BLOCK, "")
    assert (second.states, second.no_states) == (other, "")
    assert (third.states, third.no_states) == (None, "it was empty")
    assert unpacked(first.states).answer_tokens == 2


@pytest.mark.parametrize("sent", [None, {}, [], 3, {"gate_states": None}, {"gate_states": {}}, {"other": {"0": SENT}}])
def test_a_reply_without_states_says_nothing_of_them(sent: object) -> None:
    assert [(g.states, g.no_states) for g in decoded(answers(2), sent)] == [(None, "")] * 2


def test_an_answer_that_was_left_out_says_so() -> None:
    read, left_out = decoded(answers(2), {"gate_states": {"0": SENT}})
    assert read.states == BLOCK
    assert left_out.no_states == "the server sent no internal states of answer 1"


@pytest.mark.parametrize(
    "broken",
    [
        {**SENT, "version": "1"}, {**SENT, "version": True}, {**SENT, "depth": 0}, {**SENT, "width": 2**40},
        {**SENT, "answer_tokens": -1}, {**SENT, "answer_tokens": 1.5}, {**SENT, "layers": "3"},
        {**SENT, "layers": [1, None]}, {**SENT, "layers": [1] * 100}, {**SENT, "model": 7}, {**SENT, "model": "m" * 99},
        {**SENT, "digest": None}, {**SENT, "features": ["A"]}, {**SENT, "features": "A" * 10**6},
        {name: value for name, value in SENT.items() if name != "digest"}, {},
    ],
)  # fmt: skip
def test_states_that_cannot_be_read_are_missing(broken: object) -> None:
    (read,) = decoded(answers(1), {"gate_states": {"0": broken}})
    assert (read.text, read.states) == ("answer 0", None)
    assert read.no_states == "the server sent internal states that cannot be read"


@pytest.mark.parametrize(
    ("reason", "said"), [(None, "the server did not say why"), ("a\n b", "a b"), ("", "the server")]
)
def test_the_servers_reason_is_one_short_line(reason: object, said: str) -> None:
    assert decoded(answers(1), {"gate_states": {"0": {"missing": reason}}})[0].no_states.startswith(said)
    long = decoded(answers(1), {"gate_states": {"0": {"missing": "x" * 10**5}}})[0].no_states
    assert len(long) <= 300


NAMES = st.sampled_from(["0", "1", "missing", *SENT])
HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4) | st.just(SENT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


@given(HOSTILE, st.sampled_from([None, 0, 1, "0", -1, 10**30, True]))
def test_whatever_is_sent_for_states_the_answer_comes_through(sent: object, index: object) -> None:
    choice = {**answers(1)[0], "index": index}
    (read,) = decoded([choice], {"gate_states": sent})
    assert read.text == "answer 0"
    assert read.states is None or (isinstance(read.states, InternalStates) and not read.no_states)


@given(JSON, st.sampled_from([200, 400, 500]))
def test_any_json_is_read_or_refused(data: object, status: int) -> None:
    try:
        read = upstream().decode(status, {}, json.dumps(data).encode())
    except UpstreamError:
        return
    assert status == 200
    assert read.choices
