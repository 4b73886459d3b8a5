"""What a served model is read to hold inside is what the embedded one holds, however the server computed it."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from gate.effects import Generate, ReadStates
from gate.hidden_states.block import Block, unpacked
from gate.pocket.model import PocketModel
from gate.pocket.weights import Size
from gate.types import Generation, Generations, Message
from tests.drivers.running import both
from tests.served.asking import embedded, reply_to, served, some_facts
from tests.served.embedded_block import embedded_block
from tests.served.server import Server, serving

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gate.engine_plugin") is None, reason="this gate has no plugin for vLLM"
)
NEAR = 1e-2
"""Of the length of a part, as much as two engines may be apart."""
MOST_BYTES = 4096
"""That the states of one answer may add to a reply."""
LONG = "Where is Lagos? " * 60
PARTS = ("states", "scales", "lens", "stability")


def asking(text: str, **how: Any) -> Generate:
    asked = Generate("it", (Message("user", text),), temperature=0.0, max_tokens=16, states=ReadStates())
    return replace(asked, **how)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A reply, and the tokens that were in it."""

    read: Generations
    prompt: tuple[int, ...]
    written: tuple[tuple[int, ...], ...]
    """Of each answer, all that was generated."""
    size: int
    """Bytes."""

    def taken_in(self, place: int) -> tuple[int, ...]:
        """The last token that is generated ends an answer, or is never taken in."""
        return self.written[place][:-1]


def exchange(server: Server, effect: Generate) -> Exchange:
    upstream = served(server)
    request = upstream.encode(replace(effect, extra={**effect.extra, "return_token_ids": True}))
    reply = httpx.post(request.url, json=dict(request.body), timeout=60)
    read = upstream.decode(reply.status_code, reply.headers, reply.content)
    told = reply.json()
    written = tuple(tuple(choice["token_ids"]) for choice in told["choices"])
    return Exchange(read, tuple(told["prompt_token_ids"]), written, len(reply.content))


def block_of(generation: Generation) -> Block:
    assert generation.states is not None, generation.no_states
    return unpacked(generation.states)


def agree(block: Block, expected: Block) -> None:
    assert (block.model, block.layout) == (expected.model, expected.layout)
    assert block.answer_tokens == expected.answer_tokens
    for part in PARTS:
        read, wanted = getattr(block, part).ravel(), getattr(expected, part).ravel()
        apart = np.linalg.norm(read - wanted) / np.linalg.norm(wanted)
        assert apart < NEAR, f"{part} is {apart:.2%} apart"
    assert np.isnan(block.attention).all(), "a server does not look at attention"


def check(server: Server, size: Size, effect: Generate) -> Exchange:
    """Every answer's states agree with the embedded model's over the same tokens."""
    got = exchange(server, effect)
    for place, generation in enumerate(got.read.choices):
        if got.taken_in(place):
            agree(block_of(generation), embedded_block(size, got.prompt, got.taken_in(place)))
        else:
            assert (generation.states, bool(generation.no_states)) == (None, True)
    return got


# --- answers that are written ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["small", "large"])
def test_greedy_answers(size: Size, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(size)
    for fact in some_facts(20):
        got = check(server, size, asking(fact.question))
        assert got.prompt == tuple(PocketModel.load(size).encode_chat([Message("user", fact.question)]))
        plain = reply_to(embedded(size), asking(fact.question, states=None)).choices[0]
        assert got.read.choices[0].text.strip() == plain.text, "reading changes no answer"


def test_every_one_of_several_answers(small: Server) -> None:
    for seed in range(4):
        got = check(small, "small", asking("Where is Lagos?", n=3, temperature=1.0, seed=seed))
        assert len(got.read.choices) == 3
    got = check(small, "small", asking("Where is Lagos?", n=40, temperature=1.5, seed=9))
    assert len({generation.text for generation in got.read.choices}) > 10


def test_answers_that_reach_their_limit(small: Server) -> None:
    for limit in (2, 9, 40):
        got = check(small, "small", asking("Where is Lagos?", max_tokens=limit, extra={"ignore_eos": True}))
        assert got.read.choices[0].states is not None
        assert got.read.choices[0].states.answer_tokens == limit - 1
    (nothing,) = exchange(small, asking("Where is Lagos?", max_tokens=1)).read.choices
    assert nothing.states is None
    assert "no token of the answer" in nothing.no_states


def test_a_prompt_that_is_in_the_cache(small: Server) -> None:
    before = small.metric("vllm:prefix_cache_hits_total")
    first, second = (check(small, "small", asking(LONG)) for _ in range(2))
    assert first.read.choices[0].text == second.read.choices[0].text
    assert small.metric("vllm:prefix_cache_hits_total") - before >= 256, "two blocks of the cache"


@both
def test_through_gates_own_drivers(large: Server, threaded: bool) -> None:
    got = exchange(large, asking("Where is Paris?"))
    (generation,) = reply_to(served(large), asking("Where is Paris?"), threaded=threaded).choices
    agree(block_of(generation), embedded_block("large", got.prompt, got.taken_in(0)))
    (unasked,) = reply_to(served(large), asking("Where is Paris?", states=None), threaded=threaded).choices
    assert (unasked.states, unasked.no_states) == (None, "")
    assert (unasked.text, unasked.finish_reason) == (generation.text, generation.finish_reason)


def test_many_requests_at_once(small: Server) -> None:
    async def main() -> None:
        each = [
            asking(fact.question, n=1 + place % 3, temperature=1.0, seed=place, max_tokens=4 + place % 12)
            for place, fact in enumerate(some_facts(32))
        ]
        async with asyncio.TaskGroup() as group:
            for effect in each:
                group.create_task(asyncio.to_thread(check, small, "small", effect))

    asyncio.run(main())


# --- answers that are given --------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["Nigeria", "the United States of America", "São Tomé", "a\nb  c"])
def test_an_answer_that_is_given_is_read(small: Server, answer: str) -> None:
    asked = (Message("user", "Where is Lagos?"), Message("assistant", answer))
    got = exchange(small, asking("", messages=asked, states=ReadStates(given=True)))
    prompt = tuple(PocketModel.load("small").encode_chat(asked[:1]))
    assert got.prompt[: len(prompt)] == prompt
    given = got.prompt[len(prompt) :]
    agree(block_of(got.read.choices[0]), embedded_block("small", prompt, given, given=True))
    again = exchange(small, asking("", messages=asked, states=ReadStates(given=True)))
    agree(block_of(again.read.choices[0]), block_of(got.read.choices[0]))


def test_an_answer_reads_the_same_whether_it_is_written_or_given(small: Server) -> None:
    """Where every token of it was the likeliest."""
    wrote = exchange(small, asking("Where is Lagos?"))
    text = wrote.read.choices[0].text
    asked = (Message("user", "Where is Lagos?"), Message("assistant", text))
    got = exchange(small, asking("", messages=asked, states=ReadStates(given=True)))
    assert got.prompt == wrote.prompt + wrote.taken_in(0)
    agree(block_of(got.read.choices[0]), block_of(wrote.read.choices[0]))


# --- what it costs -----------------------------------------------------------------------------------------------


def test_states_are_small_on_the_wire(large: Server) -> None:
    asked = asking("Where is Lagos?")
    added = exchange(large, asked).size - exchange(large, replace(asked, states=None)).size
    assert 0 < added <= MOST_BYTES


# --- another server -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def in_pieces(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes prompts in a few tokens at a time."""
    few = ("--max-num-batched-tokens", "32", "--max-num-seqs", "8")
    with serving(small_folder, "pocket-small", tmp_path_factory.mktemp("vllm"), few) as server:
        yield server


def test_a_prompt_that_is_taken_in_piece_by_piece(in_pieces: Server) -> None:
    for text in (LONG, LONG[:600], "Where is Lagos?"):
        check(in_pieces, "small", asking(text))
        # without a seed: vLLM 0.32 on a CPU dies of one whose prompt comes in pieces
        check(in_pieces, "small", asking(text, n=3, temperature=1.0))
    asked = (Message("user", "Where is Lagos?"), Message("assistant", "Nigeria, " * 50))
    got = exchange(in_pieces, asking("", messages=asked, states=ReadStates(given=True)))
    prompt = tuple(PocketModel.load("small").encode_chat(asked[:1]))
    given = got.prompt[len(prompt) :]
    assert len(given) > 100
    agree(block_of(got.read.choices[0]), embedded_block("small", prompt, given, given=True))
