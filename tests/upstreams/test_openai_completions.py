"""The legacy completions dialect."""

from __future__ import annotations

import json

import pytest

from gate.effects import Generate
from gate.errors import UpstreamError
from gate.ports import Price
from gate.types import Message
from gate.upstreams.openai_completions import OpenAICompletions, OpenAICompletionsOptions, prompt_of

ASKED = (
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("assistant", "Hello"),
    Message("user", "Where?"),
)


def upstream(**options: object) -> OpenAICompletions:
    made = OpenAICompletionsOptions(base_url="http://127.0.0.1:1/v1", model="m", **options)
    return OpenAICompletions.from_options("mine", made, Price())


def test_a_conversation_becomes_one_text() -> None:
    assert prompt_of(ASKED, "transcript") == "Be brief.\n\nUser: Hi\n\nAssistant: Hello\n\nUser: Where?\n\nAssistant:"
    assert prompt_of(ASKED, "last_user") == "Where?"


def test_a_request() -> None:
    sent = upstream(template="last_user").encode(Generate("mine", ASKED, n=2, max_tokens=5, logprobs=0))
    assert sent.url == "http://127.0.0.1:1/v1/completions"
    assert sent.body == {"model": "m", "prompt": "Where?", "n": 2, "max_tokens": 5, "logprobs": 1}


def test_tools_are_refused_before_anything_is_sent() -> None:
    assert not upstream().profile.tools
    with pytest.raises(UpstreamError, match="no tools"):
        upstream().encode(Generate("mine", ASKED, extra={"tools": [{}]}))


def test_a_reply_with_log_probabilities_the_first_of_which_is_null() -> None:
    logprobs = {
        "tokens": ["Where", " Nig", "eria"],
        "token_logprobs": [None, -0.2, -0.1],
        "top_logprobs": [None, {" Nig": -0.2, " Gh": -1.5}, {"eria": -0.1}],
    }
    reply = {"choices": [{"text": " Nigeria", "finish_reason": "length", "logprobs": logprobs}], "usage": None}
    read = upstream().decode(200, {}, json.dumps(reply).encode()).choices[0]
    assert (read.text, read.finish_reason) == ("Nigeria", "length")
    assert read.tokens is not None
    assert [(t.token, t.logprob) for t in read.tokens] == [(" Nig", -0.2), ("eria", -0.1)]
    assert read.tokens[0].top == ((" Nig", -0.2), (" Gh", -1.5))


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        {"tokens": ["a"], "token_logprobs": []},
        {"tokens": ["a", "b"], "token_logprobs": [-0.1, None]},
        {"tokens": "ab", "token_logprobs": [-0.1]},
    ],
)
def test_log_probabilities_that_do_not_fit_are_missing(logprobs: object) -> None:
    reply = {"choices": [{"text": "x", "logprobs": logprobs}]}
    assert upstream().decode(200, {}, json.dumps(reply).encode()).choices[0].tokens is None


def test_the_template_is_part_of_the_fingerprint() -> None:
    assert upstream(template="last_user").fingerprint != upstream().fingerprint
