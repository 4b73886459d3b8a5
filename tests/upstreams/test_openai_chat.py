"""The chat dialect: what is sent, what is read, and that nothing else than an upstream error comes of bad replies."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.effects import Generate
from gate.errors import UpstreamError
from gate.ports import Price
from gate.types import Message
from gate.upstreams.openai_chat import OpenAIChat, OpenAIChatOptions

ASKED = (Message("system", "Be brief."), Message("user", "Where is Lagos?"))


def upstream(**options: object) -> OpenAIChat:
    made = OpenAIChatOptions(base_url="http://127.0.0.1:1/v1", model="m", **options)
    return OpenAIChat.from_options("mine", made, Price())


def test_a_plain_request_sends_nothing_it_was_not_asked_to() -> None:
    sent = upstream().encode(Generate("mine", ASKED))
    assert sent.url == "http://127.0.0.1:1/v1/chat/completions"
    assert sent.body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is Lagos?"}],
    }


def test_a_full_request() -> None:
    effect = Generate(
        "mine", ASKED, n=5, temperature=0.7, top_p=0.9, max_tokens=20, stop=("\n",), seed=3, logprobs=9,
        extra={"tools": [{"type": "function"}], "n": 99, "stream": True, "model": "other"},
    )  # fmt: skip
    body = upstream(max_tokens_field="max_completion_tokens").encode(effect).body
    del body["messages"]
    assert body == {
        "model": "m", "n": 5, "temperature": 0.7, "top_p": 0.9, "max_completion_tokens": 20, "stop": ["\n"], "seed": 3,
        "logprobs": True, "top_logprobs": 5, "tools": [{"type": "function"}],
    }  # fmt: skip


def test_what_a_server_cannot_do_is_not_asked_of_it() -> None:
    poor = upstream(capabilities={"logprobs": False, "seed": False, "n": 1})
    body = poor.encode(Generate("mine", ASKED, logprobs=5, seed=1)).body
    assert body.keys() == {"model", "messages"}
    assert poor.profile.n == 1


def test_the_wire_form_of_a_message_is_sent_as_it_came() -> None:
    wire = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}], "name": "ann"}
    assert upstream().encode(Generate("mine", (Message("user", "", wire),))).body["messages"] == [wire]


def test_the_key_is_sent_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    made = upstream(api_key_env="MY_KEY")
    assert made.encode(Generate("mine", ASKED)).headers["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in repr(made) + str(made) + made.fingerprint
    with pytest.raises(UpstreamError) as caught:
        made.decode(401, {}, b'{"error": {"message": "wrong key sk-secret"}}')
    assert "sk-secret" not in str(caught.value)


def test_a_full_reply_is_read() -> None:
    top = [{"token": "Nig", "logprob": -0.1}, {"token": "Gh", "logprob": -2.0}, {"token": "?", "logprob": None}]
    reply = {
        "model": "m-2026",
        "choices": [
            {
                "message": {"content": "Nigeria", "refusal": None},
                "finish_reason": "length",
                "logprobs": {"content": [{"token": "Nig", "logprob": -0.1, "top_logprobs": top}]},
            },
            {
                "message": {
                    "content": None,
                    "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}, "junk"],
                },
                "finish_reason": "tool_calls",
            },
            {"message": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "refusal": "no"}},
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4},
    }
    read = upstream().decode(200, {}, json.dumps(reply).encode())
    assert (read.model, read.usage.prompt_tokens, read.usage.completion_tokens) == ("m-2026", 9, 4)
    plain, call, parts = read.choices
    assert (plain.text, plain.finish_reason) == ("Nigeria", "length")
    assert plain.tokens is not None
    assert plain.tokens[0].top == (("Nig", -0.1), ("Gh", -2.0))
    assert (call.text, call.tool_calls[0].name, call.tokens) == ("", "f", None)
    assert (parts.text, parts.refusal, parts.finish_reason) == ("ab", "no", "stop")


@pytest.mark.parametrize("logprob", [None, "x", float("nan"), 2.0])
def test_one_broken_log_probability_makes_all_of_them_missing(logprob: object) -> None:
    tokens = [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": logprob}]
    reply = {"choices": [{"message": {"content": "ab"}, "logprobs": {"content": tokens}}]}
    body = json.dumps(reply).replace("NaN", "null").encode()
    assert upstream().decode(200, {}, body).choices[0].tokens is None


def test_a_choice_without_a_message_is_an_error() -> None:
    with pytest.raises(UpstreamError, match="no message"):
        upstream().decode(200, {}, b'{"choices": [{"text": "wrong dialect"}]}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "logprobs", "token", "tool_calls", "function", "usage", "error"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([200, 400, 429, 500]))
def test_any_json_is_read_or_refused(data: object, status: int) -> None:
    try:
        read = upstream().decode(status, {}, json.dumps(data).encode())
    except UpstreamError:
        return
    assert status == 200
    assert read.choices


@given(st.binary(max_size=60))
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        upstream().decode(200, {}, body)
