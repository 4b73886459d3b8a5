"""What the OpenAI dialects share: options, keys, errors, waits, and fields a server does not take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from gate.effects import Generate
from gate.errors import ConfigError, UpstreamError
from gate.types import Message
from gate.upstreams.openai_wire import (
    ServerOptions,
    log_probability,
    most_tokens,
    refused_field,
    reply_object,
    without,
)

URL = "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8000", "ftp://x/v1", "http://", "http://me:secret@host/v1", "http://host/v1?key=1", "http://h/#x"],
)
def test_addresses_that_cannot_be_used_are_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="must"):
        ServerOptions(base_url=url, model="m")


def test_a_slash_at_the_end_makes_no_difference() -> None:
    assert ServerOptions(base_url=URL + "/", model="m").base_url == URL


def test_keys_come_from_the_environment_or_a_file_and_never_from_the_policy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_KEY", " sk-secret \n")
    assert ServerOptions(base_url=URL, model="m", api_key_env="MY_KEY").key() == "sk-secret"
    (tmp_path / "key").write_text("from-file\n")
    assert ServerOptions(base_url=URL, model="m", api_key_file=str(tmp_path / "key")).key() == "from-file"
    assert ServerOptions(base_url=URL, model="m").key() is None
    with pytest.raises(ConfigError, match="'NOT_SET' is not set"):
        ServerOptions(base_url=URL, model="m", api_key_env="NOT_SET").key()
    with pytest.raises(ConfigError, match="cannot read the key"):
        ServerOptions(base_url=URL, model="m", api_key_file=str(tmp_path / "none")).key()
    (tmp_path / "key").write_text("changeme\n")
    with pytest.raises(ConfigError, match="/key' holds an example or a well-known key"):
        ServerOptions(base_url=URL, model="m", api_key_file=str(tmp_path / "key")).key()
    with pytest.raises(ValidationError, match="not both"):
        ServerOptions(base_url=URL, model="m", api_key_env="A", api_key_file="b")
    with pytest.raises(ValidationError, match="holds a key"):
        ServerOptions(base_url=URL, model="m", headers={"Authorization": "Bearer x"})


def test_the_fingerprint_follows_model_and_address() -> None:
    base = ServerOptions(base_url=URL, model="m").fingerprint("openai_chat", "1")
    others = {
        ServerOptions(base_url=URL, model="n").fingerprint("openai_chat", "1"),
        ServerOptions(base_url=URL + "x", model="m").fingerprint("openai_chat", "1"),
        ServerOptions(base_url=URL, model="m").fingerprint("openai_chat", "2"),
    }
    assert len(others | {base}) == 4


@pytest.mark.parametrize(
    ("status", "body", "cause", "retryable"),
    [
        (200, b"<html>hello</html>", "HTML, not JSON", False),
        (200, b"", "empty body", True),
        (200, b'{"choices": [', "broken JSON", True),
        (200, b'{"a": ' * 600 + b"1" + b"}" * 600, "without choices", True),
        (200, b'{"a": ' * 200_000 + b"1" + b"}" * 200_000, "broken JSON", True),
        (400, b'{"error": ' + b"[" * 1000 + b"]" * 1000 + b"}", "400", False),
        (400, b'{"error": {"message": ["\\ud800"]}}', "400: ", False),
        (200, b"[1]", "no object", False),
        (200, b'{"choices": []}', "without choices", True),
        (200, b'{"choices": [7]}', "without choices", True),
        (200, b'{"error": {"message": "quota"}}', "an error: quota", False),
        (302, b"{}", "status 302", False),
        (401, b'{"error": {"message": "bad key sk-abcdefgh"}}', "401: bad key sk-***", False),
        (404, b'{"detail": "Not Found"}', "404: ", False),
        (422, b'{"message": "bad field"}', "422: bad field", False),
        (429, b'{"error": {"message": "slow down"}}', "429: slow down", True),
        (500, b"oops", "500: answered with broken JSON", True),
        (502, b"<html>Bad Gateway</html>", "502: answered HTML", True),
        (503, b"", "503: answered with an empty body", True),
    ],
)
def test_everything_but_a_usable_reply_is_an_error_that_says_what_came(
    status: int, body: bytes, cause: str, retryable: bool
) -> None:
    with pytest.raises(UpstreamError) as caught:
        reply_object("mine", status, {}, body, None)
    assert "'mine'" in str(caught.value)
    assert cause in caught.value.in_full
    assert caught.value.retryable is retryable


def test_the_list_a_reply_must_hold_is_that_of_the_dialect() -> None:
    body = b'{"data": [{"index": 0}], "error": null}'
    assert reply_object("mine", 200, {}, body, None, listing="data")["data"] == [{"index": 0}]
    with pytest.raises(UpstreamError, match="without choices"):
        reply_object("mine", 200, {}, body, None)
    with pytest.raises(UpstreamError, match="without data"):
        reply_object("mine", 200, {}, b'{"choices": [{}]}', None, listing="data")


def test_json_that_is_not_strict_is_read_all_the_same() -> None:
    body = b'{"choices": [{"text": "Ni\\ud800geria", "a": NaN, "b": -Infinity, "c": -' + b"9" * 400 + b', "d": 7}]}'
    choice = reply_object("mine", 200, {}, body, None)["choices"][0]
    assert choice["text"] == "Ni\ud800geria"
    assert [log_probability(choice[name]) for name in "abcd"] == [None, -1e4, -1e4, None]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (-0.5, -0.5),
        (0, 0.0),
        (1e-9, 0.0),
        (-9999.0, -9999.0),
        (float("-inf"), -1e4),
        (float("nan"), None),
        (0.5, None),
        (None, None),
        (True, None),
        ("x", None),
    ],
)
def test_only_log_probabilities_are_read_as_such(value: object, read: float | None) -> None:
    assert log_probability(value) == read


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Unsupported parameter: 'logprobs' is not supported with this model.", "logprobs"),
        ("This model does not support top_logprobs.", "top_logprobs"),
        ("n > 1 is not supported", "n"),
        ("Unrecognized request argument supplied: logprobs", "logprobs"),
        ('Invalid JSON payload received. Unknown name "seed": Cannot find field.', "seed"),
        ("[{'type': 'extra_forbidden', 'loc': ('body', 'n'), 'msg': 'Extra inputs are not permitted'}]", "n"),
        ("anthropic does not support parameters: ['n']", "n"),
        ("logprobs aren't supported here", "logprobs"),
        ("You are not allowed to request logprobs from this model", "logprobs"),
        ("Unknown parameter: 'stream_options'.", "stream_options"),
        ("Unrecognized request argument supplied: stream", "stream"),
        ("Streaming is not supported for this model.", "stream"),
        ("stop: at most 4 sequences", None),
        ("Unsupported parameter: 'stop'", None),
        ("top_p is not supported", None),
        ("invalid messages", None),
        ("no such thing as logprobs", None),
        ("Invalid prompt: what is n in this equation?", None),
        ("n-grams are not supported", None),
        ("unsupported line: a\\n", None),
    ],
)
def test_a_refused_field_is_found_in_the_servers_words_when_they_call_it_unsupported(
    said: str, name: str | None
) -> None:
    assert refused_field(UpstreamError("mine", "refused", said=said, status=400)) == name
    assert refused_field(UpstreamError("mine", "refused", said=said, status=500)) is None


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"error": {"message": "too many", "param": "n", "code": "unsupported_value"}}', "n"),
        (b'{"error": {"message": "logprobs is not supported, you said", "param": "messages"}}', None),
        (b'{"error": {"message": "logprobs is not supported", "param": null}}', "logprobs"),
        (b'{"error": {"message": "logprobs is not supported", "param": {"a": 1}}}', "logprobs"),
        (
            b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "x", "input": "n unknown"}]}',
            "seed",
        ),
        (b'{"detail": [{"type": "too_long", "loc": ["body", "n"], "msg": "x"}]}', None),
        (b'{"detail": [{"type": "extra_forbidden", "loc": []}]}', None),
        (b'{"error": {"message": "no", "param": "stream_options.include_usage"}}', "stream_options"),
    ],
)
def test_a_reply_that_names_the_field_is_taken_at_its_word(body: bytes, name: str | None) -> None:
    with pytest.raises(UpstreamError) as caught:
        reply_object("mine", 422, {}, body, None)
    assert refused_field(caught.value) == name


@pytest.mark.parametrize(
    ("said", "most"),
    [
        ("max_tokens=7979 cannot be greater than max_model_len=512. Please request fewer output tokens.", 512),
        ("max_completion_tokens=7979 cannot be greater than max_model_len=8192.", 8192),
        ("max_tokens is too large: 90000. This model supports at most 4096 completion tokens, whereas you", 4096),
        ("max_tokens=7979 cannot be greater than max_model_len=0.", 1),
        ("max_tokens=7979 cannot be greater than max_model_len=99999999999999999999", None),
        ("This model's maximum context length is 512 tokens. However, your prompt contains 513 input tokens", None),
        ("max_tokens must be at least 1", None),
        ("", None),
    ],
)
def test_the_most_tokens_a_server_allows_are_found_in_its_words(said: str, most: int | None) -> None:
    assert most_tokens(UpstreamError("mine", "refused", said=said, status=400)) == most
    assert most_tokens(UpstreamError("mine", "refused", said=said, status=400, param="max_tokens")) == most
    assert most_tokens(UpstreamError("mine", "refused", said=said, status=400, param="messages")) is None
    assert most_tokens(UpstreamError("mine", "refused", said=said, status=500)) is None


def test_a_request_without_a_field_of_gates_own() -> None:
    asked = Generate("m", (Message("user", "hi"),), n=4, logprobs=5, seed=1, top_p=0.9, stop=("x",))
    assert without(asked, "logprobs").logprobs is None
    assert without(asked, "top_logprobs").logprobs == 0
    assert without(asked, "n").n == 1
    assert without(asked, "seed").seed is None
    assert without(asked, "stream_options") == replace(asked, counted=False)
    assert without(replace(asked, live="small/closed_book"), "stream") == without(asked, "stream") == asked
    assert without(replace(asked, seed_is_callers=True), "seed").seed == 1
    for name in ("messages", "stop", "top_p"):
        with pytest.raises(ValueError, match="not optional"):
            without(asked, name)
