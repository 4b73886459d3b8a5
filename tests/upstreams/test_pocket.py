"""The pocket model as an upstream: effects in, generations out."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pydantic import ValidationError

from gate.effects import STOPPED_EARLY, Generate, ReadStates
from gate.errors import UpstreamError
from gate.pocket.model import PocketModel
from gate.ports import LocalUpstream, Price, is_local
from gate.types import Generations, Message, TokenLogprob
from gate.upstreams.pocket import PocketOptions, PocketUpstream

ASKED = Generate("weak", (Message("user", "Where is Qxzbrunk?"),), n=5, max_tokens=16, seed=1, logprobs=3)

SEEING = Message(
    "user", "What is this?", {"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "?"}]}
)


def complete(effect: Generate) -> Generations:
    return PocketUpstream("weak").complete(effect, lambda: False)


def test_it_is_a_local_upstream_made_from_options() -> None:
    upstream: LocalUpstream = PocketUpstream.from_options("strong", PocketOptions(model="large"), Price(1, 2))
    assert is_local(upstream)
    assert (upstream.kind, upstream.name, upstream.price) == ("pocket", "strong", Price(1, 2))
    assert upstream.profile.n == 64
    assert not upstream.profile.tools


def test_options_know_two_models_and_nothing_else() -> None:
    assert PocketUpstream.Options().model_dump() == {"model": "small"}
    for wrong in ({"model": "huge"}, {"size": "small"}):
        with pytest.raises(ValidationError):
            PocketUpstream.Options.model_validate(wrong)


def test_constructing_it_loads_no_model() -> None:
    code = (
        "import sys; from gate.upstreams.pocket import PocketUpstream; u = PocketUpstream('x'); u.fingerprint; "
        "print([m for m in ('onnxruntime', 'tokenizers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_choices_tokens_and_usage_are_mapped() -> None:
    reply = complete(ASKED)
    prompt = PocketModel.load("small").encode_chat(ASKED.messages)
    assert len(reply.choices) == 5
    assert reply.model == "pocket-small"
    assert reply.usage.prompt_tokens == len(prompt)
    for choice in reply.choices:
        assert choice.finish_reason in {"stop", "length"}
        assert choice.tokens is not None
        assert all(len(token.top) == 3 for token in choice.tokens)
    # every answer also generated the token that ended it, which is not among its tokens
    ended = sum(choice.finish_reason == "stop" for choice in reply.choices)
    assert reply.usage.completion_tokens == sum(len(c.tokens or ()) for c in reply.choices) + ended
    assert all(choice.tokens is None for choice in complete(replace(ASKED, logprobs=None)).choices)


def test_the_fingerprint_names_the_size_and_its_weights() -> None:
    upstream = PocketUpstream("weak")
    assert upstream.fingerprint == f"pocket-small:{PocketModel.load('small').fingerprint}"
    assert upstream.fingerprint == PocketUpstream("another name").fingerprint


def test_temperature_is_one_unless_given() -> None:
    assert complete(ASKED) == complete(replace(ASKED, temperature=1.0)) != complete(replace(ASKED, temperature=3.0))


@pytest.mark.parametrize(
    ("effect", "cause"),
    [
        (replace(ASKED, n=65), "at most 64 answers"),
        (replace(ASKED, n=0), "n must be"),
        (replace(ASKED, logprobs=21), "top_logprobs"),
        (replace(ASKED, messages=(Message("system", "x"),)), "no user message"),
        (replace(ASKED, messages=(Message("user", "x" * 200_000),)), "context length"),
        (replace(ASKED, extra={"tools": [{"type": "function"}]}), "tools"),
        (replace(ASKED, messages=(SEEING, *ASKED.messages)), "text only"),
        (replace(ASKED, messages=(SEEING,)), "text only"),
    ],
)
def test_what_it_cannot_do_is_refused_under_the_policys_name(effect: Generate, cause: str) -> None:
    with pytest.raises(UpstreamError, match=f"upstream 'weak': .*{cause}") as caught:
        complete(effect)
    assert caught.value.status == 400
    assert not caught.value.retryable


def test_text_in_parts_is_text() -> None:
    said = "Where is Qxzbrunk?"
    parts = Message("user", said, {"role": "user", "content": [{"type": "text", "text": said}]})
    assert complete(replace(ASKED, messages=(parts,))) == complete(ASKED)


def test_cancelling_raises() -> None:
    with pytest.raises(UpstreamError, match="upstream 'weak': cancelled"):
        PocketUpstream("weak").complete(ASKED, lambda: True)


def test_threads_do_not_disturb_one_another() -> None:
    upstream = PocketUpstream("weak")
    effects = [replace(ASKED, seed=seed) for seed in range(24)]
    alone = [upstream.complete(effect, lambda: False) for effect in effects]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda effect: upstream.complete(effect, lambda: False), effects)) == alone


ONE = replace(ASKED, n=1, temperature=3.0, seed=0)


def test_a_watched_answer_is_the_answer_and_comes_token_by_token() -> None:
    told: list[tuple[str, tuple[TokenLogprob, ...]]] = []

    def grew(text: str, tokens: tuple[TokenLogprob, ...]) -> bool:
        told.append((text, tokens))
        return True

    reply = PocketUpstream("weak").complete_live(ONE, lambda: False, grew)
    assert reply == complete(ONE)
    (choice,) = reply.choices
    assert "".join(text for text, _ in told) == choice.text
    assert tuple(token for _, tokens in told for token in tokens) == choice.tokens
    assert max(len(tokens) for _, tokens in told) <= 2, "the letters of a character come together"


@pytest.mark.parametrize("states", [None, ReadStates()])
def test_a_watcher_stops_it(states: ReadStates | None) -> None:
    reply = PocketUpstream("weak").complete_live(replace(ONE, states=states), lambda: False, lambda text, tokens: False)
    (choice,) = reply.choices
    assert (choice.finish_reason, len(choice.tokens or ()), reply.usage.completion_tokens) == (STOPPED_EARLY, 1, 1)
    assert complete(ONE).choices[0].text.startswith(choice.text)


def test_what_it_cannot_do_is_refused_of_watched_answers_too() -> None:
    with pytest.raises(UpstreamError, match="the pocket model cannot call tools"):
        PocketUpstream("weak").complete_live(replace(ONE, extra={"tools": [{}]}), lambda: False, lambda *_: True)
    with pytest.raises(UpstreamError, match="upstream 'weak': cancelled"):
        PocketUpstream("weak").complete_live(ONE, lambda: True, lambda *_: True)
