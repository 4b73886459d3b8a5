"""A streamed draft is the draft that comes whole, token for token, and one that is stopped is generated no further."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gate.drivers import AsyncDriver, Recording, ThreadedDriver, World
from gate.effects import STOPPED_EARLY, Generate, ReadStates, generate
from gate.types import Generation, Generations, Message, TokenLogprob
from tests.drivers.running import both
from tests.served.asking import LONG, embedded, served, some_facts
from tests.served.server import Server

GENERATED = "vllm:generation_tokens_total"


@dataclass
class Watcher:
    """Notes how a draft grows; stops it after so many pieces."""

    most: int = 10**6
    texts: list[str] = field(default_factory=list)
    tokens: list[TokenLogprob] = field(default_factory=list)
    drafts: list[Generation] = field(default_factory=list)

    def begun(self, round_key: str) -> None:
        """Nothing is written yet."""

    def grew(self, text: str, tokens: tuple[TokenLogprob, ...]) -> bool:
        self.texts.append(text)
        self.tokens += tokens
        return len(self.texts) < self.most

    def done(self, draft: Generation) -> None:
        self.drafts.append(draft)


def ask(server: Server, effect: Generate, watcher: Watcher | None = None, *, threaded: bool = True) -> Generations:
    world, recording = World({"it": served(server)}), Recording(live=watcher)
    if threaded:
        driver = ThreadedDriver(world)
        try:
            return driver.run(generate(effect), recording, seconds=60).value
        finally:
            driver.close()

    async def main() -> Generations:
        driver = AsyncDriver(world)
        try:
            return (await driver.run(generate(effect), recording, seconds=60)).value
        finally:
            await driver.aclose()

    return asyncio.run(main())


def draft(text: str, **how: Any) -> Generate:
    fields = {"temperature": 0.0, "max_tokens": 16, "logprobs": 5, **how}
    return Generate("it", (Message("user", text),), live="it/closed_book", **fields)


def same(streamed: Generations, whole: Generations) -> None:
    """All alike, but for what an engine adds in another order from one time to the next."""
    assert (streamed.usage, streamed.model) == (whole.usage, whole.model)
    (one,), (other,) = streamed.choices, whole.choices
    assert replace(one, tokens=None) == replace(other, tokens=None)
    assert (one.tokens is None) == (other.tokens is None)
    for token, wanted in zip(one.tokens or (), other.tokens or (), strict=True):
        assert token.token == wanted.token
        assert token.logprob == pytest.approx(wanted.logprob, abs=1e-4)
        assert [text for text, _ in token.top] == [text for text, _ in wanted.top]


@both
def test_a_streamed_draft_is_the_whole_one(small: Server, threaded: bool) -> None:
    for fact in some_facts(20):
        watcher, effect = Watcher(), draft(fact.question)
        whole, streamed = ask(small, effect, threaded=threaded), ask(small, effect, watcher, threaded=threaded)
        same(streamed, whole)
        (said,) = streamed.choices
        assert ("".join(watcher.texts), tuple(watcher.tokens)) == (said.text, said.tokens)
        assert watcher.drafts == [said]


@both
@pytest.mark.parametrize(
    "how",
    [
        {"logprobs": None},
        {"temperature": 2.0, "seed": 3, "max_tokens": 40},
        {"temperature": 2.0, "seed": 4, "max_tokens": 40, "extra": {"ignore_eos": True}},
        {"temperature": 2.0, "seed": 5, "max_tokens": 40, "stop": ("an", "e")},
        {"temperature": 2.0, "seed": 6, "max_tokens": 40, "stop": (" in", "ia", "or")},
        {"max_tokens": 1},
    ],
    ids=["no log-probabilities", "long", "to its limit", "to a stop string", "to another", "one token"],
)
def test_however_it_ends(small: Server, how: dict[str, Any], threaded: bool) -> None:
    watcher, effect = Watcher(), draft("Where is Lagos?", **how)
    streamed = ask(small, effect, watcher, threaded=threaded)
    same(streamed, ask(small, effect, threaded=threaded))
    assert "".join(watcher.texts) == streamed.choices[0].text
    kept = streamed.choices[0].tokens or ()
    assert tuple(watcher.tokens[: len(kept)]) == kept, "only those of a stop string may run ahead of it"


@both
def test_a_stopped_draft_is_counted_and_leaves_the_server_idle(small: Server, threaded: bool) -> None:
    before = small.metric(GENERATED)
    effect = replace(LONG, n=1, live="it/closed_book", logprobs=0)
    reply = ask(small, effect, Watcher(most=5), threaded=threaded)
    (said,) = reply.choices
    assert said.finish_reason == STOPPED_EARLY
    assert said.tokens is not None
    assert reply.usage.completion_tokens == len(said.tokens) < 100
    prompt = embedded("small").complete(draft("Where is Lagos?"), lambda: False).usage.prompt_tokens
    assert reply.usage.prompt_tokens == prompt
    assert small.idle_within(3)
    # so small a model may be through before it is told
    assert small.metric(GENERATED) - before <= (LONG.max_tokens or 0)


@both
def test_a_draft_that_is_read_inside_comes_whole_with_its_states(small: Server, threaded: bool) -> None:
    watcher, effect = Watcher(), draft("Where is Lagos?", states=ReadStates())
    reply = ask(small, effect, watcher, threaded=threaded)
    assert reply.choices[0].states is not None
    assert watcher.texts == [reply.choices[0].text]
